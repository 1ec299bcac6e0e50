"""The verbs of a person: each decision is on disk when its command returns, and the run does what was decided."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from chargehand.cli.main import app
from chargehand.cli.ways import ways
from chargehand.config import hash_secret
from chargehand.durable import WAITING_KINDS, Waiting, WaitingKind
from chargehand.supervise import waiting

from .conftest import SHOP, Command, Started, lines_of


def test_an_approval_lets_exactly_that_call_run(cli: Command, shop: Command) -> None:
    """Approved, the call runs as shown; the command says what was approved and by whom."""
    shop("pay", 500, id="p-1")
    said = cli("approve", "p-1/charge")
    assert said.status == 0
    assert "approve by" in said.out
    assert shop("pay", 500, id="p-1").out == '"r-500"\n'
    assert lines_of("ledger.txt") == ["charge 500"]


def test_an_approval_may_change_arguments(cli: Command, shop: Command) -> None:
    """--edit changes the arguments it names and leaves the others as shown, also those that are not shown."""
    shop("pay", 500, id="p-1")
    assert cli("approve", "p-1", "--edit", '{"amount": 400}').status == 0
    assert shop("pay", 500, id="p-1").out == '"r-400"\n'
    events = cli("show", "p-1", "--json").json["events"]
    edited = next(event for event in events if event["type"] == "effect.edited")
    assert edited["payload"]["args"] == {"amount": 400, "card_token": "[redacted]"}


def test_a_decision_that_was_ignored_is_told_where_the_entry_still_waits(cli: Command, shop: Command) -> None:
    """Without the code an edit cannot be checked, which is said; when the worker ignored it, run and inbox say why, until it is decided."""
    shop("pay", 500, id="p-1")
    said = cli("approve", "p-1", "--edit", '{"amount": "lots"}')
    assert said.status == 0
    assert "--code MODULE:WORKFLOW it is seen now" in said.err
    said = shop("pay", 500, id="p-1")
    assert said.status == 3
    assert "edit was ignored: " in said.err
    assert shop("pay", 500, "--json", id="p-1").json["ignored"].keys() == {"p-1/charge"}
    assert "edit was ignored: " in cli("inbox", "p-1/charge").out
    assert "amount" in cli("inbox", "p-1", "--json").json["ignored"]["p-1/charge"]
    assert cli("approve", "p-1").status == 0
    assert shop("pay", 500, id="p-1").out == '"r-500"\n'


def test_what_is_not_shown_cannot_be_put_in(cli: Command, shop: Command) -> None:
    """The mark that stands for a redacted value is never taken for the value."""
    shop("pay", 500, id="p-1")
    said = cli("approve", "p-1", "--edit", '{"amount": 400, "card_token": "[redacted]"}')
    assert said.status == 2
    assert "[redacted]" in said.err


def test_a_decision_binds_what_was_shown(cli: Command, shop: Command) -> None:
    """--shown refuses when something else waits than what the person saw."""
    shop("pay", 500, id="p-1")
    digest = cli("approvals", "--json").json["waiting"][0]["digest"]
    assert cli("approve", "p-1", "--shown", "0" * 32).status == 7
    assert cli("approve", "p-1", "--shown", digest[:7]).status == 2
    assert cli("approve", "p-1", "--shown", digest[:8]).status == 0


def test_a_rejection_carries_its_reason(cli: Command, shop: Command) -> None:
    """Rejected with a reason, the workflow fails with it and nothing was done."""
    shop("pay", 500, id="p-1")
    assert cli("reject", "p-1", "--reason", "too much").status == 0
    said = shop("pay", 500, "--json", id="p-1")
    assert (said.status, said.json["error"]["code"]) == (1, "denied")
    assert "too much" in said.json["error"]["message"]
    assert lines_of("ledger.txt") == []


def test_what_was_done_by_hand_counts_as_done(cli: Command, shop: Command) -> None:
    """resolve --done enters the result of what a person did, checked like any other."""
    shop("pay", 500, id="p-1")
    assert cli("resolve", "p-1", "--done", '"by hand"').status == 0
    assert shop("pay", 500, id="p-1").out == '"by hand"\n'
    assert lines_of("ledger.txt") == []


def test_an_escalated_output_is_released_on_a_name(cli: Command, shop: Command) -> None:
    """release lets an output through with a reason; the release says so."""
    assert shop("review", "birds", id="r-1").status == 3
    assert cli("release", "r-1", "--reason", "good enough").status == 0
    assert shop("review", "birds", id="r-1").out == '"about birds"\n'
    assert "released by a person" in cli("show", "r-1").out


def test_an_edited_output_passes_the_gates_again(cli: Command, shop: Command) -> None:
    """release --edit puts another output in place, which must pass every gate."""
    shop("review", "birds", id="r-1")
    cli("release", "r-1", "--reason", "mine", "--edit", '"still wrong"')
    assert shop("review", "birds", id="r-1").status == 3
    cli("release", "r-1", "--reason", "mine", "--edit", '"by hand"')
    assert shop("review", "birds", id="r-1").out == '"by hand"\n'


@pytest.mark.parametrize(("answer", "value"), [("true", "true"), ("yes please", None)])
def test_a_question_is_answered_with_its_type(cli: Command, shop: Command, answer: str, value: str | None) -> None:
    """An answer is checked against the type that the workflow asks for; what does not fit changes nothing."""
    shop("ask_freely", "Why?", id="q-1")
    cli("answer", "q-1", answer)
    assert shop("ask_freely", "Why?", id="q-1").status == (3 if value else 0)


def test_a_letter_is_redriven_with_other_arguments(cli: Command, shop: Command) -> None:
    """redrive --edit tries a dead letter again with changed arguments; redrive alone tries it as it is."""
    shop("lettered", 5, id="l-1")
    assert cli("redrive", "l-1").status == 0
    assert shop("lettered", 5, id="l-1").status == 4
    assert cli("redrive", "l-1", "--edit", '{"amount": 50}').status == 0
    assert shop("lettered", 5, id="l-1").out == '"done 50"\n'


def test_a_doubt_that_is_not_redriven_says_why(cli: Command, shop: Command) -> None:
    """Without a key nothing keeps it from happening twice; in a run that is being rolled back nothing is sent any more."""
    shop("doubted", 1, id="d-1")
    for named in ("d-1", "d-1/vanish"):
        said = cli("redrive", named)
        assert said.status == 7
        assert "it takes no idempotency_key" in said.err
    cli("cancel", "d-1")
    assert shop("doubted", 1, id="d-1").status == 4
    said = cli("redrive", "d-1")
    assert said.status == 7
    assert "Its run is being rolled back" in said.err


def test_letters_are_redriven_by_selection(cli: Command, shop: Command) -> None:
    """--workflow, --kind and --all redrive many; what may not be redriven is left."""
    for number in range(3):
        shop("lettered", number, id=f"l-{number}")
    shop("doubted", 5, id="d-1")
    assert cli("redrive", "--workflow", "shop.nothing", "--json").json == {"redriven": [], "refused": []}
    assert cli("redrive", "--kind", "doubt", "--json").json["redriven"] == []
    said = cli("redrive", "--all", "--json")
    assert (said.status, sorted(said.json["redriven"])) == (0, ["l-0/refuse", "l-1/refuse", "l-2/refuse"])
    again = cli("redrive", "--workflow", "shop.lettered", "--json").json  # nobody has carried the first ones out yet
    assert (again["redriven"], len(again["refused"])) == ([], 3)


def test_a_letter_is_failed_into_the_workflow(cli: Command, shop: Command) -> None:
    """fail raises the letter's failure where the call was made."""
    shop("lettered", 5, id="l-1")
    assert cli("fail", "l-1").status == 0
    said = shop("lettered", 5, "--json", id="l-1")
    assert (said.status, said.json["error"]["code"]) == (1, "dead-lettered")


