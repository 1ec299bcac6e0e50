"""The reconciliation crew as it is without supervision: what it hands over, and its agents as plain functions.

The agents stand in for language models: they do what one does with these inputs, in one of many wordings, and need no
key and no network. `Phrasing` decides the wording; the plain one is always the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from random import Random

from pydantic import BaseModel

CENT = Decimal("0.01")


class Document(BaseModel):
    """A scanned invoice: where it lies, and its text."""

    file: str
    text: str


class Invoice(BaseModel):
    number: str
    vendor: str
    issued: date
    due: date
    currency: str
    net: Decimal
    vat_rate: Decimal
    gross: Decimal
    weight: Decimal
    weight_unit: str


class Booking(BaseModel):
    """An entry of the ledger."""

    id: str
    reference: str
    vendor: str
    amount: Decimal
    currency: str
    weight_kg: Decimal


class Match(BaseModel):
    invoice: str
    booking: str | None
    vendor: str
    invoiced: Decimal
    booked: Decimal | None
    difference: Decimal
    currency: str
    status: str


class OpenItem(BaseModel):
    invoice: str
    vendor: str
    amount: Decimal
    currency: str
    days_overdue: int


class Reconciliation(BaseModel):
    closing: date
    matched: list[str]
    open_items: list[OpenItem]
    totals: dict[str, Decimal]


class Posting(BaseModel):
    reference: str
    account: str
    amount: Decimal
    currency: str


class Memo(BaseModel):
    subject: str
    text: str
    postings: list[Posting]


class Phrasing:
    """How an agent words the same content: number and date formats, units, derived figures."""

    def __init__(self, dice: Random | None = None) -> None:
        self.dice = dice

    def chance(self, probability: float) -> bool:
        return self.dice is not None and self.dice.random() < probability

    def one_of(self, *choices: str) -> str:
        return choices[0] if self.dice is None else self.dice.choice(choices)

    def money(self, amount: Decimal, currency: str) -> str:
        sign = {"EUR": "€", "USD": "$", "GBP": "£"}.get(currency, currency + " ")
        return self.one_of(f"{amount:,.2f} {currency}", f"{sign}{amount:,.2f}", f"{currency} {amount:.2f}", f"{amount:,.2f} {currency}")

    def day(self, day: date) -> str:
        return self.one_of(day.isoformat(), f"{day.day} {day:%B %Y}", f"{day:%B} {day.day}, {day.year}", day.strftime("%d.%m.%Y"))


def extract(documents: Sequence[Document], drawn: Sequence[Invoice], phrasing: Phrasing) -> list[Invoice]:
    """Read the invoices off the documents. (`drawn` is what a model would read in their texts.)"""
    pounds = Decimal("2.20462")
    return [
        one.model_copy(update={"weight": (one.weight * pounds).quantize(CENT), "weight_unit": "lb"}) if phrasing.chance(0.1) else one
        for one in drawn
    ]


def match(invoices: Sequence[Invoice], ledger: Mapping[str, Booking]) -> list[Match]:
    """Set each invoice against the ledger's entry that refers to it."""
    matches = []
    for one in invoices:
        booking = ledger.get(one.number)
        booked = booking.amount if booking else None
        difference = one.gross - (booked or Decimal(0))
        status = "missing" if booking is None else "matched" if difference == 0 else "differs"
        matches.append(
            Match(
                invoice=one.number,
                booking=booking.id if booking else None,
                vendor=one.vendor,
                invoiced=one.gross,
                booked=booked,
                difference=difference,
                currency=one.currency,
                status=status,
            )
        )
    return matches


def reconcile(matches: Sequence[Match], invoices: Sequence[Invoice], closing: date) -> Reconciliation:
    """List what is open at the closing date, and the totals by currency."""
    due = {one.number: one.due for one in invoices}
    items = [
        OpenItem(
            invoice=one.invoice,
            vendor=one.vendor,
            amount=one.difference,
            currency=one.currency,
            days_overdue=max(0, (closing - due[one.invoice]).days),
        )
        for one in matches
        if one.status != "matched"
    ]
    totals: dict[str, Decimal] = {}
    for item in items:
        totals[item.currency] = totals.get(item.currency, Decimal(0)) + item.amount
    return Reconciliation(
        closing=closing,
        matched=[one.invoice for one in matches if one.status == "matched"],
        open_items=items,
        totals=totals,
    )


def write_memo(reconciliation: Reconciliation, phrasing: Phrasing) -> Memo:
    """Write what the controller reads, and propose the postings."""
    items = reconciliation.open_items
    lines = [
        phrasing.one_of(
            f"{one.invoice} ({one.vendor}): {phrasing.money(one.amount, one.currency)}, {one.days_overdue} days overdue.",
            f"{one.vendor}, invoice {one.invoice}: {phrasing.money(one.amount, one.currency)} is open.",
        )
        for one in items
    ]
    if phrasing.chance(0.3):
        lines = [f"{index}. {line}" for index, line in enumerate(lines, 1)]
    head = phrasing.one_of(
        f"At {phrasing.day(reconciliation.closing)} these items are open:",
        f"{len(items)} items are open, {len(reconciliation.matched)} invoices matched ({phrasing.day(reconciliation.closing)}).",
    )
    foot = " ".join(f"Total: {phrasing.money(amount, currency)}." for currency, amount in reconciliation.totals.items())
    if phrasing.chance(0.15) and items:
        largest = max(items, key=lambda one: one.amount)
        share = (100 * largest.amount / reconciliation.totals[largest.currency]) if reconciliation.totals[largest.currency] else Decimal(0)
        foot += f" {largest.invoice} alone is {share:.1f} % of the {largest.currency} total."
    postings = [
        Posting(
            reference=one.invoice,
            account=phrasing.one_of("1600 Accounts payable", "1600 Accounts payable", "3300 Goods received"),
            amount=one.amount,
            currency=one.currency,
        )
        for one in items
    ]
    return Memo(
        subject=f"Open items at {reconciliation.closing.isoformat()}",
        text="\n".join([head, *lines, foot]),
        postings=postings,
    )


def gross_of(net: Decimal, vat_rate: Decimal) -> Decimal:
    """Return net plus VAT, rounded to the cent."""
    return (net * (1 + vat_rate / 100)).quantize(CENT, ROUND_HALF_UP)
