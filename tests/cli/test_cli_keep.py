"""Keeping a journal: verify, export, prune, doctor, and the workers that doctor knows."""

from __future__ import annotations

import gc
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import SHOP, Command, Started, lines_of, until


def change(statement: str, *values: Any) -> None:
    """Change the journal behind its back."""
    with sqlite3.connect("chargehand.db") as connection:
        connection.execute(statement, values)


def test_an_untouched_journal_verifies(cli: Command, shop: Command) -> None:
    """verify looks at every run and at the journal's own chain."""
    shop("add", {"a": 1}, id="s-1")
    shop("pay", 500, id="p-1")
    said = cli("verify", "--json")
    assert (said.status, said.json) == (0, {"runs": 2, "heads": 0, "ok": True, "broken": []})


def test_a_changed_event_is_found(cli: Command, shop: Command) -> None:
    """A payload that was changed behind the journal's back is named by run and seq."""
    shop("add", {"a": 1}, id="s-1")
    change("UPDATE events SET payload = replace(payload, '3', '4') WHERE type = 'call.done'")
    said = cli("verify")
    assert said.status == 5
    assert "'s-1' does not hold at seq 2" in said.out


def test_many_runs_with_one_fault_are_told_once(cli: Command, shop: Command) -> None:
    """What is wrong in the same way with many runs is one sentence and a list of where; --json has each."""
    for number in range(12):
        shop("add", {"a": 1}, id=f"s-{number}")
    change("UPDATE events SET payload = replace(payload, '3', '4') WHERE type = 'call.done'")
    said = cli("verify")
    assert said.out.count("content") == 1
    assert said.out.splitlines()[:2] == ["12 chains do not hold: the event's content does not give its hash.", "  run 's-11' at seq 2"]
    assert said.out.splitlines()[-2:] == ["  and 2 more; --json lists each", "12 runs verified: 12 do not hold"]
    assert len(cli("verify", "--json").json["broken"]) == 12


@pytest.mark.parametrize("command", ["verify", "runs", "inbox", "doctor", "export", "prune --before 1d", "approve x"])
def test_a_file_that_is_no_journal_is_left_as_it_is(cli: Command, command: str) -> None:
    """What only reads or decides makes no journal of an empty file or of another program's database, and verifies nothing there."""
    Path("empty.db").touch()
    Path("one.db").write_text("x")
    with sqlite3.connect("theirs.db") as connection:
        connection.execute("CREATE TABLE customers(name)")
        connection.execute("PRAGMA user_version = 1")
    Path("folder").mkdir()
    told = {"empty.db": "is empty", "one.db": "is empty", "theirs.db": "another program's tables: customers", "folder": "is a directory"}
    before = {path: path.stat().st_size for path in Path().iterdir()}
    for name, says in told.items():
        said = cli(*command.split(), "--journal", name)
        assert (said.status, said.out) == (5, "")
        assert f"'{name}'" in said.err
        assert says in said.err
    assert {path: path.stat().st_size for path in Path().iterdir()} == before


def test_verifying_no_run_proves_nothing(cli: Command, shop: Command) -> None:
    """Where there was nothing to look at, verify does not say that it holds."""
    shop("add", {"a": 1}, id="s-1")
    said = cli("verify", "--environment", "staging")
    assert (said.status, said.out) == (0, "Nothing was verified: the journal has no runs in the environment 'staging'.\n")
    assert cli("verify").out == "1 run verified: all hold\n"


def test_heads_kept_elsewhere_find_a_rewritten_journal(cli: Command, shop: Command) -> None:
    """Against heads exported earlier, a journal whose chains were all made anew is found out; growing and pruning are not faults."""
    shop("add", {"a": 1}, id="s-1")
    shop("add", {"a": 1}, id="s-2")
    shop("pay", 500, id="p-1")
    assert cli("export", "--heads", "--out", "heads.jsonl").status == 0
    assert cli("verify", "--against", "heads.jsonl").status == 0
    cli("approve", "p-1")
    shop("pay", 500, id="p-1")
    change("UPDATE runs SET finished = 1.0 WHERE id = 's-2'")
    assert cli("prune", "--before", "2000-01-01", "--yes", "--json").json == {"pruned": 1, "would_prune": 0}
    assert cli("verify", "--against", "heads.jsonl").status == 0
    Path("chargehand.db").rename("old.db")
    for beside in Path().glob("chargehand.db-*"):
        beside.unlink()
    shop("add", {"a": 1}, id="s-1")
    said = cli("verify", "--against", "heads.jsonl", "--json")
    assert said.status == 5
    assert any("'s-1' has another history" in message for message in said.json["broken"])
    assert any("'p-1'" in message and "gone" in message for message in said.json["broken"])


