"""The same agents under supervision: contracts, gates, effects and the workflow. The whole of what a team writes.

The bodies are those of ``agents.py``, unchanged. What is added says what each agent may use, what done means and how
it is checked, what changes the world and how that is taken back. No gate here has more than three lines.
"""

from __future__ import annotations

from decimal import Decimal

from chargehand import (
    Done,
    Feedback,
    GateContext,
    Rejected,
    Retry,
    agent,
    effect,
    gate,
    give_up,
    injected,
    read,
    retry,
    workflow,
)
from chargehand.demo import agents
from chargehand.demo.agents import StandInModel
from chargehand.demo.payment_client import PaymentClient
from chargehand.demo.purchase import Charge, Choice, Need, Notice, Order, Quote, Receipt
from chargehand.demo.suppliers import SupplierDatabase

APPROVE_ABOVE = Decimal(500)
PATIENT = Retry(attempts=8, first=0.05, ceiling=0.5)

# -- what the agents may use ----------


@read
async def search_catalogue(sku: str, suppliers: SupplierDatabase = injected()) -> list[Quote]:
    """Return every offer for a part."""
    return await suppliers.search(sku)


@read
async def find_contact(name: str, suppliers: SupplierDatabase = injected()) -> str | None:
    """Return somebody's address, or None."""
    return await suppliers.find_contact(name)


async def cancel_order(order: Order, idempotency_key: str = injected(), suppliers: SupplierDatabase = injected()) -> None:
    """Take an order back."""
    await suppliers.cancel(order, idempotency_key)


@effect(undo=cancel_order, approve=lambda call: call.choice.total > APPROVE_ABOVE)
async def place_order(choice: Choice, reference: str, idempotency_key: str = injected(), suppliers: SupplierDatabase = injected()) -> Order:
    """Order at a supplier. Above EUR 500 a person is asked."""
    return await suppliers.place(choice, reference, idempotency_key)


async def refund(charge: Charge, idempotency_key: str = injected(), payments: PaymentClient = injected()) -> None:
    """Take a payment back."""
    await payments.refund(charge, idempotency_key)


@effect(undo=refund, retry=PATIENT, undo_retry=PATIENT)
async def pay(reference: str, amount: Decimal, idempotency_key: str = injected(), payments: PaymentClient = injected()) -> Charge:
    """Pay a supplier."""
    return await payments.charge(reference, amount, idempotency_key)


@effect(final=True, approve=False)
async def post_notice(notice: Notice, reference: str, idempotency_key: str = injected(), suppliers: SupplierDatabase = injected()) -> None:
    """Tell whoever asked. What was read cannot be unread."""
    await suppliers.post(notice, reference, idempotency_key)


# -- what done means ----------


@gate(detects="FM-3.1")
def three_suppliers(quotes: list[Quote]) -> None:
    """Refuse a choice that is none."""
    if (found := len({quote.supplier for quote in quotes})) < 3:
        raise Rejected(f"Quotes of {found} suppliers; three different suppliers are needed. Give all you find.")


@gate(detects="FM-3.2")
def prices_as_listed(quotes: list[Quote], context: GateContext) -> None:
    """Refuse a price that the catalogue does not have."""
    listed = {offer["offer"]: Decimal(offer["price"]) for tool in context.tools for offer in tool.result}
    for quote in (quote for quote in quotes if quote.price != listed.get(quote.offer)):
        raise Rejected(f"The price of offer {quote.offer} is {listed.get(quote.offer)}, not {quote.price}.")


@gate(detects="FM-1.1")
def covers_the_need(choice: Choice, context: GateContext) -> None:
    """Refuse too few and too many."""
    pieces, needed = choice.packs * choice.quote.pack, context.inputs["need"].pieces
    if not needed <= pieces < needed + choice.quote.pack:
        raise Rejected(f"{choice.packs} packs of {choice.quote.pack} are {pieces} pieces; {needed} are needed.")


@gate(detects="FM-1.1")
def cheapest_on_time(choice: Choice, context: GateContext) -> None:
    """Refuse what costs more than another quote, or comes too late."""
    need, quotes = context.inputs["need"], context.inputs["quotes"]
    if choice.total > min(need.packs_of(q) * q.price for q in quotes if q.lead_days <= need.within_days):
        raise Rejected("A cheaper quote that is on time meets the same number of pieces.")


@gate(detects="FM-2.6")
def paid_what_was_ordered(receipt: Receipt) -> None:
    """Refuse a payment that is not the order's sum."""
    if receipt.charge.amount != receipt.order.total:
        raise Rejected(f"{receipt.charge.amount} was paid for an order of {receipt.order.total}.")


@gate(detects="FM-3.2")
def known_address(notice: Notice, context: GateContext) -> None:
    """Refuse an address that no look-up gave."""
    if notice.address not in [tool.result for tool in context.tools]:
        raise Rejected(f"{notice.address} is in no address book. Look the address up.")


# -- the crew ----------


@agent(
    role="Finds suppliers' quotes for one part. Never orders.",
    done=[
        Done("Quotes of at least three different suppliers.", by=three_suppliers),
        Done("Every price as the catalogue has it.", by=prices_as_listed),
    ],
    uses=[search_catalogue],
)
async def researcher(need: Need, feedback: Feedback | None = None, model: StandInModel = injected()) -> list[Quote]:
    """Find quotes."""
    return await agents.researcher(need, search_catalogue, model, feedback)


@agent(
    role="Chooses the best of the quotes. Never searches, never orders.",
    done=[
        Done("As many pieces as are needed, in whole packs.", by=covers_the_need),
        Done("No quote that is on time costs less.", by=cheapest_on_time),
    ],
)
async def analyst(need: Need, quotes: list[Quote], feedback: Feedback | None = None, model: StandInModel = injected()) -> Choice:
    """Choose a quote."""
    return await agents.analyst(need, quotes, model, feedback)


@agent(
    role="Orders what was chosen and pays for it.",
    done=[Done("Paid is what was ordered.", by=paid_what_was_ordered)],
    uses=[place_order, pay],
)
async def buyer(need: Need, choice: Choice, model: StandInModel = injected()) -> Receipt:
    """Order and pay."""
    return await agents.buyer(need, choice, place_order, pay, model)


@agent(
    role="Writes to whoever asked for the parts.",
    done=[Done("The address was looked up.", by=known_address)],
    uses=[find_contact],
    ladder=[retry(3), give_up()],
)
async def notifier(need: Need, receipt: Receipt, model: StandInModel = injected()) -> Notice:
    """Write the notice."""
    return await agents.notifier(need, receipt, find_contact, model)


@workflow(name="purchase")
async def purchase(need: Need) -> Receipt:
    """Buy what is needed, and tell who asked."""
    quotes = await researcher(need)
    choice = await analyst(need, quotes)
    receipt = await buyer(need, choice)
    notice = await notifier(need, receipt)
    await post_notice(notice, need.reference)
    return receipt
