"""A plain function sends from a thread, and a thread cannot be stopped; nor can a coroutine that hides from its cancellation.

Nobody asks whether something happened, and nobody takes the run up again, before what sends it has ended.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import pytest

from chargehand import Pace, Resource, Retry, Supervisor, effect, gather, injected, workflow
from chargehand.journals.memory import MemoryJournal

from .clock import FakeClock
from .faulty import Faulty, no_pause
from .tools import charge, find_shipment, unship
from .world import Book, Fact, World, gross

GATE = threading.Event()


@effect(name="ship by thread", undo=unship, lookup=find_shipment, retry=Retry(attempts=2, first=0.0, jitter=False))
def ship_by_thread(ref: str, world: World = injected()) -> str:
    """Happens when the gate opens."""
    with world.book.writing() as facts:
        facts.append(Fact("arrived", "ship", ref))
    assert GATE.wait(20)
    with world.book.writing() as facts:
        facts.append(Fact("happened", "ship", ref))
    return f"ship-{ref}-receipt"


@workflow(name="threads")
async def threads() -> list[str]:
    """One effect in a thread, beside another on the loop."""
    return list(await gather(ship_by_thread("slow"), charge("quick")))


async def stubborn(ref: str, world: World) -> str:
    """Send something, and see to its end whoever cancels it."""
    with world.book.writing() as facts:
        facts.append(Fact("arrived", "ship", ref))
    while not GATE.is_set():
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.005)
    with world.book.writing() as facts:
        facts.append(Fact("happened", "ship", ref))
    return f"ship-{ref}-receipt"


@effect(name="ship stubbornly", undo=unship, lookup=find_shipment, retry=Retry(attempts=2, first=0.0, jitter=False))
async def ship_stubbornly(ref: str, world: World = injected()) -> str:
    """Cannot be cancelled."""
    return await stubborn(ref, world)


@effect(name="ship too slowly", undo=unship, lookup=find_shipment, timeout=10.0, retry=Retry(attempts=2, first=0.0, jitter=False))
async def ship_too_slowly(ref: str, world: World = injected()) -> str:
    """Cannot be cancelled, and does not end in its time."""
    return await stubborn(ref, world)


@workflow(name="stubborn")
async def stubbornly() -> list[str]:
    """An effect that cannot be cancelled, beside another."""
    return list(await gather(ship_stubbornly("slow"), charge("quick")))


@workflow(name="too slow")
async def too_slow() -> str:
    """An effect that overruns and cannot be cancelled."""
    return await ship_too_slowly("slow")


def arrivals(book: Book) -> int:
    """Count the threads that have begun to send."""
    return sum(1 for fact in book.facts() if fact[:2] == ("arrived", "ship"))


async def until(condition: object) -> None:
    """Wait for a condition with a deadline."""
    for _ in range(4000):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.002)
    raise AssertionError("not in time")


KINDS = [(threads, 0.05), pytest.param(stubbornly, 6.0, marks=pytest.mark.slow)]
"""What sends, and for how many seconds it goes on: longer than the engine gives a cancelled operation to end."""


@pytest.mark.parametrize(("flow", "seconds"), KINDS, ids=["thread", "coroutine"])
async def test_a_refused_commit_beside_it(flow: Any, seconds: float) -> None:
    """When the journal fails while something is being sent, the run is taken up again only after that has ended."""
    GATE.clear()
    clock, book = FakeClock(), Book()
    journal = Faulty(MemoryJournal(clock), 2)  # the commit that says that the quick effect is done
    world = World(book)
    supervisor = Supervisor(
        "memory:", [flow], journal=journal, clock=clock, pace=Pace(poll=0.002), resources=[Resource(World, lambda: world)]
    )
    async with supervisor:
        no_pause(supervisor.carrier)
        view = await supervisor.start(flow(), id="run-1")
        await until(lambda: journal.failed and arrivals(book))
        await asyncio.sleep(seconds)
        assert arrivals(book) == 1, "it was sent again while it was being sent"
        GATE.set()
        assert await view.result(10) == ["ship-slow-receipt", "charge-quick-receipt"]
    assert gross(book.facts()) == {("ship", "slow"): 1, ("charge", "quick"): 1}


@pytest.mark.parametrize(("flow", "seconds"), KINDS, ids=["thread", "coroutine"])
async def test_leaving_beside_it(flow: Any, seconds: float) -> None:
    """A supervisor that is closed while something is being sent keeps its claim until that has ended."""
    GATE.clear()
    clock, book = FakeClock(), Book()
    journal = MemoryJournal(clock)
    world = World(book)
    more = {"clock": clock, "pace": Pace(poll=0.002), "resources": [Resource(World, lambda: world)]}
    first = Supervisor("memory:", [flow], journal=journal, **more)
    async with Supervisor("memory:", [flow], journal=MemoryJournal(clock, beside=journal), **more) as second:
        await first.__aenter__()
        view = await first.start(flow(), id="run-1")
        await until(lambda: arrivals(book))
        closing = asyncio.ensure_future(first.close(grace=0.01))
        await asyncio.sleep(seconds)
        assert arrivals(book) == 1, "it was sent again while it was being sent"
        GATE.set()
        await closing
        assert await second.run(view.id).result(10) == ["ship-slow-receipt", "charge-quick-receipt"]
    assert gross(book.facts()) == {("ship", "slow"): 1, ("charge", "quick"): 1}


@pytest.mark.slow
async def test_an_overrun_that_cannot_be_cancelled() -> None:
    """An effect that overran is looked up only when what sends it has ended."""
    GATE.clear()
    clock, book = FakeClock(), Book()
    world = World(book)
    resources = [Resource(World, lambda: world)]
    async with Supervisor("memory:", [too_slow], clock=clock, pace=Pace(poll=0.002), resources=resources) as supervisor:
        view = await supervisor.start(too_slow(), id="run-1")
        await until(lambda: arrivals(book))
        clock.jump(clock.now() + 20)
        for _ in range(600):  # longer than anybody waits for a cancelled task to end
            await asyncio.sleep(0.002)
        assert [fact.what for fact in book.facts()] == ["arrived"], "it was looked up, or sent again, while it was being sent"
        GATE.set()
        assert await view.result(10) == "ship-slow-receipt"
    assert gross(book.facts()) == {("ship", "slow"): 1}
