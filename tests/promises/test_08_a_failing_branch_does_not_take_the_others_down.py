"""Promise 8: a failing branch does not take the others down; what failed, and what depended on it, can be listed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from chargehand import (
    BranchesFailed,
    Failed,
    Finished,
    Redrive,
    Rejected,
    agent,
    effect,
    gather,
    give_up,
    injected,
    read,
    retry,
    sleep,
    workflow,
)
from chargehand.errors import CallFailed
from chargehand.testing import Supervised, SupervisedRun

from .shop import Shop


async def give_back(receipt: str, shop: Shop = injected()) -> None:
    shop.give_back(receipt)


@effect(undo=give_back)
async def book(what: str, shop: Shop = injected(), idempotency_key: str = injected()) -> str:
    return shop.take(what, idempotency_key)


@read
async def look(what: str) -> str:
    if what == "bad":
        raise ValueError("cannot look at what is bad")
    return what


@agent(role="Says what it was given.", ladder=[retry(1), give_up()])
async def parrot(what: str) -> str:
    if what == "bad":
        raise ValueError("cannot say what is bad")
    return what


@workflow
async def trip(what: str) -> str:
    await book(what)
    return await look(what)


@workflow
async def slow_trip(what: str) -> str:
    await sleep(60)
    return await trip(what)


@workflow
async def all_trips(whats: list[str]) -> list[str]:
    return list(await gather(*[trip(what) for what in whats]))


@workflow
async def contained(whats: list[str]) -> list[str]:
    ends = await gather(*[trip(what) for what in whats], contain=True)
    return [end.value if isinstance(end, Finished) else f"failed: {end.error}" for end in ends]


@workflow
async def stops_early() -> list[str]:
    return list(await gather(trip("bad"), slow_trip("slow"), stop_early=True))


@workflow
async def says(whats: list[str]) -> list[str]:
    ends = await gather(*[parrot(what) for what in whats], contain=True)
    return ["failed" if isinstance(end, Failed) else end.value for end in ends]


def opened(supervised: Supervised) -> Shop:
    """Give the process a shop of its own."""
    shop = Shop()
    supervised.replace(Shop, shop)
    return shop


async def failed_calls(run: SupervisedRun[Any]) -> Sequence[str]:
    """List what failed in a run, from its journal."""
    return [event.path for event in await run.events() if event.type in ("call.failed", "agent.failed", "effect.failed")]


async def test_every_branch_ends_before_the_failures_are_told(supervised: Supervised) -> None:
    """The others finish their work; one group lists the failures, and says where they came from."""
    shop = opened(supervised)
    run = await supervised.start(all_trips(["one", "bad", "two"]))
    with pytest.raises(BranchesFailed, match="1 of 3") as caught:
        await run.result()
    assert isinstance(caught.value, ExceptionGroup)
    (failure,) = caught.value.failures
    assert isinstance(failure, CallFailed)
    assert shop.sent == ["one", "bad", "two"]
    done = [event.path for event in await run.events() if event.type == "call.done"]
    assert done == ["gather.1/trip/look", "gather.3/trip/look"]
    assert await failed_calls(run) == ["gather.2/trip/look"]


async def test_a_failing_branch_undoes_its_own_effects_only(supervised: Supervised) -> None:
    """Contained, the failed branch leaves nothing, the others stand."""
    shop = opened(supervised)
    said = await supervised.run(contained(["one", "bad", "two"]))
    assert said[0::2] == ["one", "two"]
    assert "cannot look" in said[1]
    assert shop.stands == ["one", "two"]
    assert shop.undone == ["bad"]


async def test_stop_early_starts_nothing_new(supervised: Supervised) -> None:
    """On demand the others begin nothing more once one has failed."""
    shop = opened(supervised)
    run = await supervised.start(stops_early())
    with pytest.raises(BranchesFailed):
        await run.result()
    assert shop.sent == ["bad"]
    assert shop.stands == []


async def test_a_branch_that_waits_for_a_person_holds_nobody(supervised: Supervised) -> None:
    """A dead letter parks its own call; the other branches go on, and the run waits only when all wait."""
    shop = opened(supervised)
    closed = [True]

    def take(what: str, idempotency_key: str) -> str:
        if what == "two" and closed:
            raise ConnectionRefusedError("closed")
        return shop.take(what, idempotency_key)

    supervised.replace(book, take)
    run = await supervised.start(all_trips(["one", "two", "three"]))
    await supervised.advance(3600)
    assert shop.stands == ["one", "three"]
    assert [event.path for event in await run.events() if event.type == "call.done"] == ["gather.1/trip/look", "gather.3/trip/look"]
    assert [entry.path for entry in await run.waiting()] == ["gather.2/trip/book"]
    assert (await run.status(), await run.reason()) == ("parked", "letter")
    closed.clear()
    await supervised.decide("letter", Redrive())
    assert await run.result() == ["one", "two", "three"]


async def test_an_agents_failure_is_contained_like_any_other(supervised: Supervised) -> None:
    """An agent that gives up fails its branch."""
    assert await supervised.run(says(["a", "bad", "b"])) == ["a", "failed", "b"]


async def test_another_run_does_not_notice(supervised: Supervised) -> None:
    """A run that fails takes no other run with it."""
    shop = opened(supervised)
    failing = await supervised.start(all_trips(["bad"]))
    fine = await supervised.start(all_trips(["good"]))
    with pytest.raises(BranchesFailed):
        await failing.result()
    assert await fine.result() == ["good"]
    assert shop.stands == ["good"]


def test_a_group_can_be_taken_apart() -> None:
    """What a gather raises is an exception group: `except*` and `split` work on it."""
    group = BranchesFailed("2 of 2 branches failed", [Rejected("a"), CallFailed("ValueError", "b")])
    rejected, rest = group.split(Rejected)
    assert isinstance(rejected, BranchesFailed)
    assert isinstance(rest, BranchesFailed)
    assert [type(one) for one in (*rejected.failures, *rest.failures)] == [Rejected, CallFailed]
