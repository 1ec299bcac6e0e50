"""Poisoned text: whatever agents, services and file names hold, nothing of it steers a terminal or passes for a line of ours."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from chargehand.cli.main import main
from chargehand.cli.safe import as_json, one_line, plain
from chargehand.cli.working import _Plain

from .conftest import Command, Said, Started, change

POISON = (
    "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\ \x1b]52;c;aGk=\x07 \x9b31m \x1bP+q\x1b\\"
    " over\rwritten back\x08\x08space \x00 \x7f \u202eexe.txt\u202c \u2066iso\u2069 \u200bzero\ufeff \u00ad \U000e0041 \u2028line\u2029"
    " [bold red]markup[/] [link=http://evil]x[/link] :smile: \nchargehand: all is well [ok]\n2026-01-01 00:00:00,000 INFO forged"
)

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
"""What may reach no terminal: control characters but tabs and line breaks, turned direction, what cannot be seen, halves."""

FLOWS = f"""
from chargehand import Rejected, Retry, agent, effect, gate, give_up, injected, retry, step, workflow, NotDone

POISON = {POISON!r}

@gate
def strict(output: str) -> None:
    raise Rejected(POISON, mode="FM-3.2", evidence=POISON)

@agent(role=POISON, done=[POISON], gates=[strict], ladder=[retry(1)])
async def writer(subject: str) -> str:
    return POISON

@agent(role="Raises.", ladder=[retry(1), give_up()])
async def raiser(subject: str) -> str:
    raise PermissionError(POISON)

async def undo(receipt: str) -> None: ...

@effect(undo=undo, approve=True, name="pay \\x1b[31mred\\x07\\r\\u202e")
async def pay(to: str) -> str:
    return to

@effect(undo=undo, retry=Retry(attempts=1))
async def lost(to: str) -> str:
    raise RuntimeError(POISON)

@effect(undo=undo, retry=Retry(attempts=1))
async def refused(to: str) -> str:
    raise NotDone(POISON, permanent=True)

@workflow
async def escalates(subject: str) -> str:
    return await writer(POISON)

@workflow
async def fails(subject: str) -> str:
    return await raiser(POISON)

@workflow
async def asks(subject: str) -> str:
    return await pay(POISON)

@workflow
async def doubts(subject: str) -> str:
    return await lost(POISON)

@workflow
async def letters(subject: str) -> str:
    return await refused(POISON)

@workflow
async def breaks(subject: str) -> str:
    raise ValueError(POISON)

@workflow
async def gives(subject: str) -> str:
    return POISON
