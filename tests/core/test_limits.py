"""Retries, budgets, rates and breakers as arithmetic."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from chargehand import AtOnce, Breaker, Budget, Rate, Retry
from chargehand.errors import DefinitionError
from chargehand.limits import BreakerState, RateWindow, Spent, exceeds, seconds


def test_a_retry_counts_the_first_try_and_grows_to_its_ceiling() -> None:
    """first, first*factor, … never above the ceiling; jitter draws between half and all of it."""
    plain = Retry(attempts=4, first=1.0, factor=2.0, ceiling=5.0, jitter=False)
    assert [plain.wait(tries, 0.7) for tries in (1, 2, 3, 4, 9)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    drawn = [Retry(first=8.0).wait(1, draw / 10) for draw in range(10)]
    assert min(drawn) == 4.0
    assert max(drawn) < 8.0


def test_a_servers_longer_wish_is_honoured() -> None:
    """Retry-After counts when it is longer than the own pause, also above the ceiling."""
    plain = Retry(first=1.0, ceiling=5.0, jitter=False)
    assert plain.wait(1, 0.0, 30.0) == 30.0
    assert plain.wait(1, 0.0, 0.1) == 1.0


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"attempts": -1}, {"first": -1.0}, {"factor": 0.5}, {"ceiling": float("nan")}])
def test_a_retry_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    """attempts counts the first try and is at least one."""
    with pytest.raises(DefinitionError, match="at least"):
        Retry(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"tokens": -5}, {"usd": Decimal("-0.01")}, {"calls": -1}, {"seconds": float("nan")}, {"on_exhaustion": "sleep"}]
)
def test_a_budget_that_nobody_can_keep_is_refused(wrong: dict[str, Any]) -> None:
    """Nought allows nothing and None is unlimited; less than nothing is a mistake, and so is another way to end."""
    with pytest.raises(DefinitionError, match=next(iter(wrong))):
        Budget(**wrong)


@pytest.mark.parametrize(
    ("budget", "spent", "wanted", "broken"),
    [
        (Budget(), Spent(10**9, Decimal(10**6), 10**6, 1e9), Spent(1), None),
        (Budget(calls=0), Spent(), Spent(calls=1), "calls"),
        (Budget(tokens=0), Spent(), Spent(tokens=1), "tokens"),
        (Budget(tokens=0), Spent(), Spent(), None),
        (Budget(calls=3), Spent(calls=2), Spent(calls=1), None),
        (Budget(calls=3), Spent(calls=3), Spent(calls=1), "calls"),
        (Budget(usd=Decimal("0.10")), Spent(usd=Decimal("0.05")), Spent(usd=Decimal("0.06")), "usd"),
        (Budget(tokens=100, calls=1), Spent(calls=1), Spent(tokens=1, calls=1), "calls"),
    ],
)
def test_none_is_unlimited_and_nought_is_nothing(budget: Budget, spent: Spent, wanted: Spent, broken: str | None) -> None:
    """A budget of 0 allows nothing; only None is without a bound."""
    for said in (exceeds(budget, spent, Spent(), wanted), exceeds(budget, Spent(), spent, wanted)):
        assert (said and said.bound) == broken


def test_a_broken_bound_says_all_its_numbers() -> None:
    """What is allowed, what is spent, what is reserved, what is wanted: whoever reads it knows what to raise, and by how much."""
    said = exceeds(Budget(usd=Decimal("1.50")), Spent(usd=Decimal("1.00")), Spent(usd=Decimal("0.30")), Spent(usd=Decimal("0.25")))
    assert str(said) == "1.50 US dollars are allowed, 1.00 are spent, 0.30 are reserved by calls under way, 0.25 more are wanted"
    said = exceeds(Budget(seconds=10), Spent(seconds=12.34567), Spent(), Spent(tokens=5))
    assert str(said) == "10 seconds are allowed, 12.346 are spent, 0 are reserved by calls under way, 0 more are wanted"


def test_a_rate_lets_so_many_begin_in_any_window() -> None:
    """The window slides: no n+1 starts within it, ever."""
    window = RateWindow(Rate(2, 10.0))
    starts: list[float] = []
    now = 100.0
    for _ in range(7):
        while (pause := window.take(now)) > 0:
            now += pause
        starts.append(now)
    assert all(later - earlier >= 10.0 for earlier, later in zip(starts, starts[2:], strict=False))


def test_a_booked_rate_comes_in_turn() -> None:
    """Who books gets the next free beginning, however many have booked before; nothing that is over counts."""
    window = RateWindow(Rate(2, 10.0))
    assert [window.book(100.0) for _ in range(5)] == [0.0, 0.0, 10.0, 10.0, 20.0]
    assert [window.over(now) for now in (120.0, 129.9, 130.0)] == [False, False, True]
    assert window.book(200.0) == 0.0


def test_a_breaker_opens_and_lets_one_through_again() -> None:
    """After so many failures in a row it is shut for its rest; a success closes it."""
    breaker, state = Breaker(failures=2, rest=30.0), BreakerState()
    state = state.after(False, breaker, 0.0)
    assert state.closed_in(breaker, 0.0) == 0.0
    state = state.after(False, breaker, 1.0)
    assert state.closed_in(breaker, 11.0) == 20.0
    assert state.closed_in(breaker, 31.0) == 0.0
    assert state.after(True, breaker, 31.0) == BreakerState()


def test_limits_that_let_nothing_through_are_refused() -> None:
    """No place and no rate would wait for ever."""
    with pytest.raises(DefinitionError, match="at least 1"):
        AtOnce(0)
    with pytest.raises(DefinitionError, match="at least 1"):
        Rate(0, 1.0)
    with pytest.raises(DefinitionError, match="at least 1"):
        Breaker(0)
    assert seconds(timedelta(minutes=2)) == 120.0
