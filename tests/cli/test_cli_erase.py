"""`erase`: what events of an ended run hold is taken away for good, and the journal still holds."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import sys
from typing import Any

import pytest

from .conftest import SHOP, Command


def payloads(cli: Command, run: str) -> list[Any]:
    """Return the payloads of a run's events."""
    return [event["payload"] for event in cli("show", run, "--json").json["events"]]


ERASED = {"$erased": True}


def test_the_named_events_are_erased_and_the_chain_holds(cli: Command, shop: Command) -> None:
    """Events are named by number or range; the others stay, the journal verifies, and its own chain notes each erasure."""
    shop("pay", 50, id="p-1")
    before = payloads(cli, "p-1")
    said = cli("erase", "p-1", "1", "3-4", "--yes", "--json")
    assert (said.status, said.json) == (0, {"run": "p-1", "erased": [1, 3, 4], "blobs": 0, "kept_keys": []})
    assert payloads(cli, "p-1") == [ERASED, before[1], ERASED, ERASED]
    assert cli("verify").status == 0
    with sqlite3.connect("chargehand.db") as connection:
        assert connection.execute("SELECT seq FROM chain WHERE kind = 'erased'").fetchall() == [(1,), (3,), (4,)]
    assert cli("erase", "p-1", "1-2", "--yes").out == "1 payload of p-1 erased; 1 had been before\n"
    assert cli("erase", "p-1", "--all", "--yes").out == "0 payloads of p-1 erased; 4 had been before\n"


def test_a_long_value_goes_with_the_last_event_that_has_it(cli: Command, shop: Command) -> None:
    """What is kept apart stays while an event that is not erased refers to it, and goes with the last one."""
    shop("long", 100_000, id="v-1")
    assert cli("erase", "v-1", "2", "--yes", "--json").json["blobs"] == 0
    assert len(payloads(cli, "v-1")[2]["v"]["rest"]) == 100_000
    assert cli("erase", "v-1", "3", "--yes", "--json").json["blobs"] == 1
    with sqlite3.connect("chargehand.db") as connection:
        assert connection.execute("SELECT count(*) FROM blobs").fetchone() == (0,)
    assert cli("verify").status == 0


def test_what_was_erased_is_asked_for_in_vain(cli: Command, shop: Command) -> None:
    """The same id neither runs again nor ends in a defect: its value was erased, with a code and a status of its own."""
    shop("pay", 50, id="p-1")
    cli("erase", "p-1", "--all", "--yes")
    said = shop("pay", 50, "--json", id="p-1")
    assert (said.status, said.error["code"]) == (6, "erased")
    said = shop("pay", 51, id="p-1")
    assert (said.status, "what it was started with was erased" in said.err) == (7, True)
    with open("items.jsonl", "w") as file:
        file.write("50\n60\n")
    shop("pay", 50, id="pay-1")
    cli("run", f"{SHOP}:pay", "--each", "items.jsonl")
    for run in cli("runs", "--json").json["runs"]:
        cli("erase", run["id"], "--all", "--yes")
    said = cli("run", f"{SHOP}:pay", "--each", "items.jsonl", "--out", "results.jsonl", "--json")
    assert (said.status, said.json["completed"], said.json["known"]) == (0, 2, 2)


def test_what_a_business_key_keeps_is_said(cli: Command, shop: Command) -> None:
    """The result under a business key is not erased, and whoever erases hears which."""
    shop("welcome", "ann", id="w-1")
    assert "these business keys keep were not erased: ann" in cli("erase", "w-1", "--all", "--yes").err
    shop("welcome", "bob", id="w-2")
    assert cli("erase", "w-2", "--all", "--yes", "--json").json["kept_keys"] == ["bob"]


@pytest.mark.parametrize(("answer", "erased"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_on_a_terminal_it_is_asked(cli: Command, shop: Command, answer: str, erased: bool) -> None:
    """Without --yes the events are shown and a person says yes first; anything else leaves them."""
    shop("pay", 50, id="p-1")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "chargehand.cli.main", "erase", "p-1", "3"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    os.write(ours, answer.encode())
    out, err = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0, err
    assert "intended under key" not in err
    assert "done" in err
    assert "for good? [y/N]" in err
    assert (payloads(cli, "p-1")[2] == ERASED, "erased" in out) == (erased, erased)
    assert ("Nothing was erased" in err) != erased
