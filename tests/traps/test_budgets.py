"""Traps of budgets: what nought means, and who counts."""

from __future__ import annotations

import pytest

from chargehand import Budget, Rejected, agent, give_up, retry, spending, workflow
from chargehand.errors import BudgetExhausted
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
