"""The options that many commands share do the same at each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chargehand.config import hash_secret

from .conftest import SHOP, Command, Started, lines_of, until

VERBS: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "approve": ("pay", 500, ()),
    "reject": ("pay", 500, ("--reason", "too dear")),
    "release": ("review", "tea", ("--reason", "good enough")),
    "answer": ("ask_freely", "Why?", ("because",)),
    "redrive": ("lettered", 5, ()),
    "resolve": ("doubted", 5, ("--not-done",)),
    "fail": ("lettered", 5, ()),
    "abandon": ("lettered", 5, ("--reason", "no more")),
}
"""Every verb about an entry: the workflow that leaves one, its input, and what the verb needs beside the entry."""

ABOUT_RUNS: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "signal": ("listen", {}, ("go", "--value", "7")),
    "resume": ("broken", 1, ()),
    "cancel": ("listen", {}, ("--reason", "too late")),
}
"""Every verb about a run."""


@pytest.fixture
def leave(shop: Command) -> Callable[[str], tuple[str, ...]]:
    """Leave what a verb is about in the journal, and return the words that say the verb."""

    def run(verb: str) -> tuple[str, ...]:
        name, value, words = (VERBS | ABOUT_RUNS)[verb]
        assert shop(name, value, id="x").status in (3, 4)
        return (verb, "x", *words)

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_only_what_was_shown_is_decided(cli: Command, leave: Any, verb: str) -> None:
    """--shown with another digest is refused and changes nothing; with the digest of what waits, or its beginning, it is decided."""
    words = leave(verb)
    (entry,) = cli("inbox", "--json").json["waiting"]
    said = cli(*words, "--shown", "0" * 32)
    assert said.status == 7
    assert entry["digest"] in said.err
    assert cli("inbox", "--json").json["waiting"] == [entry]
    assert cli(*words, "--shown", entry["digest"][:8]).status == 0


@pytest.mark.parametrize("verb", [*VERBS, *ABOUT_RUNS])
def test_every_verb_needs_a_principal_where_there_are_some(cli: Command, leave: Any, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody, an unknown name and a wrong secret are refused at each verb, and nothing is left behind; --as with the secret is taken."""
    words = leave(verb)
    Path("chargehand.toml").write_text(f'[principals.eve]\nroles = []\nsecret = "{hash_secret("correct horse", n=2**8)}"\n')
    before = cli("export", "x").out
    monkeypatch.setenv("CHARGEHAND_SECRET", "wrong horse")
    for who in ((), ("--as", "adam"), ("--as", "eve")):
        assert cli(*words, *who).status == 7, who
    assert cli("export", "x").out == before
    assert cli("doctor", "--json").json["statistics"]["mail"] == 0
    monkeypatch.setenv("CHARGEHAND_SECRET", "correct horse")
    assert cli(*words, "--as", "eve").status == 0
    assert cli("doctor", "--json").json["statistics"]["mail"] == 1


