"""Traps of retrying: what crashes cost, what is permanent, what repeats for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chargehand import (
    CallFailed,
    Retry,
    agent,
    effect,
    give_up,
    injected,
    read,
    retry,
    step,
    wait_signal,
    workflow,
)
from chargehand.errors import OutsideRun, TimedOut
from chargehand.testing import Supervised

MADE: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests did."""
    MADE.clear()


async def take_back(receipt: str) -> None: ...


@effect(undo=take_back, retry=Retry(attempts=2, jitter=False))
async def charge(amount: int, idempotency_key: str = injected()) -> str:
    MADE.append(idempotency_key)
    if len(MADE) < 4:
        raise ConnectionRefusedError("closed")
    return "paid"


@read(retry=Retry(attempts=5))
async def forbidden() -> str:
    MADE.append("asked")
    raise PermissionError("the key was revoked")


@step
async def takes_anything(value: Any) -> str:
    MADE.append(value)
    return "took it"


@step
async def gives_nonsense() -> Any:
    MADE.append("gave")
    return object()


@workflow
async def charges() -> str:
    return await charge(3)


@workflow
async def asks() -> str:
    return await forbidden()


@workflow
async def hands_over_nonsense() -> str:
    return await takes_anything(object())


@workflow
async def gets_nonsense() -> Any:
    return await gives_nonsense()


async def test_a_crash_uses_up_no_retry(supervised: Supervised) -> None:
    """absurd (measured: $ClaimTimeout on attempt 1): an expired lease counted as an attempt, so crashes ate the retries."""
    for nth in (1, 2):
        supervised.crash_at("after intent", nth=nth)
    run = await supervised.start(charges())
    await supervised.rest()
    assert supervised.crashes == 2
    tried = [event for event in await run.events() if event.type == "effect.tried"]
    assert [event.payload["try"] for event in tried] == [1]


async def test_every_attempt_has_the_same_key(supervised: Supervised) -> None:
    """trustabl-rulebook #29: a caller that mints a fresh key per attempt guarantees nothing."""
    supervised.crash_at("after intent")
    run = await supervised.start(charges())
    await supervised.advance(60)
    assert len(MADE) >= 2
    assert len(set(MADE)) == 1
    assert await run.status() == "parked"


async def test_a_permanent_error_is_not_repeated(supervised: Supervised) -> None:
    """openclaw #66010: errors that no repetition mends were retried like a busy line."""
    with pytest.raises(CallFailed, match="revoked"):
        await supervised.run(asks())
    assert MADE == ["asked"]


async def test_what_cannot_be_serialised_fails_at_once(supervised: Supervised) -> None:
    """pydantic-ai #6893: an argument that could not be written was retried for ever."""
    run = await supervised.start(hands_over_nonsense())
    await supervised.advance(3600)
    assert (await run.status(), await run.reason()) == ("parked", "broken")
    assert MADE == []
    (entry,) = await run.waiting()
    assert "takes_anything(value)" in entry.shows["error"]


async def test_a_result_that_cannot_be_serialised_fails_at_once(supervised: Supervised) -> None:
    """pydantic-ai #6893, the other way: the step is not made again and again; the run says which step gave what."""
    run = await supervised.start(gets_nonsense())
    await supervised.advance(3600)
    assert MADE == ["gave"]
    assert await run.status() in ("parked", "failed")
    story = " ".join([str(event.payload) for event in await run.events()])
    assert "gives_nonsense" in story


LATE: list[str] = []


@agent(role="Leaves something running behind.", uses=[charge], timeout=10, ladder=[retry(1), give_up()], retry_errors=Retry(attempts=1))
async def careless() -> str:
    async def later() -> None:
        await RELEASED.wait()
        try:
            await charge(9)
        except OutsideRun as error:
            LATE.append(str(error))

    TASKS.append(asyncio.get_running_loop().create_task(later()))
    await asyncio.Event().wait()
    return "never"


RELEASED = asyncio.Event()
TASKS: list[asyncio.Task[None]] = []


@workflow
async def left_behind() -> str:
    try:
        return await careless()
    except TimedOut:
        await wait_signal("go", int)
        return "given up"


async def test_late_calls_of_a_dead_attempt_are_refused(supervised: Supervised) -> None:
    """absurd #138, the phantom after a timeout: what an attempt left running may not act any more."""
    run = await supervised.start(left_behind())
    await supervised.advance(60)
    RELEASED.set()
    await asyncio.wait(TASKS)
    await supervised.signal(run, "go", 1)
    assert await run.result() == "given up"
    assert MADE == []
    assert "has ended" in LATE[0]


LATE: list[str] = []


@effect(undo=take_back, transactional=True, retry=Retry(attempts=3))
def enter_late(tx: Any, times: int) -> str:
    """Write a line, and be too late so many times, as on a machine that stands still for a second."""
    tx.execute("CREATE TABLE IF NOT EXISTS late_entries(line TEXT)")
    tx.execute("INSERT INTO late_entries VALUES ('entered')")
    LATE.append("tried")
    if len(LATE) <= times:
        raise TimedOut("A transactional effect took more than 1 s; nothing of it happened.")
    return f"{tx.execute('SELECT count(*) FROM late_entries')[0][0]} line"


@workflow
async def enters_late(times: int) -> str:
    """Make the effect."""
    return await enter_late(times)


@pytest.mark.parametrize(("times", "outcome"), [(0, "1 line"), (2, "1 line"), (3, TimedOut)])
async def test_a_transaction_that_was_interrupted_is_tried_again(supervised: Supervised, times: int, outcome: Any) -> None:
    """Nothing of it happened, and the effect need not be slow: it is tried as often as declared, then the failure is raised."""
    LATE.clear()
    run = await supervised.start(enters_late(times))
    if outcome is TimedOut:
        with pytest.raises(TimedOut, match="nothing of it happened"):
            await run.result()
    else:
        assert await run.result() == outcome
    assert len(LATE) == min(times + 1, 3)
