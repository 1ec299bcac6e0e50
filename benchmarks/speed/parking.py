"""Many runs in one journal: parked ones, live ones, and several processes on one file."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.environments import ROOT, SYSTEMS
from chargehand import Supervisor, step, wait_signal, workflow

sys.path.insert(0, str(SYSTEMS))
from stopwatch import rss_mb

_BATCH = 1000


@step(name="bench.after")
async def after(x: int) -> int:
    """Make one step."""
    return x + 1


@workflow(name="bench.parked")
async def parked_run(n: int) -> int:
    """Make a step, wait for a signal, make another."""
    x = await after(n)
    await wait_signal("go", str)
    return await after(x)


# -- parked ----------


async def parked(folder: Path, *, runs: int, wakes: int) -> dict[str, Any]:
    """Measure the memory that so many parked runs take above the empty process, and how long each takes to wake and finish."""
    async with Supervisor(str(folder / "parked.db"), [parked_run]) as supervisor:
        await _park(supervisor, "warm", 10)
        await _wake(supervisor, "warm-0")
        empty, most = rss_mb(), 0.0
        trace = [[0.0, empty]]
        started, cpu = time.perf_counter(), time.process_time()
        for begin in range(0, runs, _BATCH):
            await _park(supervisor, f"run-{begin}", min(_BATCH, runs - begin))
            most = max(most, rss_mb())
            if _marks(begin + _BATCH, runs):
                trace.append([float(min(begin + _BATCH, runs)), rss_mb()])
        seconds, used = time.perf_counter() - started, time.process_time() - cpu
        above = rss_mb() - empty
        times = []
        for number in range(wakes):
            begin = number * (runs // wakes) // _BATCH * _BATCH
            times.append(await _wake(supervisor, f"run-{begin}-{number % min(_BATCH, runs)}"))
        rate = await _wake_many(supervisor, [f"run-0-{number}" for number in range(min(_BATCH, runs)) if number % 2])
        found = await _idle(supervisor)
    times.sort()
    return {
        "runs": runs,
        "empty_mb": empty,
        "above_mb": above,
        "most_above_mb": most - empty,
        "parked_per_s": runs / seconds,
        "cpu_us_per_parked_run": used / runs * 1e6,
        "wakes": wakes,
        "wake_p50_ms": times[len(times) // 2],
        "wake_p99_ms": times[len(times) * 99 // 100],
        "wake_max_ms": times[-1],
        "woken_at_once_per_s": rate,
        **found,
        "rss_mb": trace,
    }


def _marks(there: int, runs: int) -> bool:
    """Say whether the memory is noted with so many runs: at 1, 2, 5, 10, 20, 50 … thousand, and at the end."""
    return there >= runs or there // _BATCH in (1, 2, 5, 10, 20, 50)


async def _park(supervisor: Supervisor, name: str, count: int) -> None:
    """Start runs and return when each of them waits."""
    await supervisor.start_many([(parked_run(number), f"{name}-{number}") for number in range(count)])
    while await supervisor.runs(status="running", limit=1):
        await asyncio.sleep(0.005)


async def _wake(supervisor: Supervisor, id: str) -> float:
    """Return the milliseconds from the signal to the end of the run."""
    view = supervisor.run(id)
    started = time.perf_counter()
    await supervisor.signal(id, "go", "yes")
    await view.result()
    return (time.perf_counter() - started) * 1e3


async def _wake_many(supervisor: Supervisor, ids: list[str]) -> float:
    """Return runs per second when all are woken at once."""
    started = time.perf_counter()
    await asyncio.gather(*(supervisor.signal(id, "go", "yes") for id in ids))
    await asyncio.gather(*(supervisor.run(id).result() for id in ids))
    return len(ids) / (time.perf_counter() - started)


async def _idle(supervisor: Supervisor) -> dict[str, float]:
    """Return which part of a core the supervisor takes while all its runs wait."""
    await asyncio.sleep(0.3)
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(2.0)
    return {"idle_cpu_percent": (time.process_time() - cpu) / (time.perf_counter() - started) * 100}


# -- memory per run ----------


async def memory(folder: Path, *, runs: int) -> dict[str, float]:
    """Measure the memory of one run in the middle of a step, and of one that waits and is kept loaded, in KB."""
    go = asyncio.Event()

    @step(name="bench.held")
    async def held(x: int) -> int:
        await go.wait()
        return x

    @workflow(name="bench.live")
    async def live(n: int) -> int:
        return await held(n)

    async with Supervisor(str(folder / "memory.db"), [live, parked_run]) as supervisor:
        await _park(supervisor, "warm", 20)
        empty = rss_mb()
        await _park(supervisor, "waiting", runs)
        waiting = rss_mb()
        views = await supervisor.start_many([(live(number), f"live-{number}") for number in range(runs)])
        await asyncio.sleep(0.5)
        working = rss_mb()
        go.set()
        await asyncio.gather(*(view.result() for view in views))
    return {"kb_per_loaded_waiting_run": (waiting - empty) / runs * 1024, "kb_per_live_run": (working - waiting) / runs * 1024}


# -- several processes ----------


async def processes(folder: Path, *, runs: int, steps: int, rounds: int) -> dict[str, Any]:
    """Compare four worker processes on one file with one, in turns; every run must end with the right value."""
    rates: dict[int, list[float]] = {1: [], 4: []}
    for number in range(rounds):
        for count in rates:
            rates[count].append(await _processes(folder / f"{number}-{count}.db", count, runs, steps))
    ratios = sorted(four / one for one, four in zip(rates[1], rates[4], strict=True))
    return {
        "runs": runs,
        "steps": steps,
        "one_steps_per_s": rates[1],
        "four_steps_per_s": rates[4],
        "ratio_four_to_one": ratios[len(ratios) // 2],
        "lost": 0,
    }


@workflow(name="bench.shared")
async def shared(n: int) -> int:
    """Make n steps."""
    x = 0
    while x < n:
        x = await after(x)
    return x


async def _processes(path: Path, count: int, runs: int, steps: int) -> float:
    """Return steps per second in sum. Raises when a run is lost."""
    async with Supervisor(str(path), [shared], work=False) as supervisor:
        workers = [_worker(path) for _ in range(count)]
        try:
            await asyncio.gather(*(asyncio.to_thread(_said, worker) for worker in workers))
            started = time.perf_counter()
            await supervisor.start_many([(shared(steps), f"run-{number}") for number in range(runs)])
            while len(await supervisor.runs(status="completed", limit=runs)) < runs:
                await asyncio.sleep(0.02)
            seconds = time.perf_counter() - started
        finally:
            for worker in workers:
                worker.communicate("stop\n")
        values = [await supervisor.run(f"run-{number}").result() for number in range(runs)]
        if values != [steps] * runs:
            raise RuntimeError(f"{runs} runs of {steps} steps ended with {sorted(set(values))}")
    return runs * steps / seconds


def _worker(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.speed.parking", json.dumps({"path": str(path)})]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def _said(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("A worker process ended early; its words are above.")
    return line


async def _work(path: str) -> None:
    """Be a worker until a line comes in."""
    async with Supervisor(path, [shared]):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(_work(json.loads(sys.argv[1])["path"]))