@pytest.mark.parametrize("verb", [*VERBS, *ABOUT_RUNS])
def test_every_verb_waits_when_told_to(cli: Command, leave: Any, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """--wait without a worker leaves with 3 at each verb, and what was said is on disk: the next process does it."""
    monkeypatch.setattr("chargehand.cli.posting.WAIT_SECONDS", 0.05)
    words = leave(verb)
    said = cli(*words, "--wait", "--json")
    assert (said.status, said.json["taken_up"]) == (3, False)
    assert cli("doctor", "--json").json["statistics"]["mail"] == 1


@pytest.mark.parametrize(
    ("verb", "words", "code", "status"),
    [
        ("approve", ("--edit", '{"amount": "lots"}'), "pay", 7),
        ("approve", ("--edit", '{"amount": 7}'), "pay", 0),
        ("release", ("--edit", "7"), "review", 7),
        ("release", ("--edit", '"by hand"'), "review", 0),
        ("redrive", ("--edit", '{"amount": "lots"}'), "lettered", 7),
        ("redrive", ("--edit", '{"amount": 11}'), "lettered", 0),
        ("resolve", ("--done", "7"), "doubted", 7),
        ("resolve", ("--done", '"it did"'), "doubted", 0),
    ],
)
def test_with_the_code_at_hand_a_value_is_checked_at_once(
    cli: Command, leave: Any, verb: str, words: tuple[str, ...], code: str, status: int
) -> None:
    """--code says now whether an edit or a result fits, instead of leaving that to the worker."""
    name, entry, *needs = leave(verb)
    needs = [word for word in needs if word != "--not-done"]
    said = cli(name, entry, *needs, *words, "--code", f"{SHOP}:{code}")
    assert said.status == status, said.err
    assert cli("doctor", "--json").json["statistics"]["mail"] == (status == 0)


def test_each_list_can_be_cut_to_a_role(cli: Command, shop: Command, tmp_path: Path) -> None:
    """--role shows what this role may decide: what asks for it, and what asks for none."""
    (tmp_path / "roles.py").write_text(
        "from chargehand import Approval, NotDone, effect, workflow\n"
        "async def back(r: str) -> None: ...\n"
        "@effect(undo=back, approve=Approval(role='boss'))\n"
        "async def bossy(n: int) -> str: ...\n"
        "@workflow\n"
        "async def asks(n: int) -> str:\n"
        "    return await bossy(n)\n"
    )
    cli("run", "roles:asks", "--input", "1", "--id", "b")
    shop("pay", 500, id="p")
    shop("lettered", 5, id="l")

    def runs(*words: str) -> list[str]:
        return [entry["run"] for entry in cli(*words, "--json").json["waiting"]]

    assert runs("inbox", "--role", "boss") == ["b", "p", "l"]
    assert runs("inbox", "--role", "clerk") == ["p", "l"]
    assert runs("approvals", "--role", "boss") == ["b", "p"]
    assert runs("approvals", "--role", "clerk") == ["p"]
    assert runs("letters", "--role", "clerk") == ["l"]


@pytest.mark.parametrize(
    ("way", "status", "stands", "sent"),
    [("--go-on", 4, None, 1), ("--undo", 1, 1, 1), ("--leave", 1, 1, 1)],
)
def test_each_way_on_after_a_final_effect(cli: Command, shop: Command, way: str, status: int, stands: int | None, sent: int) -> None:
    """Going on fails again and asks again; undoing and leaving end the run, and what is final is never sent twice."""
    shop("pivot", "hello", id="f")
    assert cli("resolve", "f", way).status == 0
    assert shop("pivot", "hello", id="f").status == status
    (run,) = cli("runs", "--json").json["runs"]
    assert stands is None or run["standing"] == stands
    assert lines_of("ledger.txt") == ["send hello"] * sent


FLOW = """
from pathlib import Path
from chargehand import Resource, effect, injected, wait_signal, workflow

class Ledger:
    name = "own.txt"

class Other(Ledger):
    name = "other.txt"

own = Resource(Ledger, {"development": Ledger})

async def back(r: str) -> None: ...

@effect(undo=back)
async def book(n: int, ledger: Ledger = injected()) -> str:
    Path(ledger.name).write_text(str(n))
    return ledger.name

@workflow
async def books(n: int) -> str:
    await wait_signal("go", int)
    return await book(n)
"""


@pytest.mark.slow
def test_resources_and_the_level_of_approval_at_run_and_at_worker(cli: Command, start: Callable[..., Started], tmp_path: Path) -> None:
    """--resources counts over what the workflow's module defines, and --approve over the configuration, for whoever drives the run."""
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "more.py").write_text(
        "from chargehand import Resource\nfrom flow import Ledger, Other\nledger = Resource(Ledger, {'development': Other})\n"
    )
    words = ("run", "flow:books", "--input", "5", "--id", "one")
    assert cli(*words).status == 3
    assert cli("signal", "one", "go", "--value", "1").status == 0
    assert cli(*words, "--resources", "more:ledger").out == '"other.txt"\n'
    assert (lines_of("other.txt"), lines_of("own.txt")) == (["5"], [])
    assert cli("run", "flow:books", "--input", "6", "--id", "two").status == 3
    worker = start("worker", "flow:books", "--resources", "more:ledger", "--approve", "every")
    assert "serves development" in worker.line()
    assert cli("signal", "two", "go", "--value", "1", "--wait").status == 0
    assert until(lambda: cli("approvals", "--json").json["waiting"])[0]["id"] == "two/book"
    assert cli("approve", "two", "--wait").status == 0
    assert until(lambda: lines_of("other.txt") == ["6"])
    assert lines_of("own.txt") == []
