"""Ids that nothing has: each command says the near one, or what became of what had it."""

from __future__ import annotations

import pytest

from .conftest import SHOP, Command


@pytest.fixture
def some(cli: Command, shop: Command) -> None:
    """Leave runs that wait, that are parked and that are done."""
    shop("pay", 500, id="order-1042")
    shop("pay", 50, id="done-1")
    shop("lettered", 5, id="letter-1")
    cli("run", f"{SHOP}:listen", "--id", "listens")


RUN_COMMANDS = [
    "show {}", "erase {} 1 --yes", "watch {}", "signal {} go", "resume {}", "cancel {}", "verify {}", "export {}", "inbox --run {}",
    "check-replay " + SHOP + ":pay --run {}",
]  # fmt: skip


@pytest.mark.usefixtures("some")
@pytest.mark.parametrize("command", RUN_COMMANDS)
def test_an_unknown_run_is_told_with_the_near_one(cli: Command, command: str) -> None:
    """Whatever the command, an id that no run has gives status 6, the journal that was looked into, and the id that is like it."""
    for named, told in (
        ("order-1024", "There is no run 'order-1024' in the journal chargehand.db. Did you mean 'order-1042'?"),
        ("orde", "Did you mean 'order-1042'?"),
        ("zzzz", "There is no run 'zzzz' in the journal chargehand.db. `chargehand runs` lists them."),
        ("order-1042/charge", "is no run but a call or an entry of one. Name the run: 'order-1042'."),
    ):
        said = cli(*command.format(named).split(" "))
        assert (said.status, said.out) == (6, "")
        assert told in said.err
    said = cli(*command.format("zzzz").split(" "), "--environment", "staging")
    assert "It has none at all in the environment 'staging'" in said.err


ENTRY_COMMANDS = ["approve {}", "reject {} --reason x", "release {} --reason x", "answer {} 5", "redrive {}", "resolve {} --not-done"]
ENTRY_COMMANDS += ["fail {}", "abandon {} --reason x", "inbox {}", "approvals {}", "letters {}"]


def test_what_waits_anew_is_named(cli: Command, shop: Command) -> None:
    """After a redrive that failed again, the entry of before does not wait, and the one that does is named."""
    assert shop("post_and_fail", "hello", id="u-1").status == 4
    assert cli("redrive", "u-1").status == 0
    assert shop("post_and_fail", "hello", id="u-1").status == 4
    said = cli("abandon", "u-1/post", "--reason", "it stands")
    assert said.status == 6
    assert "undo redriven" in said.err
    assert "What waits there now is 'u-1/post@2'." in said.err


@pytest.mark.usefixtures("some")
@pytest.mark.parametrize("command", ENTRY_COMMANDS)
def test_an_unknown_entry_is_told_with_what_became_of_it(cli: Command, command: str) -> None:
    """An id under which nothing waits gives status 6 and the near id, how its run stands, or what became of the call."""
    for named, told in (
        ("order-1024/charge", "Did you mean 'order-1042/charge'?"),
        ("order-1042/chrage", "Did you mean 'order-1042/charge'?"),
        ("done-1", "Run 'done-1' has ended: it is completed, and nothing in it waits for a person."),
        ("done-1/charge", "'done-1/charge' does not wait for a person: done"),
        ("listens", "Run 'listens' exists: it is waiting, and nothing in it waits for a person."),
        ("zzzz", "Nothing of the id 'zzzz' waits for a person, and no run has it. `chargehand inbox` lists what waits."),
    ):
        said = cli(*command.format(named).split(" "))
        assert (said.status, said.out) == (6, ""), (command, named)
        assert told in said.err


@pytest.mark.usefixtures("some")
def test_what_was_decided_is_told_by_whom(cli: Command, shop: Command) -> None:
    """Who decides again hears who decided before, also when the run has gone on since."""
    cli("reject", "order-1042", "--reason", "too dear")
    shop("pay", 500, id="order-1042")
    said = cli("approve", "order-1042/charge")
    assert said.status == 6
    assert "denied: denied: " not in said.err
    assert "said no: too dear" in said.err


@pytest.mark.usefixtures("some")
def test_a_view_names_the_list_that_has_it(cli: Command) -> None:
    """What waits, but is of another kind than the view lists, is named with its kind."""
    assert "No approval of the id 'letter-1' waits, but 'letter-1/refuse', a letter." in cli("approvals", "letter-1").err
    assert "No letter or doubt of the id 'order-1042' waits, but 'order-1042/charge', an approval." in cli("letters", "order-1042").err
