"""Runs leave memory and come back; two supervisors want one run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from chargehand import Pace, Supervisor
from chargehand.durable import Census

from .catalogue import ALL
from .clock import FakeClock
from .comparing import check_equal, end_of
from .example import MENDED
from .instants import InFile, InMemory
from .outside import Outside
from .playing import ids_of, play_all, supervisor_of, undisturbed
from .world import Book, Fact, World

HELD = {"asking first", "stopping early", "cancelled"}
"""An agent whose call waits is kept in memory: it could not go on from where it waits. The other two never rest."""

FORGETFUL = Pace(poll=0.001, keep_loaded=0)


@pytest.mark.parametrize("kind", [InMemory(), pytest.param(InFile(), marks=pytest.mark.slow)], ids=["memory", "file"])
@pytest.mark.parametrize("name", ALL)
async def test_leaving_memory_at_every_wait(name: str, kind: InMemory | InFile, tmp_path: Path) -> None:
    """A supervisor that keeps no run loaded, so that each leaves memory whenever it waits, brings it to the same end."""
    expected, _, _ = await undisturbed(name, InMemory(), str(tmp_path))
    example, clock, book = ALL[name], FakeClock(), Book()
    MENDED["now"] = False
    journal = kind.open(None, clock, str(tmp_path))
    world = World(book, example.troubles)
    async with supervisor_of(example, journal, clock, world, FORGETFUL) as supervisor:
        await play_all(supervisor, world, clock, example)
        found = await end_of(supervisor, ids_of(example), book.facts(), kind, journal)
        epochs = [(await supervisor.row(id)).epoch for id in ids_of(example)]
    check_equal(example, expected, found, [], [])
    waits = any(event.type in ("timer.set", "effect.proposed", "signal.wanted") for event in found.events["run-1"])
    assert max(epochs) > 1 or not waits or name in HELD, "the run never left memory"


async def test_many_runs_and_little_room(tmp_path: Path) -> None:
    """Forty runs that wait for time, signals and people share room for three, and each comes to its own end."""
    example, clock, book = ALL["hearing"], FakeClock(), Book()
    journal = InFile().open(None, clock, str(tmp_path))
    world = World(book, example.troubles)
    pace = Pace(poll=0.001, keep_loaded=3)
    ids = [f"run-{number}" for number in range(40)]
    async with supervisor_of(example, journal, clock, world, pace) as supervisor:
        await supervisor.start_many([(example.call(), id) for id in ids])
        await Outside(supervisor, world, clock, example).play(ids)
        rows = [await supervisor.row(id) for id in ids]
    assert {row.status for row in rows} == {"completed"}
    assert min(row.epoch for row in rows) > 1, "some run never left memory"


async def test_one_run_two_supervisors(tmp_path: Path) -> None:
    """Two supervisors on one journal never drive one run at the same time; together they end every run once."""
    example, clock, book, kind = ALL["gathering"], FakeClock(), Book(), InFile()
    ids = [f"run-{number}" for number in range(12)]
    first = kind.open(None, clock, str(tmp_path), "journal.db")
    second = kind.open(None, clock, str(tmp_path), "journal.db")
    world = World(book, example.troubles)
    async with supervisor_of(example, first, clock, world) as one, supervisor_of(example, second, clock, world) as other:
        office = Supervisor("memory:", [example.call().definition], work=False, journal=first, clock=clock)
        await office.start_many([(example.call(), id) for id in ids])
        until = time.monotonic() + 20
        while [id for id in ids if (await one.row(id)).status != "completed"]:
            assert time.monotonic() < until
            await asyncio.sleep(0.002)
        rows = [await other.row(id) for id in ids]
    assert {(row.epoch, row.crashes) for row in rows} == {(1, 0)}
    happened = [fact for fact in book.facts() if fact.what == "happened"]
    assert len({fact.key for fact in happened if fact.key}) == len([fact for fact in happened if fact.key])


async def test_a_run_that_is_claimed_away(tmp_path: Path) -> None:
    """A driver whose run is claimed in the middle of an effect is fenced: it writes nothing more, and the new one goes on."""
    expected, _, _ = await undisturbed("every effect", InMemory(), str(tmp_path))
    example, clock, book, kind = ALL["every effect"], FakeClock(), Book(), InMemory()
    journal = kind.open(None, clock, str(tmp_path))
    thieves: list[asyncio.Task[None]] = []

    async def steal() -> None:
        row = await journal.run("run-1")
        assert row is not None
        assert row.owner is not None
        census = Census(frozenset(), frozenset({row.owner}))
        claimed = await journal.claim("thief", workflows=[row.workflow], environment="development", now=clock.now(), limit=1, census=census)
        assert claimed[0].after == "silent"
        await journal.dismiss("thief")  # it leaves at once, and the run is due

    def seen(fact: Fact) -> None:
        if fact.what == "happened" and not thieves:
            thieves.append(asyncio.ensure_future(steal()))

    world = World(book, example.troubles, seen=seen)
    async with supervisor_of(example, journal, clock, world) as supervisor:
        await play_all(supervisor, world, clock, example)
        found = await end_of(supervisor, ids_of(example), book.facts(), kind, journal)
        assert (await supervisor.row("run-1")).epoch >= 3
    assert thieves[0].done()
    check_equal(example, expected, found, [], [])
