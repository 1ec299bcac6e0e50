"""What counts as progress: a run whose worker dies again and again is put aside only when nothing came to an end in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from chargehand import Approval, Failure, Retry, effect, fail, injected, saga, wait_signal, workflow
from chargehand.errors import NotDone
from chargehand.testing import Supervised

RAISED: list[BaseException] = []
RETRY = Retry(attempts=3, first=5.0, jitter=False)


async def refund(receipt: str, idempotency_key: str = injected()) -> None: ...


def answered(value: str) -> str:
    """Answer as the outside world does now."""
    if RAISED:
        raise RAISED[0]
    return value


@effect(undo=refund, retry=RETRY)
async def pay(idempotency_key: str = injected()) -> str:
    return answered("paid")


@effect(undo=refund, retry=RETRY, on_exhausted="raise")
async def try_to_pay(idempotency_key: str = injected()) -> str:
    return answered("paid")


@effect(undo=refund, approve=Approval(within=60))
async def ask_and_pay(idempotency_key: str = injected()) -> str:
    return answered("paid")


@effect(undo=refund, transactional=True)
def note(tx: Any) -> str:
    return answered("noted")


@effect(undo=refund, dry_run=lambda: "would pay")
async def pretend() -> str:
    return answered("paid")


@effect(undo=refund, key=lambda call: "order")
async def share(amount: int, idempotency_key: str = injected()) -> str:
    return answered("paid")


@workflow
async def one(which: str, amount: int = 1) -> None:
    made: dict[str, Callable[[], Any]] = {
        "pay": pay,
        "try": try_to_pay,
        "ask": ask_and_pay,
        "note": note,
        "pretend": pretend,
        "share": lambda: share(amount),
    }
    try:
        async with saga():
            await made[which]()
            if amount == 0:
                fail("after all")
    except Failure:
        pass
    await wait_signal("go", str)


@workflow
async def alone(which: str) -> None:
    """Nothing comes to an end after the effect."""
    with contextlib.suppress(Failure):
        await (try_to_pay() if which == "try" else ask_and_pay())
    await wait_signal("go", str)


async def refuse(receipt: str) -> None:
    raise REFUSED


@effect(undo=refuse)
async def keep() -> str:
    return "kept"


@workflow
async def undoes() -> None:
    await keep()
    await pay()
    fail("after all")


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Let the outside world answer."""
    RAISED.clear()


REFUSED, LOST = NotDone("blocked", permanent=True), ConnectionResetError("peer")


@pytest.mark.parametrize(
    ("which", "amount", "kind", "raised"),
    [
        ("pay", 1, "effect.done", None),
        ("pay", 1, "effect.tried", LOST),
        ("try", 1, "effect.failed", REFUSED),
        ("try", None, "effect.failed", REFUSED),
        ("ask", 1, "effect.denied", None),
        ("ask", None, "effect.denied", None),
        ("note", 1, "effect.done", None),
        ("note", 1, "effect.failed", ValueError("full")),
        ("pretend", 1, "effect.done", None),
        ("share", 1, "effect.done", None),
        ("share", 2, "effect.failed", None),
        ("pay", 0, "undo.done", None),
        ("pay", 0, "scope.rolled_back", None),
    ],
)
async def test_an_end_is_progress(supervised: Supervised, which: str, amount: int | None, kind: str, raised: Exception | None) -> None:
    """The worker dies just before it is written down; once it is, the deaths before it no longer count. Nothing waits for people."""
    if which == "share":
        first = await supervised.start(one("share", 1), "first")
        await supervised.rest()
        assert (await first.events("saga/share"))[-1].type == "effect.done"
    if raised is not None:
        RAISED.append(raised)
    plan = supervised.crash_at("before commit", kind if raised is not None or which != "note" else None)  # inside, it is not yet named
    run = await supervised.start(alone(which) if amount is None else one(which, amount))
    await supervised.rest()
    if which == "ask":
        await supervised.advance(61)
    assert plan.passed > 1, "the worker did not die"
    assert kind in [event.type for event in await run.events()]
    assert (await run.row()).crashes == 0
    assert await run.waiting() == []


async def test_an_undo_is_progress(supervised: Supervised) -> None:
    """Also when the next thing that the rollback does is to wait for a person."""
    plan = supervised.crash_at("before commit", "undo.done")
    run = await supervised.start(undoes())
    await supervised.rest()
    assert plan.passed > 1, "the worker did not die"
    assert (await run.history())[-2:] == ["undo.intended keep", "undo.lettered keep"]
    assert (await run.row()).crashes == 0


async def test_sending_again_is_no_progress(supervised: Supervised) -> None:
    """An effect that kills its worker each time it is sent ends as poison."""
    for nth in range(1, 4):
        supervised.crash_at("after send", nth=nth)
    run = await supervised.start(one("pay"))
    await supervised.rest()
    assert ((await run.row()).status, (await run.row()).reason) == ("parked", "poison")
