"""Promise 5: a failed run leaves nothing half done in silence: each compensable effect is undone, or a letter says which is not and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chargehand import Abandon, DoneByHand, Redrive, RunCancelled, effect, fail, injected, sleep, workflow
from chargehand.errors import DeadlinePassed, RunFailed
from chargehand.testing import Supervised

from .shop import Shop


async def give_back(receipt: str, shop: Shop = injected(), idempotency_key: str = injected()) -> None:
    shop.give_back(receipt)


async def give_back_barely(receipt: str, shop: Shop = injected()) -> None:
    shop.give_back(receipt)


@effect(undo=give_back)
async def take(what: str, shop: Shop = injected(), idempotency_key: str = injected()) -> str:
    return shop.take(what, idempotency_key)


@effect(undo=give_back_barely)
async def take_barely(what: str, shop: Shop = injected(), idempotency_key: str = injected()) -> str:
    return shop.take(what, idempotency_key)


@workflow
async def fails() -> None:
    for what in ("flight", "hotel", "car"):
        await take(what)
    fail("no visa")


@workflow
async def fails_barely() -> None:
    for what in ("flight", "hotel", "car"):
        await take_barely(what)
    fail("no visa")


@workflow
async def waits() -> None:
    await take("flight")
    await take("hotel")
    await sleep(3600)


def opened(supervised: Supervised) -> Shop:
    """Give the process a shop of its own."""
    shop = Shop()
    supervised.replace(Shop, shop)
    return shop


async def test_everything_is_undone_newest_first(supervised: Supervised) -> None:
    """The rollback goes back the way the run came."""
    shop = opened(supervised)
    run = await supervised.start(fails())
    with pytest.raises(RunFailed, match="no visa"):
        await run.result()
    assert shop.stands == []
    assert shop.undone == ["car", "hotel", "flight"]
    assert (await run.row()).standing == 0


@pytest.mark.parametrize("workflow_", [fails, fails_barely])
async def test_a_rollback_that_dies_goes_on_wherever_it_dies(workflow_: Callable[..., Any]) -> None:
    """At every commit of the whole run: nothing stands, or an entry for a person says what and why; nothing is undone twice."""
    for point in ("before commit", "after commit", "after undo intent", "after undo"):
        for nth in range(1, 20):
            async with Supervised() as supervised:
                shop = opened(supervised)
                plan = supervised.crash_at(point, nth=nth)
                run = await supervised.start(workflow_())
                await supervised.rest()
                for entry in await run.waiting():
                    assert "may have happened" in entry.shows["why"], f"{point} {nth}: {entry}"
                    await supervised.decide(entry.id, DoneByHand() if "hotel" not in shop.stands else Redrive())
                with pytest.raises(RunFailed):
                    await run.result()
                assert len(shop.undone) == len(set(shop.undone)), f"{point} {nth}"
                lines = [line.what for line in await supervised.effects(run)]
                assert len([what for what in lines if what.startswith("undo")]) == 3, f"{point} {nth}: {lines}"
                if plan.passed < nth:
                    break


async def test_an_undo_that_cannot_be_done_is_a_letter_and_holds_the_older(supervised: Supervised) -> None:
    """The letter names the effect and why; nothing older is touched until a person resolves it."""
    shop = opened(supervised)
    shop.failing_undo = [ValueError("the hotel never cancels")]
    run = await supervised.start(fails())
    await supervised.advance(24 * 3600)
    (letter,) = await run.waiting()
    assert letter.kind == "letter"
    assert letter.shows["arguments"] == {"what": "car"}
    assert "the hotel never cancels" in letter.shows["why"]
    assert shop.stands == ["flight", "hotel", "car"]
    await supervised.decide(letter.id, Redrive())
    with pytest.raises(RunFailed):
        await run.result()
    assert shop.stands == []


async def test_what_stands_is_accepted_by_name_and_reason_and_listed(supervised: Supervised) -> None:
    """A person may let an effect stand; the end of the run says which."""
    shop = opened(supervised)
    shop.failing_undo = [ValueError("no")]
    run = await supervised.start(fails())
    await supervised.decide("letter", Abandon(""))
    await supervised.rest()
    assert len(await run.waiting()) == 1  # without a reason nothing is accepted
    await supervised.decide("letter", Abandon("written off"))
    with pytest.raises(RunFailed):
        await run.result()
    assert shop.stands == ["car"]
    assert (await run.events())[-1].payload["standing"] == ["take#3"]
    assert (await run.row()).standing == 1


async def test_a_transient_failure_of_an_undo_is_retried(supervised: Supervised) -> None:
    """The way back is retried like the way there."""
    shop = opened(supervised)
    shop.failing_undo = [ConnectionRefusedError("closed"), ConnectionRefusedError("closed")]
    with pytest.raises(RunFailed):
        await supervised.run(fails())
    assert shop.stands == []


async def test_a_cancelled_run_is_undone(supervised: Supervised) -> None:
    """Cancel means: as if it had not been."""
    shop = opened(supervised)
    run = await supervised.start(waits())
    await supervised.rest()
    assert shop.stands == ["flight", "hotel"]
    await supervised.cancel(run, "changed my mind")
    with pytest.raises(RunCancelled, match="changed my mind"):
        await run.result()
    assert shop.stands == []
    assert await run.status() == "cancelled"


async def test_a_run_past_its_deadline_is_undone(supervised: Supervised) -> None:
    """A deadline fails the run like any other failure."""
    shop = opened(supervised)
    run = await supervised.start(waits(), deadline=60)
    with pytest.raises(DeadlinePassed):
        await run.result()
    assert shop.stands == []


async def test_nothing_is_undone_twice(supervised: Supervised) -> None:
    """A second cancel, a late one and a crash after the end change nothing."""
    shop = opened(supervised)
    run = await supervised.start(waits())
    await supervised.rest()
    await supervised.cancel(run)
    await supervised.cancel(run)
    await supervised.crash()
    with pytest.raises(RunCancelled):
        await run.result()
    assert shop.undone == ["hotel", "flight"]
