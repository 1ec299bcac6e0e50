"""`run`: one workflow, driven until it rests."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import SHOP, Command, Said, Started, lines_of, until


def test_a_run_prints_its_value(shop: Command) -> None:
    """Standard output holds the workflow's value and nothing else, so that it can be piped."""
    said = shop("add", {"a": 3, "b": 4})
    assert (said.status, json.loads(said.out)) == (0, 7)
    assert "completed" in said.err


def test_a_run_in_json_tells_how_it_stands(shop: Command) -> None:
    """With --json the answer is one JSON object with the run and its value."""
    said = shop("add", {"a": 3}, "--json", "--tag", "customer=c-7", id="sum-1")
    assert said.status == 0
    assert said.json["value"] == 5
    run = said.json["run"]
    assert (run["id"], run["workflow"], run["status"], run["tags"]) == ("sum-1", "shop.add", "completed", {"customer": "c-7"})
    assert said.err == ""


def test_the_only_argument_is_the_input_itself_or_named(shop: Command) -> None:
    """A workflow with one argument takes it bare or by name."""
    assert shop("pay", 5, id="a").out == shop("pay", {"amount": 5}, id="b").out


def test_the_same_id_never_runs_twice(shop: Command) -> None:
    """The id is the run's idempotency key: again, it gives the recorded value."""
    first, second = shop("pay", 50, id="p-1"), shop("pay", 50, id="p-1")
    assert first.out == second.out == '"r-50"\n'
    assert lines_of("ledger.txt") == ["charge 50"]


def test_another_input_under_the_same_id_is_refused(shop: Command) -> None:
    """An id that is taken by another input is refused, and the difference is shown."""
    shop("pay", 50, id="p-1")
    said = shop("pay", 60, "--json", id="p-1")
    assert (said.status, said.out, said.error["code"]) == (7, "", "run-conflict")
    assert '"recorded": 50, "given": 60' in said.error["message"]
    assert lines_of("ledger.txt") == ["charge 50"]


def test_the_input_may_come_from_a_file(cli: Command) -> None:
    """--input @file reads JSON from a file."""
    Path("input.json").write_text('{"a": 1, "b": 1}')
    assert cli("run", f"{SHOP}:add", "--input", "@input.json").out == "2\n"


def test_a_module_is_found_in_the_current_directory(cli: Command) -> None:
    """A module needs no installation: the current directory is looked in, as for every Python program."""
    Path("here_it_is.py").write_text("from chargehand import workflow\n@workflow\nasync def only() -> str:\n    return 'found'\n")
    assert cli("run", "here_it_is:only").out == '"found"\n'
    assert cli("run", "here_it_is").out == '"found"\n'


def test_a_file_in_a_package_has_the_name_of_its_module(cli: Command) -> None:
    """A workflow is called the same whether it is run from its file or from its module, so its runs stay its own."""
    package = Path("billing_package/inner")
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "flow.py").write_text("from chargehand import workflow\n@workflow\nasync def only() -> str:\n    return 'found'\n")
    said = cli("run", "billing_package/inner/flow.py:only", "--json")
    assert said.json["run"]["workflow"] == "billing_package.inner.flow.only"


def test_a_run_that_waits_for_a_person_leaves_with_3(shop: Command) -> None:
    """Who runs a workflow that needs approval is told what waits and how to decide, and the process ends."""
    said = shop("pay", 500, id="p-1")
    assert (said.status, said.out) == (3, "")
    assert "chargehand approve p-1/charge" in said.err
    assert lines_of("ledger.txt") == []
    again = shop("pay", 500, "--json", id="p-1")
    assert (again.status, again.json["run"]["status"]) == (3, "waiting")
    assert [entry["id"] for entry in again.json["waiting"]] == ["p-1/charge"]


@pytest.mark.parametrize(
    ("name", "value", "why"), [("lettered", 5, "the service said no"), ("doubted", 5, "connection lost"), ("broken", 1, "KeyError: False")]
)
def test_a_run_that_parks_leaves_with_4(shop: Command, name: str, value: int, why: str) -> None:
    """A dead letter, a doubt and a bug in the code end the command with its own status, and it is said why."""
    said = shop(name, value, id="x")
    assert said.status == 4
    assert "parked" in said.err
    assert why in said.err


def test_a_run_that_waits_for_a_signal_leaves_with_3(cli: Command) -> None:
    """A wait for a signal is said, with the command that sends one."""
    said = cli("run", f"{SHOP}:listen", "--id", "l-1")
    assert said.status == 3
    assert "chargehand signal l-1 go --value JSON" in said.err


def test_a_run_that_sleeps_is_waited_for(shop: Command) -> None:
    """A timer of the run's own is no reason to leave."""
    assert shop("nap", 0.3).out == '"awake"\n'


def test_a_run_that_fails_leaves_with_1(shop: Command) -> None:
    """A failure says its class, and what it did is undone."""
    said = shop("pay_and_fail", 20, "--json", id="f-1")
    assert (said.status, said.json["run"]["status"], said.json["error"]["code"]) == (1, "failed", "run-failed")
    assert lines_of("ledger.txt") == ["charge 20", "back r-20"]
    plain = shop("pay_and_fail", 20, id="f-1")
    assert plain.status == 1
    assert "nothing to buy" in plain.err


