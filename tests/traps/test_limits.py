"""Places, rates and breakers: who waits uses no attempt, keeps nobody else waiting, and can be ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chargehand import (
    Approve,
    AtOnce,
    Breaker,
    Rate,
    Rejected,
    Resource,
    Retry,
    agent,
    effect,
    gate,
    gather,
    give_up,
    injected,
    read,
    retry,
    workflow,
)
from chargehand.supervise.gauges import PLACE_POLL_SECONDS
from chargehand.testing import Supervised
from chargehand.testing.clock import JumpingClock

CALLS: list[str] = []
INSIDE: dict[str, int] = {}
MOST: dict[str, int] = {}
DOWN: list[Exception] = []
CLOCK: list[JumpingClock] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests called."""
    for kept in (CALLS, INSIDE, MOST, DOWN):
        kept.clear()


async def visit(what: str, key: str = "", turns: int = 5) -> None:
    """Be inside for a few turns of the loop, counted."""
    INSIDE[key] = INSIDE.get(key, 0) + 1
    MOST[key] = max(MOST.get(key, 0), INSIDE[key])
    try:
        for _ in range(turns):
            await asyncio.sleep(0)
        CALLS.append(what)
    finally:
        INSIDE[key] -= 1


# -- breakers ----------


@read(breaker=Breaker(failures=2, rest=30.0), retry=Retry(attempts=3, first=1, factor=1, jitter=False))
async def fragile(number: int) -> int:
    CALLS.append(f"fragile {number}")
    if DOWN:
        raise DOWN.pop(0)
    return number


@workflow
async def reads_fragile(number: int) -> int:
    return await fragile(number)


@effect(
    final=True, approve=False, breaker=Breaker(failures=1, rest=30.0), retry=Retry(attempts=2, first=1, jitter=False), on_exhausted="raise"
)
async def sends(number: int, idempotency_key: str = injected()) -> int:
    CALLS.append(f"sends {number}")
    if DOWN:
        raise DOWN.pop(0)
    return number


@workflow
async def sends_one(number: int) -> int:
    return await sends(number)


def refused(times: int) -> None:
    DOWN.extend(ConnectionRefusedError("down") for _ in range(times))


async def test_an_open_breaker_uses_no_try_of_a_read(supervised: Supervised) -> None:
    """Its three tries are three calls: while the breaker is open the read waits, and the trial that then succeeds is the third."""
    refused(2)
    run = await supervised.start(reads_fragile(1))
    await supervised.advance(1)
    assert (await run.status(), len(CALLS)) == ("waiting", 2)
    await supervised.advance(29)
    assert len(CALLS) == 2
    assert await run.result() == 1
    assert [event.type for event in await run.events()].count("call.retrying") == 2


async def test_an_open_breaker_is_waited_for_durably(supervised: Supervised) -> None:
    """The wait is in the run's row: it outlasts the run's time in memory, and the process, and takes no try from either."""
    refused(2)
    run = await supervised.start(reads_fragile(1))
    await supervised.advance(2)
    row = await run.row()
    assert row.due is not None
    assert 28 <= row.due - supervised.clock.now() <= 30
    await supervised.unload()
    assert (await run.row()).owner is None
    await supervised.advance(20)
    await supervised.crash()
    await supervised.advance(7)
    assert len(CALLS) == 2
    assert await run.result() == 1
    assert (len(CALLS), (await run.row()).crashes) == (3, 0)


async def test_an_open_breaker_uses_no_try_of_an_effect(supervised: Supervised) -> None:
    """What surely did not happen twice would be given up: the second of two tries has to be a real one."""
    refused(1)
    run = await supervised.start(sends_one(1))
    await supervised.advance(29)
    assert CALLS == ["sends 1"]
    assert await run.result() == 1
    assert [event.type for event in await run.events()] == [
        "run.started",
        "effect.intended",
        "effect.tried",
        "effect.again",
        "effect.done",
        "run.completed",
    ]


@read(breaker=Breaker(failures=2, rest=30.0), retry=Retry(attempts=3, first=1, factor=1, jitter=False))
async def long_and_fragile(number: int) -> int:
    CALLS.append(f"fragile {number}")
    await CLOCK[0].sleep(2)
    if DOWN:
        raise DOWN.pop(0)
    return number


@workflow
async def reads_long(number: int) -> int:
    return await long_and_fragile(number)


async def test_after_its_rest_a_breaker_lets_one_call_through(supervised: Supervised) -> None:
    """Whoever waited does not fall upon a service that is still down: one tries, the others wait for what it says."""
    CLOCK[:] = [supervised.clock]
    refused(20)
    runs = [await supervised.start(reads_long(number)) for number in range(20)]
    await supervised.advance(4)
    assert len(CALLS) == 20
    refused(1)
    await supervised.advance(40)
    assert len(CALLS) == 21
    assert sorted([await run.result() for run in runs]) == list(range(20))


