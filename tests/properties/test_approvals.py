"""An approval never fits a different call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from chargehand import effect, injected, workflow
from chargehand.durable import NewMail
from chargehand.testing import Supervised

from .conftest import FEWER, SOME

PAID: list[Any] = []


class Part(BaseModel):
    """What is paid for."""

    sku: str
    number: int = 1


async def take_back(receipt: str) -> None: ...


async def _pay(part: Part, amount: int, to: str = "acme", note: str = "", idempotency_key: str = injected()) -> str:
    PAID.append((part.model_dump(), amount, to))
    return "paid"


async def _send(part: Part, amount: int, to: str = "acme", note: str = "", idempotency_key: str = injected()) -> str:
    PAID.append(("sent", part.model_dump(), amount, to))
    return "sent"


pay = effect(undo=take_back, approve=True, advisory=("note",), name="pay")(_pay)
send = effect(undo=take_back, approve=True, advisory=("note",), name="send")(_send)


@workflow(name="properties.pays")
async def pays(tool: str, part: Part, amount: int, to: str, note: str) -> str:
    return await (pay if tool == "pay" else send)(part, amount, to, note)


SHORT = st.text(st.sampled_from('ab",:\\{}\u202e é'), max_size=4)
CALLS = st.tuples(
    st.sampled_from(["pay", "send"]), st.builds(Part, sku=SHORT, number=st.integers(-2, 2)), st.integers(-2, 10**18), SHORT, SHORT
)
ENVIRONMENTS = st.sampled_from(["development", "production"])


def counting(call: tuple[Any, ...], environment: str) -> Any:
    """Return what of a call an approval covers."""
    return (*call[:4], environment)


async def entry_of(supervised: Supervised, call: tuple[Any, ...], id: str) -> Any:
    """Start a call and return its entry."""
    run = await supervised.start(pays(*call), id)
    await supervised.rest()
    return (await run.waiting())[0]


async def digests_are_those_of_the_call(one: tuple[Any, ...], other: tuple[Any, ...], here: str, there: str) -> None:
    """Two calls have one digest exactly when tool, arguments that count and environment are the same."""
    async with Supervised(environment=here) as first, Supervised(environment=there) as second:
        digests = [(await entry_of(first, one, "r")).digest, (await entry_of(second, other, "r")).digest]
    assert (digests[0] == digests[1]) == (counting(one, here) == counting(other, there))


async def an_approval_does_what_was_shown(one: tuple[Any, ...], other: tuple[Any, ...], edit: dict[str, Any]) -> None:
    """Whatever decision of one call is left for another, or edited on the way, what is done is what an approver of that very call saw."""
    PAID.clear()
    async with Supervised() as supervised:
        mine, theirs = await entry_of(supervised, one, "mine"), await entry_of(supervised, other, "theirs")
        by = {"id": "petra", "roles": []}
        bodies = [
            ("theirs", {"entry": mine.id, "decision": "approve", "by": by, "shown": mine.digest}),
            ("theirs", {"entry": theirs.id, "decision": "approve", "by": by, "shown": mine.digest + "x"}),
            ("mine", {"entry": theirs.id, "decision": "approve", "by": by}),
            ("mine", {"entry": mine.id, "decision": "edit", "by": by, "value": {**edit, "more": 1}}),
        ]
        await supervised.world.journal.post([NewMail(run, "decision", body, supervised.clock.now()) for run, body in bodies])
        await supervised.supervisor.signal("mine", "wake")
        await supervised.supervisor.signal("theirs", "wake")
        await supervised.rest()
        assert PAID == []
        assert len(await supervised.waiting()) == 2
        body = {"entry": mine.id, "decision": "approve", "by": by, "shown": mine.digest}
        await supervised.world.journal.post([NewMail("mine", "decision", body, supervised.clock.now())] * 2)
        await supervised.supervisor.signal("mine", "wake")
        await supervised.view("mine").result()
        tool, part, amount, to, _ = one
        expected: tuple[Any, ...] = (part.model_dump(), amount, to)
        assert [expected if tool == "pay" else ("sent", *expected)] == PAID
        assert mine.shows["arguments"] == {"part": part.model_dump(), "amount": amount, "to": to, "note": one[4]}


EDITS = st.dictionaries(st.sampled_from(["amount", "to", "part"]), st.integers() | SHORT | st.none(), max_size=3)
PROPERTIES: dict[Callable[..., Coroutine[Any, Any, None]], dict[str, st.SearchStrategy[Any]]] = {
    digests_are_those_of_the_call: {"one": CALLS, "other": CALLS, "here": ENVIRONMENTS, "there": ENVIRONMENTS},
    an_approval_does_what_was_shown: {"one": CALLS, "other": CALLS, "edit": EDITS},
}


def tried(holds: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Return a property as a plain function."""

    def once(**values: Any) -> None:
        asyncio.run(asyncio.wait_for(holds(**values), 60))

    return once


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_approvals(holds: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Each property holds for a few calls, always the same."""
    FEWER(given(**PROPERTIES[holds])(tried(holds)))()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_approvals_of_many_calls(holds: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Each property holds for many calls."""
    SOME(given(**PROPERTIES[holds])(tried(holds)))()
