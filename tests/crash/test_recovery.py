"""What a run owes while it recovers: a poison run rests, also in its rollback; a back-off hears; claims are not trusted too long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from chargehand import Budget, Decision, Pace, Person, Supervisor, injected, spending, step, workflow

from .catalogue import ALL
from .clock import FakeClock
from .comparing import check_equal, end_of
from .example import Example
from .instants import InMemory, Instant, Recorder
from .outside import Outside
from .playing import ids_of, play_all, supervisor_of, undisturbed
from .world import Book, World, gross

ANN = Person("ann")


async def instant_of(name: str, what: str, folder: str) -> tuple[Any, Instant, list[Any]]:
    """Return the undisturbed end of an example, its first instant of this name, and the world's book then."""
    expected, instants, facts = await undisturbed(name, InMemory(), folder)
    instant = next(instant for instant in instants if instant.what == what)
    return expected, instant, facts[: instant.facts]


async def test_poison_in_a_rollback(tmp_path: Path) -> None:
    """A run whose worker died three times over one undo parks as poison and touches nothing until a person lets it go on."""
    name = "rolling back"
    expected, instant, facts = await instant_of(name, "after undo.intended", str(tmp_path))
    clock, book, kind = FakeClock(instant.now), Book(facts), InMemory()
    journal = kind.open(instant.journal, clock, str(tmp_path))
    run = journal._store.runs[1]
    run.row = replace(run.row, crashes=2)  # the third death is the one that this worker finds
    world = World(book, ALL[name].troubles)
    async with supervisor_of(ALL[name], journal, clock, world) as supervisor:
        outside = Outside(supervisor, world, clock, ALL[name])
        await outside.rest(["run-1"])
        row = await supervisor.row("run-1")
        (entry,) = await supervisor.waiting()
        assert (row.status, row.reason, entry.kind) == ("parked", "poison", "poison")
        assert entry.shows["in_flight"] == ["charge#2"]
        assert book.facts() == facts, "a parked run undid something"
        await supervisor.decide(entry, Decision("resume"), by=ANN)
        await outside.play(["run-1"])
        found = await end_of(supervisor, ids_of(ALL[name]), book.facts(), kind, journal)
    check_equal(ALL[name], expected, found, facts, [])


async def test_poison_in_a_rollback_cannot_be_cancelled(tmp_path: Path) -> None:
    """Cancelling what is being rolled back already is refused, and the entry stays."""
    _, instant, facts = await instant_of("rolling back", "after undo.intended", str(tmp_path))
    clock = FakeClock(instant.now)
    journal = InMemory().open(instant.journal, clock, str(tmp_path))
    run = journal._store.runs[1]
    run.row = replace(run.row, crashes=2)
    world = World(Book(facts))
    async with supervisor_of(ALL["rolling back"], journal, clock, world) as supervisor:
        outside = Outside(supervisor, world, clock, ALL["rolling back"])
        await outside.rest(["run-1"])
        (entry,) = await supervisor.waiting()
        await supervisor.decide(entry, Decision("cancel"), by=ANN)
        await outside.rest(["run-1"])
        assert [left.id for left in await supervisor.waiting()] == [entry.id]


async def test_a_step_in_back_off_hears(tmp_path: Path) -> None:
    """A step that waits for its next try, found after a crash, holds up neither a cancel nor a supervisor that leaves."""
    _, instant, facts = await instant_of("retrying", "after call.retrying", str(tmp_path))
    clock = FakeClock(instant.now)
    journal = InMemory().open(instant.journal, clock, str(tmp_path))
    world = World(Book(facts))
    first = supervisor_of(ALL["retrying"], journal, clock, world)
    async with first:
        outside = Outside(first, world, clock, ALL["retrying"])
        await outside.rest(["run-1"])
        begun = time.monotonic()
    assert time.monotonic() - begun < 2.0, "a back-off held the supervisor back"
    async with supervisor_of(ALL["retrying"], journal, clock, world) as supervisor:
        await supervisor.cancel("run-1")
        await Outside(supervisor, world, clock, ALL["retrying"]).rest(["run-1"])
        until = time.monotonic() + 5
        while (await supervisor.row("run-1")).status != "cancelled":
            assert time.monotonic() < until, "a back-off was deaf to a cancel"
            await asyncio.sleep(0.001)
    assert clock.now() == instant.now, "no time passed"


