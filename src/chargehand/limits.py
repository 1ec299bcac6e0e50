"""Retries, budgets, rates and breakers as arithmetic on values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Literal, get_args

from chargehand.errors import DefinitionError

Seconds = float | int | timedelta


def seconds(value: Seconds) -> float:
    """Return a duration in seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def positive_seconds(value: Seconds, what: str) -> float:
    """Return a duration in seconds. Raises `DefinitionError` when it is none that anything could take."""
    if not (number := seconds(value)) > 0:
        raise DefinitionError(f"{what} is not a positive number of seconds: {value!r}. Give a number above 0, or leave it out.")
    return number


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon a call is tried again. `attempts` counts the first try; times are seconds.

    The n-th wait is ``first * factor ** (n - 1)``, at most `ceiling`; with `jitter` it is drawn evenly between half of
    that and all of it ("equal jitter"). A server's ``Retry-After`` is honoured when it is longer.
    """

    attempts: int = 4
    first: float = 1.0
    factor: float = 2.0
    ceiling: float = 60.0
    jitter: bool = True
    unknown: bool | None = None
    """Also retry when the outcome is unknown. Only for effects with a key; refused otherwise (`UnsafeRetry`)."""

    def __post_init__(self) -> None:
        if not self.attempts >= 1:
            raise DefinitionError(f"Retry(attempts={self.attempts!r}) never tries: attempts counts the first try and is at least 1.")
        if not (self.first >= 0 and self.factor >= 1 and self.ceiling >= 0):
            pauses = f"first={self.first!r}, factor={self.factor!r}, ceiling={self.ceiling!r}"
            raise DefinitionError(f"Retry({pauses}) has no pauses: first and ceiling are at least 0 seconds, factor at least 1.")

    def wait(self, tries: int, draw: float, retry_after: float | None = None) -> float:
        """Return the seconds to wait after `tries` tries; `draw` is a number in [0, 1) that decides the jitter."""
        longest = min(self.ceiling, self.first * self.factor ** (tries - 1))
        waited = longest / 2 + longest / 2 * draw if self.jitter else longest
        return max(waited, retry_after or 0.0)


OnExhaustion = Literal["stop", "ask", "degrade"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run of a workflow or a call of an agent may spend, everything inside it included. None is unlimited, 0 is nothing.

    `tokens` in and out, `usd` in US dollars, `calls` of models and `seconds` that they took: what `spending` blocks reserve
    and report. When a call would go over it, nothing is spent, and `on_exhaustion` decides: "stop" fails the call and ends the agent's
    ladder, "degrade" goes on to the next rung, such as `fall_back`, "ask" asks a person, who may lift the budget.
    """

    tokens: int | None = None
    usd: Decimal | None = None
    calls: int | None = None
    seconds: float | None = None
    on_exhaustion: OnExhaustion = "stop"

    def __post_init__(self) -> None:
        for name in ("tokens", "usd", "calls", "seconds"):
            bound = getattr(self, name)
            if bound is not None and not bound >= 0:
                raise DefinitionError(f"Budget({name}={bound!r}) cannot be kept. 0 allows nothing, None is unlimited.")
        if self.on_exhaustion not in get_args(OnExhaustion):
            raise DefinitionError(f"Budget(on_exhaustion={self.on_exhaustion!r}) is none of: {', '.join(get_args(OnExhaustion))}.")


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent or is reserved. `measured` is false where code never reported."""

    tokens: int = 0
    usd: Decimal = Decimal(0)
    calls: int = 0
    seconds: float = 0.0
    measured: bool = False

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.tokens + other.tokens,
            self.usd + other.usd,
            self.calls + other.calls,
            self.seconds + other.seconds,
            self.measured or other.measured,
        )

    def record(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"tokens": self.tokens, "usd": str(self.usd), "calls": self.calls, "seconds": self.seconds}

    @classmethod
    def from_record(cls, form: Mapping[str, Any]) -> Spent:
        """Make it again from its JSON form."""
        return cls(form["tokens"], Decimal(form["usd"]), form["calls"], form["seconds"], True)


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The bound of a budget that a call would break: which one, how much of it is spent and reserved, how much the call wants."""

    bound: str
    allowed: int | float | Decimal
    spent: int | float | Decimal
    reserved: int | float | Decimal
    wanted: int | float | Decimal

    def __str__(self) -> str:
        unit = "US dollars" if self.bound == "usd" else self.bound
        return (
            f"{_plain(self.allowed)} {unit} are allowed, {_plain(self.spent)} are spent, {_plain(self.reserved)} are reserved by calls "
            f"under way, {_plain(self.wanted)} more are wanted"
        )