def test_export_writes_json_lines_without_secrets(cli: Command, shop: Command) -> None:
    """export holds every run and event as one line of JSON each, with what is redacted left out."""
    shop("pay", 50, id="p-1")
    shop("add", {"a": 1}, id="s-1")
    forms = [json.loads(line) for line in cli("export").out.splitlines()]
    assert [form["id"] for form in forms if form["kind"] == "run"] == ["s-1", "p-1"]
    assert [form["seq"] for form in forms if form.get("run") == "p-1"] == [1, 2, 3, 4]
    assert "tok-4711" not in json.dumps(forms)
    only = cli("export", "p-1", "--out", "p.jsonl")
    assert (only.status, only.out, len(lines_of("p.jsonl"))) == (0, "", 5)
    assert [json.loads(line)["run"] for line in cli("export", "--heads", "--status", "completed").out.splitlines()[:2]] == ["s-1", "p-1"]


def test_export_holds_long_values_whole(cli: Command, shop: Command) -> None:
    """A value that is kept beside its event is exported in the event's place."""
    shop("long", 100_000, id="v-1")
    values = [form["payload"]["v"] for form in map(json.loads, cli("export", "v-1").out.splitlines()) if "v" in form.get("payload", {})]
    assert [len(value["rest"]) for value in values] == [100_000, 100_000]


def test_prune_deletes_what_has_ended(cli: Command, shop: Command) -> None:
    """prune takes ended runs of this environment before a time, and --dry-run only counts them."""
    shop("add", {"a": 1}, id="s-1")
    shop("pay", 500, id="p-1")
    assert cli("prune", "--before", "1d").out == "0 runs pruned\n"
    assert cli("prune", "--before", "2100-01-01", "--environment", "staging").out == "0 runs pruned\n"
    assert cli("prune", "--before", "2100-01-01", "--dry-run").out == "1 run would be pruned\n"
    assert cli("prune", "--before", "2100-01-01", "--yes").out == "1 run pruned\n"
    assert [run["id"] for run in cli("runs", "--json").json["runs"]] == ["p-1"]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_prune_deletes_nothing_unasked(cli: Command, shop: Command, options: tuple[str, ...]) -> None:
    """Where nobody can be asked, prune says how many runs it would delete, and wants --yes."""
    shop("add", {"a": 1}, id="s-1")
    said = cli("prune", "--before", "2100-01-01", *options)
    assert (said.status, said.out) == (2, "")
    assert "1 run of development that ended before" in said.err
    assert "Say so with --yes" in said.err
    assert [run["id"] for run in cli("runs", "--json").json["runs"]] == ["s-1"]


@pytest.mark.parametrize(("typed", "left"), [(b"n\n", ["s-1"]), (b"y\n", [])])
def test_prune_asks_on_a_terminal(cli: Command, shop: Command, typed: bytes, left: list[str]) -> None:
    """On a terminal it asks, and no means no."""
    shop("add", {"a": 1}, id="s-1")
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    words = [sys.executable, "-m", "chargehand.cli.main", "prune", "--before", "2100-01-01"]
    done = subprocess.run(words, stdin=theirs, capture_output=True, text=True, timeout=60, check=False)
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, "1 run of development that ended before" in done.stderr) == (0, True)
    assert [run["id"] for run in cli("runs", "--json").json["runs"]] == left


def test_another_programs_file_is_not_made_a_journal_by_a_slip(cli: Command, shop: Command) -> None:
    """A file with tables of another program is refused on the command line, and taken where the configuration names it."""
    with sqlite3.connect("theirs.db") as connection:
        connection.execute("CREATE TABLE customers(name)")
    connection.close()
    before = Path("theirs.db").read_bytes()
    for words in (("run", f"{SHOP}:add", "--input", '{"a": 1}'), ("worker", f"{SHOP}:add")):
        said = cli(*words, "--journal", "sqlite:///theirs.db")
        assert (said.status, "another program's tables: customers" in said.err) == (5, True)
    assert Path("theirs.db").read_bytes() == before
    Path("chargehand.toml").write_text('journal = "theirs.db"\n')
    assert shop("add", {"a": 1}, id="s-1").status == 0
    assert shop("add", {"a": 2}, "--journal", "theirs.db", id="s-2").status == 0, "it is a journal now"


def finding(said: Any, about: str) -> dict[str, str]:
    """Return what doctor found about something."""
    found: dict[str, str] = next(one for one in said.json["findings"] if one["about"] == about)
    return found


def test_doctor_names_runs_that_no_live_worker_knows(cli: Command, shop: Command, start: Callable[..., Started]) -> None:
    """A run whose workflow no live worker of its environment knows is bad news, and good once one lives."""
    shop("pay", 500, id="p-1")
    said = cli("doctor", "--json")
    assert (said.status, finding(said, "unfinished")["says"]) == (1, "1 run of shop.pay, which no live worker knows")
    assert finding(said, "workers")["level"] == "look"
    other = start("worker", f"{SHOP}:pay", "--environment", "staging")
    other.line()
    assert cli("doctor").status == 1
    worker = start("worker", f"{SHOP}:pay")
    worker.line()
    said = cli("doctor", "--json")
    assert (said.status, finding(said, "unfinished")["level"]) == (0, "ok")
    assert sorted((one["environment"], one["workflows"]) for one in said.json["workers"]) == [
        ("development", ["shop.pay"]),
        ("staging", ["shop.pay"]),
    ]
    worker.process.kill()
    worker.ended()
    assert until(lambda: cli("doctor").status == 1)


