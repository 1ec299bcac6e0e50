"""Budgets: reserved before spending, settled after in the result's event, over the whole tree.

A reservation is on disk before the money is spent. What was reserved and never settled, because the process died, counts
as spent. Code that never reports shows as *not measured*, never as 0.
"""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from chargehand.errors import BudgetExhausted, InvalidInput, OutsideRun
from chargehand.limits import Budget, Exhausted, Spent, exceeds
from chargehand.supervise import waiting
from chargehand.supervise.definitions import AgentDefinition, WorkflowDefinition

if TYPE_CHECKING:
    from chargehand.supervise.run import RunDriver

current_meter: contextvars.ContextVar[Meter | None] = contextvars.ContextVar("chargehand_meter", default=None)


BUDGET_QUESTION = "!budget"
"""How the path ends at which a person is asked whether to go on over a budget."""


@dataclass(slots=True)
class Meter:
    """What one call spends. `settled` holds the amounts whose reservation the result's event will settle."""

    driver: RunDriver
    path: str
    settled: dict[str, Spent] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return what the result's event says of spending: nothing when nothing was reported."""
        if not self.settled:
            return {}
        return {"spent": {name: spent.record() for name, spent in self.settled.items()}}


def _counted(what: str, given: int) -> int:
    if given < 0:
        raise InvalidInput(f"{what} is negative: {given!r}. What was spent does not come back; say how much it was.")
    return given


def _money(what: str, given: Decimal | str | None) -> Decimal:
    try:
        amount = Decimal(given or 0)
    except ArithmeticError:
        raise InvalidInput(f"{what} is no amount: {given!r}. Give US dollars, such as Decimal('0.02').") from None
    if not (amount.is_finite() and amount >= 0):
        raise InvalidInput(f"{what} is no amount that can be spent: {given!r}.")
    return amount


@dataclass(slots=True)
class Spending:
    """One call of a model, while it goes on. Report what it really used before the block ends."""

    model: str | None = None
    spent: Spent | None = None
    tokens: tuple[int, int] = (0, 0)

    def report(self, *, input: int = 0, output: int = 0, usd: Decimal | str | None = None) -> None:
        """Say how many tokens went in and came out, and what that cost in US dollars when known.

        Raises `InvalidInput` for what nobody can have spent; then what was reserved counts.
        """
        cost = _money("report(usd=…)", usd)
        self.tokens = (_counted("report(input=…)", input), _counted("report(output=…)", output))
        self.spent = Spent(sum(self.tokens), cost, 1, 0.0, True)


@asynccontextmanager
async def spending(
    *, model: str | None = None, tokens_at_most: int = 0, usd_at_most: Decimal | str | None = None
) -> AsyncIterator[Spending]:
    """Reserve what a call of a model may cost, make it inside the block, report what it did cost.

    Raises `BudgetExhausted` before anything is spent when a budget of the run or of an enclosing agent does not hold it.
    If the process dies inside: the reservation counts as spent.
    """
    meter = current_meter.get()
    if meter is None:
        raise OutsideRun("spending(…) belongs in the body of an agent, step, read or effect.")
    driver = meter.driver
    bound = _money("spending(usd_at_most=…)", usd_at_most)
    wanted = Spent(_counted("spending(tokens_at_most=…)", tokens_at_most), bound, 1, 0.0, True)
    name = await _reserve(driver, meter.path, wanted, model)
    started = driver.clock.monotonic()
    block = Spending(model)
    spans = driver.site.spans
    try:
        with nullcontext() if spans is None else spans.chat(meter, block):
            yield block
    finally:
        elapsed = driver.clock.monotonic() - started
        used = block.spent if block.spent is not None else wanted
        meter.settled[name] = driver.history.reserved[name] = Spent(used.tokens, used.usd, 1, elapsed, True)


async def _reserve(driver: RunDriver, path: str, wanted: Spent, model: str | None) -> str:
    """Put a reservation on disk. Returns its name."""
    while (refusal := _refusal(driver, path, wanted)) is not None:
        if refusal.budget.on_exhaustion != "ask":
            raise BudgetExhausted(refusal.told(path), stop=refusal.budget.on_exhaustion == "stop")
        await _ask(driver, path, refusal)
    name = f"{path}!{driver.history.reservations + len(driver.reserving) + 1}"
    driver.reserving[name] = wanted
    try:
        payload = {"reserve": wanted.record(), "name": name}
        if model is not None:
            payload["model"] = model
        await driver.log.commit(("spent", path, payload))
    finally:
        del driver.reserving[name]
    return name


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The budget that does not hold a call: whose it is, and which bound the call would break."""

    owner: str
    budget: Budget
    exhausted: Exhausted

    def told(self, path: str) -> str:
        """Return what happened, the values, and what to do."""
        more = f"Raise Budget({self.exhausted.bound}=…) of {self.owner}, spend less, or choose on_exhaustion=."
        return f"The budget of {self.owner} does not hold the call of {path}: {self.exhausted}. {more}"


def _refusal(driver: RunDriver, path: str, wanted: Spent) -> _Refusal | None:
    """Return the first budget over this path that does not hold what is wanted."""
    for prefix, owner, budget in _budgets(driver, path):
        if driver.history.raised.get(prefix, 0):
            continue
        exhausted = exceeds(budget, *_used(driver, prefix), wanted)
        if exhausted is not None:
            return _Refusal(owner, budget, exhausted)
    return None


def _used(driver: RunDriver, prefix: str) -> tuple[Spent, Spent]:
    """Return what was spent at and below a path, and what is reserved there."""
    history = driver.history
    within = (prefix + "/", prefix + "!")
    own = [amount for name, amount in driver.reserving.items() if name not in history.reserved and (not prefix or name.startswith(within))]
    return history.settled_in(prefix), sum(own, history.reserved_in(prefix))


def _budgets(driver: RunDriver, path: str) -> Iterable[tuple[str, str, Budget]]:
    """Return the budgets over a path, outermost first: the path they are of, how errors call their owner, and the budget."""
    if driver.workflow.budget is not None:
        yield "", f"the workflow {driver.workflow.name}", driver.workflow.budget
    parts = path.split("/")
    for length in range(1, len(parts) + 1):
        prefix = "/".join(parts[:length])
        call = driver.definitions.get(prefix)
        definition = call.definition if call is not None else None
        if isinstance(definition, (AgentDefinition, WorkflowDefinition)) and definition.budget is not None:
            yield prefix, f"the {definition.kind} {definition.name} at {prefix}", definition.budget


async def _ask(driver: RunDriver, path: str, refusal: _Refusal) -> None:
    """Ask a person whether to go on over the budget; the answer lifts it for this path."""
    asked = path + BUDGET_QUESTION
    state = driver.history.call(asked)
    if "question" not in state.facts:
        shows = {"question": "The budget is used up. Go on?", "about": refusal.told(path), "answer": {"type": "boolean"}}
        entry = waiting.entry(driver, asked, "question", "The budget is used up. Go on?", shows, ("answer",))
        await driver.log.commit(("question.asked", asked, {"question": "budget", "entry": entry.id}), opened=[entry])
    while driver.history.call(asked).settled is None:
        await driver.event_at(asked)
    settled = driver.history.call(asked).settled
    if settled is None or settled.form is not True:
        raise BudgetExhausted(f"{refusal.told(path)} A person was asked and did not raise it.")
    for prefix, *_ in _budgets(driver, path):
        driver.history.raised[prefix] = 1
