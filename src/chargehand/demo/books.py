"""What happened, counted from the services' own books: the orders, the charges, the model's calls.

Nothing here reads Chargehand's journal: a supervisor that kept its own score would prove nothing.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from chargehand.demo.purchase import euros

_RIGHT_PRICE = """
WITH best AS (
    SELECT reference, min(((pieces + pack - 1) / pack) * price_cents) AS best_cents
    FROM needs JOIN catalogue USING (sku) JOIN quotes USING (offer) WHERE lead_days <= within_days GROUP BY reference
)
"""
"""What each need costs at the cheapest supplier that delivers on time, in whole packs."""

_WRONG_ORDERS = f"""
{_RIGHT_PRICE} SELECT count(*)
FROM orders JOIN needs USING (reference) JOIN best USING (reference) JOIN catalogue USING (offer)
WHERE packs * pack < pieces OR lead_days > within_days OR total_cents > best_cents
"""
"""An order is wrong when it brings too little, too late, or costs more than the right one."""

_CHARGED_AGAIN = """
SELECT coalesce(sum(charges - 1), 0) FROM (
    SELECT count(*) AS charges FROM charges WHERE number NOT IN (SELECT charge FROM refunds) GROUP BY reference
)
"""
"""Charges beyond the first for the same purchase, that nobody has refunded."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one half of the demo did to the world. Money in euros."""

    orders: int
    wrong_orders: int
    cancelled_orders: int
    charges: int
    double_charges: int
    refunds: int
    money_out: Decimal
    money_needed: Decimal
    paid_untold: int
    payment_requests: int
    failed_requests: int
    model_calls: int


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One order as the supplier has it in the books."""

    id: str
    reference: str
    supplier: str
    packs: int
    pack: int
    pieces_needed: int
    total: Decimal
    status: str


@dataclass(frozen=True, slots=True)
class Half:
    """One half of the demo as it ended: what it did, and how long it took."""

    outcome: Outcome
    seconds: float


def count(folder: Path) -> Outcome:
    """Count everything in one half's folder."""
    suppliers, payments = folder / "suppliers.db", folder / "payments.db"
    charged = _number(payments, "SELECT coalesce(sum(amount_cents), 0) FROM charges")
    refunded = _number(payments, "SELECT coalesce(sum(amount_cents), 0) FROM refunds")
    return Outcome(
        orders=_number(suppliers, "SELECT count(*) FROM orders"),
        wrong_orders=_number(suppliers, _WRONG_ORDERS),
        cancelled_orders=_number(suppliers, "SELECT count(*) FROM orders WHERE status = 'cancelled'"),
        charges=_number(payments, "SELECT count(*) FROM charges"),
        double_charges=_number(payments, _CHARGED_AGAIN),
        refunds=_number(payments, "SELECT count(*) FROM refunds"),
        money_out=euros(charged - refunded),
        money_needed=euros(_number(suppliers, f"{_RIGHT_PRICE} SELECT sum(best_cents) FROM best")),
        paid_untold=len(_paid(payments) - _told(suppliers)),
        payment_requests=_number(payments, "SELECT count(*) FROM requests"),
        failed_requests=_number(payments, "SELECT count(*) FROM requests WHERE behaviour <> 'answer'"),
        model_calls=_number(folder / "model.db", "SELECT count(*) FROM calls"),
    )


def order_lines(folder: Path) -> list[OrderLine]:
    """Return every order, oldest first."""
    with closing(sqlite3.connect(folder / "suppliers.db")) as database:
        rows = database.execute(
            "SELECT number, reference, name, packs, pack, pieces, total_cents, status"
            " FROM orders JOIN catalogue USING (offer) JOIN suppliers ON suppliers.id = supplier"
            " JOIN needs USING (reference) ORDER BY number"
        ).fetchall()
    return [
        OrderLine(f"SO-{number:04}", reference, name, packs, pack, pieces, euros(total), status)
        for number, reference, name, packs, pack, pieces, total, status in rows
    ]


def _paid(payments: Path) -> set[str]:
    return _column(payments, "SELECT reference FROM charges WHERE number NOT IN (SELECT charge FROM refunds)")


def _told(suppliers: Path) -> set[str]:
    return _column(suppliers, "SELECT reference FROM notices")


def _number(path: Path, query: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute(query).fetchone()[0])


def _column(path: Path, query: str) -> set[str]:
    with closing(sqlite3.connect(path)) as database:
        return {str(row[0]) for row in database.execute(query)}
