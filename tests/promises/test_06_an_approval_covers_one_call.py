"""Promise 6: an approval covers one call: that tool, those arguments, that environment, that code; it expires, is spent once, and binds what was seen."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from chargehand import (
    Approval,
    Approve,
    DecisionRefused,
    Denied,
    DoneByHand,
    InvalidInput,
    Person,
    Reject,
    effect,
    injected,
    workflow,
)
from chargehand.testing import POINTS, Supervised

from .deploy import deployed

PAID: list[tuple[int, str]] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests paid."""
    PAID.clear()


async def take_back(receipt: str) -> None: ...


@effect(undo=take_back, approve=Approval(within=3600), advisory=("note",))
async def pay(amount: int, to: str = "acme", note: str = "", idempotency_key: str = injected()) -> str:
    PAID.append((amount, to))
    return f"paid {amount}"


@effect(undo=take_back, approve=Approval(role="cfo", votes=2, not_starter=True))
async def pay_much(amount: int) -> str:
    PAID.append((amount, "much"))
    return f"paid {amount}"


@effect(undo=take_back, approve=lambda call: call.limit > 3)
async def oddly_approved(amount: int) -> str:
    PAID.append((amount, "oddly"))
    return "paid"


@workflow
async def pays_once() -> str:
    return await pay(10)


@workflow
async def pays_twice() -> str:
    return await pay(10) + ", " + await pay(10)


@workflow
async def pays_much() -> str:
    return await pay_much(1000)


@workflow
async def pays_oddly() -> str:
    return await oddly_approved(1)


PROGRAM = """
from chargehand import Approval, effect, workflow

PAID = []

async def take_back(receipt: str) -> None: ...

@effect(undo=take_back, approve=Approval(within=3600))
async def pay(amount: int, to: str = "acme") -> str:
    PAID.append((amount, to))
    return f"paid {amount}"

@workflow
async def pays_once() -> str:
    return await pay(10)
"""


async def test_the_approver_sees_exactly_what_runs(supervised: Supervised) -> None:
    """Bound and checked arguments, defaults included, environment and tool are shown; the digest names them."""
    run = await supervised.start(pays_once())
    (entry,) = await supervised.waiting()
    assert entry.shows["arguments"] == {"amount": 10, "to": "acme", "note": ""}
    assert entry.shows["environment"] == "development"
    assert entry.shows["tool"].endswith("pay")
    await supervised.decide(entry.id, Approve(), shown=entry.digest)
    await run.result()
    assert PAID == [(10, "acme")]


async def test_what_was_shown_must_be_what_waits(supervised: Supervised) -> None:
    """A decision on another sight of the call is refused."""
    await supervised.start(pays_once())
    with pytest.raises(DecisionRefused, match="shown"):
        await supervised.decide("approval", Approve(), shown="0" * 32)
    assert PAID == []


async def test_it_is_spent_once(supervised: Supervised) -> None:
    """An equal second call asks again."""
    run = await supervised.start(pays_twice())
    await supervised.decide("approval", Approve())
    await supervised.rest()
    assert PAID == [(10, "acme")]
    (entry,) = await supervised.waiting()
    assert entry.path == "pay#2"
    await supervised.decide(entry.id, Reject("once is enough"))
    with pytest.raises(Denied):
        await run.result()
    assert len(PAID) == 1


async def test_it_expires(supervised: Supervised) -> None:
    """Nobody answered in time means no; a decision that comes later finds nothing."""
    run = await supervised.start(pays_once())
    (entry,) = await supervised.waiting()
    await supervised.advance(3601)
    with pytest.raises(Denied, match="in time"):
        await run.result()
    assert PAID == []
    assert entry.due == entry.created + 3600


async def test_an_approval_that_was_not_begun_in_time_asks_again(supervised: Supervised) -> None:
    """The expiry bounds the time to the first intent: approved, then the process was away too long, a person is asked anew."""
    run = await supervised.start(pays_once())
    supervised.crash_at("before intent", away=2 * 3600)
    await supervised.decide("approval", Approve())
    await supervised.rest()
    assert supervised.crashes == 1
    assert PAID == []
    await supervised.decide("approval", Approve())
    assert await run.result() == "paid 10"
    assert PAID == [(10, "acme")]


async def test_an_edit_binds_the_edited_arguments(supervised: Supervised) -> None:
    """What the editor entered is checked, and exactly that runs."""
    run = await supervised.start(pays_once())
    await supervised.decide("approval", Approve(edit={"amount": 7, "to": "bolt"}))
    assert await run.result() == "paid 7"
    assert PAID == [(7, "bolt")]


async def test_an_invalid_edit_changes_nothing(supervised: Supervised) -> None:
    """Arguments edited into invalid ones are not taken; the call still waits as it was."""
    run = await supervised.start(pays_once())
    for wrong in ({"amount": "lots"}, {}, {"amount": 1, "cent": 2}):
        with suppress(DecisionRefused, InvalidInput):
            await supervised.decide("approval", Approve(edit=wrong))
        await supervised.rest()
        assert PAID == []
    await supervised.decide("approval", Approve())
    assert await run.result() == "paid 10"


