"""Reconcile three invoices, with a matcher that swaps two digits at first: python -m examples.invoices"""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

from examples.invoices.crew import Booking, Document, Invoice, Match, gross_of
from examples.invoices.workflow import Archive, Ledger, Rehearsal, reconcile_batch

from chargehand import Resource, Supervisor

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


async def main() -> None:
    """Run the workflow on a journal in memory and print what was rejected, and why."""
    documents = [document(one) for one in INVOICES]
    booked = INVOICES[1]
    ledger = Ledger(
        {
            booked.number: Booking(
                id="GL-204817",
                reference=booked.number,
                vendor=booked.vendor,
                amount=booked.gross,
                currency="EUR",
                weight_kg=booked.weight,
            )
        }
    )
    archive = Archive({one.file: one for one in documents}, INVOICES)
    resources: list[Resource[Any]] = [
        Resource(Archive, lambda: archive),
        Resource(Ledger, lambda: ledger),
        Resource(Rehearsal, lambda: Rehearsal(slips={"matcher": swapped})),
    ]
    async with Supervisor("memory:", workflows=[reconcile_batch], resources=resources) as supervisor:
        run = await supervisor.start(reconcile_batch(documents, CLOSING), id="batch-2026-10")
        memo = await run.result(timeout=30)
        for event in await run.events():
            print(f"{event.seq:3} {event.type:18} {event.path}")
            for verdict in event.payload.get("verdicts", ()):
                for reason in verdict.get("reasons", ()):
                    print(f"        {verdict['gate']} ({verdict.get('mode')}): {reason}")
    print(f"\n{memo.subject}\n{memo.text}\nPosted: {', '.join(str(one.amount) for one in ledger.postings.values())}")


if __name__ == "__main__":
    asyncio.run(main())
