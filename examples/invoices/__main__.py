"""Reconcile three invoices, with a matcher that swaps two digits at first: python -m examples.invoices"""

from __future__ import annotations

import asyncio
from typing import Any

from examples.invoices.case import CLOSING, INVOICES, document, swapped
from examples.invoices.crew import Booking
from examples.invoices.workflow import Archive, Ledger, Rehearsal, reconcile_batch

from chargehand import Resource, Supervisor


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
