"""Places and rates of workflows: so many runs are driven at once, and a run that waits for its place is in nobody's way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chargehand import (
    Approve,
    AtOnce,
    DefinitionError,
    Rate,
    Rejected,
    agent,
    effect,
    gather,
    read,
    sleep,
    start,
    wait_signal,
    workflow,
)
from chargehand.testing import Supervised
from chargehand.testing.clock import JumpingClock

CLOCK: list[JumpingClock] = []
BEGUN: list[tuple[float, str]] = []
INSIDE: dict[str, int] = {"now": 0, "most": 0}


@pytest.fixture(autouse=True)
def fresh(supervised: Supervised) -> None:
    """Forget what earlier tests did."""
    CLOCK[:] = [supervised.clock]
    BEGUN.clear()
    INSIDE.update(now=0, most=0)


def times(*which: str) -> list[float]:
    first = CLOCK[0].monotonic() if not BEGUN else BEGUN[0][0]
    return [round(time - first, 3) for time, name in BEGUN if not which or name in which]


@read
async def work(name: str, seconds: float = 0.0) -> str:
    BEGUN.append((CLOCK[0].monotonic(), name))
    INSIDE["now"] += 1
    INSIDE["most"] = max(INSIDE["most"], INSIDE["now"])
    try:
        await CLOCK[0].sleep(seconds)
    finally:
        INSIDE["now"] -= 1
    return name


async def back() -> None: ...


@effect(undo=back, approve=True)
async def asked(name: str) -> str:
    BEGUN.append((CLOCK[0].monotonic(), name))
    return name


@workflow(at_once=AtOnce(2))
async def two_at_once(name: str) -> str:
    await work(name, 10.0)
    await sleep(5)
    return await work(name, 10.0)


@workflow(at_once=AtOnce(1))
async def one_at_once(name: str) -> str:
    return await (asked(name) if name.startswith("asks") else work(name))


@workflow(at_once=AtOnce(1), name="room.other")
async def another(name: str) -> str:
    return await work(name)


@workflow
async def unbounded(name: str) -> str:
    return await work(name)


@agent(role="Asks.", uses=[asked])
async def asks(name: str) -> str:
    return await asked(name)


@workflow(at_once=AtOnce(1))
async def asks_inside(name: str) -> str:
    return await (asks(name) if name.startswith("asks") else work(name))


@workflow(rate=Rate(2, 10.0))
async def rated(name: str) -> str:
    await work(name)
    await sleep(1)
    return await work(f"{name} again")


@workflow(rate=Rate(1, 10.0))
async def rated_and_told(name: str) -> str:
    told: str = await wait_signal("word", str)
    return await work(f"{name} {told}")


async def test_so_many_runs_of_a_workflow_are_driven_at_once(supervised: Supervised) -> None:
    """Two have a place; one that sleeps gives its place to the next and waits for one again before it goes on."""
    runs = [await supervised.start(two_at_once(f"r{number}")) for number in range(6)]
    assert sorted([await run.result() for run in runs]) == [f"r{number}" for number in range(6)]
    assert INSIDE["most"] == 2
    assert len(BEGUN) == 12
    assert times()[-1] <= 60, "the places were in use all the time"


async def test_a_run_that_waits_for_a_place_is_nobodys(supervised: Supervised) -> None:
    """It is not claimed, so another process with a place of its own takes it at once. Waiting is no event and no crash."""
    ahead = await supervised.start(two_at_once("ahead"))
    beside_it = await supervised.start(two_at_once("beside it"))
    behind = await supervised.start(two_at_once("behind"))
    await supervised.rest()
    row = await behind.row()
    assert (row.owner, row.epoch, row.seq) == (None, 0, 1)
    async with supervised.beside([two_at_once]) as other:
        await other.rest()
        assert times("behind") == [0.0]
        assert (await behind.row()).owner == other.supervisor.site.worker
        assert [await run.result() for run in (ahead, beside_it, behind)] == ["ahead", "beside it", "behind"]
    assert (await behind.row()).crashes == 0


async def test_other_workflows_do_not_wait_behind(supervised: Supervised) -> None:
    """A hundred runs without a place keep neither the unbounded nor another bounded workflow from going on."""
    await supervised.start(two_at_once("a"))
    await supervised.start(two_at_once("b"))
    for number in range(100):
        await supervised.start(two_at_once(f"behind {number}"))
    assert await supervised.run(another("bounded")) == "bounded"
    assert await supervised.run(unbounded("unbounded")) == "unbounded"
    assert times("bounded", "unbounded") == [0.0, 0.0]


async def test_a_run_that_waits_for_a_person_has_no_place(supervised: Supervised) -> None:
    """Approvals take days: who waits leaves memory when the place is wanted, and comes back for one when it is decided."""
    first = await supervised.start(one_at_once("asks"))
    await supervised.rest()
    assert (await first.row()).owner is not None, "nobody wants its place"
    assert await supervised.run(one_at_once("next")) == "next"
    assert (await first.row()).owner is None
    await supervised.decide("approval", Approve())
    assert await first.result() == "asks"


async def test_an_agent_that_waits_keeps_the_place_of_its_run(supervised: Supervised) -> None:
    """To leave would cost it its attempt. What waits behind it goes on when it is decided."""
    first = await supervised.start(asks_inside("asks"))
    behind = await supervised.start(asks_inside("behind"))
    await supervised.advance(100)
    assert BEGUN == []
    await supervised.decide("approval", Approve())
    assert (await first.result(), await behind.result()) == ("asks", "behind")


async def test_a_cancelled_run_that_waits_for_a_place_ends_without_having_begun(supervised: Supervised) -> None:
    """It comes first when a place is free, and is rolled back with nothing done."""
    await supervised.start(two_at_once("a"))
    await supervised.start(two_at_once("b"))
    behind = await supervised.start(two_at_once("behind"))
    await supervised.cancel(behind)
    await supervised.advance(30)
    assert await behind.status() == "cancelled"
    assert times("behind") == []


async def test_a_dead_process_takes_no_place_with_it(supervised: Supervised) -> None:
    """Its successor drives two at once as well."""
    runs = [await supervised.start(two_at_once(f"r{number}")) for number in range(5)]
    await supervised.advance(3)
    await supervised.crash()
    assert len([await run.result() for run in runs]) == 5
    assert INSIDE["most"] == 2


async def test_so_many_runs_begin_in_a_time(supervised: Supervised) -> None:
    """The rate counts beginnings; a run that comes back from a sleep does not wait for it."""
    runs = [await supervised.start(rated(f"r{number}")) for number in range(5)]
    await supervised.rest()
    assert len(BEGUN) == 2
    waits = await runs[4].row()
    assert (waits.owner, waits.seq, waits.crashes) == (None, 1, 0)
    assert waits.due is not None
    assert waits.due - supervised.clock.now() == pytest.approx(20, abs=11)
    for run in runs:
        await run.result()
    begun = sorted(time for number in range(5) for time in times(f"r{number}"))
    assert begun == pytest.approx([0, 0, 10, 10, 20], abs=1)
    assert times("r0 again") == [1.0]
    assert [event.type for event in await runs[4].events()][:2] == ["run.started", "call.done"]


async def test_a_rate_is_kept_by_those_that_have_mail(supervised: Supervised) -> None:
    """A signal that comes with the start makes the run due, and does not let it begin before its turn."""
    runs = [await supervised.start(rated_and_told(f"r{number}")) for number in range(3)]
    for run in runs:
        await supervised.signal(run, "word", "go")
    assert len(BEGUN) == 1
    for run in runs:
        await run.result()
    assert times() == pytest.approx([0, 10, 20], abs=1)


async def test_a_cancel_does_not_wait_for_the_rate(supervised: Supervised) -> None:
    """There is nothing to be spared in a run that only ends."""
    runs = [await supervised.start(rated_and_told(f"r{number}")) for number in range(20)]
    await supervised.rest()
    await supervised.cancel(runs[-1])
    assert await runs[-1].status() == "cancelled"
    assert supervised.clock.monotonic() == CLOCK[0].monotonic()
    assert times() == []


async def test_a_rate_holds_after_a_pause_of_everything(supervised: Supervised) -> None:
    """Runs whose turns have all passed while nobody worked do not begin all at once when somebody does."""
    runs = [await supervised.start(rated(f"r{number}")) for number in range(12)]
    await supervised.rest()
    supervised.crash_at("after commit", nth=1, away=500)
    for run in runs:
        await run.result()
    begun = sorted(time for number in range(12) for time in times(f"r{number}"))
    assert all(later - earlier >= 10 - 0.001 for earlier, later in zip(begun[2:], begun[4:], strict=False))


@workflow
async def starts_one(name: str) -> str:
    await start(one_at_once(name), id="child")
    return await work("parent")


async def test_what_a_process_starts_it_drives(supervised: Supervised) -> None:
    """Also where it may claim named runs only, as the command line's `run` does."""
    await supervised.rest()
    carrier = supervised.supervisor.carrier
    assert carrier is not None
    carrier.only = {"parent"}
    supervised._process.learn(one_at_once)
    assert await supervised.run(starts_one("child"), "parent") == "parent"
    assert await supervised.view("child").result() == "child"