def test_a_run_is_abandoned_with_a_reason(cli: Command, shop: Command) -> None:
    """abandon gives a run up and rolls it back."""
    shop("lettered", 5, id="l-1")
    assert cli("abandon", "l-1", "--reason", "not worth it").status == 0
    said = shop("lettered", 5, "--json", id="l-1")
    assert (said.status, said.json["run"]["status"]) == (1, "cancelled")


@pytest.mark.parametrize(("option", "status"), [(("--not-done",), 4), (("--done", '"it did"'), 0)])
def test_doubt_ends_by_a_persons_word(cli: Command, shop: Command, option: tuple[str, ...], status: int) -> None:
    """resolve says whether what is in doubt happened; not done, it becomes a letter that may be tried again."""
    shop("doubted", 5, id="d-1")
    assert cli("resolve", "d-1", *option).status == 0
    assert shop("doubted", 5, id="d-1").status == status


def test_after_a_final_effect_a_person_chooses(cli: Command, shop: Command) -> None:
    """A run that failed after a final effect is left as it stands when a person says so."""
    assert shop("pivot", "hello", id="f-1").status == 4
    assert "letter: The run failed after a final effect: too late" in shop("pivot", "hello", id="f-1").err
    assert "(resolve --go-on, resolve --undo, resolve --leave)" in cli("show", "f-1").out
    assert cli("resolve", "f-1", "--leave").status == 0
    said = shop("pivot", "hello", id="f-1")
    assert (said.status, "1 effect stands." in said.err) == (1, True)
    assert "run  decided by " in cli("show", "f-1").out
    assert ": leave what stands" in cli("show", "f-1").out
    assert lines_of("ledger.txt") == ["send hello"]


