"""The crew's agents: stand-ins for language models, with small mistakes built in.

Plain functions. The unsupervised half calls them as they are, the supervised half (``crew.py``) puts the same functions
under contracts. Each makes the mistake that its kind of agent makes, mends exactly what it is told, and nothing else.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from chargehand.demo.purchase import Charge, Choice, Need, Notice, Order, Quote, Receipt
from chargehand.verdicts import Feedback

Search = Callable[[str], Awaitable[list[Quote]]]
FindContact = Callable[[str], Awaitable[str | None]]
PlaceOrder = Callable[[Choice, str], Awaitable[Order]]
Pay = Callable[[str, Decimal], Awaitable[Charge]]


class StandInModel:
    """Where a language model would be asked. It keeps count of the calls, as a provider would for its bill."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def think(self, agent: str, need: Need) -> None:
        """Count one call."""
        await asyncio.to_thread(self._count, agent, need.reference)

    def _count(self, agent: str, reference: str) -> None:
        with closing(sqlite3.connect(self._path, timeout=20)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS calls (number INTEGER PRIMARY KEY, agent TEXT NOT NULL, reference TEXT NOT NULL)")
            database.execute("INSERT INTO calls (agent, reference) VALUES (?, ?)", (agent, reference))


def told(feedback: Feedback | None, word: str) -> bool:
    """Say whether any verdict so far has mentioned a word."""
    verdicts = feedback.verdicts if feedback else ()
    return any(word in reason for verdict in verdicts for reason in verdict.reasons)


async def researcher(need: Need, search: Search, model: StandInModel, feedback: Feedback | None = None) -> list[Quote]:
    """Find quotes. Stops after two, and loses a decimal place of the last one, until told."""
    await model.think("researcher", need)
    quotes = await search(need.sku)
    if not told(feedback, "suppliers"):
        quotes = quotes[:2]
    if not told(feedback, "price"):
        slipped = (quotes[-1].price / 10).quantize(Decimal("0.01"))
        quotes = [*quotes[:-1], quotes[-1].model_copy(update={"price": slipped})]
    return quotes


async def analyst(need: Need, quotes: list[Quote], model: StandInModel, feedback: Feedback | None = None) -> Choice:
    """Choose the best quote. Takes the price of a pack for that of a piece, and orders as many packs, until told."""
    await model.think("analyst", need)
    if not told(feedback, "pieces"):
        best = min(quotes, key=lambda quote: quote.price)
        return Choice(quote=best, packs=need.pieces, total=need.pieces * best.price)
    on_time = [quote for quote in quotes if quote.lead_days <= need.within_days]
    choices = [Choice(quote=quote, packs=need.packs_of(quote), total=need.packs_of(quote) * quote.price) for quote in on_time]
    return min(choices, key=lambda choice: choice.total)


async def buyer(need: Need, choice: Choice, place_order: PlaceOrder, pay: Pay, model: StandInModel) -> Receipt:
    """Order what was chosen and pay what the supplier asks. Trusts whoever chose."""
    await model.think("buyer", need)
    order = await place_order(choice, need.reference)
    charge = await pay(need.reference, order.total)
    return Receipt(order=order, charge=charge)


async def notifier(need: Need, receipt: Receipt, find_contact: FindContact, model: StandInModel) -> Notice:
    """Write to whoever asked for the parts. Where there is no address it makes one up, whatever it is told."""
    await model.think("notifier", need)
    address = await find_contact(need.requested_by) or f"{need.requested_by}@plant.example"
    order = receipt.order
    text = f"{order.id}: {order.packs} packs of {need.sku} from {order.supplier} are ordered and paid."
    return Notice(address=address, text=text)
