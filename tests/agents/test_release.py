"""What an agent may not do behind a cancel, a breaker, a stop or its own release."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from chargehand import (
    Breaker,
    Failure,
    NotDone,
    Rejected,
    Retry,
    Supervisor,
    agent,
    effect,
    gate,
    give_up,
    injected,
    retry,
    workflow,
)
from chargehand.testing import Supervised

done: list[str] = []
seen: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def _clean() -> None:
    done.clear()
    seen.clear()


def _moment(name: str) -> asyncio.Event:
    return seen.setdefault(name, asyncio.Event())


async def _undo(idempotency_key: str = injected()) -> None:
    done.append("undone")


@effect(undo=_undo)
async def pay(n: int, idempotency_key: str = injected()) -> str:
    """Take a while."""
    _moment("sent").set()
    await _moment("go").wait()
    done.append("paid")
    return "paid"


@gate(costly=True)
async def slow(out: str) -> None:
    """Reject after a while."""
    _moment("judging").set()
    await _moment("go").wait()
    raise Rejected("no")


@agent(role="Counts.", gates=[slow], ladder=[retry(3), give_up()])
async def counts() -> str:
    """Note that it ran."""
    done.append("attempt")
    return "x"


@workflow(name="release.counts")
async def counting() -> str:
    """Ask it."""
    return await counts()


async def test_no_attempt_begins_after_a_rollback_has_begun() -> None:
    """A gate that was asked before the cancel may still speak; what it says begins nothing."""
    async with Supervisor("memory:", [counting]) as supervisor:
        run = await supervisor.start(counting())
        await asyncio.wait_for(_moment("judging").wait(), 5)
        await supervisor.cancel(run.id)
        await asyncio.sleep(0.1)
        _moment("go").set()
        with pytest.raises(Failure):
            await run.result(5)
    assert done == ["attempt"]


@agent(role="Pays.", uses=[pay])
async def impatient() -> str:
    """Give up waiting, as a framework's own tool timeout does."""

    async def ask() -> str:
        return await pay(1)

    asking = asyncio.ensure_future(ask())
    await _moment("sent").wait()
    asking.cancel()
    return "gave up"


@workflow(name="release.impatient")
async def impatience() -> str:
    """Ask it."""
    return await impatient()


async def test_a_release_waits_for_the_outcome_of_an_abandoned_effect() -> None:
    """A completed run leaves nothing in flight."""
    async with Supervisor("memory:", [impatience]) as supervisor:
        run = await supervisor.start(impatience())
        await asyncio.wait_for(_moment("sent").wait(), 5)
        await asyncio.sleep(0.2)
        assert (await run.row()).status == "running"
        _moment("go").set()
        assert await run.result(5) == "gave up"
        types = [event.type for event in await run.events()]
    assert types == ["run.started", "effect.intended", "effect.done", "agent.released", "run.completed"]


@agent(role="Fails.", breaker=Breaker(1, 3600), ladder=[retry(2), give_up()], retry_errors=Retry(attempts=1))
async def fails() -> int:
    """Fail."""
    done.append("tried")
    raise RuntimeError("boom")


@workflow(name="release.breaker")
async def breaks() -> int:
    """Ask twice."""
    try:
        await fails()
    except Exception:
        done.append("failed")
    return await fails()


async def test_an_open_breaker_uses_no_attempt(supervised: Supervised) -> None:
    """While it is open no attempt is made and none is counted; what fails is the body, on its own."""
    run = await supervised.start(breaks())
    await supervised.rest()
    assert (done, await run.status()) == (["tried", "failed"], "waiting")
    await supervised.advance(3599)
    assert done == ["tried", "failed"]
    with pytest.raises(Failure, match="boom"):
        await run.result()
    assert done == ["tried", "failed", "tried"]


async def _look() -> str:
    done.append("looked up")
    if "moved" in done:
        return "p"
    raise NotDone("not there")


@effect(undo=_undo, lookup=_look, timeout=0.1, retry=Retry(attempts=2, first=0.1))
async def stubborn(n: int) -> str:
    """Finish whatever is cancelled."""

    async def really() -> str:
        await asyncio.sleep(0.4)
        done.append("moved")
        return "p"

    task = asyncio.ensure_future(really())
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


@workflow(name="release.stubborn")
async def insists() -> str:
    """Ask it."""
    return await stubborn(1)


async def test_nothing_is_looked_up_while_a_dispatch_goes_on() -> None:
    """An overrun is waited for; the value that it still gives is the result."""
    async with Supervisor("memory:", [insists]) as supervisor:
        assert await (await supervisor.start(insists())).result(5) == "p"
    assert done == ["moved"]


@effect(undo=_undo, retry=Retry(attempts=1))
async def doubtful(n: int, idempotency_key: str = injected()) -> str:
    """Leave a doubt."""
    raise RuntimeError("reset")


@agent(role="Does two things at a time.", uses=[doubtful, pay], timeout=0.5, ladder=[retry(1), give_up()], retry_errors=Retry(attempts=1))
async def both() -> str:
    """Ask for two effects at a time, one of which waits for a person."""

    async def one(call: Any) -> Any:
        return await call

    await asyncio.gather(one(doubtful(1)), one(pay(1)))
    return "both"


@workflow(name="release.both")
async def both_of_them() -> str:
    """Ask it."""
    return await both()


async def test_an_agent_holds_only_when_all_that_it_waits_for_holds() -> None:
    """While one of its calls goes on, its time runs and the run is not waiting."""
    async with Supervisor("memory:", [both_of_them]) as supervisor:
        run = await supervisor.start(both_of_them())
        await asyncio.wait_for(_moment("sent").wait(), 5)
        await asyncio.sleep(0.2)
        assert (await run.row()).status == "running"
        _moment("go").set()
        await asyncio.sleep(0.3)
        row = await run.row()
        assert (row.status, row.reason) == ("parked", "doubt")