async def test_a_key_that_the_world_has_forgotten(tmp_path: Path) -> None:
    """An effect that was in flight when the process died is not sent again when its key is too old to count: a person decides."""
    expected, instants, facts = await undisturbed("every effect", InMemory(), str(tmp_path))
    doubts = 0
    for instant in instants[1:4]:  # before it is sent, and after it happened
        clock, book = FakeClock(instant.now + 25 * 3600.0), Book(facts[: instant.facts])
        journal = InMemory().open(instant.journal, clock, str(tmp_path))
        world = World(book)
        async with supervisor_of(ALL["every effect"], journal, clock, world) as supervisor:
            outside = Outside(supervisor, world, clock, ALL["every effect"])
            await outside.rest(["run-1"])
            waiting = await supervisor.waiting()
            recorded = [event.type for event in await supervisor.run("run-1").events()]
            if recorded[1:] == ["effect.intended", "effect.doubted"]:
                doubts += 1
                assert [entry.kind for entry in waiting] == ["doubt"]
                assert book.facts() == facts[: instant.facts], "it was sent again"
                assert "redrive" not in waiting[0].decisions
            await outside.play(["run-1"])
            assert (await supervisor.row("run-1")).status == "completed"
        assert gross(book.facts())["charge", "keyed"] == 1
    assert doubts == 2, "in flight before and after it happened"
    assert expected.outcomes["run-1"][0] == "completed"


@step(name="think")
async def think(number: int, world: World = injected()) -> int:
    """Reserve much, use little."""
    async with spending(model="m", tokens_at_most=60) as spent:
        await world.ran(f"think {number}")
        spent.report(input=10, output=10)
    return number


@workflow(name="thrifty", budget=Budget(tokens=100))
async def thrifty() -> list[int]:
    return [await think(1), await think(2), await think(3)]


async def test_a_lost_reservation_counts_as_spent(tmp_path: Path) -> None:
    """A model call that was in flight when the process died has spent what was reserved for it: the budget may not hold the next."""
    example, clock, kind, book = Example(lambda: thrifty()), FakeClock(), InMemory(), Book()
    recorder = Recorder(kind.open(None, clock, ""), kind, book, clock)
    world = World(book, seen=recorder.fact)
    async with supervisor_of(example, recorder, clock, world) as supervisor:  # type: ignore[arg-type]
        await play_all(supervisor, world, clock, example)
        assert (await supervisor.row("run-1")).status == "completed"
    settled = next(number for number, instant in enumerate(recorder.instants) if "after call.done" in instant.what)
    for instant, ends in ((recorder.instants[settled - 1], "failed"), (recorder.instants[settled], "completed")):
        journal = kind.open(instant.journal, FakeClock(instant.now), str(tmp_path))
        world = World(Book(book.facts()[: instant.facts]))
        clock = FakeClock(instant.now)
        async with supervisor_of(example, journal, clock, world) as supervisor:
            await play_all(supervisor, world, clock, example)
            row = await supervisor.row("run-1")
            last = (await supervisor.run("run-1").events())[-1]
        assert row.status == ends, instant.what
        assert ends == "completed" or last.payload["e"]["code"] == "budget-exhausted"


async def test_a_claim_is_trusted_less_long_than_others_wait() -> None:
    """A driver trusts its claim a lease less than others wait before they take over: its last beat may be that old."""
    supervisor = Supervisor("memory:", pace=Pace(lease=10.0, silent_after=60.0))
    assert supervisor.site.silent_after == 50.0