"""

RUNS = ("escalates", "fails", "asks", "doubts", "letters", "breaks", "gives")


def clean(said: Said, *words: str) -> None:
    """Fail when something printed steers a terminal, or a line of it was not ours to begin."""
    for stream in (said.out, said.err):
        assert not UNSEEN.search(stream), (words, UNSEEN.search(stream))
        assert "\x1b" not in stream
        for line in stream.splitlines():
            assert not line.startswith(("chargehand: all is well", "2026-01-01 00:00:00")), (words, line)


@pytest.fixture
def poisoned(cli: Command, flows: Callable[[str], str]) -> str:
    """Leave runs in the journal of which everything that can be foreign is poisoned; return the module."""
    module = flows(FLOWS)
    for name in RUNS:
        clean(cli("run", f"{module}:{name}", "--input", '"x"', "--id", name, "--tag", f"note={POISON.replace(chr(0), '')}"), "run", name)
    return module


LOOKS = [
    ["runs"], ["runs", "--json"], ["inbox"], ["inbox", "--json"], ["approvals"], ["letters"], ["letters", "--json"], ["doctor"],
    ["verify"], ["export"], ["check-replay"], ["export", "--heads"],
]  # fmt: skip


@pytest.mark.slow
def test_what_is_shown_is_plain(cli: Command, poisoned: str) -> None:
    """Every command that looks prints no control, no turned text and no forged line; its JSON is whole all the same."""
    for words in [*LOOKS, *([command, name, *more] for name in RUNS for command in ("show", "inbox") for more in ([], ["--json"]))]:
        words = [*words, f"{poisoned}:asks"] if words == ["check-replay"] else words
        clean(cli(*words), *words)
    for name in ("fails", "gives"):
        for more in ([], ["--json"]):
            clean(cli("watch", name, *more), "watch", name)
    shown = cli("show", "gives", "--json").json
    assert shown["events"][-1]["payload"]["v"] == POISON
    assert shown["run"]["tags"]["note"] == POISON.replace("\0", "")


@pytest.mark.slow
def test_what_is_decided_and_refused_is_plain(cli: Command, poisoned: str) -> None:
    """Commands that decide tell what they decided, and every error is one line."""
    poison = POISON.replace("\0", "")
    for words in (
        ["approve", "asks", "--shown", poison], ["reject", "asks", "--reason", poison], ["release", "escalates", "--reason", poison],
        ["release", "escalates", "--reason", "x", "--edit", json.dumps(POISON)], ["resolve", "doubts", "--done", json.dumps(POISON)],
        ["redrive", "letters", "--edit", json.dumps({"to": POISON})], ["abandon", "letters", "--reason", poison],
        ["signal", "asks", poison, "--value", json.dumps(POISON)], ["cancel", "breaks", "--reason", poison], ["show", poison],
        ["runs", "--workflow", poison], ["runs", "--tag", poison], ["runs", "--status", poison], ["inbox", poison], ["run", poison],
        ["runs", "--since", poison], ["verify", "--against", poison], ["export", "--out", f"no/such/{poison}"], [poison], [f"--{poison}"],
        ["runs", "--config", poison], ["run", f"{poisoned}:gives", "--input", poison], ["run", f"{poisoned}:{poison}"],
        ["run", f"{poisoned}:gives", "--input", '"x"', "--id", poison], ["runs", "--journal", poison], ["worker", poison],
        ["runs", "--environment", poison], ["answer", "asks", poison], ["show", "asks", "--code", poison],
    ):  # fmt: skip
        for more in ([], ["--json"], ["--debug"]):
            said = cli(*words, *more)
            clean(said, *words)
            assert said.status != 70, (words, said)


@pytest.mark.slow
def test_an_export_can_be_looked_at(cli: Command, poisoned: str) -> None:
    """A file that was exported is JSON that a terminal may print, and holds what was recorded."""
    cli("export", "gives", "--out", "gives.jsonl")
    text = Path("gives.jsonl").read_text()
    assert not UNSEEN.search(text)
    assert json.loads(text.splitlines()[-1])["payload"]["v"] == POISON


@pytest.mark.slow
def test_a_worker_tells_nothing_foreign(cli: Command, poisoned: str, start: Callable[..., Started]) -> None:
    """A worker's lines and its log are ours, whatever the runs, the letters and the file's name hold."""
    journal = "jour\x1b[31mnal\u202e.db"
    Path(journal).write_bytes(Path("chargehand.db").read_bytes())
    for beside in ("-wal", "-shm"):
        if Path("chargehand.db" + beside).exists():
            Path(journal + beside).write_bytes(Path("chargehand.db" + beside).read_bytes())
    change(
        "INSERT INTO mailbox(run, kind, body, time) SELECT number, 'signal', '{}', 0 FROM runs",
        "UPDATE runs SET due = 0 WHERE finished IS NULL",
        journal=journal,
    )
    worker = start("worker", f"{poisoned}:breaks", f"{poisoned}:asks", "--journal", journal, "--log-level", "debug")
    first = worker.line()
    cli("resume", "breaks", "--journal", journal)
    for _ in range(100):
        if cli("show", "breaks", "--journal", journal).out.count("ignored") >= 1:
            break
    worker.process.terminate()
    said = worker.ended()
    assert "serves development" in first
    clean(Said(said.status, first + said.out, said.err), "worker")
    assert "a letter was ignored" in said.err
    stamped = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+ |    ")
    assert [line for line in said.err.splitlines() if not stamped.match(line)] == []


def test_a_log_line_cannot_be_forged() -> None:
    """A line break in a message begins no line of the log, and neither does one in an exception."""
    try:
        raise ValueError(POISON)
    except ValueError as error:
        record = logging.LogRecord("chargehand", logging.ERROR, "", 0, "it said %s", (POISON,), (ValueError, error, error.__traceback__))
    lines = _Plain("%(asctime)s %(levelname)s %(name)s %(message)s").format(record).split("\n")
    assert len(lines) > 4
    assert all(line.startswith("    ") for line in lines[1:])
    assert not UNSEEN.search("".join(lines))


def test_a_traceback_on_demand_is_plain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """--debug prints where an error came from, and what it says does not steer the terminal."""

    def raising(*_: object, **__: object) -> None:
        raise RuntimeError(POISON)

    monkeypatch.setattr("chargehand.cli.main.parser", lambda: raising)
    assert main(["runs", "--debug"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    clean(Said(70, "", err))


@pytest.mark.parametrize(
    "text", [POISON, "\ud800", "a\udfffb", "\U000e0001\U000e0062", "x\u2060\u206f", "\x1b", "\x1b[", "\x9d0;never ends"]
)
def test_each_way_of_printing_is_plain(text: str) -> None:
    """Lines, texts and JSON; and JSON says the same as before."""
    for printed in (plain(text), one_line(text), as_json(text), as_json({text: [text]}, indent=2)):
        assert not UNSEEN.search(printed)
        printed.encode()
    assert json.loads(as_json([text])) == [text]
    assert "\n" not in one_line(text)


def test_what_people_write_stays_as_it_is() -> None:
    """Letters of all scripts, joined signs and pictures are no control."""
    text = "ümläut 漢字 مرحبا नमस्ते 👩‍🚀 tab\tand\nline"
    assert plain(text) == text
