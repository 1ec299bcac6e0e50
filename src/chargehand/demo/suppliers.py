"""The supplier database of the demo: a SQLite file with 40 suppliers, 300 catalogue rows, their quotes and all orders.

It is the outside world: it knows nothing of Chargehand. It honours a key on what it is asked to do, as an order desk
with a customer's order number would: the same key a second time is the same order.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chargehand.demo.purchase import Choice, Need, Notice, Order, Quote, euros

SCHEMA = """
CREATE TABLE suppliers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE catalogue (
    offer INTEGER PRIMARY KEY, supplier INTEGER NOT NULL REFERENCES suppliers, sku TEXT NOT NULL,
    pack INTEGER NOT NULL CHECK (pack > 0), lead_days INTEGER NOT NULL CHECK (lead_days > 0), UNIQUE (supplier, sku)
);
CREATE TABLE quotes (
    offer INTEGER PRIMARY KEY REFERENCES catalogue, price_cents INTEGER NOT NULL CHECK (price_cents > 0)
);
CREATE TABLE contacts (name TEXT PRIMARY KEY, address TEXT NOT NULL UNIQUE);
CREATE TABLE needs (
    reference TEXT PRIMARY KEY, sku TEXT NOT NULL, pieces INTEGER NOT NULL, within_days INTEGER NOT NULL,
    requested_by TEXT NOT NULL
);
CREATE TABLE orders (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, reference TEXT NOT NULL,
    offer INTEGER NOT NULL REFERENCES catalogue, packs INTEGER NOT NULL CHECK (packs > 0), total_cents INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'placed' CHECK (status IN ('placed', 'cancelled')),
    cancelled_by TEXT UNIQUE
);
CREATE TABLE notices (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, reference TEXT NOT NULL, address TEXT NOT NULL,
    text TEXT NOT NULL
);
"""

_TREES = ("Alder", "Ash", "Beech", "Birch", "Cedar", "Elm", "Hazel", "Larch", "Maple", "Rowan")
_TRADES = ("Fasteners", "Industrial", "Metals", "Supply")
_PARTS = ("BOLT", "NUT", "WASHER", "SCREW", "GASKET", "SEAL")
_SIZES = ("M4", "M5", "M6", "M8", "M10")
_PACKS = (20, 25, 50, 100, 200)
_CONTACTS = (
    ("assembly", "assembly@plant.example"),
    ("maintenance", "maintenance@plant.example"),
    ("stores", "stores@plant.example"),
)
OFFERS_PER_SKU = 10


class UnknownAddress(LookupError):
    """Nobody reads mail under this address."""


def create(path: Path, seed: int, needs: list[Need]) -> None:
    """Make a new supplier database; the same seed makes the same one."""
    dice = random.Random(seed)
    with _open(path) as database:
        database.executescript(SCHEMA)
        names = [f"{tree} {trade}" for tree in _TREES for trade in _TRADES]
        database.executemany("INSERT INTO suppliers VALUES (?, ?)", enumerate(names, start=1))
        offer = 0
        for sku in (f"{size}-{part}" for part in _PARTS for size in _SIZES):
            cents_a_piece = dice.uniform(4, 40)
            for supplier in dice.sample(range(1, len(names) + 1), OFFERS_PER_SKU):
                offer += 1
                pack = dice.choice(_PACKS)
                price = round(cents_a_piece * pack * dice.uniform(0.85, 1.35))
                database.execute("INSERT INTO catalogue VALUES (?, ?, ?, ?, ?)", (offer, supplier, sku, pack, dice.randint(2, 12)))
                database.execute("INSERT INTO quotes VALUES (?, ?)", (offer, price))
        database.executemany("INSERT INTO contacts VALUES (?, ?)", _CONTACTS)
        database.executemany(
            "INSERT INTO needs VALUES (:reference, :sku, :pieces, :within_days, :requested_by)",
            [need.model_dump() for need in needs],
        )


class SupplierDatabase:
    """What the crew may ask of the suppliers. Each call is one transaction: it happened whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def need(self, reference: str) -> Need:
        """Return a need by its reference."""
        return await asyncio.to_thread(self._need, reference)

    async def search(self, sku: str) -> list[Quote]:
        """Return every offer for a part."""
        return await asyncio.to_thread(self._search, sku)

    async def find_contact(self, name: str) -> str | None:
        """Return somebody's address, or None."""
        return await asyncio.to_thread(self._find_contact, name)

    async def place(self, choice: Choice, reference: str, key: str) -> Order:
        """Order packs of an offer at the supplier's own price. The same key again returns the first order."""
        return await asyncio.to_thread(self._place, choice, reference, key)

    async def cancel(self, order: Order, key: str) -> None:
        """Cancel an order and note under which key. Cancelling twice is cancelling once."""
        await asyncio.to_thread(self._cancel, order, key)

    async def post(self, notice: Notice, reference: str, key: str) -> None:
        """Deliver a notice. Raises `UnknownAddress` when there is no such mailbox."""
        await asyncio.to_thread(self._post, notice, reference, key)

    def _need(self, reference: str) -> Need:
        with _open(self._path) as database:
            row = database.execute("SELECT * FROM needs WHERE reference = ?", (reference,)).fetchone()
        return Need.model_validate(dict(row))

    def _search(self, sku: str) -> list[Quote]:
        with _open(self._path) as database:
            rows = database.execute(
                "SELECT offer, name, sku, pack, price_cents, lead_days FROM catalogue JOIN quotes USING (offer)"
                " JOIN suppliers ON suppliers.id = supplier WHERE sku = ? ORDER BY offer",
                (sku,),
            ).fetchall()
        return [
            Quote(
                offer=row["offer"],
                supplier=row["name"],
                sku=row["sku"],
                pack=row["pack"],
                price=euros(row["price_cents"]),
                lead_days=row["lead_days"],
            )
            for row in rows
        ]

    def _find_contact(self, name: str) -> str | None:
        with _open(self._path) as database:
            row = database.execute("SELECT address FROM contacts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["address"])

    def _place(self, choice: Choice, reference: str, key: str) -> Order:
        with _open(self._path) as database:
            database.execute(
                "INSERT INTO orders (key, reference, offer, packs, total_cents)"
                " SELECT ?, ?, offer, ?, ? * price_cents FROM quotes WHERE offer = ? ON CONFLICT (key) DO NOTHING",
                (key, reference, choice.packs, choice.packs, choice.quote.offer),
            )
            row = database.execute(
                "SELECT number, reference, name, packs, total_cents FROM orders JOIN catalogue USING (offer)"
                " JOIN suppliers ON suppliers.id = supplier WHERE key = ?",
                (key,),
            ).fetchone()
        return Order(
            id=f"SO-{row['number']:04}",
            reference=row["reference"],
            supplier=row["name"],
            packs=row["packs"],
            total=euros(row["total_cents"]),
        )

    def _cancel(self, order: Order, key: str) -> None:
        with _open(self._path) as database:
            database.execute(
                "UPDATE orders SET status = 'cancelled', cancelled_by = ? WHERE number = ? AND status = 'placed'",
                (key, int(order.id.removeprefix("SO-"))),
            )

    def _post(self, notice: Notice, reference: str, key: str) -> None:
        with _open(self._path) as database:
            if database.execute("SELECT 1 FROM contacts WHERE address = ?", (notice.address,)).fetchone() is None:
                raise UnknownAddress(f"There is no mailbox {notice.address!r}.")
            database.execute(
                "INSERT INTO notices (key, reference, address, text) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                (key, reference, notice.address, notice.text),
            )


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for one transaction."""
    database = sqlite3.connect(path, timeout=20)
    database.row_factory = sqlite3.Row
    try:
        with database:
            yield database
    finally:
        database.close()
