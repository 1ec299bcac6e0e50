"""What is forgotten in workflow code is not forgotten by the supervisor."""

from __future__ import annotations

import asyncio

import pytest

from chargehand import Approve, DecisionRefused, InvalidInput, Person, Reject, Supervisor, effect, gather, workflow

ordered: list[int] = []


async def take_back(result: int) -> None:
    """Take it back."""


@effect(undo=take_back)
async def order(x: int) -> int:
    """Order."""
    ordered.append(x)
    return x


@effect(undo=take_back, approve=True)
async def ask_first(x: int) -> int:
    """Order after a person said yes."""
    return x


@workflow(name="forgotten.await")
async def forgets(x: int) -> str:
    """Forget one await."""
    await order(x)
    order(x + 1)  # the mistake
    return "ordered two"


@workflow(name="forgotten.nothing")
async def remembers(x: int) -> int:
    """Use calls in every way there is."""
    first, second = await gather(order(x), order(x + 1).at("second"))
    later = order(x + 2)
    return first + second + await later


@workflow(name="forgotten.asks")
async def asks(x: int) -> int:
    """Ask a person."""
    return await ask_first(x)


async def test_a_call_that_is_never_awaited_parks_the_run() -> None:
    """A forgotten await does not complete a run as if the effect had been made."""
    async with Supervisor("memory:", [forgets]) as supervisor:
        await supervisor.start(forgets(1), "r")
        while (row := await supervisor.row("r")).status != "parked":
            await asyncio.sleep(0)
        (entry,) = await supervisor.waiting()
    assert row.reason == "broken"
    assert "order(…) was called and never awaited" in entry.shows["error"]


async def test_calls_that_are_used_are_not_forgotten() -> None:
    """Gathered, labelled and later awaited calls are calls that were made."""
    async with Supervisor("memory:", [remembers]) as supervisor:
        assert await (await supervisor.start(remembers(1), "r")).result(5) == 6


async def test_a_second_decision_is_refused_before_the_first_is_carried_out() -> None:
    """Who says no after somebody said yes is told so, even when no worker has looked yet."""
    async with Supervisor("memory:", [asks]) as supervisor:
        await supervisor.start(asks(1), "r")
        while not (waiting := await supervisor.waiting()):
            await asyncio.sleep(0)
        with pytest.raises(DecisionRefused, match="does not fit"):
            await supervisor.decide(waiting[0], Approve(edit={"x": "many"}), by=Person("ann"))
        await supervisor.decide(waiting[0], Approve(), by=Person("ann"))
        with pytest.raises(DecisionRefused, match="approve by ann"):
            await supervisor.decide(waiting[0], Reject("no"), by=Person("eve"))


async def test_what_is_no_call_cannot_be_started() -> None:
    """Wrong things given to the supervisor are named, not stumbled over."""
    async with Supervisor("memory:", [asks]) as supervisor:
        with pytest.raises(InvalidInput, match="5"):
            await supervisor.start(5)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="tag"):
            await supervisor.start(asks(1), tags={"a": 5})  # type: ignore[dict-item]
        with pytest.raises(InvalidInput, match="id"):
            await supervisor.start(asks(1), 5)  # type: ignore[arg-type]
