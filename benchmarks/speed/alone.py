"""One run at a time: beside the disk's own rate, as it grows, and call by call."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.limits import RawRows
from chargehand import Feedback, Rejected, Supervisor, agent, effect, gate, gather, step, workflow


async def _run(path: Path, definition: Any, *arguments: Any) -> tuple[Any, float, float]:
    """Make one run in a journal of its own; return its value, its seconds and its CPU seconds."""
    async with Supervisor(str(path), [definition]) as supervisor:
        started, cpu = time.perf_counter(), time.process_time()
        value = await (await supervisor.start(definition(*arguments), "run")).result()
        return value, time.perf_counter() - started, time.process_time() - cpu


# -- sequential steps beside raw commits ----------


async def sequential(folder: Path, *, slices: int, slice_steps: int, rounds: int) -> dict[str, Any]:
    """Alternate slices of raw one-row commits with slices of steps, in one process, so that both meet the same disk.

    The ratio is that of the sums. A disk that is three times slower a second later is so for both.
    """
    ratios, raw_rates, step_rates, cpu = [], [], [], []
    for number in range(rounds):
        raw = RawRows(folder / f"raw-{number}.db")
        raw.seconds(slice_steps)
        seconds = await _alternate(folder / f"steps-{number}.db", raw, slices, slice_steps)
        raw.close()
        count = slices * slice_steps
        raw_rates.append(count / seconds["raw"])
        step_rates.append(count / seconds["steps"])
        ratios.append(seconds["raw"] / seconds["steps"])
        cpu.append(seconds["cpu"] / count * 1e6)
    return {
        "ratio_to_raw": statistics.median(ratios),
        "ratios": ratios,
        "raw_rows_per_s": statistics.median(raw_rates),
        "steps_per_s": statistics.median(step_rates),
        "cpu_us_per_step": statistics.median(cpu),
    }


async def _alternate(path: Path, raw: RawRows, slices: int, slice_steps: int) -> dict[str, float]:
    seconds = {"raw": 0.0, "steps": 0.0, "cpu": 0.0}
    begun = [0.0, 0.0]

    @step(name="bench.inc")
    async def inc(x: int) -> int:
        if x % slice_steps == 0:
            now, cpu = time.perf_counter(), time.process_time()
            if x > slice_steps:  # the first slice warms up
                seconds["steps"] += now - begun[0]
                seconds["cpu"] += cpu - begun[1]
                seconds["raw"] += raw.seconds(slice_steps)
            begun[:] = time.perf_counter(), time.process_time()
        return x + 1

    @workflow(name="bench.alternating")
    async def alternating(n: int) -> int:
        x = 0
        while x < n:
            x = await inc(x)
        return x

    await _run(path, alternating, (slices + 1) * slice_steps + 1)
    return seconds


# -- growth ----------


async def growth(folder: Path, *, at: list[int], around: int, rounds: int) -> dict[str, Any]:
    """Measure CPU per step around several steps of one long run, several times, and the journal's bytes per step.

    The ratio is taken within a run; the median of the runs is quoted.
    """
    marks: dict[int, float] = {}
    wanted = {place + side for place in at for side in (-around, around)}

    @step(name="bench.tick")
    async def tick(x: int) -> int:
        if x in wanted:
            marks[x] = time.process_time()
        return x + 1

    @workflow(name="bench.long")
    async def long(n: int) -> int:
        x = 0
        while x < n:
            x = await tick(x)
        return x

    steps = at[-1] + around + 1
    await _run(folder / "warm.db", long, min(1000, at[-1]))
    found: list[dict[int, float]] = []
    for number in range(rounds):
        marks.clear()
        await _run(folder / f"long-{number}.db", long, steps)
        found.append({place: (marks[place + around] - marks[place - around]) / (2 * around) * 1e6 for place in at})
    return {
        "cpu_us_per_step": {str(place): statistics.median(one[place] for one in found) for place in at},
        "ratio_last_to_first": statistics.median(one[at[-1]] / one[at[0]] for one in found),
        "ratios": [one[at[-1]] / one[at[0]] for one in found],
        "bytes_per_step": (folder / "long-0.db").stat().st_size / steps,
    }


# -- kinds of calls ----------


class _Gates:
    """Three deterministic gates of the usual kind."""

    @staticmethod
    def length(text: str) -> None:
        """Refuse what is too short."""
        if len(text) < 10:
            raise Rejected("too short")

    @staticmethod
    def words(text: str) -> None:
        """Refuse what does not say what was asked for."""
        if "order" not in text:
            raise Rejected("no order")

    @staticmethod
    def numbers(text: str) -> None:
        """Refuse what has no number."""
        if not any(character.isdigit() for character in text):
            raise Rejected("no number")


async def _undo(result: int) -> None:
    """Take it back."""


def _kinds() -> dict[str, Callable[[int], Awaitable[Any]]]:
    @step(name="bench.plain")
    async def plain(x: int) -> int:
        return x + 1

    @agent(role="Writes an order.", gates=[gate(check) for check in (_Gates.length, _Gates.words, _Gates.numbers)])
    async def hand_off(x: int, feedback: Feedback | None = None) -> str:
        return f"The order has number {x}."

    @agent(role="Writes an order.")
    async def ungated(x: int, feedback: Feedback | None = None) -> str:
        return f"The order has number {x}."

    @effect(name="bench.make", undo=_undo)
    async def make(x: int) -> int:
        return x

    return {
        "step": lambda x: plain(x),
        "agent without gates": lambda x: ungated(x),
        "agent with three deterministic gates": lambda x: hand_off(x),
        "effect": lambda x: make(x),
    }


async def calls(folder: Path, *, count: int, rounds: int) -> dict[str, Any]:
    """Measure CPU and time of each kind of call, made one after the other in one run."""
    kinds = _kinds()
    cpus: dict[str, list[float]] = {name: [] for name in kinds}
    rates: dict[str, list[float]] = {name: [] for name in kinds}

    @workflow(name="bench.kind")
    async def of_one_kind(kind: str, count: int) -> None:
        for number in range(count):
            await kinds[kind](number)

    for number in range(rounds + 1):
        for name in kinds:
            _, seconds, cpu = await _run(folder / f"{number}-{name.replace(' ', '-')}.db", of_one_kind, name, count if number else 20)
            if number:
                cpus[name].append(cpu / count * 1e6)
                rates[name].append(count / seconds)
    return {name: {"cpu_us": statistics.median(cpus[name]), "per_s": statistics.median(rates[name])} for name in kinds}


async def fan_out(folder: Path, *, branches: int) -> dict[str, Any]:
    """Measure a run of many branches at the same time, each with one step."""

    @step(name="bench.branch")
    async def branch(x: int) -> int:
        return x

    @workflow(name="bench.fan_out")
    async def fanned(n: int) -> int:
        return sum(await gather(*(branch(x) for x in range(n))))

    await _run(folder / "warm.db", fanned, 10)
    value, seconds, cpu = await _run(folder / "fan.db", fanned, branches)
    assert value == branches * (branches - 1) // 2
    return {"branches": branches, "ms": seconds * 1e3, "cpu_us_per_branch": cpu / branches * 1e6, "branches_per_s": branches / seconds}


async def conversation(folder: Path, *, turns: int) -> dict[str, Any]:
    """Measure a conversation whose whole history is handed to the agent at every turn: what a turn adds to the journal must not grow."""
    path = folder / "conversation.db"
    marks: dict[int, float] = {}
    wanted = (turns // 20, turns // 10, turns - turns // 20 - 1, turns - 1)

    @agent(role="Answers.")
    async def answer(history: list[str], message: str, feedback: Feedback | None = None) -> str:
        return f"You said: {message}"

    @workflow(name="bench.conversation")
    async def talk(n: int) -> int:
        history: list[str] = []
        for turn in range(n):
            if turn in wanted:
                marks[turn] = time.process_time()
            message = f"Message {turn:06}: as long as what people write when they ask for something simple."
            history += [message, await answer(history, message)]
        return len(history)

    async with Supervisor(str(path), [talk]) as supervisor:
        view = await supervisor.start(talk(turns), "talk")
        await view.result()
        sizes = [len(str(event.payload)) for event in await view.events() if event.type == "agent.released"]
    tenth = turns // 10
    spans = {"early": (wanted[0], wanted[1]), "late": (wanted[2], wanted[3])}
    return {
        "turns": turns,
        "bytes_per_turn_early": statistics.mean(sizes[:tenth]),
        "bytes_per_turn_late": statistics.mean(sizes[-tenth:]),
        "journal_bytes_per_turn": path.stat().st_size / turns,
        "cpu_us_per_turn": {name: (marks[end] - marks[begin]) / (end - begin) * 1e6 for name, (begin, end) in spans.items()},
    }


# -- restart ----------


async def restart(folder: Path, *, steps: int, rounds: int) -> dict[str, Any]:
    """Measure from opening a journal with a run of many finished steps to the end of its first new step's body."""
    found = [await _restart(folder / f"restart-{number}.db", steps) for number in range(rounds)]
    return {"steps": steps, "seconds": statistics.median(found), "all_seconds": found}


async def _restart(path: Path, stop_at: int) -> float:
    reached: list[float] = []

    @step(name="bench.tail")
    async def tail(x: int) -> int:
        if x == stop_at:
            reached.append(time.perf_counter())
            if len(reached) == 1:
                await asyncio.Event().wait()
        return x + 1

    @workflow(name="bench.restart")
    async def restarted(n: int) -> int:
        x = 0
        while x < n:
            x = await tail(x)
        return x

    first = Supervisor(str(path), [restarted])
    await first.__aenter__()
    await first.start(restarted(stop_at + 1), "restart")
    while not reached:
        await asyncio.sleep(0.01)
    await first.close(grace=0.01)
    started = time.perf_counter()
    async with Supervisor(str(path), [restarted]) as again:
        await again.run("restart").result()
    return reached[1] - started
