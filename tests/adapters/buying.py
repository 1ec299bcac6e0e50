"""What the tests of the adapters share: an order to be placed, the tools for it, and a supervisor with one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from chargehand import Rejected, RunView, Supervisor, agent, effect, give_up, injected, read, workflow
from chargehand.errors import Failure
from chargehand.events import Event
from chargehand.supervise.log import loaded

ASKED: list[str] = []
MADE: list[tuple[str, str]] = []


class Part(BaseModel):
    """What is needed."""

    sku: str
    quantity: int


class Order(BaseModel):
    """What was ordered."""

    supplier: str
    cents: int


@read(name="prices")
async def prices(sku: str) -> dict[str, int]:
    """Return what each supplier asks, in cents."""
    ASKED.append(sku)
    return {"acme": 20, "bolt": 15}


async def cancel(ref: str, idempotency_key: str = injected()) -> None:
    """Take an order back."""
    MADE.append(("cancel", ref))


@effect(name="place", undo=cancel)
async def place(supplier: str, quantity: int, idempotency_key: str = injected()) -> str:
    """Order at a supplier."""
    MADE.append((supplier, idempotency_key))
    return f"{supplier}-1"


@effect(name="dear_place", undo=cancel, approve=True)
async def dear_place(supplier: str, idempotency_key: str = injected()) -> str:
    """Order at a supplier, when a person says so."""
    MADE.append((supplier, idempotency_key))
    return supplier


def dear(order: Order) -> None:
    """Let nothing dear through."""
    if order.cents > 100:
        raise Rejected(f"{order.cents} cents is more than the 100 that may be spent")


def buying(model: Any, **options: Any) -> Any:
    """Return a workflow with one agent whose body is a framework's."""
    given = {"role": "Buys parts.", "uses": [prices, place], "ladder": [give_up()], **options}

    @agent(name="buyer", model=model, **given)
    async def buyer(part: Part) -> Order:
        """Choose the cheapest supplier and order there."""

    @workflow(name="buy")
    async def buy(part: Part) -> Order:
        return await buyer(part)

    return buy


class Bench:
    """A supervisor on a file, and the one run of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def run(self, workflow: Any, id: str = "r") -> RunView[Any]:
        """Run it until it ends or rests."""
        self.supervisor = Supervisor(str(self.path), [workflow])
        async with self.supervisor:
            run = await self.supervisor.start(workflow(Part(sku="M8", quantity=4)), id)
            try:
                self.value = await run.result(20)
            except Failure as failure:
                self.failure = failure
            await self.look(id)
            return run

    async def look(self, id: str = "r") -> None:
        """Read the run's events."""
        row = await self.supervisor.row(id)
        self.events: list[Event] = await loaded(self.supervisor.journal, row.number)

    def paths(self, type: str) -> list[str]:
        """Return the names of the calls of which there is such an event."""
        return [event.path.rpartition("/")[2].partition("~")[0] for event in self.events if event.type == type]
