"""Measures one system the same way whichever it is. Standard library only: it also runs in the environments of the peers.

    python with_NAME.py '{"do": "table", "folder": "…", …}'

Each ``with_NAME.py`` beside this file says how one system opens a store, does a run of n steps, parks and wakes a run; what
is measured and how it is warmed up is here, once for all. One JSON object on standard output is the answer.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

WARM_UP_STEPS = 60

Step = Callable[[int], int]


class System(Protocol):
    """One system under test."""

    store: str
    """The name of its database file inside the folder."""

    def opened(self, folder: Path) -> AbstractAsyncContextManager[Any]:
        """Open its store and make it ready to run."""

    async def run(self, id: str, steps: int) -> int:
        """Make one run of so many steps, one after the other, and return its value."""

    async def runs(self, ids: list[str], steps: int) -> None:
        """Make many runs at the same time."""

    async def recover(self, id: str, steps: int) -> None:
        """Bring the run of a killed process to its end."""

    async def park(self, ids: list[str]) -> None:
        """Start runs that wait for a person or a message; return when all wait."""

    async def wake(self, id: str) -> None:
        """Give one what it waits for; return when it has finished."""


class Hook:
    """What the body of every step calls, whichever the system."""

    def __init__(self) -> None:
        self.marks: dict[int, float] = {}
        self._wanted: frozenset[int] = frozenset()
        self._ledger: int | None = None

    def mark(self, wanted: list[int]) -> None:
        """Note the CPU time at which these steps are made."""
        self.marks, self._wanted = {}, frozenset(wanted)

    def keep(self, ledger: Path) -> None:
        """Write each step down in a file that outlives the process."""
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, x: int) -> int:
        """Do what a step does: next to nothing."""
        if x in self._wanted:
            self.marks[x] = time.process_time()
        if self._ledger is not None:
            os.write(self._ledger, b"%d\n" % x)
        return x + 1


step = Hook()


def collect_less_often() -> None:
    """Have Python look for garbage less often, as `chargehand worker` does: whichever the system, it is worth a part of the cost."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def rss_mb() -> float:
    """Return the memory of this process now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def age_seconds() -> float:
    """Return how long ago this process was started."""
    with open("/proc/self/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    with open("/proc/uptime") as file:
        uptime = float(file.read().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


def store_bytes(path: Path) -> int:
    """Return the size of a database once its write-ahead log is copied into it.

    Another process copies it: closing a file here would let go of the locks that the system under test has on it.
    """
    copied = subprocess.run([sys.executable, "-c", _CHECKPOINT, str(path)], check=True, capture_output=True, text=True)
    if copied.stdout.split()[0] != "0":
        raise RuntimeError(f"The write-ahead log of {path} could not be copied: {copied.stdout}")
    return path.stat().st_size


_CHECKPOINT = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=10)
for _ in range(50):
    answer = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if answer[0] == 0:
        break
    time.sleep(0.05)
print(*answer)
"""


# -- what is measured ----------


async def table(system: System, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Measure one run of many steps, many runs of few steps, and many runs of one step, one after the other."""
    async with system.opened(folder):
        await system.run("warm", WARM_UP_STEPS)
        await system.runs([f"warm-{number}" for number in range(10)], 3)
        collect_less_often()
        before = store_bytes(folder / system.store)
        found = await _sequential(system, asked["sequential"])
        found["bytes_per_step"] = (store_bytes(folder / system.store) - before) / asked["sequential"]
        found |= await _concurrent(system, asked["runs"], asked["steps"])
        found |= await _singles(system, asked["singles"])
    return found


async def _sequential(system: System, steps: int) -> dict[str, Any]:
    started, cpu = time.perf_counter(), time.process_time()
    value = await system.run("sequential", steps)
    elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    assert value == steps, value
    return {"sequential_steps_per_s": steps / elapsed, "sequential_cpu_us_per_step": used / steps * 1e6}


async def _concurrent(system: System, runs: int, steps: int) -> dict[str, Any]:
    started, cpu = time.perf_counter(), time.process_time()
    await system.runs([f"run-{runs}-{number}" for number in range(runs)], steps)
    elapsed, used = time.perf_counter() - started, time.process_time() - cpu
    count = runs * steps
    return {"concurrent_steps_per_s": count / elapsed, "concurrent_cpu_us_per_step": used / count * 1e6}


async def _singles(system: System, count: int) -> dict[str, Any]:
    times = []
    for number in range(count):
        started = time.perf_counter()
        await system.run(f"single-{number}", 1)
        times.append((time.perf_counter() - started) * 1e3)
    times.sort()
    return {"one_step_run_p50_ms": times[count // 2], "one_step_run_p99_ms": times[min(count - 1, count * 99 // 100)]}


async def concurrency(system: System, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Measure steps per second at several numbers of runs at the same time."""
    rates: dict[str, float] = {}
    async with system.opened(folder):
        await system.run("warm", WARM_UP_STEPS)
        collect_less_often()
        for runs, steps in asked["points"]:
            rates[str(runs)] = (await _concurrent(system, runs, steps))["concurrent_steps_per_s"]
    return {"steps_per_s": rates}


async def growth(system: System, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Measure CPU per step around several steps of one long run."""
    around: int = asked["around"]
    at: list[int] = asked["at"]
    async with system.opened(folder):
        await system.run("warm", WARM_UP_STEPS)
        collect_less_often()
        step.mark([place + side for place in at for side in (-around, around)])
        await system.run("long", at[-1] + around + 1)
    per_step = {str(place): (step.marks[place + around] - step.marks[place - around]) / (2 * around) * 1e6 for place in at}
    return {"cpu_us_per_step": per_step}


async def crash(system: System, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Make a run that writes each step into a ledger; whoever asked kills this process in the middle of it."""
    async with system.opened(folder):
        step.keep(folder / "ledger")
        await system.run("crashed", asked["steps"])
    return {}


async def recover(system: System, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Bring the killed run to its end. The seconds count from the start of this process, imports and all."""
    step.keep(folder / "ledger")
    async with system.opened(folder):
        await system.recover("crashed", asked["steps"])
    return {"restart_to_done_s": age_seconds()}


async def parked(system: System, folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Measure this process's memory as more and more runs wait, and how long waking one takes."""
    counts: list[int] = asked["counts"]
    async with system.opened(folder):
        await system.park(["warm-0", "warm-1"])
        await system.wake("warm-0")
        trace, there = [[0, rss_mb()]], 0
        for count in counts:
            await system.park([f"parked-{number}" for number in range(there, count)])
            there = count
            trace.append([count, rss_mb()])
        wakes = []
        for number in range(0, there, max(1, there // asked["wakes"])):
            begun = time.perf_counter()
            await system.wake(f"parked-{number}")
            wakes.append((time.perf_counter() - begun) * 1e3)
    return {"rss_mb": trace, "wake_p50_ms": sorted(wakes)[len(wakes) // 2], "wake_max_ms": max(wakes)}


MEASURES = {measure.__name__: measure for measure in (table, concurrency, growth, crash, recover, parked)}


def main(system: System) -> None:
    """Do what the first argument asks and print the answer."""
    asked = json.loads(sys.argv[1])
    folder = Path(asked["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(MEASURES[asked["do"]](system, folder, asked))
    print(json.dumps(found), flush=True)
    os._exit(0)  # a peer's background threads may not hold up the next measurement
