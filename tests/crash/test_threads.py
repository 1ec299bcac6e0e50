"""A plain function sends from a thread, and a thread cannot be stopped: nobody asks whether it happened before it has ended."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

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


async def test_a_refused_commit_beside_a_thread(tmp_path: Path) -> None:
    """When the journal fails while a thread sends, the run is taken up again only after the thread has ended."""
    GATE.clear()
    clock, book = FakeClock(), Book()
    journal = Faulty(MemoryJournal(clock), 2)  # the commit that says that the quick effect is done
    world = World(book)
    supervisor = Supervisor(
        "memory:", [threads], journal=journal, clock=clock, pace=Pace(poll=0.002), resources=[Resource(World, lambda: world)]
    )
    async with supervisor:
        no_pause(supervisor.carrier)
        view = await supervisor.start(threads(), id="run-1")
        await until(lambda: journal.failed and arrivals(book))
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert arrivals(book) == 1, "it was sent again while it was being sent"
        GATE.set()
        assert await view.result(10) == ["ship-slow-receipt", "charge-quick-receipt"]
    assert gross(book.facts()) == {("ship", "slow"): 1, ("charge", "quick"): 1}


async def test_leaving_beside_a_thread(tmp_path: Path) -> None:
    """A supervisor that is closed while a thread sends keeps its claim until the thread has ended."""
    GATE.clear()
    clock, book = FakeClock(), Book()
    journal = MemoryJournal(clock)
    world = World(book)
    more = {"clock": clock, "pace": Pace(poll=0.002), "resources": [Resource(World, lambda: world)]}
    first = Supervisor("memory:", [threads], journal=journal, **more)
    async with Supervisor("memory:", [threads], journal=MemoryJournal(clock, beside=journal), **more) as second:
        await first.__aenter__()
        view = await first.start(threads(), id="run-1")
        await until(lambda: arrivals(book))
        closing = asyncio.ensure_future(first.close(grace=0.01))
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert arrivals(book) == 1, "it was sent again while it was being sent"
        GATE.set()
        await closing
        assert await second.run(view.id).result(10) == ["ship-slow-receipt", "charge-quick-receipt"]
    assert gross(book.facts()) == {("ship", "slow"): 1, ("charge", "quick"): 1}
