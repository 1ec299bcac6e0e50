"""Hand-offs of the reconciliation crew: random invoices, varied wordings, one seeded fault in each wrong one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from examples.invoices.crew import (
    CENT,
    Booking,
    Document,
    Invoice,
    Match,
    Memo,
    Phrasing,
    Reconciliation,
    extract,
    gross_of,
    match,
    reconcile,
    write_memo,
)

from benchmarks.handoffs import Handoff
from chargehand.verdicts import ToolResult

VENDORS = (
    "Nordholz GmbH",
    "Acme Fasteners Ltd",
    "Kapadia & Sons",
    "Blue Heron Freight",
    "Orsini S.p.A.",
    "Table 9 Catering",
)
CURRENCIES = ("EUR", "USD", "GBP")


def invoice_of(dice: Random, closing: date) -> Invoice:
    """Draw an invoice."""
    issued = closing - timedelta(days=dice.randrange(5, 120))
    net = Decimal(dice.randrange(2_000, 9_000_000)) / 100
    rate = Decimal(dice.choice(("0", "5.5", "7", "19", "20", "21")))
    number = dice.choice(
        (
            f"RE-2026-{dice.randrange(100, 9999)}",
            f"INV{dice.randrange(10_000, 99_999)}",
            f"{dice.randrange(4_000_000, 9_000_000)}",
            f"KS/{dice.randrange(100, 999)}/26",
        )
    )
    return Invoice(
        number=number,
        vendor=dice.choice(VENDORS),
        issued=issued,
        due=issued + timedelta(days=dice.choice((14, 30, 60))),
        currency=dice.choice(CURRENCIES),
        net=net,
        vat_rate=rate,
        gross=gross_of(net, rate),
        weight=Decimal(dice.randrange(10, 90_000)) / 10,
        weight_unit="kg",
    )


def document_of(dice: Random, invoice: Invoice) -> Document:
    """Print an invoice as its vendor would: some print numbers and dates the German way."""
    german = invoice.vendor.endswith("GmbH")

    def number(value: Decimal) -> str:
        text = f"{value:,.2f}"
        return text.replace(",", "_").replace(".", ",").replace("_", ".") if german else text

    def day(value: date) -> str:
        return (
            value.strftime("%d.%m.%Y") if german else value.isoformat() if dice.random() < 0.5 else f"{value:%B} {value.day}, {value.year}"
        )

    vat = invoice.gross - invoice.net
    text = (
        f"{invoice.vendor}\nInvoice no. {invoice.number}\nDate: {day(invoice.issued)}   Due: {day(invoice.due)}\n"
        f"Net {number(invoice.net)} {invoice.currency}\nVAT {invoice.vat_rate} %: {number(vat)} {invoice.currency}\n"
        f"Total {number(invoice.gross)} {invoice.currency}\nShipping weight {invoice.weight} kg\n"
    )
    return Document(file=f"scan-{dice.randrange(100, 999)}.pdf", text=text)


def booking_of(dice: Random, invoice: Invoice) -> Booking | None:
    """Draw what the ledger has for an invoice: the same, another amount, or nothing."""
    kind = dice.random()
    if kind < 0.3:
        return None
    amount = invoice.gross if kind < 0.6 else (invoice.gross * Decimal(dice.choice(("0.9", "0.97", "1.1")))).quantize(CENT)
    return Booking(
        id=f"GL-{dice.randrange(100_000, 999_999)}",
        reference=invoice.number,
        vendor=invoice.vendor,
        amount=amount,
        currency=invoice.currency,
        weight_kg=invoice.weight,
    )


def _json(value: Any) -> Any:
    return None if value is None else value.model_dump(mode="json")


def right(dice: Random) -> list[Handoff]:
    """Draw one batch of invoices and return its four right hand-offs, in order."""
    closing = date(2026, dice.randrange(3, 12), 28)
    phrasing = Phrasing(dice)
    drawn = list({one.number: one for one in (invoice_of(dice, closing) for _ in range(dice.randrange(2, 7)))}.values())
    documents = [document_of(dice, one) for one in drawn]
    ledger = {one.number: booking for one in drawn if (booking := booking_of(dice, one)) is not None}
    invoices = extract(documents, drawn, phrasing)
    matches = match(invoices, ledger)
    result = reconcile(matches, invoices, closing)
    memo = write_memo(result, phrasing)
    opened = tuple(ToolResult("open_document", {"file": one.file}, one.text) for one in documents)
    looked_up = tuple(ToolResult("ledger_entry", {"reference": one.number}, _json(ledger.get(one.number))) for one in invoices)
    if dice.random() < 0.1:  # a look-up with other arguments is no repetition
        looked_up += (ToolResult("ledger_entry", {"reference": invoices[0].number, "year": 2025}, None),)
    earlier: dict[str, Any] = {}
    steps: list[Handoff] = []
    for step, inputs, output, tools in (
        ("extractor", {"documents": documents}, invoices, opened),
        ("matcher", {"invoices": invoices}, matches, looked_up),
        ("reconciler", {"matches": matches, "invoices": invoices, "closing": closing}, result, ()),
        ("writer", {"reconciliation": result}, memo, ()),
    ):
        steps.append(Handoff("invoices", step, inputs, output, tools, dict(earlier), path=step))
        earlier[step] = output
    if dice.random() < 0.2:  # a second attempt that mends the first
        steps[-1] = replace(steps[-1], rejected=memo.model_copy(update={"postings": memo.postings[1:]}))
    return steps


# -- faults ----------------------------------------------------------------------------------------------------------

Fault = Callable[[Random, Handoff], tuple[Any, str] | None]


def _slipped(dice: Random, amount: Decimal) -> Decimal:
    """Return an amount after a slip: two digits swapped, a point moved, or rounded away."""
    digits = list(f"{amount:.2f}")
    swaps = [
        i
        for i in range(len(digits) - 1)
        if digits[i] != digits[i + 1] and digits[i].isdigit() and digits[i + 1].isdigit() and not (i == 0 and digits[1] == "0")
    ]
    kind = dice.randrange(3)
    if kind == 0 and swaps:
        index = dice.choice(swaps)
        digits[index], digits[index + 1] = digits[index + 1], digits[index]
        return Decimal("".join(digits))
    if kind == 1:
        return (amount * Decimal(dice.choice(("0.93", "1.07", "1.19")))).quantize(CENT)
    return (amount * Decimal(dice.choice(("10", "0.1", "100")))).quantize(CENT)


def _with(items: list[Any], index: int, **changes: Any) -> list[Any]:
    return [*items[:index], items[index].model_copy(update=changes), *items[index + 1 :]]


def contradiction(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if handoff.step == "matcher":
        index = dice.randrange(len(output))
        one: Match = output[index]
        if dice.random() < 0.5:  # the currency changes, the number does not
            return _with(output, index, currency=dice.choice([c for c in CURRENCIES if c != one.currency])), "currency"
        return _with(output, index, vendor=dice.choice([v for v in VENDORS if v != one.vendor])), "vendor"
    if isinstance(output, Reconciliation) and output.open_items:
        index = dice.randrange(len(output.open_items))
        item = output.open_items[index]
        if dice.random() < 0.5:
            changed = _with(output.open_items, index, currency=dice.choice([c for c in CURRENCIES if c != item.currency]))
            return output.model_copy(update={"open_items": changed}), "currency"
        changed = _with(output.open_items, index, vendor=dice.choice([v for v in VENDORS if v != item.vendor]))
        return output.model_copy(update={"open_items": changed}), "vendor"
    if isinstance(output, Memo) and output.postings:
        index = dice.randrange(len(output.postings))
        posting = output.postings[index]
        return output.model_copy(
            update={"postings": _with(output.postings, index, currency=dice.choice([c for c in CURRENCIES if c != posting.currency]))}
        ), "currency"
    return None


def numerical_drift(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if handoff.step == "matcher":
        index = dice.randrange(len(output))
        slipped = _slipped(dice, output[index].invoiced)
        return (_with(output, index, invoiced=slipped), "invoiced") if slipped != output[index].invoiced else None
    if isinstance(output, Reconciliation) and output.open_items:
        index = dice.randrange(len(output.open_items))
        slipped = _slipped(dice, output.open_items[index].amount)
        changed = _with(output.open_items, index, amount=slipped)
        return (output.model_copy(update={"open_items": changed}), "amount") if slipped != output.open_items[index].amount else None
    if isinstance(output, Memo) and output.postings:
        index = dice.randrange(len(output.postings))
        slipped = _slipped(dice, output.postings[index].amount)
        return (
            (output.model_copy(update={"postings": _with(output.postings, index, amount=slipped)}), "postings")
            if slipped != output.postings[index].amount
            else None
        )
    if handoff.step == "extractor":
        index = dice.randrange(len(output))
        slipped = _slipped(dice, output[index].gross)
        return (_with(output, index, gross=slipped), "gross") if slipped != output[index].gross else None
    return None


def context_omission(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if handoff.step in ("extractor", "matcher"):
        index = dice.randrange(len(output))
        return [*output[:index], *output[index + 1 :]], "invoice"
    if isinstance(output, Reconciliation):
        if output.matched and (not output.open_items or dice.random() < 0.5):
            matched = list(output.matched)
            matched.pop(dice.randrange(len(matched)))
            return output.model_copy(update={"matched": matched}), "matched"
        items = list(output.open_items)
        items.pop(dice.randrange(len(items)))
        return output.model_copy(update={"open_items": items}), "open_items"
    if isinstance(output, Memo) and output.postings:
        gone = output.postings[dice.randrange(len(output.postings))]
        lines = [line for line in output.text.splitlines() if gone.reference not in line]
        return output.model_copy(
            update={"postings": [one for one in output.postings if one is not gone], "text": "\n".join(lines)}
        ), "postings"
    return None


def step_repetition(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    """Say which kind of repetition: a tool call, or the rejected output."""
    if handoff.step == "writer":
        return handoff.output, "rejected"
    return (handoff.output, "tools") if handoff.tools else None


def ungrounded_identifier(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    invented = dice.choice((f"RE-2026-{dice.randrange(10_000, 99_999)}", f"INV{dice.randrange(100_000, 999_999)}"))
    if handoff.step == "extractor":
        return _with(output, dice.randrange(len(output)), number=invented), "number"
    if handoff.step == "matcher":
        index = dice.randrange(len(output))
        return _with(output, index, booking=f"GL-{dice.randrange(1_000_000, 9_999_999)}", status="matched"), "booking"
    if isinstance(output, Memo):
        return output.model_copy(update={"text": f"{output.text} See also {invented}."}), "text"
    return None


def ungrounded_number(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if handoff.step == "extractor":
        index = dice.randrange(len(output))
        return _with(output, index, weight=output[index].weight + Decimal(dice.randrange(11, 900)) / 10), "weight"
    if isinstance(output, Memo):
        sentence = dice.choice(
            (
                f" The bank charged {dice.randrange(12, 99)}.{dice.randrange(10, 99)} EUR in fees.",
                f" Last year it was {dice.randrange(1000, 99_000):,} EUR.",
                f" {dice.randrange(11, 60)} reminders were sent.",
            )
        )
        return output.model_copy(update={"text": output.text + sentence}), "text"
    return None


SEEDED: dict[str, Fault] = {
    "contradiction": contradiction,
    "numerical drift": numerical_drift,
    "context omission": context_omission,
    "step repetition": step_repetition,
    "ungrounded identifier": ungrounded_identifier,
    "ungrounded number": ungrounded_number,
}


def wrong(dice: Random, handoff: Handoff, name: str) -> Handoff | None:
    """Return the hand-off with this fault, or None where it cannot have it."""
    changed = SEEDED[name](dice, handoff)
    if changed is None:
        return None
    output, where = changed
    broken = replace(handoff, output=output, fault=name, where=where)
    if where == "rejected":
        return replace(broken, rejected=output)
    if name == "step repetition":
        return replace(broken, tools=(*handoff.tools, dice.choice(handoff.tools)))
    return broken


def handoffs(seed: int = 20261123, batches: int = 400) -> Iterator[Handoff]:
    """Yield the right hand-offs of each batch, and each with each fault that it can have."""
    dice = Random(seed)
    for _ in range(batches):
        for handoff in right(dice):
            yield handoff
            for name in SEEDED:
                broken = wrong(dice, handoff, name)
                if broken is not None:
                    yield broken
