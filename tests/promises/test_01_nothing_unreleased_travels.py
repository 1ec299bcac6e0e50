"""Promise 1: a workflow sees only outputs that passed every gate, were let through by a named person, or are a declared fallback."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand import (
    DecisionRefused,
    Edit,
    Feedback,
    GateContext,
    Person,
    Reject,
    Rejected,
    Release,
    Verdict,
    agent,
    escalate,
    fall_back,
    gate,
    give_up,
    retry,
    step,
    workflow,
)
from chargehand.testing import POINTS, Supervised, SupervisedRun, always, scripted

SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests saw downstream."""
    SEEN.clear()


@gate
def at_most_ten(n: int) -> None:
    if n > 10:
        raise Rejected(f"{n} is more than ten.")


@gate
def crashes(n: int) -> None:
    raise ZeroDivisionError("a defect in the gate")


@gate
def spoils(ns: list[int]) -> None:
    ns.clear()


@gate(costly=True)
async def even(n: int, context: GateContext) -> Verdict:
    return Verdict.passed() if n % 2 == 0 else Verdict.fail(f"{n} is odd.")


@agent(role="Says a number.", gates=[at_most_ten], ladder=[retry(2), escalate(to="ops")])
async def escalating(feedback: Feedback | None = None) -> int:
    return 0


@agent(role="Says a number.", gates=[at_most_ten, even], ladder=[retry(3), give_up()])
async def giving_up(feedback: Feedback | None = None) -> int:
    return 0


@agent(role="Says a number.", gates=[at_most_ten], ladder=[retry(1), fall_back(5)])
async def falling_back(feedback: Feedback | None = None) -> int:
    return 0


@agent(role="Says a number.", gates=[crashes], ladder=[retry(1), give_up()])
async def badly_gated() -> int:
    return 1


@agent(role="Lists numbers.", gates=[spoils])
async def lister() -> list[int]:
    return [1, 2, 3]


@step
async def downstream(n: int) -> None:
    SEEN.append(n)


@workflow
async def escalates() -> int:
    n = await escalating()
    await downstream(n)
    return n


@workflow
async def gives_up() -> int:
    n = await giving_up()
    await downstream(n)
    return n


@workflow
async def falls_back() -> int:
    n = await falling_back()
    await downstream(n)
    return n


@workflow
async def gated_by_a_defect() -> int:
    n = await badly_gated()
    await downstream(n)
    return n


@workflow
async def lists() -> list[int]:
    return await lister()


async def release_of(run: SupervisedRun[Any], path: str) -> dict[str, Any]:
    """Return what the journal says of a release."""
    (event,) = [event for event in await run.events(path) if event.type == "agent.released"]
    return event.payload


async def test_a_rejected_output_goes_back_and_not_on(supervised: Supervised) -> None:
    """What the gates refuse is told to the agent; downstream sees only what passed, and the release says so."""
    model = scripted(99, 98, 8)
    supervised.replace(giving_up, model)
    run = await supervised.start(gives_up())
    assert await run.result() == 8
    assert SEEN == [8]
    assert model.calls[1]["feedback"].reasons == ("99 is more than ten.",)
    assert (await release_of(run, "giving_up"))["by"] == "gates"


async def test_a_costly_gate_counts_like_any_other(supervised: Supervised) -> None:
    """An output that passed the quick gates waits for the costly one; its no is a no."""
    supervised.replace(giving_up, scripted(7, 4))
    assert await supervised.run(gives_up()) == 4
    assert SEEN == [4]


async def test_when_every_attempt_is_rejected_the_workflow_gets_a_failure(supervised: Supervised) -> None:
    """give_up raises Rejected; the rejected value is nowhere in the workflow's reach."""
    supervised.replace(giving_up, always(99))
    with pytest.raises(Rejected, match="99 is more than ten"):
        await supervised.run(gives_up())
    assert SEEN == []


async def test_garbage_does_not_travel(supervised: Supervised) -> None:
    """The annotation is the first gate, always on."""
    supervised.replace(giving_up, scripted("nine", None, {"n": 9}))
    with pytest.raises(Rejected, match="does not fit"):
        await supervised.run(gives_up())
    assert SEEN == []


async def test_a_person_may_let_it_through_by_name_and_reason(supervised: Supervised) -> None:
    """The release names the person and the reason."""
    supervised.replace(escalating, always(42))
    run = await supervised.start(escalates())
    await supervised.decide("escalation", Release("the limit is too low"), by=Person("olga", "ops"))
    assert await run.result() == 42
    release = await release_of(run, "escalating")
    assert (release["by"], release["person"]["id"], release["reason"]) == ("person", "olga", "the limit is too low")


async def test_nobody_lets_it_through_namelessly_or_without_a_reason(supervised: Supervised) -> None:
    """A release without a reason, or by somebody of another role, releases nothing."""
    supervised.replace(escalating, always(42))
    run = await supervised.start(escalates())
    with pytest.raises(DecisionRefused, match="ops"):
        await supervised.decide("escalation", Release("fine"), by=Person("eve", "sales"))
    await supervised.decide("escalation", Release(""), by=Person("olga", "ops"))
    await supervised.rest()
    assert SEEN == []
    assert await run.status() == "waiting"


async def test_an_edited_output_passes_all_gates_again(supervised: Supervised) -> None:
    """A person's edit that breaks a gate does not travel; one that passes does, and the release says edited."""
    supervised.replace(escalating, always(42))
    run = await supervised.start(escalates())
    await supervised.decide("escalation", Edit(41))
    await supervised.rest()
    assert SEEN == []
    await supervised.decide("escalation", Edit(9))
    assert await run.result() == 9
    assert (await release_of(run, "escalating"))["edited"] is True


async def test_a_persons_no_is_a_no(supervised: Supervised) -> None:
    """A rejected escalation fails the call."""
    supervised.replace(escalating, always(42))
    run = await supervised.start(escalates())
    await supervised.decide("escalation", Reject("guessed"))
    with pytest.raises(Rejected, match="guessed"):
        await run.result()
    assert SEEN == []


async def test_a_fallback_is_marked(supervised: Supervised) -> None:
    """A declared fallback travels, and the release says that it is one."""
    supervised.replace(falling_back, always(99))
    run = await supervised.start(falls_back())
    assert await run.result() == 5
    assert (await release_of(run, "falling_back"))["by"] == "fallback"


async def test_a_gate_that_crashes_is_not_a_pass(supervised: Supervised) -> None:
    """A gate with a defect abstains, and an abstention fails by default."""
    with pytest.raises(Rejected, match="ZeroDivisionError"):
        await supervised.run(gated_by_a_defect())
    assert SEEN == []


async def test_a_gate_gets_a_copy(supervised: Supervised) -> None:
    """A gate may read, never change what is released."""
    assert await supervised.run(lists()) == [1, 2, 3]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_wherever_it_dies_only_the_released_output_travels(supervised: Supervised, point: str, nth: int) -> None:
    """A crash between output, verdict and release lets nothing slip through: what comes downstream passed the gates."""
    said = iter([99, 7, 4, 98, 5, 2, 8, 6, 10])
    supervised.replace(giving_up, lambda: next(said))
    supervised.crash_at(point, nth=nth)
    try:
        await supervised.run(gives_up())
    except Rejected:
        assert SEEN == []
    assert all(n <= 10 and n % 2 == 0 for n in SEEN)