def _plain(amount: int | float | Decimal) -> str:
    return f"{amount:.3f}".rstrip("0").rstrip(".") if isinstance(amount, float) else str(amount)


def exceeds(budget: Budget, spent: Spent, reserved: Spent, wanted: Spent) -> Exhausted | None:
    """Return which bound of the budget `spent + reserved + wanted` would break, or None."""
    total = spent + reserved + wanted
    for name in ("tokens", "usd", "calls", "seconds"):
        bound = getattr(budget, name)
        if bound is not None and getattr(total, name) > bound:
            return Exhausted(name, bound, getattr(spent, name), getattr(reserved, name), getattr(wanted, name))
    return None


Per = Callable[[Any], Hashable]
"""What a place or a rate is counted for: a function of the call, whose arguments are its attributes."""


@dataclass(frozen=True, slots=True)
class AtOnce:
    """At most `n` at the same time in this process: calls, or runs of a workflow. Who comes later waits, and uses no attempt.

    With ``per=lambda call: call.customer`` there are `n` places for each value that it returns; calls only. An attempt of an
    agent keeps its place to its end, also while its body waits for a person.
    """

    n: int
    per: Per | None = None

    def __post_init__(self) -> None:
        if not self.n >= 1:
            raise DefinitionError(f"AtOnce needs at least 1 place, not {self.n!r}.")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `n` begin in any `per_seconds` seconds in this process: calls, or runs of a workflow. Who comes later waits.

    With ``per=lambda call: call.customer`` each value that it returns has a rate of its own; calls only.
    """

    n: int
    per_seconds: float = 1.0
    per: Per | None = None

    def __post_init__(self) -> None:
        if not (self.n >= 1 and self.per_seconds > 0):
            raise DefinitionError(f"Rate needs at least 1 call and a positive number of seconds, not {self.n!r} in {self.per_seconds!r} s.")


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens after `failures` transient failures in a row. While it is open calls wait, and use no attempt.

    After `rest` seconds one call is let through: if it succeeds the breaker closes, if it fails it is open for another `rest`.
    A permanent failure (a 404, a `ValueError`, what `raises=` names) says nothing about the service and changes nothing.
    """

    failures: int = 5
    rest: float = 30.0

    def __post_init__(self) -> None:
        if not (self.failures >= 1 and self.rest >= 0):
            raise DefinitionError(
                f"Breaker needs at least 1 failure and a rest of at least 0 seconds, not {self.failures!r} and {self.rest!r} s."
            )


@dataclass(frozen=True, slots=True)
class BreakerState:
    """How a breaker stands. `opened` is a monotonic time, None while closed."""

    failures: int = 0
    opened: float | None = None

    def after(self, ok: bool, breaker: Breaker, now: float) -> BreakerState:
        """Return the state after a call ended."""
        if ok:
            return BreakerState()
        failures = self.failures + 1
        return BreakerState(failures, now if failures >= breaker.failures else None)

    def closed_in(self, breaker: Breaker, now: float) -> float:
        """Return in how many seconds a call may be tried; 0 when now."""
        return 0.0 if self.opened is None else max(0.0, self.opened + breaker.rest - now)


class RateWindow:
    """The last `n` beginnings under a rate, as monotonic times, oldest first. They may lie ahead, when they are booked."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._begun: deque[float] = deque(maxlen=rate.n)

    def pause(self, now: float) -> float:
        """Return in how many seconds one may begin; 0 when now."""
        return 0.0 if len(self._begun) < self.rate.n else max(0.0, self._begun[0] + self.rate.per_seconds - now)

    def take(self, now: float) -> float:
        """Begin now and return 0, or return in how many seconds to ask again."""
        pause = self.pause(now)
        if pause <= 0:
            self._begun.append(now)
        return pause

    def book(self, now: float) -> float:
        """Take the next beginning that there is room for; return in how many seconds it is."""
        pause = self.pause(now)
        self._begun.append(now + pause)
        return pause

    def over(self, now: float) -> bool:
        """Say whether nothing that has begun counts any more."""
        return not self._begun or self._begun[-1] + self.rate.per_seconds <= now
