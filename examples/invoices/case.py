"""Three invoices, and a matcher who swaps two digits of one: what `python -m examples.invoices` reconciles."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from examples.invoices.crew import Document, Invoice, Match, gross_of

CLOSING = date(2026, 10, 28)


def invoice(number: str, vendor: str, net: str, weight: str) -> Invoice:
    """Return an invoice of the first of October, due at its end."""
    return Invoice(
        number=number,
        vendor=vendor,
        issued=date(2026, 10, 1),
        due=date(2026, 10, 31),
        currency="EUR",
        net=Decimal(net),
        vat_rate=Decimal(19),
        gross=gross_of(Decimal(net), Decimal(19)),
        weight=Decimal(weight),
        weight_unit="kg",
    )


INVOICES = [
    invoice("RE-2026-6283", "Nordholz GmbH", "14919.43", "3561.7"),
    invoice("INV61453", "Blue Heron Freight", "3410.00", "120.5"),
    invoice("KS/972/26", "Kapadia & Sons", "980.10", "44.0"),
]


def document(one: Invoice) -> Document:
    """Print an invoice."""
    text = (
        f"{one.vendor}\nInvoice no. {one.number}\nDate: {one.issued}   Due: {one.due}\nNet {one.net:,} EUR\n"
        f"VAT {one.vat_rate} %: {one.gross - one.net:,} EUR\nTotal {one.gross:,} EUR\nShipping weight {one.weight} kg\n"
    )
    return Document(file=f"{one.number.replace('/', '-')}.pdf", text=text)


def swapped(matches: list[Match]) -> list[Match]:
    """Swap two digits of an amount."""
    first, *others = matches
    return [first.model_copy(update={"invoiced": Decimal("17745.12")}), *others]
