"""Promise 3: an effect happens at most once unless its author says it is safe to repeat; an unknown outcome is in doubt, never retried blindly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chargehand import (
    DidNotHappen,
    DoneByHand,
    NotDone,
    Redrive,
    Retry,
    UnsafeRetry,
    agent,
    effect,
    injected,
    workflow,
)
from chargehand.testing import POINTS, Supervised, SupervisedRun

from .shop import Shop


async def give_back(receipt: str, shop: Shop = injected()) -> None:
    shop.give_back(receipt)


async def find(what: str, shop: Shop = injected()) -> str:
    return shop.find(what)


@effect(undo=give_back, timeout=30)
async def bare(what: str, shop: Shop = injected()) -> str:
    return shop.take(what)


@effect(undo=give_back, timeout=30)
async def keyed(what: str, shop: Shop = injected(), idempotency_key: str = injected()) -> str:
    return shop.take(what, idempotency_key)


@effect(undo=give_back, lookup=find, timeout=30)
async def findable(what: str, shop: Shop = injected()) -> str:
    return shop.take(what)


@effect(undo=give_back)
def in_a_thread(what: str, shop: Shop = injected()) -> str:
    return shop.take(what)


@agent(role="Buys one thing.", uses=[bare])
async def buyer(what: str) -> str:
    return await bare(what)


@workflow
async def buys_bare() -> str:
    return await bare("tea")


@workflow
async def buys_keyed() -> str:
    return await keyed("tea")


@workflow
async def buys_findable() -> str:
    return await findable("tea")


@workflow
async def buys_in_a_thread() -> str:
    return await in_a_thread("tea")


@workflow
async def buys_by_agent() -> str:
    return await buyer("tea")


def opened(supervised: Supervised, *, remembers_keys: bool = True) -> Shop:
    """Give the process a shop of its own."""
    shop = Shop(remembers_keys=remembers_keys)
    supervised.replace(Shop, shop)
    return shop


async def doubts(run: SupervisedRun[Any]) -> list[str]:
    """Return what of a run is in doubt."""
    return [entry.path for entry in await run.waiting() if entry.kind == "doubt"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("buys", [buys_bare, buys_in_a_thread, buys_by_agent])
async def test_without_a_key_it_is_sent_once_wherever_it_dies(supervised: Supervised, point: str, buys: Any) -> None:
    """A crash anywhere sends nothing twice: what was in flight waits for a person, who says what happened."""
    shop = opened(supervised)
    supervised.crash_at(point)
    run = await supervised.start(buys())
    await supervised.rest()
    if await doubts(run):
        assert len(shop.sent) <= 1
        await supervised.decide("doubt", DoneByHand(next(iter(shop.book), "receipt of the person")))
    await run.result()
    assert len(shop.sent) <= 1
    assert len(shop.stands) == len(shop.sent)


@pytest.mark.parametrize("point", ["after intent", "after send"])
async def test_a_person_who_says_it_did_not_happen_has_it_done(supervised: Supervised, point: str) -> None:
    """Doubt ends with a person: *it did not happen* makes a letter, and its redrive is the one sending."""
    shop = opened(supervised)
    supervised.crash_at(point)
    run = await supervised.start(buys_bare())
    await supervised.decide("doubt", DidNotHappen())
    await supervised.decide("letter", Redrive())
    await run.result()
    assert len(shop.sent) == (1 if point == "after intent" else 2)


@pytest.mark.parametrize("point", POINTS)
async def test_with_a_key_it_stands_once_wherever_it_dies(supervised: Supervised, point: str) -> None:
    """The same key on every sending: the service books once, and nobody is asked."""
    shop = opened(supervised)
    supervised.crash_at(point)
    await supervised.run(buys_keyed())
    assert shop.stands == ["tea"]
    assert len(set(shop.keys)) == 1


@pytest.mark.parametrize("point", POINTS)
async def test_with_a_look_up_it_stands_once_wherever_it_dies(supervised: Supervised, point: str) -> None:
    """After a crash the outside world is asked, and it is sent again only when that surely did not happen."""
    shop = opened(supervised)
    supervised.crash_at(point)
    await supervised.run(buys_findable())
    assert shop.stands == ["tea"]
    assert len(shop.sent) == 1


async def test_a_lost_answer_is_doubt_not_a_retry(supervised: Supervised) -> None:
    """The connection breaks after the service booked: without a key nothing is sent again."""
    shop = opened(supervised)
    shop.losing = [ConnectionResetError("peer")]
    run = await supervised.start(buys_bare())
    await supervised.advance(24 * 3600)
    assert shop.sent == ["tea"]
    assert await doubts(run) == ["bare"]
    assert (await run.status(), await run.reason()) == ("parked", "doubt")


async def test_a_timeout_of_an_effect_is_doubt_not_failure(supervised: Supervised) -> None:
    """An effect that overran may have happened."""
    shop = opened(supervised)

    async def slow(what: str, shop: Shop) -> str:
        shop.take(what)
        await asyncio.Event().wait()
        return ""

    supervised.replace(bare, slow)
    run = await supervised.start(buys_bare())
    await supervised.advance(3600)
    assert await doubts(run) == ["bare"]
    assert shop.sent == ["tea"]


async def test_a_lost_answer_under_a_key_is_sent_again_under_that_key(supervised: Supervised) -> None:
    """With a key that the service honours, unknown outcomes are retried, and it stands once."""
    shop = opened(supervised)
    shop.losing = [ConnectionResetError("peer"), TimeoutError("late")]
    await supervised.run(buys_keyed())
    assert shop.stands == ["tea"]
    assert len(shop.sent) == 3
    assert len(set(shop.keys)) == 1


async def test_a_key_that_is_forgotten_is_no_safety(supervised: Supervised) -> None:
    """After the time for which the service remembers the key, sending again could do it twice: a person decides."""
    shop = opened(supervised)
    shop.losing = [ConnectionResetError("peer")]
    run = await supervised.start(buys_keyed())
    await supervised.rest()
    supervised.clock.step(25 * 3600)  # the process slept: the pause before the next try ended a day ago
    await supervised.rest()
    assert await doubts(run) == ["keyed"]
    assert shop.sent == ["tea"]


async def test_what_surely_did_not_happen_is_retried(supervised: Supervised) -> None:
    """A refused connection or the author's NotDone is no doubt: it is tried again, with or without a key."""
    shop = opened(supervised)
    shop.failing = [ConnectionRefusedError("closed"), NotDone("sold out")]
    await supervised.run(buys_bare())
    assert shop.stands == ["tea"]
    assert len(shop.sent) == 3


