"""Journals of a million: made quickly, through the journal's own storage layer, and then looked at as people look at them."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw

from benchmarks.speed.environments import ROOT
from chargehand import Supervisor, step, workflow
from chargehand.clocks import SystemClock
from chargehand.durable import NewRun
from chargehand.events import Record, chain_hash
from chargehand.journals import sqlite_batches as batches
from chargehand.journals import sqlite_statements as sql
from chargehand.journals.sqlite import SqliteJournal

_IN_ONE_TRANSACTION = 20_000
_TENANTS = 100


@step(name="bench.pace")
async def pace(x: int) -> int:
    """Make one step."""
    return x + 1


@workflow(name="bench.big")
async def big(n: int) -> int:
    """Make n steps."""
    x = 0
    while x < n:
        x = await pace(x)
    return x


# -- making one ----------


async def pattern(folder: Path, steps: int) -> tuple[NewRun, list[Record]]:
    """Make one real run of so many steps and return how it was created and all its records."""
    path = folder / f"pattern-{steps}.db"
    async with Supervisor(str(path), [big]) as supervisor:
        view = await supervisor.start(big(steps), "pattern", tags={"tenant": "0"})
        await view.result()
        row = await view.row()
        records = await supervisor.journal.load(row.number)
    return NewRun(row.id, row.workflow, row.environment, row.input_digest, dict(row.tags), records[0]), records


async def fill(path: Path, run: NewRun, records: Sequence[Record], count: int, *, unfinished: int = 0) -> None:
    """Add so many finished runs of one history, the last few of them without their last event.

    In big transactions of the journal's own writer, by the journal's own statements, each for many runs at once.
    """
    journal = SqliteJournal(path, clock=SystemClock())
    await journal.open()
    try:
        begin = sum((await journal.statistics())["runs"].values())
        size = max(1, _IN_ONE_TRANSACTION // len(records))
        for first in range(0, count, size):
            numbers = range(first, min(first + size, count))
            await journal._writer.submit(_adding(run, records, numbers, count - unfinished, begin), alone=True)
    finally:
        await journal.close()


def _adding(run: NewRun, records: Sequence[Record], numbers: range, finished: int, begin: int) -> Callable[[apsw.Cursor], None]:
    digests = [sha256(record.payload).digest() for record in records]
    texts = [record.payload.decode() for record in records]

    def add(cursor: apsw.Cursor) -> None:
        created, tags, events, ends, waits = [], [], [], [], []
        for number in numbers:
            id, tenant, later = f"{run.id}-{len(records)}-{number:07}", str(number % _TENANTS), number * 0.001
            row, ended = begin + number + 1, number < finished
            head = batches.NO_HASH
            for record, digest, text in zip(records if ended else records[:-1], digests, texts, strict=False):
                head = chain_hash(head, id, record.seq, record.time + later, record.type, record.path, digest)
                events.append((row, record.seq, record.time + later, record.type, record.path, text, head))
            first = events[-record.seq]
            values = (id, run.workflow, run.environment, 1, 1, first[-1], "nobody", None, run.input_digest)
            created.append((*values, json.dumps({"tenant": tenant}), first[2]))
            tags.append(("tenant", tenant, row))
            (ends if ended else waits).append((row, id, record.seq, head, record.time + later))
        cursor.executemany(sql.CREATE_RUN, created).fetchall()
        cursor.executemany(sql.ADD_TAG, tags)
        cursor.executemany(sql.ADD_EVENT, events)
        cursor.executemany(sql.FINISH, ((row, 1, 1, seq, head, at, "completed", None, 0, 1) for row, _, seq, head, at in ends))
        cursor.executemany(sql.MOVE, ((row, 1, 1, seq, head, at, "waiting", None, 0, 1, 1, None) for row, _, seq, head, at in waits))
        for row, id, seq, head, at in ends:
            batches.add_to_chain(cursor, "finished", row, id, seq, head, at, b"")

    return add


# -- a million runs ----------


async def million_runs(folder: Path, *, runs: int) -> dict[str, Any]:
    """Measure opening a journal of so many runs, and one page of each of the lists that people ask for."""
    path = folder / "runs.db"
    run, records = await pattern(folder, 0)
    started = time.perf_counter()
    await fill(path, run, records, runs, unfinished=runs // 1000)
    found: dict[str, Any] = {"runs": runs, "made_in_s": time.perf_counter() - started, "file_mb": path.stat().st_size / 2**20}
    opening = []
    for _ in range(3):
        started = time.perf_counter()
        supervisor = Supervisor(str(path), [big])
        await supervisor.__aenter__()
        opening.append(time.perf_counter() - started)
        await supervisor.close()
    found["open_s"] = statistics.median(opening)
    found["pages_ms"] = await _pages(path, runs)
    found["commands_s"] = {name: _command(path, *words) for name, words in _RUNS_COMMANDS.items()}
    return found


_RUNS_COMMANDS: dict[str, tuple[str, ...]] = {
    "runs": ("runs", "--json"),
    "runs --status waiting": ("runs", "--status", "waiting", "--json"),
    "inbox": ("inbox", "--json"),
    "doctor": ("doctor", "--json"),
}


async def _pages(path: Path, runs: int) -> dict[str, float]:
    """Return the milliseconds of one page of fifty, the first look of a process and the median of five more."""
    asked: dict[str, dict[str, Any]] = {
        "newest": {},
        "from the middle": {"before": runs // 2},
        "completed": {"status": "completed"},
        "waiting": {"status": "waiting"},
        "parked (none is)": {"status": "parked"},
        "failed or parked (none is)": {"status": ("failed", "parked")},
        "of one workflow": {"workflow": "bench.big"},
        "of a workflow that has none": {"workflow": "bench.none"},
        "with a tag": {"tags": {"tenant": "7"}},
        "with a tag and waiting": {"tags": {"tenant": "7"}, "status": "waiting"},
        "with a tag that none has": {"tags": {"tenant": "none"}},
    }
    async with Supervisor(str(path), [big], work=False) as supervisor:
        middle = (await supervisor.runs(before=runs // 2, limit=1))[0].created
        asked["of a minute long ago"] = {"since": middle, "until": middle + 60}
        asked["before all runs"] = {"until": 1.0}
        found = {}
        for name, which in asked.items():
            times = []
            for _ in range(6):
                started = time.perf_counter()
                await supervisor.runs(limit=50, **which)
                times.append((time.perf_counter() - started) * 1e3)
            found[name] = max(times[0], statistics.median(times[1:]))
    return found


# -- a million events ----------


async def million_events(folder: Path, *, events: int) -> dict[str, Any]:
    """Measure the commands that read a journal of so many events: runs of a hundred events, and one that is much longer."""
    path, long = folder / "events.db", events // 100
    short_run, short = await pattern(folder, 98)
    long_run, many = await pattern(folder, long - 2)
    started = time.perf_counter()
    await fill(path, short_run, short, (events - long) // 100)
    await fill(path, long_run, many, 1)
    found: dict[str, Any] = {
        "events": (events - long) // 100 * len(short) + len(many),
        "made_in_s": time.perf_counter() - started,
        "file_mb": path.stat().st_size / 2**20,
    }
    found["commands_s"] = {
        "show of a run of 100 events": _command(path, "show", "pattern-100-0000007", "--json"),
        f"show of a run of {long:,} events": _command(path, "show", f"pattern-{long}-0000000", "--json"),
        f"show of a run of {long:,} events, as text": _command(path, "show", f"pattern-{long}-0000000"),
        "export": _command(path, "export", "--out", str(folder / "export.jsonl")),
        "export --heads": _command(path, "export", "--heads", "--out", str(folder / "heads.jsonl")),
        "verify": _command(path, "verify", "--json"),
        "verify --against": _command(path, "verify", "--against", str(folder / "heads.jsonl"), "--json"),
    }
    with (folder / "export.jsonl").open() as file:
        found["exported_lines"] = sum(1 for _ in file)
    return found


def _command(path: Path, *words: str) -> float:
    """Return the seconds of a command in a process of its own, its start included. Raises when it fails."""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    started = time.perf_counter()
    command = [sys.executable, "-m", "chargehand.cli.main", *words, "--journal", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=path.parent, check=False)
    if done.returncode and words[0] != "doctor":  # which ends with 1 when it has found something to say
        raise RuntimeError(f"chargehand {' '.join(words)} ended with status {done.returncode}: {done.stderr[-500:] or done.stdout[-500:]}")
    return time.perf_counter() - started


async def _main(folder: str, events: str) -> None:
    print(await million_events(Path(folder), events=int(events)))


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