async def test_a_permanent_failure_opens_no_breaker(supervised: Supervised) -> None:
    """A thousand wrong questions say nothing about the service; they used to stop the right ones."""
    DOWN.extend(ValueError("no such thing") for _ in range(3))
    for number in range(3):
        with pytest.raises(Exception, match="no such thing"):
            await supervised.run(reads_fragile(number))
    begun = supervised.clock.now()
    assert await supervised.run(reads_fragile(7)) == 7
    assert supervised.clock.now() == begun


async def test_a_cancel_ends_the_wait_for_a_breaker(supervised: Supervised) -> None:
    """Who waits is not in flight: a rollback does not wait for it."""
    refused(2)
    run = await supervised.start(reads_fragile(1))
    await supervised.advance(1)
    await supervised.cancel(run)
    assert await run.status() == "cancelled"
    assert len(CALLS) == 2


@effect(final=True, approve=False, breaker=Breaker(failures=1, rest=7200.0), idempotent_for=3600.0, retry=Retry(attempts=4, first=1))
async def forgetful(idempotency_key: str = injected()) -> str:
    CALLS.append("forgetful")
    raise ConnectionResetError("peer")


@workflow
async def waits_too_long() -> str:
    return await forgetful()


async def test_a_key_that_is_forgotten_during_the_wait_is_not_sent_again(supervised: Supervised) -> None:
    """A wait for a place may outlast the time for which the world knows the key: then it is doubt, and nothing is sent."""
    run = await supervised.start(waits_too_long())
    await supervised.advance(8000)
    assert CALLS == ["forgetful"]
    assert (await run.status(), await run.reason()) == ("parked", "doubt")


# -- rates and keys ----------


@read(rate=Rate(1, 10.0, per=lambda call: call.customer), at_once=AtOnce(1, per=lambda call: call.customer))
async def per_customer(customer: str, number: int) -> str:
    await visit(f"{customer}{number}", customer)
    return customer


@workflow
async def asks_for_all() -> list[Any]:
    return list(await gather(*[per_customer(customer, number) for number in range(2) for customer in "abc"]))


@workflow
async def asks_for(customer: str) -> str:
    return await per_customer(customer, 0)


async def test_a_rate_and_places_by_key(supervised: Supervised) -> None:
    """Each key has its own places and its own rate."""
    run = await supervised.start(asks_for_all())
    await supervised.rest()
    assert sorted(CALLS) == ["a0", "b0", "c0"]
    await supervised.advance(10)
    assert len(CALLS) == 6
    await run.result()
    assert set(MOST.values()) == {1}


async def test_keys_that_nobody_uses_are_dropped(supervised: Supervised) -> None:
    """A process that serves a million customers keeps no semaphore and no window for each."""
    for number in range(30):
        await supervised.run(asks_for(f"customer {number}"))
    gauges = supervised.supervisor.site.gauges
    assert len(gauges.places) == 0
    (lines,) = gauges._lines.values()
    assert len(lines) == 30
    await supervised.advance(11)
    await supervised.run(asks_for("another"))
    assert len(lines) == 1


@read(at_once=AtOnce(1), rate=Rate(2, 10.0))
async def slowly(number: int) -> float:
    began = CLOCK[0].monotonic()
    await CLOCK[0].sleep(0.0 if number else 40.0)
    return began


@workflow
async def reads_slowly() -> list[Any]:
    return list(await gather(*[slowly(number) for number in range(6)]))


async def test_a_rate_bounds_what_begins_not_what_begins_to_wait(supervised: Supervised) -> None:
    """Calls that waited for a place do not begin all at once because their turn under the rate came long ago."""
    CLOCK[:] = [supervised.clock]
    times = await supervised.run(reads_slowly())
    assert times[1] - times[0] == 40
    assert all(later - earlier >= 10 for earlier, later in zip(times, times[2:], strict=False))


# -- resources ----------


class Client:
    """A client of a service that is to be spared."""

    async def ask(self, what: str) -> str:
        """Ask it."""
        await visit(what)
        return what


async def close(what: str, client: Client = injected()) -> None:
    await client.ask(f"undo {what}")


async def found(what: str, client: Client = injected()) -> str:
    return await client.ask(f"look {what}")


@read
async def fetch(what: str, client: Client = injected()) -> str:
    return await client.ask(what)


@effect(undo=close, lookup=found, approve=lambda call: call.what == "asks", retry=Retry(attempts=1))
async def put(what: str, client: Client = injected()) -> str:
    await client.ask(what)
    if what.startswith("unclear"):
        raise ConnectionResetError("peer")
    return what


@gate(costly=True)
async def checked(output: str, client: Client = injected()) -> None:
    await client.ask(f"gate {output}")


@agent(role="Fetches.", uses=[fetch, put], gates=[checked])
async def worker(what: str, client: Client = injected()) -> str:
    await client.ask(what)
    await asyncio.gather(fetch_it(f"{what} 1"), fetch_it(f"{what} 2"))
    return await put(f"{what} 3")


async def fetch_it(what: str) -> str:
    return await fetch(what)


@agent(role="Has no client itself.", uses=[fetch])
async def bare(what: str) -> str:
    return await fetch(what)