def test_the_commands_of_an_entry_can_be_run_as_they_stand(cli: Command, shop: Command) -> None:
    """What an entry offers needs no guessing: an undo that somebody did by hand has no result, and the command says so."""
    assert shop("post_and_fail", "hello", id="u-1").status == 4
    (entry,) = cli("letters", "u-1", "--json").json["waiting"]
    assert entry["commands"][1] == "chargehand resolve u-1/post --done null"
    assert "# somebody has undone it by hand" in cli("letters", "u-1").out
    assert cli(*entry["commands"][1].split()[1:]).status == 0
    assert shop("post_and_fail", "hello", id="u-1").status == 1
    assert cli("runs", "--json").json["runs"][0]["standing"] == 0


def test_every_decision_has_its_command_and_its_meaning() -> None:
    """No entry, whatever its kind, offers a decision without a command of ours, or one whose meaning has to be guessed."""
    offered: list[tuple[WaitingKind, tuple[str, ...]]] = [
        ("approval", waiting.APPROVAL_DECISIONS),
        ("escalation", waiting.ESCALATION_DECISIONS),
        ("letter", ("redrive", "edit", "done", "fail", "abandon")),
        ("letter", waiting.UNDO_LETTER_DECISIONS),
        ("doubt", ("done", "not-done", "redrive", "abandon")),
        ("diverged", ("resume", "cancel")),
        ("broken", ("resume", "cancel")),
        ("poison", ("resume", "cancel")),
        ("letter", waiting.PIVOT_DECISIONS),
        ("question", ("answer",)),
    ]
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {kind for kind, _ in offered} == set(WAITING_KINDS)
    for kind, decisions in offered:
        entry = Waiting("r/a b", "r", "a b", kind, "what", {"path": "pay"}, decisions, None, 0.0, None, "d" * 32)
        for way in ways(entry):
            assert way.command.split()[1] in commands
            assert way.means or kind == "question", way