@workflow
async def nests(name: str) -> list[Any]:
    return list(await gather(one_at_once(f"{name} 1"), one_at_once(f"{name} 2")))


async def test_a_nested_call_is_no_run(supervised: Supervised) -> None:
    """Called inside a workflow it is a part of that run and has the run's own place."""
    assert await supervised.run(nests("x")) == ["x 1", "x 2"]


@pytest.mark.parametrize("limits", [{"at_once": AtOnce(1, per=lambda call: call.name)}, {"rate": Rate(1, 1.0, per=lambda call: call.name)}])
def test_places_by_key_are_refused_on_a_workflow(limits: dict[str, Any]) -> None:
    """Its runs are counted before anybody reads their input; a bound that would not hold is said at definition."""

    async def plain(name: str) -> str:
        return name

    with pytest.raises(DefinitionError, match="per="):
        workflow(**limits)(plain)


async def test_the_places_of_ended_runs_are_forgotten(supervised: Supervised) -> None:
    """Nothing grows with the number of runs."""
    for number in range(20):
        await supervised.run(one_at_once(f"r{number}"))
    with pytest.raises(Rejected):
        await supervised.run(fails("x"))
    carrier = supervised.supervisor.carrier
    assert carrier is not None
    assert not any(carrier.room._inside.values())
    assert not carrier._started
    assert not carrier._redrives


@workflow(at_once=AtOnce(1))
async def fails(name: str) -> str:
    raise Rejected(name)


async def test_waiting_runs_are_left_alone_when_a_process_ends(supervised: Supervised) -> None:
    """What waits for its turn is free for others as soon as this process has left."""
    runs = [await supervised.start(rated(f"r{number}")) for number in range(4)]
    await supervised.rest()
    await supervised.restart()
    assert [await run.result() for run in runs] == [f"r{number} again" for number in range(4)]
    await asyncio.sleep(0)
