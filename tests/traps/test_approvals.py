"""Traps of approvals: what was approved, by whom, and what ran."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from chargehand import Approve, DecisionRefused, Denied, Reject, agent, effect, gather, injected, workflow
from chargehand.testing import Supervised, always

DONE: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests did."""
    DONE.clear()


async def take_back(receipt: str) -> None: ...


@effect(undo=take_back, approve=True, advisory=("note",))
async def send(amount: float, to: str = "acme", note: str = "", idempotency_key: str = injected()) -> str:
    DONE.append((amount, to, note))
    return f"{to} {amount}"


@agent(role="Pays.", uses=[send])
async def payer(to: str) -> str:
    return await send(3, to)


@workflow
async def one(amount: float, to: str, note: str) -> str:
    return await send(amount, to, note)


@workflow
async def side_by_side() -> list[str]:
    return list(await gather(send(1, "a"), send(1, "b"), send(1, "c")))


@workflow
async def by_agents() -> list[str]:
    return list(await gather(payer("a"), payer("b")))


async def digest_of(supervised: Supervised, *call: Any) -> str:
    """Return the digest that an approver of this call is shown."""
    run = await supervised.start(one(*call))
    await supervised.rest()
    return (await run.waiting())[0].digest


async def test_the_digest_is_over_bound_arguments(supervised: Supervised) -> None:
    """quater #72: a hash over the raw JSON differed for equal calls; bound and validated arguments, defaults included, do not."""
    assert await digest_of(supervised, 1, "acme", "") == await digest_of(supervised, 1.0, "acme", "")
    assert await digest_of(supervised, 1, "acme", "") != await digest_of(supervised, 1, "bolt", "")


async def test_a_reworded_note_can_still_be_spent(supervised: Supervised) -> None:
    """ShieldCortex #201: a hash over advisory fields, which a model rewords, made approvals that could never be spent."""
    assert await digest_of(supervised, 1, "acme", "please") == await digest_of(supervised, 1, "acme", "kindly")


async def test_fields_cannot_run_into_each_other(supervised: Supervised) -> None:
    """Agenta #5757: without a separator two different calls had one hash."""

    digests = {await digest_of(supervised, 1, to, "") for to in ('a","note":"', "a", 'a"', "a\\", "a\0")}
    assert len(digests) == 5


async def test_extra_arguments_are_no_way_around(supervised: Supervised) -> None:
    """xaidr #1: a hash over a subset let anything ride along; what the effect does not take is refused, not ignored."""
    run = await supervised.start(one(1, "acme", ""))
    with pytest.raises(DecisionRefused, match="cc"):
        await supervised.decide("approval", Approve(edit={"amount": 1, "to": "acme", "note": "", "cc": "eve"}))
    await supervised.rest()
    assert DONE == []
    assert len(await run.waiting()) == 1


async def test_an_answer_reaches_the_call_it_was_given_to(supervised: Supervised) -> None:
    """langgraph #6533: a resume value was delivered to the wrong one of several parallel interrupts."""
    run = await supervised.start(side_by_side())
    await supervised.decide("gather.2/send", Approve())
    await supervised.rest()
    assert [to for _, to, _ in DONE] == ["b"]
    await supervised.decide("gather.3/send", Reject("not c"))
    await supervised.decide("gather.1/send", Approve())
    with pytest.raises(ExceptionGroup) as caught:
        await run.result()
    assert [type(error) for error in caught.value.exceptions] == [Denied]
    assert [to for _, to, _ in DONE] == ["b", "a"]


async def test_nested_and_parallel_waits_are_kept_apart(supervised: Supervised) -> None:
    """openai-agents #4244, agent-framework #819: approvals inside agents side by side were lost or mixed up after a restart."""
    run = await supervised.start(by_agents())
    await supervised.restart()
    entries = await run.waiting()
    assert sorted(entry.shows["arguments"]["to"] for entry in entries) == ["a", "b"]
    first = next(entry for entry in entries if entry.shows["arguments"]["to"] == "b")
    await supervised.decide(first.id, Approve())
    await supervised.rest()
    assert [to for _, to, _ in DONE] == ["b"]
    await supervised.decide("approval", Approve())
    assert await run.result() == ["a 3.0", "b 3.0"]


async def test_what_waits_is_not_held_by_a_weak_reference(supervised: Supervised) -> None:
    """openai-agents #2487: pending approvals lived in a weak in-memory cache and were gone after a collection."""
    run = await supervised.start(one(1, "acme", ""))
    await supervised.unload()
    gc.collect()
    await supervised.crash()
    gc.collect()
    await supervised.decide("approval", Approve())
    assert await run.result() == "acme 1.0"


async def test_no_model_reads_a_persons_answer(supervised: Supervised) -> None:
    """CrewAI: a language model interpreted the person's yes or no; here a text is a reason, never a decision."""
    run = await supervised.start(one(1, "acme", ""))
    await supervised.decide("approval", Reject("yes, absolutely, go ahead"))
    with pytest.raises(Denied, match="go ahead"):
        await run.result()
    assert DONE == []


async def test_an_approval_in_a_run_is_none_in_the_next(supervised: Supervised) -> None:
    """mcp-hangar #665: approve once, replay the call elsewhere; an approval belongs to one call of one run."""
    first = await supervised.start(one(1, "acme", ""))
    await supervised.decide("approval", Approve())
    await first.result()
    second = await supervised.start(one(1, "acme", ""))
    await supervised.rest()
    assert len(DONE) == 1
    assert [entry.kind for entry in await second.waiting()] == ["approval"]


async def test_the_stand_in_of_a_test_asks_too(supervised: Supervised) -> None:
    """A replaced effect is still an effect: it asks, and is journaled, like the real one."""
    supervised.replace(send, always("sent"))
    run = await supervised.start(one(1, "acme", ""))
    await supervised.rest()
    assert [entry.kind for entry in await run.waiting()] == ["approval"]
