"""A test's view of real workers: it starts runs, plays the people, watches the books, and compares at the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chargehand import Decision, DoneByHand, Pace, Person, Resource, Supervisor, UnknownEntry, Waiting
from chargehand.durable import FINAL_STATUSES
from chargehand.errors import DecisionRefused
from chargehand.supervise.log import loaded

from .comparing import check_life
from .hurried import HurriedClock
from .market import MARKET, errand
from .outside import _service
from .worker import Crew, Orders, work
from .world import Book, Fact, FileBook, World, gross, net

PATIENCE = 60.0


@dataclass
class Town:
    """One journal, one book, and who works there."""

    folder: Path
    crew: Crew
    more: dict[str, Any] = field(default_factory=dict)
    decided: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    expected_more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.orders = Orders(str(self.folder / "journal.db"), str(self.folder / "book"), **self.more)
        self.book: Book = FileBook(self.orders.book)
        self.world = World(self.book)
        self.office = Supervisor(self.orders.journal, MARKET, work=False, clock=HurriedClock())

    def hire(self, **more: Any) -> Any:
        """Start one more worker process."""
        orders = Orders(**{**vars(self.orders), **more})
        return self.crew.start(work, orders)

    async def open(self, numbers: Sequence[int]) -> None:
        """Start the runs; nobody works on them yet."""
        await self.office.journal.open()
        await self.office.start_many([(errand(number), f"run-{number}") for number in numbers])

    async def until(self, condition: Callable[[], Any], what: str, *, people: bool = True) -> None:
        """Wait for a condition (it may be a coroutine function), playing the people meanwhile."""
        until = time.monotonic() + PATIENCE
        while True:
            said = condition()
            if await said if asyncio.iscoroutine(said) else said:
                return
            if people:
                await self.decide_all()
            if time.monotonic() > until:
                raise AssertionError(f"not in time: {what}\n{await self.told()}")
            await asyncio.sleep(0.005)

    async def decide_all(self) -> None:
        """Decide whatever waits for a person, each entry once: a decision on disk survives whoever dies."""
        for entry in await self.office.waiting():
            if entry.id in self.seen:
                continue
            self.seen.add(entry.id)
            try:
                await self.office.decide(entry, self.decision(entry), by=Person("clerk"))
                self.decided[entry.kind] += 1
            except (UnknownEntry, DecisionRefused):
                continue

    def decision(self, entry: Waiting) -> Decision:
        """Decide by what the services' own books say."""
        match entry.kind:
            case "approval":
                return Decision("approve")
            case "doubt":
                tool, ref = _service(entry)
                return DoneByHand(f"{tool}-{ref}-receipt") if self.world.stands(tool, ref) else Decision("not-done")
            case "letter" if entry.title.endswith("could not be undone"):
                return Decision("redrive") if self.world.stands(*_service(entry)) else Decision("done")
            case "letter":
                return Decision("redrive")
        return Decision("resume")

    async def all_ended(self) -> bool:
        """Say whether no run is left to do."""
        rows = await self.office.runs(limit=10_000)
        return all(row.status in FINAL_STATUSES for row in rows)

    async def told(self) -> str:
        """Return the rows and events of what has not ended, for whoever has to find out why."""
        lines = [repr(entry) for entry in await self.office.waiting()]
        for row in await self.office.runs(limit=10_000):
            if row.status not in FINAL_STATUSES:
                lines.append(repr(row))
                lines += [f"  {e.seq:3} {e.type:20} {e.path:30} {e.payload}"[:200] for e in await loaded(self.office.journal, row.number)]
        return "\n".join(lines)

    async def outcomes(self) -> dict[str, Any]:
        """Return how every run came out, after checking what holds of every run that has ended."""
        found: dict[str, Any] = {}
        journal = self.office.journal
        for row in await self.office.runs(limit=10_000):
            events = await loaded(journal, row.number)
            check_life(events)
            await journal.verify(row.number)
            left = await journal.mail([row.number])
            assert not left, f"{left}\n" + "\n".join(map(repr, events))
            found[row.id] = (row.status, row.standing, events[-1].payload.get("v"), events[-1].payload.get("e"))
        assert not await self.office.waiting()
        await journal.verify_chain()
        return found


async def undisturbed(numbers: Sequence[int]) -> tuple[dict[str, Any], list[Fact]]:
    """Return how the runs come out when nothing happens to their worker, and the world's book."""
    book = Book()
    world = World(book)
    pace = Pace(poll=0.005)
    async with Supervisor("memory:", MARKET, clock=HurriedClock(), pace=pace, resources=[Resource(World, lambda: world)]) as supervisor:
        views = await supervisor.start_many([(errand(number), f"run-{number}") for number in numbers])
        until = time.monotonic() + PATIENCE
        while [view for view in views if (await view.status()) not in FINAL_STATUSES]:
            for entry in await supervisor.waiting():
                with suppress(UnknownEntry, DecisionRefused):  # decided in the last round, and not closed yet
                    await supervisor.decide(entry, Decision("approve"), by=Person("clerk"))
            assert time.monotonic() < until
            await asyncio.sleep(0.002)
        outcomes: dict[str, Any] = {}
        for view in views:
            row, last = await view.row(), (await view.events())[-1]
            outcomes[view.id] = (row.status, row.standing, last.payload.get("v"), last.payload.get("e"))
    return outcomes, book.facts()


def check_books(expected: Sequence[Fact], found: Sequence[Fact]) -> None:
    """Check the services' books: the same things happened, each once, and the same were taken back, each once."""
    assert net(found) == net(expected)
    assert gross(found) == gross(expected)
    assert gross(found, "undone") == gross(expected, "undone")
    bare = Counter((fact.tool, fact.ref) for fact in found if fact.what == "arrived" and fact.tool in ("post", "post!undo"))
    assert max(bare.values(), default=0) <= 1, "what has no key was sent twice"
    keys: dict[tuple[str, str, str], set[str]] = {}
    for fact in found:
        if fact.key:
            keys.setdefault((fact.what, fact.tool, fact.ref), set()).add(fact.key)
    assert all(len(used) == 1 for used in keys.values()), "one doing, two keys"
