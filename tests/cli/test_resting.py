"""When `run` leaves a run: not as long as time alone moves it on, whatever it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand import Approval, Rate, Retry, effect, gather, read, sleep, wait_signal, workflow
from chargehand.resting import moves_on, signals_waited_for
from chargehand.testing import Supervised

DOWN: list[Exception] = []


async def back() -> None: ...


@read(rate=Rate(1, 3600.0))
async def rarely(number: int) -> int:
    return number


@read(retry=Retry(attempts=2, first=60, jitter=False))
async def again() -> int:
    if DOWN:
        raise DOWN.pop()
    return 1


@effect(undo=back, approve=Approval(within=600))
async def asked() -> int:
    return 1


@workflow(name="resting.rates")
async def waits_for_a_rate() -> list[Any]:
    return list(await gather(rarely(1), rarely(2)))


@workflow(name="resting.retries")
async def waits_to_try_again() -> int:
    return await again()


@workflow(name="resting.sleeps")
async def sleeps() -> None:
    await sleep(60)


@workflow(name="resting.asks", deadline=6000)
async def waits_for_a_person() -> int:
    return await asked()


@workflow(name="resting.told", deadline=6000)
async def waits_for_a_signal() -> Any:
    return await wait_signal("word", str)


@workflow(name="resting.both")
async def waits_for_a_person_and_a_rate() -> list[Any]:
    return list(await gather(rarely(1), rarely(2), asked()))


@pytest.mark.parametrize(
    ("flow", "goes_on"),
    [
        (waits_for_a_rate, True),
        (waits_to_try_again, True),
        (sleeps, True),
        (waits_for_a_person_and_a_rate, True),
        (waits_for_a_person, False),
        (waits_for_a_signal, False),
    ],
)
async def test_a_run_rests_when_time_does_not_move_it_on(supervised: Supervised, flow: Any, goes_on: bool) -> None:
    """A place, a rate or a breaker is no event of the run: its row's due time says that it goes on. An expiry or a deadline ends it."""
    DOWN[:] = [ConnectionResetError("peer")]
    run = await supervised.start(flow())
    await supervised.rest()
    row = await run.row()
    assert row.status == "waiting"
    assert await moves_on(supervised.supervisor, row) == goes_on
    if flow is not waits_for_a_person_and_a_rate:  # out of memory, only the nearer of the two is known
        await supervised.unload()
        assert await moves_on(supervised.supervisor, await run.row()) == goes_on


@workflow(name="resting.diverges")
async def waits_for_a_word_and_a_number(first: str) -> str:
    await asked_for(ARGUMENT[0])
    return f"{await wait_signal('word', str)} {await wait_signal('number', int)}"


@read
async def asked_for(what: str) -> str:
    return what


ARGUMENT = ["as recorded"]


async def test_a_signal_that_was_kept_is_not_asked_for_again(supervised: Supervised) -> None:
    """A run that is parked has not taken its signal; who is told to send it once more would answer the next question unasked."""
    ARGUMENT[:] = ["as recorded"]
    run = await supervised.start(waits_for_a_word_and_a_number("x"))
    await supervised.rest()
    assert signals_waited_for(await run.events()) == ["word"]
    ARGUMENT[:] = ["changed"]
    await supervised.restart()
    await supervised.signal(run, "word", "hello")
    await supervised.rest()
    assert await run.reason() == "diverged"
    assert signals_waited_for(await run.events()) == []
    ARGUMENT[:] = ["as recorded"]
    await supervised.resume(run)
    await supervised.rest()
    assert signals_waited_for(await run.events()) == ["number"]
    await supervised.signal(run, "word", "a second one")
    await supervised.rest()
    assert signals_waited_for(await run.events()) == ["number"]