async def test_one_unknown_try_keeps_it_in_doubt(supervised: Supervised) -> None:
    """Three tries that surely did not happen do not outweigh one that may have."""
    shop = opened(supervised)
    shop.failing = [ConnectionResetError("unknown"), *[ConnectionRefusedError("closed")] * 9]
    run = await supervised.start(buys_keyed())
    await supervised.advance(3600)
    assert await doubts(run) == ["keyed"]
    assert len(shop.sent) == 4


async def test_a_result_that_cannot_be_used_is_doubt(supervised: Supervised) -> None:
    """It happened, its result is unknown: sending again would be a second doing."""
    shop = opened(supervised)
    supervised.replace(bare, lambda what, shop: [shop.take(what)])
    run = await supervised.start(buys_bare())
    await supervised.advance(3600)
    assert await doubts(run) == ["bare"]
    assert shop.sent == ["tea"]


async def test_a_look_up_that_fails_leaves_the_doubt(supervised: Supervised) -> None:
    """An error of the look-up is no answer."""
    shop = opened(supervised)
    shop.losing = [ConnectionResetError("peer")]
    supervised.replace(find, lambda what: 1 / 0)
    run = await supervised.start(buys_findable())
    await supervised.advance(3600)
    assert await doubts(run) == ["findable"]
    assert shop.sent == ["tea"]


def test_a_retry_that_could_do_it_twice_is_refused() -> None:
    """Asking for retries of unknown outcomes without a key or a look-up is refused where it is defined."""
    with pytest.raises(UnsafeRetry, match="idempotency_key"):

        @effect(undo=give_back, retry=Retry(attempts=3, unknown=True))
        async def unsafe(what: str) -> str:
            return what


async def test_two_starts_of_one_id_are_one_run(supervised: Supervised) -> None:
    """A run's id is its idempotency key."""
    shop = opened(supervised)
    first = await supervised.start(buys_bare(), "order-1")
    second = await supervised.start(buys_bare(), "order-1")
    assert await first.result() == await second.result()
    assert shop.sent == ["tea"]
