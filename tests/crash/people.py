"""Examples: approvals, signals, questions and time; a bug; business keys across runs."""

from __future__ import annotations

from typing import Any

from chargehand import (
    Answer,
    Approval,
    Approve,
    Decision,
    Denied,
    DoneByHand,
    Reject,
    TimedOut,
    Waiting,
    ask_human,
    effect,
    fail,
    injected,
    sleep,
    wait_signal,
    workflow,
)

from .example import MENDED, Example, LetItExpire
from .tools import (
    SLOWLY,
    charge,
    open_account,
    order,
    post,
    refund,
    ship,
)
from .world import World

# -- people and time ----------


@workflow(name="approving")
async def approving() -> list[str]:
    """Approved, approved otherwise, refused, and done by hand."""
    ends: list[str] = []
    for ref in ("yes", "edit", "no", "hand"):
        try:
            ends.append(await order(ref, 100))
        except Denied:
            ends.append("denied")
    return ends


def approvers(entry: Waiting, world: World) -> Decision | None:
    """Decide each approval of `approving` its own way."""
    if entry.kind != "approval":
        return None
    match entry.shows["arguments"]["ref"]:
        case "edit":
            return Approve(edit={"ref": "edited", "amount": 7})
        case "no":
            return Reject("too dear")
        case "hand":
            return DoneByHand("a receipt by hand")
    return Approve()


@effect(name="slow order", undo=refund, approve=Approval(within=1000.0, votes=2), retry=SLOWLY)
async def slow_order(ref: str, world: World = injected(), idempotency_key: str = injected()) -> str:
    """Asks two people, for a while."""
    return await world.make("charge", ref, idempotency_key)


@workflow(name="asking in vain")
async def asking_in_vain() -> str:
    """Nobody approves in time, nobody answers in time, no signal comes in time."""
    try:
        await slow_order("ignored")
    except Denied:
        await charge("denied")
    try:
        await ask_human("Is anybody there?", str, within=50)
    except Denied:
        await charge("nobody")
    try:
        await wait_signal("never", str, within=50)
    except TimedOut:
        return await charge("nothing")
    return "no"


def nobody(entry: Waiting, world: World) -> Decision | None:
    """Answer nothing that may expire."""
    if entry.due is not None:
        raise LetItExpire
    return None


@workflow(name="hearing")
async def hearing() -> list[Any]:
    """Two approvers, a question, signals that come before and after they are wanted, and sleep."""
    first = await slow_order("voted")
    early = await wait_signal("early", int)
    await sleep(60)
    late = await wait_signal("late", str)
    answer = await ask_human("How many?", int)
    await sleep(3600)
    return [first, early, late, answer, await charge(f"{answer}")]


def hearing_people(entry: Waiting, world: World) -> Decision | None:
    """Answer the question."""
    return Answer(42) if entry.kind == "question" else None


# -- bugs, keys across runs ----------


@workflow(name="broken")
async def broken() -> list[str]:
    """A bug after three effects parks the run with all three standing; mended, it goes on."""
    receipts = [await charge("b1"), await post("b2"), await ship("b3")]
    if not MENDED["now"]:
        return [{}["missing"]]
    return [*receipts, await charge("b4")]


@workflow(name="opening")
async def opening(ref: str) -> str:
    """A business key: two runs that ask for the same thing share one doing."""
    return await open_account(ref)


@workflow(name="opening in vain")
async def opening_in_vain(ref: str) -> None:
    """A business key that is given back by an undo: the next run makes the thing anew, under the next key."""
    await open_account(ref)
    fail("not needed")


PEOPLE: dict[str, Example] = {
    "approving": Example(lambda: approving(), people=approvers),
    "asking in vain": Example(lambda: asking_in_vain(), people=nobody),
    "hearing": Example(lambda: hearing(), people=hearing_people, early=[("early", 1)], signals=[("late", "hello")]),
    "broken": Example(lambda: broken()),
    "sharing a key": Example(lambda: opening("one"), other=lambda: opening("one")),
    "taking a key again": Example(lambda: opening_in_vain("two"), other=lambda: opening("two")),
}