@workflow
async def uses_the_client(name: str) -> str:
    await gather(fetch(f"{name} read"), put(f"{name} effect"), put(f"unclear {name}"), worker(name), bare(f"{name} bare"))
    raise Rejected("so that all of it is undone")


def sparing(**limits: Any) -> Supervised:
    return Supervised([uses_the_client, asks_a_person], resources=[Resource(Client, Client, **limits)])


async def test_every_call_that_takes_a_resource_waits_for_its_place() -> None:
    """Reads, effects, undos, look-ups, agents, what their bodies call, and gates: three have it at once, never more."""
    async with sparing(at_once=AtOnce(3)) as supervised:
        runs = [await supervised.start(uses_the_client(f"r{number}")) for number in range(6)]
        for run in runs:
            with pytest.raises(Rejected):
                await run.result()
        assert len(supervised.supervisor.site.gauges.places) == 0
    assert MOST[""] == 3
    for kind in ("read", "effect", "bare", "1", "2", "3"):
        assert f"r0 {kind}" in CALLS
    assert {"r0", "look unclear r0", "gate r0 3", "undo r0 effect", "undo r0 3"} <= set(CALLS)


async def test_an_agent_does_not_wait_for_itself() -> None:
    """With one place, what a body calls goes on the body's own, one call at a time."""
    async with sparing(at_once=AtOnce(1)) as supervised:
        run = await supervised.start(uses_the_client("r"))
        with pytest.raises(Rejected):
            await run.result()
    assert "gate r 3" in CALLS
    assert MOST[""] == 1


async def test_a_resource_has_a_rate() -> None:
    """Whatever takes it: two begin in ten seconds."""
    async with sparing(rate=Rate(2, 10.0)) as supervised:
        run = await supervised.start(uses_the_client("r"))
        await supervised.rest()
        assert len(CALLS) == 2
        await supervised.advance(10)
        assert len(CALLS) == 4
        with pytest.raises(Rejected):
            await run.result()


@workflow
async def asks_a_person() -> str:
    return await put("asks")


async def test_an_effect_that_waits_for_a_person_has_no_place() -> None:
    """A place is for the call, not for the days before it."""
    async with sparing(at_once=AtOnce(1)) as supervised:
        asking = await supervised.start(asks_a_person())
        await supervised.rest()
        with pytest.raises(Rejected):
            await supervised.run(uses_the_client("r"))
        await supervised.decide("approval", Approve())
        assert await asking.result() == "asks"


@read(retry=Retry(attempts=1))
async def block(client: Client = injected()) -> str:
    await CLOCK[0].sleep(100)
    return "free"


@workflow
async def blocks() -> str:
    return await block()


@effect(undo=close)
async def put_freely(what: str) -> str:
    return what


@agent(role="Says no.", ladder=[retry(1), give_up()])
async def no() -> str:
    raise Rejected("no")


@workflow
async def fails_after_put() -> str:
    await put_freely("later")
    return await no()


async def test_an_undo_that_waits_for_a_place_is_not_begun() -> None:
    """It holds: a process that leaves it, or dies, while it waits has not begun it. Nobody is asked whether it happened."""
    async with sparing(at_once=AtOnce(1, per=lambda call: "the client")) as supervised:
        CLOCK[:] = [supervised.clock]
        blocking = await supervised.start(blocks())
        undoing = await supervised.start(fails_after_put())
        await supervised.rest()
        assert (await undoing.status(), CALLS) == ("rolling back", [])
        assert "undo.intended" not in [event.type for event in await undoing.events()]
        due = (await undoing.row()).due
        assert due == supervised.clock.now() + PLACE_POLL_SECONDS
        await supervised.unload()
        assert (await undoing.row()).owner is None
        await supervised.crash()
        with pytest.raises(Rejected):
            await undoing.result()
        assert await blocking.result() == "free"
    assert CALLS == ["undo later"]


@effect(undo=close, lookup=found, retry=Retry(attempts=2, first=60, jitter=False))
async def put_unclearly(what: str, idempotency_key: str = injected()) -> str:
    raise ConnectionResetError("peer")


@workflow
async def leaves_a_doubt() -> str:
    return await put_unclearly("later")


async def test_a_look_up_of_a_rollback_waits_for_its_place() -> None:
    """It holds meanwhile: the run leaves memory, comes back by itself, and nobody is asked."""
    async with sparing(at_once=AtOnce(1, per=lambda call: "the client")) as supervised:
        CLOCK[:] = [supervised.clock]
        doubtful = await supervised.start(leaves_a_doubt())
        await supervised.rest()
        blocking = await supervised.start(blocks())
        await supervised.cancel(doubtful)
        assert (await doubtful.status(), CALLS, await doubtful.waiting()) == ("rolling back", [], [])
        due = (await doubtful.row()).due
        assert due == supervised.clock.now() + PLACE_POLL_SECONDS
        await supervised.unload()
        assert (await doubtful.row()).owner is None
        assert await doubtful.ended() == "cancelled"
        assert await blocking.result() == "free"
    assert CALLS == ["look later", "undo later"]