def test_a_deadline_fails_the_run(shop: Command) -> None:
    """--deadline bounds the run, not the command."""
    said = shop("nap", 60, "--deadline", "0.2s", "--json")
    assert (said.status, said.json["error"]["code"]) == (1, "deadline-passed")


def test_the_level_of_approval_is_an_option(shop: Command) -> None:
    """--approve every asks a person about an effect that its author lets through."""
    assert shop("pay", 5, "--approve", "every", id="p-1").status == 3


def test_a_run_drives_its_own_runs_only(cli: Command, shop: Command) -> None:
    """`run` is no worker: other runs of the same workflow stay where they are."""
    shop("pay", 500, id="p-1")
    cli("approve", "p-1")
    assert shop("pay", 50, id="p-2").status == 0
    assert lines_of("ledger.txt") == ["charge 50"]
    assert shop("pay", 500, id="p-1").out == '"r-500"\n'


def test_resources_are_those_of_the_environment(shop: Command) -> None:
    """Where nothing makes a resource, the effect surely did not happen: a letter says what is missing, and no doubt is left."""
    said = shop("pay", 5, "--environment", "production", "--json", id="p-1")
    assert lines_of("ledger.txt") == []
    assert (said.status, said.json["run"]["reason"]) == (4, "letter")
    assert "nothing makes one in the environment 'production'" in said.json["waiting"][0]["shows"]["error"]["message"]


def test_interrupted_a_run_stays_as_it_is(cli: Command, start: Callable[..., Started]) -> None:
    """Ctrl-C ends the command with 130 and one line; the run is kept and left to whoever drives it next."""
    command = start("run", f"{SHOP}:nap", "--input", "60", "--id", "n-1")
    until(lambda: listed(cli("runs", "--status", "waiting", "--json"), "runs"))
    command.process.send_signal(signal.SIGINT)
    said = command.ended()
    assert (said.status, said.out, said.err.count("\n")) == (130, "", 1)
    (run,) = cli("runs", "--json").json["runs"]
    assert (run["status"], run["owner"]) == ("waiting", None)


def test_ctrl_c_says_at_once_what_is_waited_for(cli: Command, start: Callable[..., Started]) -> None:
    """The first Ctrl-C names the calls in flight and says that a second one leaves at once, as it then does."""
    command = start("run", f"{SHOP}:work", "--input", '{"date": "x", "id": 1, "kind": "slow"}', "--id", "w-1")
    until(lambda: lines_of("worked.txt"))
    command.process.send_signal(signal.SIGINT)
    assert command.process.stderr is not None
    said = command.process.stderr.readline()
    assert "w-1/worked" in said
    assert "Ctrl-C again leaves at once" in said
    command.process.send_signal(signal.SIGINT)
    assert command.ended().status == 130
    assert [run["id"] for run in cli("runs", "--status", "unfinished", "--json").json["runs"]] == ["w-1"]


def test_standard_output_is_for_the_answer(cli: Command) -> None:
    """What the user's code prints, when it is imported or driven, goes to standard error: the answer can be read by a program."""
    Path("chatty.py").write_text(
        "from chargehand import agent, workflow\nprint('imported')\n"
        "@agent(role='Talks.')\ndef talks(n: int) -> int:\n    print('talked')\n    return n\n"
        "@workflow\nasync def chat(n: int) -> int:\n    print('asked')\n    return await talks(n)\n"
    )
    said = cli("run", "chatty.py:chat", "--input", "3", "--json")
    assert (said.status, said.json["value"]) == (0, 3)
    assert {"imported", "asked", "talked"} <= set(said.err.split())


def test_what_waits_in_memory_is_not_offered_to_anybody(cli: Command) -> None:
    """A journal in memory ends with the command: what waits is said, but no command that could never decide it."""
    said = cli("run", f"{SHOP}:pay", "--input", "500", "--journal", "memory:")
    assert said.status == 3
    assert "chargehand approve" not in said.err
    assert "ends with this command" in said.err


def listed(said: Said, name: str) -> bool:
    """Say whether a list has something in it; while the journal is not made yet there is none."""
    return said.status == 0 and bool(said.json[name])


def test_a_run_may_stay_until_a_person_decides(cli: Command, start: Callable[..., Started]) -> None:
    """With --stay the command drives the run on as soon as it was decided elsewhere."""
    command = start("run", f"{SHOP}:pay", "--input", "500", "--id", "p-1", "--stay")
    until(lambda: listed(cli("inbox", "--json"), "waiting"))
    assert cli("approve", "p-1").status == 0
    said = command.ended()
    assert (said.status, said.out) == (0, '"r-500"\n')


def test_the_engines_log_is_not_printed_beside_the_answer(start: Callable[..., Started]) -> None:
    """Only `worker` logs: what a run's parking says is said once, by the command, without terminal control."""
    said = start("run", f"{SHOP}:doubted", "--input", "5", "--id", "d-1").ended()
    assert said.status == 4
    assert said.err.count("connection lost") == 1
    assert "\x1b" not in said.err
