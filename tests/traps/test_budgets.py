"""Traps of budgets: what nought means, and who counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chargehand import Answer, BranchesFailed, Budget, DecisionRefused, Rejected, Retry, agent, gather, give_up, retry, spending, workflow
from chargehand.errors import BudgetExhausted, CallFailed, InvalidInput
from chargehand.supervise.budgets import Spending
from chargehand.testing import Supervised

CALLS: list[int] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests called."""
    CALLS.clear()


async def think(tokens: int) -> None:
    async with spending(model="stand-in", tokens_at_most=tokens) as spent:
        CALLS.append(tokens)
        spent.report(input=tokens, output=0)


@agent(role="Thinks.", ladder=[retry(1), give_up()])
async def thinker(tokens: int) -> int:
    await think(tokens)
    return tokens


@agent(role="Thinks on a budget of nought.", ladder=[retry(1), give_up()], budget=Budget(tokens=0))
async def broke(tokens: int) -> int:
    await think(tokens)
    return tokens


@workflow(budget=Budget(tokens=0))
async def has_nothing() -> int:
    return await thinker(1)


@workflow(budget=Budget(tokens=100))
async def has_little() -> int:
    total = 0
    for _ in range(5):
        total += await thinker(40)
    return total


@workflow
async def has_no_bound() -> int:
    return await thinker(10**9)


@workflow(budget=Budget(tokens=100))
async def has_a_broke_child() -> int:
    return await broke(1)


@pytest.mark.parametrize("workflow_", [has_nothing, has_a_broke_child])
async def test_nought_is_nothing(supervised: Supervised, workflow_: object) -> None:
    """ml-commons #4820: a child's budget of 0 was read as unlimited."""
    with pytest.raises((BudgetExhausted, Rejected)):
        await supervised.run(workflow_())  # type: ignore[operator]
    assert CALLS == []


async def test_none_is_unlimited(supervised: Supervised) -> None:
    """Only no budget is no bound."""
    assert await supervised.run(has_no_bound()) == 10**9


async def test_one_budget_over_the_whole_tree(supervised: Supervised) -> None:
    """claude-code #94013: three subagents spent 1.7 million tokens, each within its own bound; what is asked beyond the run's is not called."""
    with pytest.raises((BudgetExhausted, Rejected)):
        await supervised.run(has_little())
    assert CALLS == [40, 40]


async def test_a_crash_does_not_refund(supervised: Supervised) -> None:
    """What was reserved when the process died counts as spent."""
    supervised.crash_at("after attempt", nth=2)
    with pytest.raises((BudgetExhausted, Rejected)):
        await supervised.run(has_little())
    assert sum(CALLS) <= 120


@agent(role="Thinks for long.", ladder=[retry(1), give_up()])
async def thinks_long(tokens: int) -> int:
    async with spending(model="stand-in", tokens_at_most=tokens) as spent:
        CALLS.append(tokens)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        spent.report(input=tokens, output=0)
    return tokens


@agent(role="Thinks on a small budget.", ladder=[retry(1), give_up()], budget=Budget(calls=1, tokens=1000))
async def thinks_once(tokens: int) -> int:
    await think(tokens)
    await think(tokens)
    return tokens


@workflow(budget=Budget(tokens=100))
async def has_little_at_once() -> None:
    await thinker(30)
    await gather(thinks_long(50), thinks_long(50))


@workflow(budget=Budget(tokens=10_000))
async def has_a_small_agent() -> None:
    await gather(thinks_once(5))


async def test_an_exhausted_budget_names_itself(supervised: Supervised) -> None:
    """Which limit, of whom, what is spent and reserved, what was asked, by which call, and what to do."""
    with pytest.raises(BranchesFailed) as failed:
        await supervised.run(has_little_at_once())
    assert (
        "The budget of the workflow has_little_at_once does not hold the call of gather.2/thinks_long: 100 tokens are allowed, 30 are spent, "
        "50 are reserved by calls under way, 50 more are wanted. Raise Budget(tokens=…) of the workflow has_little_at_once, spend less, "
        "or choose on_exhaustion=."
    ) in str(failed.value.exceptions[0])
    with pytest.raises(BranchesFailed) as failed:
        await supervised.run(has_a_small_agent())
    assert (
        "The budget of the agent thinks_once at gather.1/thinks_once does not hold the call of gather.1/thinks_once: 1 calls are allowed, "
        "0 are spent, 1 are reserved by calls under way, 1 more are wanted. Raise Budget(calls=…) of the agent thinks_once"
    ) in str(failed.value.exceptions[0])


@workflow(budget=Budget(tokens=10))
async def has_a_bound_of_its_own() -> int:
    """Spend more than is allowed inside it."""
    return await thinker(60)


@workflow
async def calls_what_is_bounded() -> int:
    """Call a workflow that has a budget, inside this run."""
    return await has_a_bound_of_its_own()


async def test_a_nested_workflow_keeps_its_budget(supervised: Supervised) -> None:
    """A workflow's budget bounds what it spends also where another workflow calls it."""
    with pytest.raises(BudgetExhausted, match="The budget of the workflow has_a_bound_of_its_own at has_a_bound_of_its_own"):
        await supervised.run(calls_what_is_bounded())


@agent(role="Thinks.", budget=Budget(tokens=10, on_exhaustion="ask"), ladder=[give_up()])
async def asks_for_more(tokens: int) -> int:
    """Spend more than is allowed, if a person says so."""
    async with spending(model="stand-in", tokens_at_most=tokens) as block:
        block.report(input=tokens)
    return tokens


@workflow
async def may_get_more() -> int:
    """Have an agent ask for more."""
    return await asks_for_more(60)


async def test_whether_to_go_on_is_answered_with_true_or_false(supervised: Supervised) -> None:
    """Who types yes means yes: an answer that is neither true nor false is refused, before it counts as a no."""
    run = await supervised.start(may_get_more())
    for answer in ("yes", "maybe", 1, None):
        with pytest.raises(DecisionRefused, match="true or false"):
            await supervised.decide("question", Answer(answer))
    await supervised.decide("question", Answer(True))
    assert await run.result() == 60


@workflow(budget=Budget(tokens=100))
async def takes_back() -> int:
    return await refunder(60) + await refunder(60)


@agent(role="Reports less than nothing.", ladder=[retry(1), give_up()], retry_errors=Retry(attempts=1))
async def refunder(tokens: int) -> int:
    async with spending(model="stand-in", tokens_at_most=tokens) as spent:
        CALLS.append(tokens)
        spent.report(input=-tokens, output=0)
    return tokens


@pytest.mark.parametrize("wrong", [{"input": -1}, {"output": -1}, {"usd": "-0.01"}, {"usd": "NaN"}, {"usd": "much"}])
def test_nobody_reports_less_than_nothing(wrong: dict[str, Any]) -> None:
    """What cannot have been spent is refused with the amount, and what was reserved counts."""
    block = Spending("stand-in")
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        block.report(**wrong)
    assert block.spent is None


async def test_an_agent_cannot_enlarge_its_budget(supervised: Supervised) -> None:
    """A negative report fails the attempt and gives nothing back."""
    with pytest.raises(CallFailed, match="negative: -60"):
        await supervised.run(takes_back())
    assert CALLS == [60]
