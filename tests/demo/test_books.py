"""The demo counts from the services' own books, and counts right."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chargehand.demo import agents
from chargehand.demo.books import Outcome, count, order_lines
from chargehand.demo.payment_client import PaymentClient
from chargehand.demo.purchase import Choice, Notice
from chargehand.demo.story import BOLTS, SEALS
from chargehand.demo.suppliers import SupplierDatabase


@pytest.fixture
async def client(serve: Any, tmp_path: Path, market: SupplierDatabase) -> PaymentClient:
    """Return a client of a service whose books are empty, beside those of a model that was called once."""
    await agents.StandInModel(tmp_path / "model.db").think("researcher", BOLTS)
    return PaymentClient(serve().server_port)


async def right_choice(market: SupplierDatabase) -> Choice:
    """Return the cheapest way to meet the first need on time."""
    choices = [Choice(quote=quote, packs=BOLTS.packs_of(quote), total=Decimal(0)) for quote in await market.search(BOLTS.sku)]
    on_time = [choice for choice in choices if choice.quote.lead_days <= BOLTS.within_days]
    return min(on_time, key=lambda choice: choice.packs * choice.quote.price)


async def test_empty_books_count_zero(client: PaymentClient, tmp_path: Path) -> None:
    """Where nothing happened everything is zero, and what the needs cost rightly is known all the same."""
    outcome = count(tmp_path)
    assert outcome == Outcome(0, 0, 0, 0, 0, 0, Decimal("0.00"), outcome.money_needed, 0, 0, 0, model_calls=1)
    assert outcome.money_needed > 0
    assert order_lines(tmp_path) == []


async def test_right_and_wrong_orders(client: PaymentClient, market: SupplierDatabase, tmp_path: Path) -> None:
    """The cheapest order on time is right; too little, too much, too late and too dear are wrong."""
    right = await right_choice(market)
    await market.place(right, BOLTS.reference, "right")
    assert count(tmp_path).wrong_orders == 0
    late = next(quote for quote in await market.search(BOLTS.sku) if quote.lead_days > BOLTS.within_days)
    dear = next(quote for quote in await market.search(BOLTS.sku) if quote.lead_days <= BOLTS.within_days and quote != right.quote)
    wrong = [
        right.model_copy(update={"packs": right.packs - 1}),
        right.model_copy(update={"packs": right.packs + 1}),
        Choice(quote=late, packs=BOLTS.packs_of(late), total=Decimal(0)),
        Choice(quote=dear, packs=BOLTS.packs_of(dear), total=Decimal(0)),
    ]
    for number, choice in enumerate(wrong, start=1):
        await market.place(choice, BOLTS.reference, f"wrong-{number}")
        assert count(tmp_path).wrong_orders == number


async def test_charges_refunds_and_notices(client: PaymentClient, market: SupplierDatabase, tmp_path: Path) -> None:
    """A second charge for one purchase is double until refunded; paid is untold until a notice is delivered."""
    first = await client.charge(BOLTS.reference, Decimal(10), "k1")
    await client.charge(SEALS.reference, Decimal(5), "k2")
    assert (count(tmp_path).double_charges, count(tmp_path).paid_untold) == (0, 2)
    await client.charge(BOLTS.reference, Decimal(10), "k3")
    outcome = count(tmp_path)
    assert (outcome.charges, outcome.double_charges, outcome.money_out) == (3, 1, Decimal(25))
    await client.refund(first, "k1!undo")
    await market.post(Notice(address="assembly@plant.example", text="ordered"), BOLTS.reference, "n")
    outcome = count(tmp_path)
    assert (outcome.double_charges, outcome.refunds, outcome.money_out, outcome.paid_untold) == (0, 1, Decimal(15), 1)
    assert (outcome.payment_requests, outcome.failed_requests) == (4, 0)


async def test_order_lines(client: PaymentClient, market: SupplierDatabase, tmp_path: Path) -> None:
    """Orders are listed as the supplier has them, with what was needed beside them."""
    choice = await right_choice(market)
    order = await market.place(choice, BOLTS.reference, "k")
    await market.cancel(order, "k!undo")
    (line,) = order_lines(tmp_path)
    assert (line.id, line.packs, line.pack, line.pieces_needed, line.status) == (
        "SO-0001",
        choice.packs,
        choice.quote.pack,
        4000,
        "cancelled",
    )
    assert line.total == order.total