async def test_changed_code_asks_again_and_shows_both(supervised: Supervised) -> None:
    """Approved, then a deploy changed what the effect does: it goes back to the person, nothing is lost."""
    run = await supervised.start(deployed(PROGRAM).pays_once())
    await supervised.rest()
    changed = deployed(PROGRAM.replace('f"paid {amount}"', 'f"paid {amount} twice"'))
    await supervised.restart([changed.pays_once])
    await supervised.decide("approval", Approve())
    await supervised.rest()
    (entry,) = await supervised.waiting()
    assert changed.PAID == []
    assert entry.shows["approved_before"] == {"amount": 10, "to": "acme"}
    await supervised.decide("approval", Approve())
    assert await run.result() == "paid 10 twice"


async def test_a_deploy_that_does_not_touch_the_effect_voids_nothing(supervised: Supervised) -> None:
    """The digest covers the effect's syntax tree: neither comments nor the rest of the program."""
    run = await supervised.start(deployed(PROGRAM).pays_once())
    (entry,) = await supervised.waiting()
    later = PROGRAM.replace("    PAID.append", "    # note it\n    PAID.append") + "\n\ndef unrelated() -> int:\n    return 1\n"
    changed = deployed(later)
    await supervised.restart([changed.pays_once])
    await supervised.decide("approval", Approve(), shown=entry.digest)
    assert await run.result() == "paid 10"
    assert changed.PAID == [(10, "acme")]


async def test_approval_in_one_environment_is_none_in_another() -> None:
    """The same call in staging is another call."""
    digests = set()
    for environment in ("development", "staging"):
        async with Supervised(environment=environment) as supervised:
            await supervised.start(pays_once())
            digests.add((await supervised.waiting())[0].digest)
    assert len(digests) == 2


async def test_advisory_arguments_do_not_count(supervised: Supervised) -> None:
    """A reworded note is the same call; another amount is not."""
    digests = {}
    for amount, note in ((1, "a"), (1, "b"), (2, "a")):

        @workflow(name=f"pays-{amount}-{note}")
        async def pays(amount: int, note: str) -> str:
            return await pay(amount, note=note)

        run = await supervised.start(pays(amount, note))
        await supervised.rest()
        digests[(amount, note)] = (await run.waiting())[0].digest
    assert digests[(1, "a")] == digests[(1, "b")] != digests[(2, "a")]


async def test_several_people_of_a_role_and_not_the_starter(supervised: Supervised) -> None:
    """Two different people of the role, none of whom started the run."""
    run = await supervised.start(pays_much(), by="carla")
    with pytest.raises(DecisionRefused, match="cfo"):
        await supervised.decide("approval", Approve(), by=Person("bert"))
    with pytest.raises(DecisionRefused, match="'carla' started the run"):
        await supervised.decide("approval", Approve(), by=Person("carla", "cfo"))
    await supervised.decide("approval", Approve(), by=Person("anna", "cfo"))
    await supervised.decide("approval", Approve(), by=Person("anna", "cfo"))
    await supervised.rest()
    assert PAID == []
    await supervised.decide("approval", Approve(), by=Person("dora", "cfo"))
    assert await run.result() == "paid 1000"


async def test_done_by_hand_sends_nothing(supervised: Supervised) -> None:
    """The person did it and enters what came of it; the result is checked like any other."""
    run = await supervised.start(pays_once())
    with pytest.raises(DecisionRefused, match="does not fit"):
        await supervised.decide("approval", DoneByHand(17))
    assert await run.status() == "waiting"
    await supervised.decide("approval", DoneByHand("paid in cash"))
    assert await run.result() == "paid in cash"
    assert PAID == []


async def test_a_predicate_that_raises_asks(supervised: Supervised) -> None:
    """When approve= itself has a defect, a person is asked."""
    await supervised.start(pays_oddly())
    assert [entry.kind for entry in await supervised.waiting()] == ["approval"]
    assert PAID == []


@pytest.mark.parametrize("point", POINTS)
async def test_wherever_it_dies_one_approval_is_one_doing(supervised: Supervised, point: str) -> None:
    """A crash between approval and outcome neither loses the approval nor spends it twice."""
    supervised.crash_at(point)
    supervised.decide("approval", Approve())
    run = await supervised.start(pays_once())
    await run.result()
    assert len([event for event in await run.events() if event.type == "effect.proposed"]) == 1
    assert set(PAID) == {(10, "acme")}


def test_nothing_of_an_approval_is_any_text() -> None:
    """A decision is a value that a program or a button makes: there is nothing that would read a person's sentence."""
    values: list[Any] = [Approve(), Reject("yes please"), DoneByHand("ok")]
    assert [value.name for value in values] == ["approve", "reject", "done"]
