"""Budgets, rates and breakers in simulated runs, and the model that says when they were not kept.

Budgets are a promise: whatever dies, a run's calls never cost more than it may spend, and what a call may cost is on disk before it
is made. Rates and breakers are kept by each process for itself, so the model counts by process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

from chargehand import Breaker, Budget, Rate, Retry, effect, injected, spending, step

from .loop import Place, current_place
from .services import Services

if TYPE_CHECKING:
    from .model_runs import Run

SOON = Retry(attempts=3, first=2.0, factor=2.0, ceiling=20.0)
TOKENS, AT_MOST = 220, 50
"""What a run may spend, and what one call may cost."""
BUDGET = Budget(tokens=TOKENS)
RATE = Rate(2, 60.0)
BREAKER = Breaker(failures=2, rest=90.0)


def cost(ref: str) -> int:
    """Return what a call really costs."""
    return 10 + crc32(ref.encode()) % (AT_MOST - 9)


@dataclass
class Fuse:
    """A breaker, as the model knows it."""

    failures: int = 0
    opened: float | None = None
    trying: bool = False


@dataclass
class Limits:
    """What was spent and begun, by run and by process. `runs` gives a run by its id."""

    complain: Callable[[str], None]
    now: Callable[[], float]
    runs: Callable[[str], Run | None] = lambda id: None
    spent: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    begun: defaultdict[Any, list[float]] = field(default_factory=lambda: defaultdict(list))
    fuses: defaultdict[Any, Fuse] = field(default_factory=lambda: defaultdict(Fuse))

    def spends(self, ref: str) -> None:
        """A model is called: it was reserved, and the budget holds it."""
        id = ref.partition(".")[0]
        run = self.runs(id)
        self.spent[id] += cost(ref)
        self.calls[id] += 1
        if self.spent[id] > TOKENS:
            self.complain(f"{id} has spent {self.spent[id]} of {TOKENS} tokens")
        reserved = sum(event.type == "spent" for event in run.events) if run is not None else 0
        if self.calls[id] > reserved:
            self.complain(f"{id} calls its model for the {self.calls[id]}th time and has reserved {reserved} times")

    def begins(self, place: Place | None, path: str) -> None:
        """An effect is about to begin: its rate has room."""
        if path.rpartition("/")[2].partition("#")[0] != "toll":
            return
        begun = self.begun[place]
        if len(begun) >= RATE.n and begun[-RATE.n] + RATE.per_seconds - self.now() > 1e-6:
            self.complain(f"{place}: {path} begins at {self.now()}, after {begun[-RATE.n :]}")
        begun.append(self.now())

    async def through(self, call: Any) -> Any:
        """Make a call that a breaker protects."""
        place = current_place.get()
        fuse = self.fuses[place]
        trial = fuse.opened is not None
        if fuse.opened is not None and (fuse.trying or fuse.opened + BREAKER.rest - self.now() > 1e-6):
            self.complain(f"{place}: a call goes through a breaker that opened at {fuse.opened}, at {self.now()} ({fuse.trying})")
        fuse.trying = fuse.trying or trial
        try:
            answer = await call
        except Exception as error:
            if not getattr(error, "permanent", False):
                fuse.failures += 1
                fuse.opened = self.now() if fuse.failures >= BREAKER.failures else None
            raise
        else:
            fuse.failures, fuse.opened = 0, None
        finally:
            fuse.trying = fuse.trying and not trial
        return answer


@step(name="metered", retry=SOON)
async def metered(ref: str, services: Services = injected()) -> str:
    """Call a model."""
    async with spending(tokens_at_most=AT_MOST) as spent:
        services.limits.spends(ref)
        text = await services.think(ref)
        spent.report(output=cost(ref))
    return text


@step(name="ferry", retry=SOON, breaker=BREAKER)
async def ferry(ref: str, services: Services = injected()) -> str:
    """Ask a service that a breaker protects."""
    answer: str = await services.limits.through(services.think(ref))
    return answer


async def take_back_toll(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("toll", ref, idempotency_key)


@effect(name="toll", undo=take_back_toll, rate=RATE, retry=SOON, undo_retry=SOON)
async def toll(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Keyed, twice a minute."""
    return await services.make("toll", ref, amount, idempotency_key)
