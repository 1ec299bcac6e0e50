"""Promise 9: nothing is lost: every failure is an event, every dead letter can be redriven, a code change never destroys a parked run."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand import (
    Answer,
    Approve,
    Clarify,
    Fail,
    Redrive,
    Rejected,
    Retry,
    agent,
    ask_human,
    effect,
    gate,
    give_up,
    injected,
    read,
    retry,
    step,
    wait_signal,
    workflow,
)
from chargehand.errors import CallFailed, DeadLettered
from chargehand.supervise.definitions import WorkflowDefinition
from chargehand.testing import Supervised, scripted

from .shop import Shop


async def give_back(receipt: str, shop: Shop = injected()) -> None:
    shop.give_back(receipt)


@effect(undo=give_back, retry=Retry(attempts=2))
async def book(what: str, shop: Shop = injected(), idempotency_key: str = injected()) -> str:
    return shop.take(what, idempotency_key)


@read(retry=Retry(attempts=3))
async def look() -> int:
    return 1


@gate
def small(n: int) -> None:
    if n > 9:
        raise Rejected(f"{n} is large")


@agent(role="Counts.", gates=[small], ladder=[retry(2), give_up()], retry_errors=Retry(attempts=2))
async def counter() -> int:
    return 1


@workflow
async def looks() -> int:
    return await look()


@workflow
async def counts() -> int:
    return await counter()


@workflow
async def books() -> str:
    await book("first")
    await book("second")
    return await book("third")


def parked(version: int) -> WorkflowDefinition[[], str]:
    """Return versions of one workflow: 1 and 4 are equal, 2 asks for something else, 3 has a bug."""

    @step
    async def one() -> str:
        return "one"

    @step
    async def two() -> str:
        return "two"

    @effect(undo=give_back)
    async def reserve(what: str, shop: Shop = injected(), idempotency_key: str = injected()) -> str:
        return shop.take(what, idempotency_key)

    @workflow(name="parked")
    async def parked() -> str:
        if version == 2:
            await two()
        await one()
        await reserve("other" if version == 2 else "room")
        await wait_signal("go", int)
        if version == 3:
            raise KeyError("a bug")
        return "done"

    return parked


def opened(supervised: Supervised) -> Shop:
    """Give the process a shop of its own."""
    shop = Shop()
    supervised.replace(Shop, shop)
    return shop


async def test_every_failed_try_of_a_read_is_an_event(supervised: Supervised) -> None:
    """Two transient errors and a final one: three events, each with its error."""
    supervised.replace(look, scripted(ConnectionResetError("one"), TimeoutError("two"), ValueError("three")))
    run = await supervised.start(looks())
    with pytest.raises(CallFailed, match="three"):
        await run.result()
    errors = [(event.type, event.payload["e"]["message"]) for event in await run.events("look")]
    assert errors == [("call.retrying", "one"), ("call.retrying", "two"), ("call.failed", "three")]


async def test_every_attempt_of_an_agent_is_an_event(supervised: Supervised) -> None:
    """Errors and rejections, each with its reason and its class, then the failure."""
    supervised.replace(counter, scripted(ConnectionResetError("away"), 99, "many"))
    run = await supervised.start(counts())
    with pytest.raises(Rejected):
        await run.result()
    events = await run.events("counter")
    assert [event.type for event in events] == ["agent.errored", "agent.rejected", "agent.rejected", "agent.failed"]
    assert events[0].payload["mode"] == "SYS-transient"
    assert events[1].payload["verdicts"][0]["reasons"] == ["99 is large"]
    assert events[2].payload["verdicts"][0]["mode"] == "SYS-schema"


async def test_every_try_of_an_effect_is_an_event(supervised: Supervised) -> None:
    """Each try that ended without success is recorded with what it says about the world."""
    shop = opened(supervised)
    shop.failing = [ConnectionRefusedError("one"), ConnectionRefusedError("two")]
    run = await supervised.start(books())
    await supervised.advance(3600)
    assert [event.type for event in await run.events("book")] == [
        "effect.intended",
        "effect.tried",
        "effect.again",
        "effect.did_not_happen",
        "effect.lettered",
    ]


async def test_a_redrive_goes_on_from_the_step_that_died(supervised: Supervised) -> None:
    """A dead letter at the third call, redriven: the first two are not done again, after a restart too."""
    shop = opened(supervised)
    run = await supervised.start(books())
    supervised.replace(
        book, scripted(lambda what, idempotency_key: shop.take(what, idempotency_key), *[ConnectionRefusedError("closed")] * 4)
    )
    await supervised.advance(3600)
    (letter,) = await supervised.waiting()
    assert letter.path == "book#2"
    await supervised.restart()
    supervised.replace(book, lambda what, idempotency_key: shop.take(what, idempotency_key))
    await supervised.decide(letter.id, Redrive())
    await run.result()
    assert shop.sent == ["first", "second", "third"]


async def test_a_letter_can_be_redriven_again_and_again(supervised: Supervised) -> None:
    """A redrive that fails is a letter again, under the same key."""
    shop = opened(supervised)
    shop.failing = [ConnectionRefusedError("closed")] * 6
    run = await supervised.start(books())
    for _ in range(3):
        await supervised.decide("letter", Redrive())
    await run.result()
    assert len(set(shop.keys[:7])) == 1
    assert len(shop.sent) == 9


async def test_a_letter_can_be_given_up_into_the_workflow(supervised: Supervised) -> None:
    """A person lets the call fail: the workflow sees it, and the run undoes what it did."""
    shop = opened(supervised)
    shop.failing = [ConnectionRefusedError("closed")] * 2
    run = await supervised.start(books())
    await supervised.decide("letter", Fail())
    with pytest.raises(DeadLettered):
        await run.result()


async def test_changed_code_parks_a_run_and_the_old_code_frees_it(supervised: Supervised) -> None:
    """Diverged: both sides are shown, nothing is sent, and with the old code it goes on as if nothing had been."""
    shop = opened(supervised)
    run = await supervised.start(parked(1)())
    await supervised.rest()
    before = await run.history()
    await supervised.restart([parked(2)])
    await supervised.signal(run, "go", 1)
    assert (await run.status(), await run.reason()) == ("parked", "diverged")
    (entry,) = await run.waiting()
    assert "reserve" in str(entry.shows)
    assert entry.title.endswith(parked(2).full_name)
    assert shop.sent == ["room"]
    assert (await run.history())[: len(before)] == before
    await supervised.restart([parked(4)])
    await supervised.resume(run)
    assert await run.result() == "done"
    assert shop.sent == ["room"]


async def test_a_bug_parks_a_run_and_mended_code_finishes_it(supervised: Supervised) -> None:
    """Broken: nothing is undone, and the mended code goes on from the same step."""
    shop = opened(supervised)
    run = await supervised.start(parked(3)())
    await supervised.signal(run, "go", 1)
    assert (await run.status(), await run.reason()) == ("parked", "broken")
    assert shop.stands == ["room"]
    await supervised.restart([parked(1)])
    await supervised.resume(run)
    assert await run.result() == "done"
    assert shop.sent == ["room"]


async def test_a_worker_that_lacks_the_code_leaves_the_run(supervised: Supervised) -> None:
    """A process that does not know the workflow does not claim its runs; the next that does finishes them."""
    opened(supervised)
    run = await supervised.start(parked(1)())
    await supervised.rest()
    await supervised.restart([looks])
    await supervised.supervisor.signal(run.id, "go", 1)
    await supervised.advance(3600)
    assert (await run.row()).owner is None
    await supervised.restart([parked(1)])
    assert await run.result() == "done"


@workflow
async def asks_everything() -> list[Any]:
    said: list[Any] = [await ask_human("a number?", int)]
    said.append(await wait_signal("go", str))
    said.append(await book("dear"))
    said.append(await clarified())
    return said


@agent(role="Asks before it guesses.")
async def clarified() -> str | Clarify:
    return "x"


async def test_what_waits_survives_every_restart() -> None:
    """Questions, signals, approvals and clarifications wait across crashes, restarts and unloading alike."""
    async with Supervised(approve="every") as supervised:
        shop = opened(supervised)
        supervised.replace(clarified, scripted(Clarify("which one?"), "the red one"))
        run = await supervised.start(asks_everything())
        await supervised.crash()
        await supervised.decide("question", Answer(3))
        await supervised.unload()
        await supervised.signal(run, "go", "now")
        await supervised.restart()
        await supervised.decide("approval", Approve())
        await supervised.rest()
        await supervised.unload()
        await supervised.decide("question", Answer("the red one"))
        said = await run.result()
        assert (said[0], said[1], said[3]) == (3, "now", "the red one")
        assert shop.sent == ["dear"]


async def test_who_watches_the_inbox_hears_of_entering_and_leaving() -> None:
    """Every entry that comes into the list of what waits, and every one that goes, calls the host's callback."""
    heard: list[tuple[str, str]] = []
    async with Supervised(on_waiting=lambda what, entry: heard.append((what, entry.kind))) as supervised:
        shop = opened(supervised)
        shop.failing = [ConnectionRefusedError("closed")] * 2
        run = await supervised.start(books())
        await supervised.decide("letter", Redrive())
        await run.result()
        broken = await supervised.start(parked(3)())
        await supervised.signal(broken, "go", 1)
        await supervised.cancel(broken)
        await supervised.rest()
    assert heard == [("entered", "letter"), ("left", "letter"), ("entered", "broken"), ("left", "broken")]


async def test_who_watches_the_inbox_hears_what_the_list_shows() -> None:
    """The entry that the callback is given is the one that is listed, with its run and its environment."""
    heard: list[Any] = []
    async with Supervised(on_waiting=lambda what, entry: heard.append(entry)) as supervised:
        opened(supervised).failing = [ConnectionRefusedError("closed")] * 2
        run = await supervised.start(books())
        await supervised.advance(600)
        assert [entry.kind for entry in heard] == ["letter"]
        assert heard == await run.waiting()
