"""Workers: who lives, who is gone, who has fallen silent."""

from __future__ import annotations

import pytest

from chargehand.durable import Census, Journal
from chargehand.errors import JournalError

from .conftest import Beside
from .driven import NOBODY, START, JumpClock, claimed, created


async def test_an_enlisted_worker_counts_as_alive(journal: Journal, beside: Beside) -> None:
    """A worker that claims runs is not gone for anybody, from its first moment."""
    view = await beside()
    owner = await journal.enlist()
    await created(journal, "po-1", owner=owner)
    assert await journal.census(60) == NOBODY
    assert await view.census(60) == NOBODY


async def test_workers_of_one_process_are_told_apart(journal: Journal, beside: Beside) -> None:
    """Several workers in one process have ids of their own and end one by one."""
    view = await beside()
    first, second, third = await journal.enlist(), await journal.enlist(), await view.enlist()
    assert len({first, second, third}) == 3
    for number, owner in enumerate((first, second, third)):
        await created(journal, f"po-{number}", owner=owner)
    await journal.dismiss(second)
    assert await journal.census(60) == await view.census(60) == NOBODY
    row = await journal.run("po-1")
    assert row is not None
    assert (row.owner, row.due) == (None, 0.0)


async def test_an_owner_that_was_never_enlisted_is_gone(journal: Journal) -> None:
    """A run whose owner nobody knows is not lost."""
    await created(journal, "po-1", owner="stranger")
    census = await journal.census(60)
    assert census == Census(frozenset({"stranger"}), frozenset())
    [heir] = await claimed(journal, await journal.enlist(), census=census)
    assert (heir.row.crashes, heir.row.epoch) == (1, 2)
    assert await journal.census(60) == NOBODY


async def test_silence_is_measured_on_the_readers_clock(journal: Journal, beside: Beside, clock: JumpClock) -> None:
    """A worker is silent when its counter stood still for so long of the reader's time; a beat ends it."""
    view = await beside()
    owner, other = await journal.enlist(), await journal.enlist()
    assert await view.census(10) == NOBODY
    clock.seconds += 9.9
    journal.beat(other)
    assert await view.census(10) == NOBODY
    clock.seconds += 0.1
    assert (await view.census(10)).silent == {owner}
    assert (await view.census(10)).gone == frozenset()
    journal.beat(owner)
    assert await view.census(10) == NOBODY
    clock.seconds += 10
    assert (await view.census(10)).silent == {owner, other}


async def test_a_silent_workers_runs_are_taken_over_and_it_is_fenced(journal: Journal, beside: Beside, clock: JumpClock) -> None:
    """A worker that hangs loses its runs, and cannot write when it wakes up."""
    view = await beside()
    sleeper = await journal.enlist()
    zombie = await created(journal, "po-1", owner=sleeper)
    await view.census(10)
    clock.seconds += 10
    [heir] = await claimed(view, await view.enlist(), census=await view.census(10))
    await heir.append("mine")
    with pytest.raises(Exception, match="another driver"):
        await zombie.append("late")


async def test_dismissal_frees_what_was_under_way_at_once(journal: Journal) -> None:
    """A leaving worker's runs are free: due now where work was under way, as they were where they waited."""
    owner = await journal.enlist()
    waiting = {"timer": START + 500, "mail": None}
    for id, due in waiting.items():
        run = await created(journal, id, owner=owner)
        await run.append("a", status="waiting", due=due)
    await created(journal, "busy", owner=owner)
    undoing = await created(journal, "undoing", owner=owner)
    await undoing.append("a", status="rolling back")
    await journal.dismiss(owner)
    taken = await claimed(journal, "w2", now=START)
    assert [(one.row.id, one.row.crashes) for one in taken] == [("busy", 0), ("undoing", 0)]
    assert [one.row.id for one in await claimed(journal, "w2", now=START + 500)] == ["timer"]
    assert await journal.census(60) == Census(frozenset({"w2"}), frozenset())


async def test_workers_tell_others_what_they_are(journal: Journal, beside: Beside) -> None:
    """Whoever looks sees every living worker, silent or not, and what it said of itself; those who left are not there."""
    view = await beside()
    quiet = await journal.enlist()
    about = {"environment": "test", "workflows": ["procure", "Größe"], "process": 7}
    talking = await view.enlist(about)
    for looking in (journal, view):
        assert {one.id: one.about for one in await looking.workers()} == {quiet: {}, talking: about}
    await journal.dismiss(quiet)
    view.beat(talking)
    assert [(one.id, one.about) for one in await journal.workers()] == [(talking, about)]
    assert await journal.census(60) == NOBODY


async def test_a_dismissed_worker_cannot_beat(journal: Journal) -> None:
    """A heartbeat of somebody who left is an error, not a silent success."""
    owner = await journal.enlist()
    journal.beat(owner)
    await journal.dismiss(owner)
    with pytest.raises(JournalError, match="dismissed"):
        journal.beat(owner)
    await journal.dismiss(owner)
