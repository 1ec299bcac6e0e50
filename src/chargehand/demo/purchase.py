"""What the crew of the demo hands on, from the need to the notice. Money in euros, as `Decimal` with two places."""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel


def euros(cents: int) -> Decimal:
    """Return an amount with its two places: 1420 cents are 14.20."""
    return Decimal(cents).scaleb(-2)


def cents(amount: Decimal) -> int:
    """Return an amount in cents."""
    return int((amount * 100).to_integral_value())


class Quote(BaseModel):
    """One supplier's offer: packs of `pack` pieces at `price` euros a pack."""

    offer: int
    supplier: str
    sku: str
    pack: int
    price: Decimal
    lead_days: int


class Need(BaseModel):
    """What somebody in the house asks the crew to buy."""

    reference: str
    sku: str
    pieces: int
    within_days: int
    requested_by: str

    def packs_of(self, quote: Quote) -> int:
        """Return how many packs of an offer cover this need."""
        return -(-self.pieces // quote.pack)


class Choice(BaseModel):
    """The offer to take, and how many packs of it. `total` in euros."""

    quote: Quote
    packs: int
    total: Decimal


class Order(BaseModel):
    """What a supplier confirmed. `total` is the supplier's own sum, in euros."""

    id: str
    reference: str
    supplier: str
    packs: int
    total: Decimal


class Charge(BaseModel):
    """What the payment service confirmed."""

    id: str
    reference: str
    amount: Decimal


class Receipt(BaseModel):
    """What was ordered and what was paid for it."""

    order: Order
    charge: Charge


class Notice(BaseModel):
    """A message to whoever asked for the parts."""

    address: str
    text: str
