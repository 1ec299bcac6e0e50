"""Speed and memory of the embedded default, beside what the disk itself can do, interleaved in one run.

    python -m benchmarks.speed [--rounds N] [--dir FOLDER]

Each round measures, one after the other on the same disk: raw SQLite one-row commits (WAL, synchronous=FULL), one run of
1,000 sequential steps, and 200 concurrent runs of 20 steps. Ratios are taken within a round, because disks are noisy; the
median of the rounds is quoted. Commits per call are counted from the writer, not timed. Writes ``build/bench.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import resource
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from chargehand import Approve, Feedback, Person, Supervisor, agent, effect, gate, now, read, sleep, step, uuid4, workflow

SEQUENTIAL, RUNS, STEPS, LONG = 1000, 200, 20, 10_100


@step
async def inc(x: int) -> int:
    """Do next to nothing."""
    return x + 1


@workflow(name="bench.sequential")
async def sequential(n: int) -> int:
    """Make n steps, one after the other."""
    x = 0
    for _ in range(n):
        x = await inc(x)
    return x


def raw_rows_per_second(folder: Path, rows: int) -> float:
    """Return one-row commits per second of SQLite itself on this disk."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB)")
    payload = b"x" * 200
    started = time.perf_counter()
    for _ in range(rows):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t(x) VALUES (?)", (payload,))
        connection.execute("COMMIT")
    elapsed = time.perf_counter() - started
    connection.close()
    return rows / elapsed


async def steps_per_second(folder: Path, runs: int, steps: int) -> tuple[float, float]:
    """Return steps per second and CPU microseconds per step of so many runs at the same time."""
    async with Supervisor(str(folder / f"ours-{runs}.db"), [sequential]) as supervisor:
        started, cpu = time.perf_counter(), time.process_time()
        views = await supervisor.start_many([(sequential(steps), f"r{number}") for number in range(runs)])
        await asyncio.gather(*(view.result() for view in views))
        elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    return runs * steps / elapsed, used / (runs * steps) * 1e6


async def growth(folder: Path) -> dict[str, float]:
    """Return CPU microseconds per step around step 100 and around step 10,000, and journal bytes per step."""
    marks: dict[int, float] = {}

    @step(name="bench.tick")
    async def tick(x: int) -> int:
        if x in (50, 150, 9_950, 10_050):
            marks[x] = time.process_time()
        return x + 1

    @workflow(name="bench.long")
    async def long(n: int) -> int:
        x = 0
        for _ in range(n):
            x = await tick(x)
        return x

    path = folder / "long.db"
    async with Supervisor(str(path), [long]) as supervisor:
        await (await supervisor.start(long(LONG), "long")).result()
    early, late = (marks[150] - marks[50]) * 1e4, (marks[10_050] - marks[9_950]) * 1e4
    return {
        "cpu_us_at_step_100": early,
        "cpu_us_at_step_10000": late,
        "cost_ratio_step_10000_to_100": late / early,
        "bytes_per_step": path.stat().st_size / LONG,
    }


async def restart_seconds(folder: Path) -> float:
    """Return the seconds from opening a journal with a run of 1,000 finished steps to its first new step."""
    first_new: list[float] = []
    stop_at = 1000

    @step(name="bench.slow_tail")
    async def tail(x: int) -> int:
        if x == stop_at:
            if not first_new:
                first_new.append(0.0)
                await asyncio.Event().wait()
            first_new.append(time.perf_counter())
        return x + 1

    @workflow(name="bench.restart")
    async def restarted(n: int) -> int:
        x = 0
        for _ in range(n):
            x = await tail(x)
        return x

    url = str(folder / "restart.db")
    supervisor = Supervisor(url, [restarted])
    async with supervisor:
        await supervisor.start(restarted(stop_at + 1), "restart")
        while not first_new:
            await asyncio.sleep(0.01)
        supervisor.close = _no_grace(supervisor)  # type: ignore[method-assign]
    started = time.perf_counter()
    async with Supervisor(url, [restarted]) as again:
        await again.run("restart").result()
    return first_new[1] - started


def _no_grace(supervisor: Supervisor) -> Callable[..., Awaitable[None]]:
    close = supervisor.close
    return lambda *_: close(grace=0.01)


# -- commits per call ----------


async def undo(result: int) -> None:
    """Take it back."""


@effect(undo=undo)
async def make(x: int) -> int:
    """Change the world."""
    return x


@effect(undo=undo, approve=True)
async def asked(x: int) -> int:
    """Change the world after a person said yes."""
    return x


