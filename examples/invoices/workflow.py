"""The reconciliation crew under supervision: the same agents, with contracts, gates and one effect per posting.

    chargehand run examples.invoices.workflow:reconcile_batch --input …

What the agents need from outside comes as resources: the `Archive` of documents, the `Ledger`, and `Rehearsal`, which
stands in for the models' moods: how they word things, and which slip they make at first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

from examples.invoices import crew
from examples.invoices.crew import Booking, Document, Invoice, Match, Memo, Phrasing, Posting, Reconciliation
from examples.invoices.gates import GATES, facts_of

from chargehand import Done, Feedback, agent, effect, gather, injected, read, workflow

T = TypeVar("T")


@dataclass
class Rehearsal:
    """How the agents word things, and the slip each makes in its first attempt, by agent."""

    phrasing: Phrasing = field(default_factory=Phrasing)
    slips: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    def play(self, agent: str, output: T, feedback: Feedback | None) -> T:
        """Return the output, with the agent's slip while nothing was objected to."""
        slip = self.slips.get(agent)
        return output if slip is None or feedback is not None else slip(output)


@dataclass
class Archive:
    """The scanned documents by file, and what a model reads on them."""

    documents: dict[str, Document]
    drawn: list[Invoice]


@dataclass
class Ledger:
    """The bookings by reference, and the postings made, by idempotency key."""

    bookings: dict[str, Booking]
    postings: dict[str, Posting] = field(default_factory=dict)


# -- what the agents may use -----------------------------------------------------------------------------------------


@read
async def open_document(file: str, archive: Archive = injected()) -> str:
    """Return the text of a document."""
    return archive.documents[file].text


@read
async def ledger_entry(reference: str, ledger: Ledger = injected()) -> Booking | None:
    """Return the booking that refers to an invoice, or None."""
    return ledger.bookings.get(reference)


async def reverse(posting: Posting, idempotency_key: str = injected(), ledger: Ledger = injected()) -> None:
    """Take a posting back with one of the opposite sign."""
    ledger.postings.setdefault(idempotency_key, posting.model_copy(update={"amount": -posting.amount}))


@effect(undo=reverse, key=lambda call: f"open-item-{call.posting.reference}")
async def post(posting: Posting, idempotency_key: str = injected(), ledger: Ledger = injected()) -> Posting:
    """Post an open item: once for each invoice, whatever run asks."""
    return ledger.postings.setdefault(idempotency_key, posting)


# -- the crew ----------------------------------------------------------------------------------------------------------


@agent(
    role="Reads invoices off documents. Never judges them.",
    done=[Done("Every invoice number on the documents is there.", by=GATES["extractor"][0])],
    gates=GATES["extractor"][1:],
    uses=[open_document],
    facts=facts_of,
)
async def extractor(
    documents: list[Document],
    feedback: Feedback | None = None,
    archive: Archive = injected(),
    rehearsal: Rehearsal = injected(),
) -> list[Invoice]:
    for document in documents:
        await open_document(document.file)
    invoices = crew.extract(documents, archive.drawn, rehearsal.phrasing)
    return rehearsal.play("extractor", invoices, feedback)


@agent(
    role="Sets invoices against the ledger. Never posts.",
    gates=GATES["matcher"],
    uses=[ledger_entry],
    facts=facts_of,
)
async def matcher(invoices: list[Invoice], feedback: Feedback | None = None, rehearsal: Rehearsal = injected()) -> list[Match]:
    found = {one.number: await ledger_entry(one.number) for one in invoices}
    matches = crew.match(invoices, {number: booking for number, booking in found.items() if booking is not None})
    return rehearsal.play("matcher", matches, feedback)


@agent(role="Lists what is open at the closing date.", gates=GATES["reconciler"], facts=facts_of)
async def reconciler(
    matches: list[Match],
    invoices: list[Invoice],
    closing: date,
    feedback: Feedback | None = None,
    rehearsal: Rehearsal = injected(),
) -> Reconciliation:
    return rehearsal.play("reconciler", crew.reconcile(matches, invoices, closing), feedback)


@agent(role="Writes the memo and proposes postings. Never posts.", gates=GATES["writer"], facts=facts_of)
async def writer(reconciliation: Reconciliation, feedback: Feedback | None = None, rehearsal: Rehearsal = injected()) -> Memo:
    return rehearsal.play("writer", crew.write_memo(reconciliation, rehearsal.phrasing), feedback)


@workflow(name="reconcile-batch")
async def reconcile_batch(documents: list[Document], closing: date) -> Memo:
    """Reconcile a batch of invoices with the ledger and post what is open."""
    invoices = await extractor(documents)
    matches = await matcher(invoices)
    result = await reconciler(matches, invoices, closing)
    memo = await writer(result)
    await gather(*(post(posting) for posting in memo.postings))
    return memo