def test_a_traceback_is_shown_as_lines(cli: Command, shop: Command) -> None:
    """The entry of a broken run shows its traceback as one reads it, without terminal control."""
    said = shop("broken", 4, id="b-1").err
    line = next(number for number, text in enumerate(Path(SHOP).read_text().splitlines(), 1) if "mended.txt" in text and "return" in text)
    assert f"KeyError: False ({SHOP}:{line})" in said
    assert "`chargehand inbox b-1` shows it whole" in said
    lines = cli("inbox", "b-1").out.splitlines()
    at = lines.index("  traceback:")
    assert lines[at + 1] == "    Traceback (most recent call last):"
    assert any(line.startswith("    KeyError") for line in lines[at:])


def test_a_signal_reaches_its_run(cli: Command) -> None:
    """signal gives a waiting run its value; one that does not fit is ignored with the reason."""
    words = ("run", f"{SHOP}:listen", "--id", "l-1")
    cli(*words)
    cli("signal", "l-1", "go", "--value", '"no number"')
    assert cli(*words).status == 3
    assert "ignored" in cli("show", "l-1").out
    cli("signal", "l-1", "go", "--value", "42")
    assert cli(*words).out == "42\n"


def test_a_signal_that_nothing_waits_for_is_said(cli: Command, shop: Command) -> None:
    """A signal under another name than the one that is waited for is kept, and the sender hears so, with the near name."""
    cli("run", f"{SHOP}:listen", "--id", "l-1")
    said = cli("signal", "l-1", "goo", "--value", "42")
    assert said.status == 0
    assert "it waits for 'go'. Did you mean 'go'? It is kept" in said.err
    assert cli("signal", "l-1", "goo", "--json").json["waits_for"] == ["go"]
    shop("pay", 500, id="p-1")
    assert "it waits for none" in cli("signal", "p-1", "go").err


def test_a_signal_that_cannot_fit_is_refused(cli: Command) -> None:
    """With the code at hand, a value that does not fit what the run waits for is refused before it is sent; without it, that is said."""
    words = ("run", f"{SHOP}:listen", "--id", "l-1")
    cli(*words)
    said = cli("signal", "l-1", "go", "--value", '"x"', "--code", f"{SHOP}:listen")
    assert (said.status, said.out) == (7, "")
    assert "waits for the signal 'go' at wait_signal" in said.err
    assert '"x" does not fit: value: Input should be a valid integer' in said.err
    assert cli(*words).status == 3
    assert "mail.ignored" not in cli("show", "l-1", "--json").out
    said = cli("signal", "l-1", "go", "--value", "42")
    assert "seen when a worker takes it up" in said.err
    second = cli("signal", "l-1", "go", "--value", '"x"', "--code", f"{SHOP}:listen", "--json")
    assert (second.status, second.json["checked"]) == (0, False), "the first one may take the wait"
    assert cli(*words).out == "42\n"


def test_configured_code_checks_what_is_given(cli: Command, shop: Command) -> None:
    """Answers, edits and results are held against the types of the configured workflows, and nothing unfit is sent."""
    with open("chargehand.toml", "w") as file:
        file.write(f'workflows = ["{SHOP}:ask_freely", "{SHOP}:pay", "{SHOP}:review"]\n')
    shop("ask_freely", "Why?", id="q-1")
    shop("pay", 500, id="p-1")
    shop("review", "birds", id="r-1")
    for words, told in (
        (("answer", "q-1", "12"), "12 does not fit: value: Input should be a valid string"),
        (("approve", "p-1", "--edit", '{"amount": "much"}'), "charge(amount) does not fit"),
        (("resolve", "p-1", "--done", "12"), "the result does not fit"),
        (("release", "r-1", "--edit", "12", "--reason", "x"), "12 does not fit"),
    ):
        said = cli(*words)
        assert (said.status, said.out) == (7, ""), words
        assert told in said.err
    assert cli("answer", "q-1", "because").status == 0
    assert cli("answer", "q-1", "because", "--code", f"{SHOP}:pay").status == 2


