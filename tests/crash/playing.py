"""Playing an example of the catalogue on a journal: undisturbed, or from any instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from chargehand import Pace, Resource, Supervisor
from chargehand.durable import Journal
from chargehand.supervise.log import loaded

from .catalogue import ALL
from .clock import FakeClock
from .comparing import End, check_equal, end_of
from .example import MENDED, Example
from .instants import Instant, Kind, Recorder
from .outside import Outside
from .world import Book, Fact, World

PACE = Pace(poll=0.005)


def supervisor_of(example: Example, journal: Journal, clock: FakeClock, world: World, pace: Pace = PACE) -> Supervisor:
    """Return a supervisor that knows the example's workflows and its world."""
    known = {call.definition.full_name: call.definition for call in (example.call(), (example.other or example.call)())}
    known |= {definition.full_name: definition for definition in example.children.values()}
    return Supervisor("memory:", list(known.values()), journal=journal, clock=clock, pace=pace, resources=[Resource(World, lambda: world)])


async def start(supervisor: Supervisor, example: Example, id: str) -> None:
    """Start one of the example's runs."""
    call = example.other if id == "run-2" else example.call
    assert call is not None
    await supervisor.start(call(), id=id, deadline=example.deadline)


def dice(id: str) -> Any:
    """Have the dice of this run, and of those that it starts, fall the same each time."""
    return patch("chargehand.starting.secrets.token_hex", lambda count: id[-1] * 2 * count)


def ids_of(example: Example) -> list[str]:
    """Return the ids of the example's runs."""
    return ["run-1", *(["run-2"] if example.other is not None else []), *example.children]


async def play_all(supervisor: Supervisor, world: World, clock: FakeClock, example: Example) -> None:
    """Have every run of the example come to its end, one after the other."""
    outside = Outside(supervisor, world, clock, example)
    for id in ids_of(example):
        if id not in example.children:
            with dice(id):
                await start(supervisor, example, id)
                await outside.play([id])
    await outside.play(list(example.children))


async def undisturbed(name: str, kind: Kind, folder: str) -> tuple[End, list[Instant], list[Fact]]:
    """Play an example without any disturbance. Returns its end, every instant, and the world's book."""
    example, clock, book = ALL[name], FakeClock(), Book()
    MENDED["now"] = False
    inner = kind.open(None, clock, folder)
    recorder = Recorder(inner, kind, book, clock)
    world = World(book, example.troubles, seen=recorder.fact)
    journal: Any = recorder
    async with supervisor_of(example, journal, clock, world) as supervisor:
        await play_all(supervisor, world, clock, example)
        await recorder.stop()
        end = await end_of(supervisor, ids_of(example), book.facts(), kind, inner)
    return end, recorder.instants, book.facts()


async def resumed(name: str, kind: Kind, folder: str, instant: Instant, expected: End, facts: Sequence[Fact], *, away: float = 0.0) -> None:
    """Play an example on from an instant, with a fresh supervisor that comes `away` seconds later, and compare."""
    example, clock = ALL[name], FakeClock(instant.now + away)
    before = list(facts[: instant.facts])
    book = Book(before)
    journal = kind.open(instant.journal, clock, folder)
    world = World(book, example.troubles)
    async with supervisor_of(example, journal, clock, world) as supervisor:
        recorded = await events_of(supervisor, "run-1")
        MENDED["now"] = any(event.type == "run.parked" for event in recorded)
        await play_all(supervisor, world, clock, example)
        found = await end_of(supervisor, ids_of(example), book.facts(), kind, journal)
    check_equal(example, expected, found, before, recorded)


async def events_of(supervisor: Supervisor, id: str) -> list[Any]:
    """Return the events of a run; none when there is no such run yet."""
    row = await supervisor.journal.run(id)
    return [] if row is None else await loaded(supervisor.journal, row.number)
