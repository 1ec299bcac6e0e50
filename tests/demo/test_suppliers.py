"""The demo's supplier database: the same for the same seed, and one order per key."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chargehand.demo import suppliers
from chargehand.demo.purchase import Choice, Notice
from chargehand.demo.story import BOLTS, SEALS, SEED
from chargehand.demo.suppliers import SupplierDatabase, UnknownAddress


async def choice_of(market: SupplierDatabase) -> Choice:
    """Return ten packs of the first offer."""
    quote = (await market.search(BOLTS.sku))[0]
    return Choice(quote=quote, packs=10, total=10 * quote.price)


def test_size(market: SupplierDatabase, tmp_path: Path) -> None:
    """It has 40 suppliers and 300 catalogue rows, each with a quote."""
    with closing(sqlite3.connect(tmp_path / "suppliers.db")) as database:
        sizes = [database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("suppliers", "catalogue", "quotes")]
    assert sizes == [40, 300, 300]


async def test_the_seed_decides(market: SupplierDatabase, tmp_path: Path) -> None:
    """The same seed makes the same database, another seed another."""
    for seed, same in ((SEED, True), (SEED + 1, False)):
        path = tmp_path / f"again-{seed}.db"
        suppliers.create(path, seed, [BOLTS, SEALS])
        assert (await SupplierDatabase(path).search(BOLTS.sku) == await market.search(BOLTS.sku)) is same


async def test_a_key_orders_once(market: SupplierDatabase) -> None:
    """The same key is the same order, at the supplier's own price; another key is another order."""
    choice = await choice_of(market)
    cheap = choice.model_copy(update={"quote": choice.quote.model_copy(update={"price": choice.quote.price / 10})})
    first = await market.place(cheap, BOLTS.reference, "k")
    assert first.total == choice.total
    assert await market.place(cheap, BOLTS.reference, "k") == first
    assert (await market.place(cheap, BOLTS.reference, "k2")).id != first.id


async def test_cancels(market: SupplierDatabase, tmp_path: Path) -> None:
    """A cancelled order is cancelled, also the second time, and no other is."""
    kept = await market.place(await choice_of(market), BOLTS.reference, "k")
    gone = await market.place(await choice_of(market), BOLTS.reference, "k2")
    await market.cancel(gone, "k2!undo")
    await market.cancel(gone, "k2!undo")
    with closing(sqlite3.connect(tmp_path / "suppliers.db")) as database:
        assert database.execute("SELECT status FROM orders ORDER BY number").fetchall() == [("placed",), ("cancelled",)]
    assert kept.id == "SO-0001"


async def test_posts_to_known_addresses_only(market: SupplierDatabase, tmp_path: Path) -> None:
    """A notice reaches a mailbox that exists, once per key, and no other."""
    address = await market.find_contact(BOLTS.requested_by)
    assert address is not None
    for _ in range(2):
        await market.post(Notice(address=address, text="ordered"), BOLTS.reference, "k")
    assert await market.find_contact(SEALS.requested_by) is None
    with pytest.raises(UnknownAddress):
        await market.post(Notice(address="line-9@plant.example", text="ordered"), SEALS.reference, "k2")
    with closing(sqlite3.connect(tmp_path / "suppliers.db")) as database:
        assert database.execute("SELECT reference FROM notices").fetchall() == [(BOLTS.reference,)]


async def test_needs_can_be_met(market: SupplierDatabase) -> None:
    """Both needs have at least three suppliers and one that delivers on time, so that right is possible."""
    for need in (BOLTS, SEALS):
        assert await market.need(need.reference) == need
        quotes = await market.search(need.sku)
        assert len({quote.supplier for quote in quotes}) >= 3
        assert any(quote.lead_days <= need.within_days for quote in quotes)