def test_an_edit_of_another_name_is_refused(cli: Command, shop: Command) -> None:
    """An edit names arguments that the entry shows; a misspelt one is no new argument."""
    shop("pay", 500, id="p-1")
    said = cli("approve", "p-1", "--edit", '{"amuont": 5}')
    assert (said.status, "Did you mean 'amount'?" in said.err) == (2, True)


def test_a_mended_run_is_resumed(cli: Command, shop: Command, tmp_path: object) -> None:
    """A run that is parked because its code is broken goes on from the same step once the code is mended."""
    assert shop("broken", 4, id="b-1").status == 4
    with open("mended.txt", "w"):
        pass
    assert cli("resume", "b-1").status == 0
    assert shop("broken", 4, id="b-1").out == "5\n"
    steps = [event for event in cli("show", "b-1", "--json").json["events"] if event["type"] == "call.done"]
    assert len(steps) == 1


def test_a_second_resume_is_no_second_letter(cli: Command, shop: Command) -> None:
    """A run that was told to go on is not told so again before a worker has seen it; once it has, it may be."""
    shop("broken", 4, id="b-1")
    assert cli("resume", "b-1").status == 0
    said = cli("resume", "b-1", "--accept", "added")
    assert said.status == 7
    assert "was told to go on already by" in said.err
    assert shop("broken", 4, id="b-1").status == 4
    assert "mail.ignored" not in cli("show", "b-1", "--json").out
    assert cli("resume", "b-1").status == 0


def test_a_cancelled_run_is_rolled_back(cli: Command, shop: Command) -> None:
    """cancel undoes what a run did; a second cancel is refused once it has ended."""
    shop("pay", 500, id="p-1")
    assert cli("cancel", "p-1", "--reason", "changed my mind").status == 0
    assert shop("pay", 500, "--json", id="p-1").json["run"]["status"] == "cancelled"
    said = cli("cancel", "p-1")
    assert said.status == 7
    assert "has ended" in said.err


def test_one_of_several_entries_has_to_be_named(cli: Command, shop: Command) -> None:
    """A run's id stands for its entry only while there is one that can be decided so."""
    shop("pay", 500, id="p-1")
    said = cli("redrive", "p-1")
    assert (said.status, "chargehand approve p-1/charge" in said.err) == (7, True)
    said = cli("redrive", "p-1/charge")
    assert said.status == 7
    assert "chargehand approve p-1/charge" in said.err


