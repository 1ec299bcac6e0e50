"""A part is quoted, chosen, ordered and announced by four agents: the example of the README, made runnable.

    chargehand run examples/procurement.py:procure --input '{"sku": "M8-BOLT", "quantity": 400}'

The agents are stand-ins for language models, so it runs anywhere. The researcher's first answer is too thin; watch the
gate send it back with ``chargehand show``. Ask for 4000 and a person has to approve the order.
"""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel

from chargehand import (
    Done,
    Feedback,
    GateContext,
    Rejected,
    Resource,
    agent,
    effect,
    gate,
    give_up,
    injected,
    read,
    retry,
    workflow,
)


class Part(BaseModel):
    """What is to be bought."""

    sku: str
    quantity: int


class Quote(BaseModel):
    """One supplier's offer."""

    supplier: str
    sku: str
    unit_price: Decimal
    lead_days: int


class Order(BaseModel):
    """What was ordered."""

    id: str
    supplier: str
    total: Decimal


class Catalogue:
    """The suppliers' side, in memory: offers and orders. A real one would be a client of a database or a service."""

    def __init__(self) -> None:
        self._quotes = [
            Quote(supplier="Alder Fasteners", sku="M8-BOLT", unit_price=Decimal("0.31"), lead_days=3),
            Quote(supplier="Birch Supply", sku="M8-BOLT", unit_price=Decimal("0.24"), lead_days=5),
            Quote(supplier="Cedar Metals", sku="M8-BOLT", unit_price=Decimal("0.22"), lead_days=4),
        ]
        self.orders: dict[str, Order] = {}

    def search(self, sku: str) -> list[Quote]:
        """Return every offer for a part."""
        return [quote for quote in self._quotes if quote.sku == sku]

    def order(self, quote: Quote, quantity: int, key: str) -> Order:
        """Order once per key."""
        order = Order(id=f"SO-{len(self.orders) + 1}", supplier=quote.supplier, total=quote.unit_price * quantity)
        return self.orders.setdefault(key, order)

    def cancel(self, order: Order) -> None:
        """Take an order back."""
        self.orders = {key: kept for key, kept in self.orders.items() if kept.id != order.id}


catalogue = Resource(Catalogue, {"development": Catalogue})


@read
async def search_catalogue(sku: str, catalogue: Catalogue = injected()) -> list[Quote]:
    """Return every offer for a part."""
    return catalogue.search(sku)


async def cancel_order(order: Order, catalogue: Catalogue = injected()) -> None:
    """The way back of `place_order`."""
    catalogue.cancel(order)


@effect(undo=cancel_order, approve=lambda call: call.quote.unit_price * call.quantity > 500)
async def place_order(quote: Quote, quantity: int, idempotency_key: str = injected(), catalogue: Catalogue = injected()) -> Order:
    """Order at a supplier. Above 500 a person is asked first."""
    return catalogue.order(quote, quantity, idempotency_key)


@gate(detects="FM-1.1")
def three_suppliers(quotes: list[Quote]) -> None:
    """Refuse a choice that is none."""
    if len({quote.supplier for quote in quotes}) < 3:
        raise Rejected(f"{len(quotes)} quotes; three different suppliers are needed. Search more.")


@gate(detects="FM-2.4")
def names_the_order(message: str, context: GateContext) -> None:
    """Refuse a message that does not say which order it is about."""
    if context.inputs["order"].id not in message:
        raise Rejected("Name the order's id.")


@agent(
    role="Finds supplier quotes for one part. Never orders.",
    done=[Done("Quotes of three different suppliers, with price and lead time.", by=three_suppliers)],
    uses=[search_catalogue],
)
async def researcher(part: Part, feedback: Feedback | None = None) -> list[Quote]:
    """Stand in for a model that stops too early the first time."""
    quotes = await search_catalogue(part.sku)
    return quotes if feedback else quotes[:2]


@agent(role="Chooses the cheapest quote. Never searches, never orders.")
async def analyst(quotes: list[Quote]) -> Quote:
    """Stand in for a model that compares."""
    return min(quotes, key=lambda quote: quote.unit_price)


@agent(
    role="Tells the buyer what was ordered.",
    done=[Done("The message names the order.", by=names_the_order)],
    ladder=[retry(3), give_up()],
)
async def notifier(order: Order) -> str:
    """Stand in for a model that writes."""
    return f"{order.id}: ordered from {order.supplier} for {order.total}."


@workflow
async def procure(part: Part) -> Order:
    """Buy one part."""
    quotes = await researcher(part)  # released by its gates, or not at all
    best = await analyst(quotes)
    order = await place_order(best, part.quantity)  # asks a person, runs once, can be undone
    await notifier(order)  # its ladder ends in give_up(): then the order is cancelled
    return order
