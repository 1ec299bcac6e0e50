"""The demo's stand-in agents make the mistakes that the demo says they make, and mend what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from chargehand.demo import agents
from chargehand.demo.agents import StandInModel
from chargehand.demo.purchase import Need
from chargehand.demo.story import BOLTS, SEALS
from chargehand.demo.suppliers import SupplierDatabase
from chargehand.verdicts import Feedback, Verdict


def feedback(*reasons: str) -> Feedback:
    """Return what an agent is told after as many rejections."""
    return Feedback(len(reasons) + 1, reasons[-1:], tuple(Verdict.fail(reason) for reason in reasons))


@pytest.fixture
def model(tmp_path: Path) -> StandInModel:
    """Return a model that counts in the test's folder."""
    return StandInModel(tmp_path / "model.db")


async def test_researcher_mends_one_thing_at_a_time(market: SupplierDatabase, model: StandInModel) -> None:
    """Two quotes and a slipped decimal at first; told of suppliers, all quotes; told of the price too, all right."""
    listed = await market.search(BOLTS.sku)
    first = await agents.researcher(BOLTS, market.search, model)
    assert len(first) == 2
    assert first[0] == listed[0]
    assert abs(first[1].price * 10 - listed[1].price) < 1
    second = await agents.researcher(BOLTS, market.search, model, feedback("three suppliers are needed"))
    assert len(second) == len(listed)
    assert second[-1].price < listed[-1].price
    assert await agents.researcher(BOLTS, market.search, model, feedback("suppliers", "the price is wrong")) == listed


@pytest.mark.parametrize("need", [BOLTS, SEALS])
async def test_analyst_takes_packs_for_pieces_until_told(market: SupplierDatabase, model: StandInModel, need: Need) -> None:
    """At first it orders as many packs as pieces are needed; told so, it takes the cheapest offer that is on time."""
    quotes = await market.search(need.sku)
    wrong = await agents.analyst(need, quotes, model)
    assert wrong.packs == need.pieces
    assert wrong.quote.pack > 1
    right = await agents.analyst(need, quotes, model, feedback("too many pieces"))
    assert right.quote.lead_days <= need.within_days
    assert 0 <= right.packs * right.quote.pack - need.pieces < right.quote.pack
    assert right.total == min(need.packs_of(quote) * quote.price for quote in quotes if quote.lead_days <= need.within_days)


async def test_notifier_makes_addresses_up(market: SupplierDatabase, model: StandInModel) -> None:
    """Where there is no contact it writes to an address of its own making, whatever it is told."""
    choice = await agents.analyst(SEALS, await market.search(SEALS.sku), model, feedback("pieces"))
    order = await market.place(choice, SEALS.reference, "k")
    receipt = agents.Receipt(order=order, charge=agents.Charge(id="CH-0001", reference=SEALS.reference, amount=order.total))
    assert (await agents.notifier(SEALS, receipt, market.find_contact, model)).address == "line-9@plant.example"
    assert (await agents.notifier(BOLTS, receipt, market.find_contact, model)).address == "assembly@plant.example"
