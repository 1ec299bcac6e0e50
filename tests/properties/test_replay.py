"""Replay of any history: the same again, undisturbed by what is put in elsewhere, and never with other arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargehand import (
    Finished,
    Rejected,
    agent,
    effect,
    fail,
    gate,
    gather,
    give_up,
    injected,
    now,
    random,
    read,
    retry,
    saga,
    sleep,
    step,
    uuid4,
    wait_signal,
    workflow,
)
from chargehand.events import Event
from chargehand.supervise.check import Check
from chargehand.testing import Supervised, SupervisedRun

from .conftest import FEWER, SOME

Op = tuple[str, Any]


@dataclass
class Stage:
    """What the deployed code does, and what the world saw of it."""

    program: list[Op] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


STAGE = Stage()


@step
async def add(n: int) -> int:
    STAGE.seen.append(f"add {n}")
    return n + 1


@read
async def look(n: int) -> str:
    STAGE.seen.append(f"look {n}")
    return "x" * (n % 50)


@read
async def unrelated(n: int) -> int:
    STAGE.seen.append(f"unrelated {n}")
    return n


async def take_back(n: int) -> None:
    STAGE.seen.append(f"undo {n}")


@effect(undo=take_back)
async def pay(n: int, idempotency_key: str = injected()) -> str:
    STAGE.seen.append(f"pay {n} {idempotency_key}")
    return f"r-{n}"


@gate
def even(output: int) -> None:
    if output % 2:
        raise Rejected("odd")


@agent(role="Doubles, at the second try.", gates=[even], ladder=[retry(2), give_up()], uses=[look])
async def doubles(n: int) -> int:
    await look(n)
    STAGE.seen.append(f"double {n}")
    return 2 * n


@agent(role="Is always odd.", gates=[even], ladder=[retry(2), give_up()])
async def odd(n: int) -> int:
    STAGE.seen.append(f"odd {n}")
    return 2 * n + 1


async def done(op: Op) -> Any:
    """Do one operation of the program."""
    what, n = op
    match what:
        case "gather":
            ended = await gather(*(CALLS[name](m) for name, m in n), contain=True)
            return [one.value if isinstance(one, Finished) else str(type(one)) for one in ended]
        case "saga":
            try:
                async with saga():
                    await pay(n)
                    if n % 2:
                        await odd(n)
                    return "kept"
            except Rejected:
                return "undone"
        case "sleep":
            await sleep(n % 7 + 1)
            return None
        case "draw":
            return [now().timestamp(), str(uuid4()), random()]
        case "odd":
            try:
                return await odd(n)
            except Rejected as error:
                return str(error)
        case _:
            return await CALLS[what](n)


CALLS: dict[str, Any] = {"add": add, "look": look, "pay": pay, "double": doubles, "unrelated": unrelated}


@workflow(name="properties.played")
async def played() -> list[Any]:
    """Do what the program says, then wait, then say what came of it."""
    results = [await done(op) for op in STAGE.program]
    if await wait_signal("go", bool):
        fail("told to")
    return results


NUMBERS = st.integers(0, 60)
SINGLE = st.tuples(st.sampled_from(["add", "look", "pay", "double"]), NUMBERS)
OPS = (
    SINGLE
    | st.tuples(st.sampled_from(["saga", "sleep", "draw", "odd"]), NUMBERS)
    | st.tuples(st.just("gather"), st.lists(SINGLE, min_size=1, max_size=3))
)
PROGRAMS = st.lists(OPS, min_size=1, max_size=5)


def story(events: list[Event]) -> list[tuple[str, str, Any]]:
    """Return events without their times and numbers, and without the signals that wake the run."""
    return [(event.type, event.path, event.payload) for event in events if event.type != "signal.kept"]


async def woken(supervised: Supervised) -> None:
    """Leave mail that changes nothing, so that the run is loaded and replayed, and let it come to rest."""
    await supervised.supervisor.signal("r", "wake")
    await supervised.advance(600)


async def waiting(supervised: Supervised, program: list[Op]) -> SupervisedRun[list[Any]]:
    """Run a program until it waits for the signal."""
    STAGE.program, STAGE.seen = list(program), []
    run = await supervised.start(played(), "r")
    await supervised.advance(600)
    assert await run.status() == "waiting", await run.history()
    return run


async def replay_is_the_same_again(program: list[Op], fails: bool) -> None:
    """Dead and loaded again, at rest and at the end: no event more, no call again, the same values; a check says so beforehand."""
    async with Supervised() as supervised:
        run = await waiting(supervised, program)
        before, seen = story(await run.events()), list(STAGE.seen)
        assert Check(supervised.supervisor.site, await run.row(), await run.events()).replay().outcome not in ("diverges", "breaks")
        await supervised.crash()
        await woken(supervised)
        assert story(await run.events()) == before
        assert STAGE.seen == seen
        await supervised.supervisor.signal("r", "go", fails)
        assert await run.ended() == ("failed" if fails else "completed")
        assert story(await run.events())[: len(before)] == before
        if not fails:
            first = await run.result()
            again = await fresh(program, first)
            assert [type(value) for value in again] == [type(value) for value in first]


async def fresh(program: list[Op], first: list[Any]) -> list[Any]:
    """Return the results of the same program in another run: equal where no time and no dice are in it."""
    async with Supervised() as supervised:
        run = await waiting(supervised, program)
        await supervised.supervisor.signal("r", "go", False)
        found = await run.result()
    for op, one, other in zip(program, first, found, strict=True):
        assert op[0] == "draw" or one == other, op
    return found


async def what_is_put_in_elsewhere_disturbs_nothing(program: list[Op], at: int, n: int) -> None:
    """A new, unrelated call in the code of a parked run: its paths, keys, digests and values stay, and only the new call is made."""
    async with Supervised() as supervised:
        run = await waiting(supervised, program)
        before, seen = story(await run.events()), list(STAGE.seen)
        at %= len(program) + 1
        STAGE.program = [*program[:at], ("unrelated", n), *program[at:]]
        await supervised.restart([played])
        await woken(supervised)
        after = story(await run.events())
        assert after[: len(before)] == before
        assert [(kind, path) for kind, path, _ in after[len(before) :]] == [("call.done", "unrelated")]
        assert STAGE.seen == [*seen, f"unrelated {n}"]
        await supervised.supervisor.signal("r", "go", False)
        assert (await run.result())[at] == n


async def another_argument_is_always_caught(program: list[Op], at: int, by: int) -> None:
    """Changed code gives a recorded call another argument: the run parks, nothing is sent, and the old code goes on."""
    async with Supervised() as supervised:
        places = [index for index, (what, _) in enumerate(program) if what in ("add", "look", "pay", "double", "saga", "sleep", "odd")]
        if not places:
            return
        run = await waiting(supervised, program)
        before, seen = story(await run.events()), list(STAGE.seen)
        index = places[at % len(places)]
        what, n = program[index]
        by = by * 7 if what == "sleep" else by
        if what == "sleep" and (n + by) % 7 == n % 7:
            by += 1
        STAGE.program = [*program[:index], (what, n + by), *program[index + 1 :]]
        await supervised.restart([played])
        await woken(supervised)
        assert (await run.status(), await run.reason()) == ("parked", "diverged"), (program[index], await run.history())
        after = story(await run.events())
        assert after[: len(before)] == before
        assert [kind for kind, _, _ in after[len(before) :]] == ["run.parked"]
        assert STAGE.seen == seen
        STAGE.program = list(program)
        await supervised.restart([played])
        await supervised.resume(run)
        await supervised.supervisor.signal("r", "go", False)
        assert await run.ended() == "completed"
        assert STAGE.seen == seen


PROPERTIES: dict[Callable[..., Coroutine[Any, Any, None]], dict[str, st.SearchStrategy[Any]]] = {
    replay_is_the_same_again: {"program": PROGRAMS, "fails": st.booleans()},
    what_is_put_in_elsewhere_disturbs_nothing: {"program": PROGRAMS, "at": st.integers(0, 5), "n": NUMBERS},
    another_argument_is_always_caught: {"program": PROGRAMS, "at": st.integers(0, 5), "by": st.integers(1, 30)},
}


def tried(holds: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Return a property as a plain function: each example has an event loop of its own."""

    def once(**values: Any) -> None:
        asyncio.run(asyncio.wait_for(holds(**values), 60))

    return once


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_replay(holds: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Each property holds for a few programs, always the same."""
    FEWER(given(**PROPERTIES[holds])(tried(holds)))()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_replay_of_many_programs(holds: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Each property holds for many programs."""
    SOME(given(**PROPERTIES[holds])(tried(holds)))()