@effect(undo=undo, transactional=True)
def within(tx: Any, x: int) -> int:
    """Change the journal's own database."""
    return x


@gate
def small(x: int) -> None:
    """Pass."""


@agent(role="Gives its input back.", gates=[small])
async def echo(x: int, feedback: Feedback | None = None) -> int:
    """Give the input back."""
    return x


@read
async def look(x: int) -> int:
    """Look."""
    return x


async def commits_per_call(folder: Path) -> dict[str, float]:
    """Return how many transactions each kind of call takes, counted by the writer, start and end of the run left out."""
    bodies: dict[str, Callable[[], Awaitable[Any]]] = {}

    def measured(name: str) -> Callable[[Callable[[], Awaitable[Any]]], None]:
        return lambda body: bodies.__setitem__(name, body)

    async def nothing() -> None: ...

    measured("nothing")(nothing)
    measured("uuid4")(_plain(uuid4))
    measured("now")(_plain(now))
    measured("read")(lambda: _awaited(look(1)))
    measured("sleep")(lambda: _awaited(sleep(0.001)))
    measured("agent with a quick gate")(lambda: _awaited(echo(1)))
    measured("effect")(lambda: _awaited(make(1)))
    measured("transactional effect")(lambda: _awaited(within(1)))
    measured("effect with approval, and its decision")(lambda: _awaited(asked(1)))
    return await _count(folder, bodies)


async def _awaited(thing: Awaitable[Any]) -> Any:
    return await thing


def _plain(function: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        function()

    return body


async def _count(folder: Path, bodies: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, float]:
    @workflow(name="bench.commits")
    async def commits(name: str) -> None:
        await bodies[name]()

    counted: dict[str, float] = {}
    async with Supervisor(str(folder / "commits.db"), [commits]) as supervisor:
        for number, name in enumerate(bodies):
            before = (await supervisor.journal.statistics())["writer"]["transactions"]
            view = await supervisor.start(commits(name), f"c{number}")
            while "approval" in name and not (waiting := await supervisor.waiting()):
                await asyncio.sleep(0.005)
            if "approval" in name:
                await supervisor.decide(waiting[0], Approve(), by=Person("bench"))
            await view.result()
            counted[name] = (await supervisor.journal.statistics())["writer"]["transactions"] - before
    base = counted.pop("nothing")
    return {name: count - base for name, count in counted.items()}


# -- the page ----------


def measure(rounds: int, folder: Path) -> dict[str, Any]:
    """Run everything and return the figures."""
    raw, alone, alone_cpu, many, many_cpu = [], [], [], [], []
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir()
        raw.append(raw_rows_per_second(place, SEQUENTIAL))
        rate, cpu = asyncio.run(steps_per_second(place, 1, SEQUENTIAL))
        alone.append(rate)
        alone_cpu.append(cpu)
        rate, cpu = asyncio.run(steps_per_second(place, RUNS, STEPS))
        many.append(rate)
        many_cpu.append(cpu)
        print(
            f"round {number + 1} of {rounds}: raw {raw[-1]:,.0f} rows/s, sequential {alone[-1]:,.0f} steps/s, concurrent {many[-1]:,.0f} steps/s"
        )
    figures: dict[str, Any] = {
        "raw_rows_per_s": statistics.median(raw),
        "sequential_steps_per_s": statistics.median(alone),
        "sequential_ratio_to_raw": statistics.median(ours / limit for ours, limit in zip(alone, raw, strict=True)),
        "sequential_cpu_us_per_step": statistics.median(alone_cpu),
        "concurrent_steps_per_s": statistics.median(many),
        "concurrent_cpu_us_per_step": statistics.median(many_cpu),
    }
    figures |= asyncio.run(growth(folder))
    figures["restart_seconds"] = asyncio.run(restart_seconds(folder))
    figures["commits_per_call"] = asyncio.run(commits_per_call(folder))
    figures["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures["python"], figures["machine"] = platform.python_version(), platform.machine()
    return figures


def main() -> int:
    """Measure, print, and write ``build/bench.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, default=None, help="where the databases are made; a folder on the disk to measure")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chargehand-bench-", dir=given.dir or Path.cwd()))
    try:
        figures = measure(given.rounds, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, count in value.items():
                print(f"    {key:42} {count:g}")
        else:
            print(f"{name:32} {value:,.3f}" if isinstance(value, float) else f"{name:32} {value}")
    target = Path("build/bench.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