def test_show_says_who_drives_a_run(cli: Command, start: Callable[..., Started]) -> None:
    """A run that is under way says which worker drives it, and when that one is gone, that the next takes it over."""
    command = start("run", f"{SHOP}:work", "--input", '{"date": "d", "id": 1, "kind": "slow"}', "--id", "w-1")
    until(lambda: lines_of("worked.txt"))
    (worker,) = cli("doctor", "--json").json["workers"]
    assert f"driven by worker {worker['id']}\n" in cli("show", "w-1").out
    command.process.kill()
    command.ended()
    assert until(lambda: f"driven by worker {worker['id']}, which is gone: the next worker takes it over" in cli("show", "w-1").out)


def test_doctor_says_where_settings_come_from(cli: Command, shop: Command) -> None:
    """doctor tells the file, the environment and why it is that one."""
    shop("add", {"a": 1})
    Path("chargehand.toml").write_text('environment = "development"\n')
    said = cli("doctor", "--json")
    assert "chargehand.toml" in finding(said, "configuration")["says"]
    assert "chargehand.toml" in finding(said, "environment")["says"]
    assert finding(said, "journal")["says"].count("chargehand.db, schema 1") == 1


def test_doctor_imports_what_a_worker_would_be_given(cli: Command, shop: Command) -> None:
    """A configured workflow or resource that is not there is found by doctor, not by the worker that will not start."""
    shop("add", {"a": 1})
    Path("chargehand.toml").write_text(f'workflows = ["{SHOP}:pay", "nomod:x"]\nresources = ["json:nothing"]\n')
    said = cli("doctor", "--json")
    found = [(one["about"], one["level"], one["says"]) for one in said.json["findings"] if one["about"] in ("workflows", "resources")]
    assert said.status == 1
    assert [(about, level) for about, level, _ in found] == [("workflows", "ok"), ("workflows", "bad"), ("resources", "bad")]
    assert "nomod" in found[1][2]
    assert "json:nothing" in found[2][2]


def test_a_worker_drains_and_leaves_on_sigterm(cli: Command, start: Callable[..., Started]) -> None:
    """On SIGTERM a worker lets the call in flight settle, leaves its runs to others and ends with 0."""
    Path("chargehand.toml").write_text(f'workflows = ["{SHOP}:pay", "{SHOP}:listen"]\n')
    cli("run", f"{SHOP}:listen", "--id", "l-1")
    cli("run", f"{SHOP}:pay", "--input", "500", "--id", "p-1")
    cli("approve", "p-1")
    worker = start("worker", "--json")
    assert json.loads(worker.line())["is"] == "started"
    until(lambda: lines_of("ledger.txt"))
    worker.process.send_signal(signal.SIGTERM)
    said = worker.ended()
    assert said.status == 0, said.err
    assert [json.loads(line)["is"] for line in said.out.splitlines()] == ["draining", "stopped"]
    assert cli("doctor", "--json").json["workers"] == []
    owners = {run["id"]: run["owner"] for run in cli("runs", "--json").json["runs"]}
    assert owners["l-1"] is None


def test_a_worker_collects_less_often_and_a_host_is_left_alone(cli: Command, start: Callable[..., Started]) -> None:
    """A process that only drives runs sets its garbage collector for that; one that drives runs among other things keeps its own."""
    here = cli("run", f"{SHOP}:collections", "--input", "false", "--json").json["value"]
    assert here == list(gc.get_threshold())
    cli("run", f"{SHOP}:collections", "--input", "true", "--id", "c-1")
    worker = start("worker", f"{SHOP}:collections")
    worker.line()
    cli("signal", "c-1", "go", "--value", "1", "--code", f"{SHOP}:collections")
    assert until(lambda: cli("show", "c-1", "--json").json["run"]["status"] == "completed")
    there = cli("show", "c-1", "--json").json["events"][-1]["payload"]["v"]
    assert there[0] > here[0]
    worker.process.send_signal(signal.SIGTERM)
    worker.ended()


def test_a_run_whose_payloads_were_erased_can_still_be_looked_at(cli: Command, shop: Command) -> None:
    """What was erased is said to be; the rest of the run is shown, exported and verified."""
    shop("pay_and_fail", 50, id="p-1")
    (seq,) = [event["seq"] for event in cli("show", "p-1", "--json").json["events"] if event["type"] == "undo.intended"]
    assert cli("erase", "p-1", str(seq), "--yes").status == 0
    said = cli("show", "p-1")
    assert said.status == 0
    assert "erased; it said: an undo is about to be tried" in said.out
    assert "not known: payloads of this run were erased" in said.out
    assert cli("show", "p-1", "--json").json["account"] is None
    assert '{"$erased": true}' in cli("export", "p-1").out
    assert cli("verify").status == 0
    change("UPDATE events SET digest = zeroblob(32) WHERE type = 'undo.intended'")
    assert cli("verify").status == 5