def test_waiting_for_the_answer_needs_a_worker(cli: Command, shop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --wait and no worker the decision is on disk all the same, and the status says that it was not taken up."""
    monkeypatch.setattr("chargehand.cli.posting.WAIT_SECONDS", 0.2)
    shop("pay", 500, id="p-1")
    said = cli("approve", "p-1", "--wait")
    assert said.status == 3
    assert "No worker has taken it up" in said.err
    assert shop("pay", 500, id="p-1").status == 0


def test_with_a_worker_the_answer_comes_at_once(cli: Command, shop: Command, start: Callable[..., Started]) -> None:
    """With --wait a decision returns when the run has taken it up, or says why it was ignored."""
    shop("pay", 500, id="p-1")
    shop("ask_freely", "Why?", id="q-1")
    worker = start("worker", f"{SHOP}:pay", f"{SHOP}:ask_freely")
    assert "serves development" in worker.line()
    said = cli("approve", "p-1", "--wait", "--json")
    assert (said.status, said.json["taken_up"]) == (0, True)
    said = cli("answer", "q-1", "12", "--wait", "--json")
    assert (said.status, said.json["taken_up"]) == (7, False)
    assert "string" in said.json["why"]


# -- who decides ----------


@pytest.fixture
def boss() -> None:
    """Configure a principal with the role of a boss, and one without a role."""
    hashed = hash_secret("correct horse", n=2**8)
    with open("chargehand.toml", "w") as file:
        for name, roles in (("eve", '["boss"]'), ("bob", "[]")):
            file.write(f'[principals.{name}]\nroles = {roles}\nsecret = "{hashed}"\n')


@pytest.mark.usefixtures("boss")
def test_a_principal_decides_with_a_secret(cli: Command, shop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where principals are configured, a decision needs one of them, the secret and the role."""
    shop("ask", "Now?", id="q-1")
    words = ("answer", "q-1", "true")
    assert cli(*words).status == 7
    assert "secret of 'eve' is missing" in cli(*words, "--as", "eve").err
    monkeypatch.setenv("CHARGEHAND_SECRET", "wrong horse")
    assert "not the secret" in cli(*words, "--as", "eve").err
    monkeypatch.setenv("CHARGEHAND_SECRET", "correct horse")
    assert "Did you mean 'eve'" in cli(*words, "--as", "eva").err
    assert "does not have the role 'boss'" in cli(*words, "--as", "bob").err
    monkeypatch.setenv("CHARGEHAND_PRINCIPAL", "eve")
    assert cli(*words).status == 0
    assert shop("ask", "Now?", id="q-1").out == "true\n"
    answered = [event for event in cli("show", "q-1", "--json").json["events"] if event["type"] == "question.answered"]
    assert answered[0]["payload"]["by"] == {"id": "eve", "roles": ["boss"]}


@pytest.mark.usefixtures("boss")
def test_a_missing_role_is_told_with_who_has_it(cli: Command, shop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks the role hears which principals have it, and an entry says so to whoever looks at it."""
    monkeypatch.setenv("CHARGEHAND_SECRET", "correct horse")
    shop("ask", "Now?", "--as", "bob", id="q-1")
    said = cli("answer", "q-1", "true", "--as", "bob")
    assert said.status == 7
    assert "'bob' does not have the role 'boss', which decides 'q-1/ask_human'. eve has it: --as NAME." in said.err
    assert "the role boss: eve has it" in cli("inbox", "q-1").out
    assert "chargehand answer q-1/ask_human JSON --as eve" in cli("inbox", "q-1").out
    said = shop("ask", "Now?", "--as", "bob", id="q-1")
    assert "question for the role boss: Now?" in said.err
    assert "chargehand answer q-1/ask_human JSON --as eve" in said.err


def test_a_role_that_nobody_has_is_told_with_how_one_gets_it(cli: Command, shop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a principal that has the role, the message names the table and the command that makes an entry of it; both work."""
    shop("ask", "Now?", id="q-1")
    said = cli("answer", "q-1", "true")
    assert said.status == 7
    assert "roles are given by [principals.NAME] in chargehand.toml" in said.err
    assert "`chargehand principal NAME --role boss`" in said.err
    assert "No principal has it" in cli("inbox", "q-1").out
    monkeypatch.setenv("CHARGEHAND_SECRET", "correct horse")
    with open("chargehand.toml", "w") as file:
        file.write(cli("principal", "ann", "--role", "boss").out)
    assert cli("answer", "q-1", "true", "--as", "ann").status == 0


def test_without_principals_whoever_is_logged_in_has_no_role(cli: Command, shop: Command) -> None:
    """A role is never had by default."""
    shop("ask", "Now?", id="q-1")
    said = cli("answer", "q-1", "true", "--json")
    assert (said.status, said.error["code"]) == (7, "decision-refused")
    assert cli("answer", "q-1", "true", "--as", "eve").status == 2


def test_a_principal_is_printed_hashed(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed entry holds the hash of the secret and never the secret, which no option takes."""
    assert cli("principal", "eve").status == 2
    monkeypatch.setenv("CHARGEHAND_SECRET", "short")
    assert cli("principal", "eve").status == 2
    monkeypatch.setenv("CHARGEHAND_SECRET", "long enough")
    said = cli("principal", "eve", "--role", "ops", "--json")
    assert said.json["roles"] == ["ops"]
    assert said.json["secret"].startswith("scrypt$")
    assert "long enough" not in said.out
    assert json.dumps(said.json["roles"]) in cli("principal", "eve", "--role", "ops").out
