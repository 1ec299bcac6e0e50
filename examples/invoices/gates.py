"""What the reconciliation crew's outputs assert, and which gates they pass."""

from __future__ import annotations

import re
from typing import Any

from examples.invoices.crew import Invoice, Match, Memo, Reconciliation

from chargehand import Fact, GateContext, complete, consistent, grounded, no_repeat


def facts_of(output: Any) -> list[Fact]:
    """Return what an output of this crew says about the invoices."""
    match output:
        case [*items]:
            return [fact for item in items for fact in facts_of(item)]
        case Invoice():
            return [
                Fact(output.number, "vendor", output.vendor),
                Fact(output.number, "gross", output.gross, output.currency),
                Fact(output.number, "weight", output.weight, output.weight_unit),
            ]
        case Match():
            return [
                Fact(output.invoice, "vendor", output.vendor),
                Fact(output.invoice, "gross", output.invoiced, output.currency),
                Fact(output.invoice, "open amount", output.difference, output.currency),
            ]
        case Reconciliation():
            return [
                fact
                for item in output.open_items
                for fact in (
                    Fact(item.invoice, "vendor", item.vendor),
                    Fact(item.invoice, "open amount", item.amount, item.currency),
                )
            ]
        case Memo():
            return [Fact(one.reference, "open amount", one.amount, one.currency) for one in output.postings]
    return []


def invoice_numbers(context: GateContext) -> list[str]:
    """Return the numbers that are printed on the documents."""
    return [number for one in context.inputs["documents"] for number in re.findall(r"Invoice no\. (\S+)", one.text)]


GATES = {
    "extractor": [complete(invoice_numbers, "number"), grounded(), no_repeat()],
    "matcher": [consistent(), complete("invoices.number", "invoice"), grounded(derived="any"), no_repeat()],
    "reconciler": [consistent(), complete("matches.invoice"), grounded(derived="any")],
    "writer": [
        consistent(rounding=False),
        complete("reconciliation.open_items.invoice", "postings.reference"),
        grounded(ignore=("account",)),
        no_repeat(),
    ],
}
