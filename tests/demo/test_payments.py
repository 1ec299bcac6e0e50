"""The demo's payment service is what it says: it honours keys, keeps its own books, and is flaky as planned."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from chargehand.demo import payment_client, payments
from chargehand.demo.payment_client import PaymentClient, PaymentError, ask
from chargehand.demo.purchase import Charge

TEN = Decimal("10.00")


def rows(folder: Path, query: str) -> list[Any]:
    """Return what the service's books say."""
    with closing(sqlite3.connect(folder / "payments.db")) as database:
        return database.execute(query).fetchall()


async def test_a_key_charges_once(serve: Any, tmp_path: Path) -> None:
    """The same key with the same body gets the first answer again, and the books have one charge."""
    client = PaymentClient(serve().server_port)
    first = await client.charge("po-1", TEN, "k")
    assert await client.charge("po-1", TEN, "k") == first
    assert rows(tmp_path, "SELECT reference, amount_cents FROM charges") == [("po-1", 1000)]
    assert [outcome for (outcome,) in rows(tmp_path, "SELECT outcome FROM requests")] == [
        "booked",
        "answered from its key",
    ]


async def test_a_key_covers_one_request(serve: Any, tmp_path: Path) -> None:
    """The same key with another body is refused with 422 and nothing is charged."""
    client = PaymentClient(serve().server_port)
    await client.charge("po-1", TEN, "k")
    with pytest.raises(PaymentError) as refused:
        await client.charge("po-1", TEN + 1, "k")
    assert refused.value.status == 422
    assert len(rows(tmp_path, "SELECT * FROM charges")) == 1


async def test_another_key_is_another_charge(serve: Any, tmp_path: Path) -> None:
    """The service is no mind reader: who makes a new key charges anew."""
    client = PaymentClient(serve().server_port)
    first, second = await client.charge("po-1", TEN, "k1"), await client.charge("po-1", TEN, "k2")
    assert first.id != second.id


async def test_a_dropped_connection_may_have_charged(serve: Any, tmp_path: Path) -> None:
    """A drop before the work and one after it look alike to the client; only the books know."""
    client = PaymentClient(serve("drop before", "drop after").server_port)
    for expected in (0, 1):
        with pytest.raises(ConnectionError):
            await client.charge("po-1", TEN, "k")
        assert len(rows(tmp_path, "SELECT * FROM charges")) == expected
    assert (await client.charge("po-1", TEN, "k")).id == "CH-0001"


async def test_unavailable_did_nothing(serve: Any, tmp_path: Path) -> None:
    """A 503 carries its status, and nothing is booked."""
    client = PaymentClient(serve("unavailable").server_port)
    with pytest.raises(PaymentError) as refused:
        await client.charge("po-1", TEN, "k")
    assert refused.value.status == 503
    assert rows(tmp_path, "SELECT * FROM charges") == []


async def test_slow_has_charged(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes later than the client waits is a charge that the client does not know of."""
    monkeypatch.setattr(payment_client, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(payments, "SLOW_SECONDS", 0.2)
    client = PaymentClient(serve("slow").server_port)
    with pytest.raises(TimeoutError):
        await client.charge("po-1", TEN, "k")
    assert len(rows(tmp_path, "SELECT * FROM charges")) == 1


async def test_refunds_once(serve: Any, tmp_path: Path) -> None:
    """A refund takes the whole charge back, once per key, and not twice under another key."""
    client = PaymentClient(serve().server_port)
    charge = await client.charge("po-1", TEN, "k")
    await client.refund(charge, "k!undo")
    await client.refund(charge, "k!undo")
    with pytest.raises(PaymentError):
        await client.refund(charge, "other")
    assert rows(tmp_path, "SELECT charge, amount_cents FROM refunds") == [(1, 1000)]


@pytest.mark.parametrize("amount", [Decimal(0), Decimal(-1)])
async def test_refuses_nonsense(serve: Any, amount: Decimal) -> None:
    """An amount that is not positive is refused with 400."""
    client = PaymentClient(serve().server_port)
    with pytest.raises(PaymentError) as refused:
        await client.charge("po-1", amount, "k")
    assert refused.value.status == 400


async def test_refuses_unknown_charges_and_paths(serve: Any) -> None:
    """What the service does not know is 404."""
    port = serve().server_port
    with pytest.raises(PaymentError) as refused:
        await PaymentClient(port).refund(Charge(id="CH-0099", reference="po-1", amount=TEN), "k")
    assert refused.value.status == 404
    for method in ("GET", "POST"):
        status, _ = await asyncio.to_thread(ask, port, method, "/nowhere")
        assert status == 404


async def test_holds_answers_of_booked_charges(serve: Any, tmp_path: Path) -> None:
    """While it holds, a charge is in the books and its answer is not out; released, the answer comes."""
    port = serve().server_port
    await asyncio.to_thread(ask, port, "POST", "/bench/hold")
    charging = asyncio.create_task(PaymentClient(port).charge("po-1", TEN, "k"))
    status, _ = await asyncio.to_thread(ask, port, "GET", "/bench/held")
    assert status == 200
    assert rows(tmp_path, "SELECT reference FROM charges") == [("po-1",)]
    assert not charging.done()
    await asyncio.to_thread(ask, port, "POST", "/bench/release")
    assert (await charging).amount == TEN


async def test_says_when_nothing_is_held(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a held answer ends, so a demo that goes wrong does not hang."""
    monkeypatch.setattr(payments, "HELD_WITHIN_SECONDS", 0.01)
    status, _ = await asyncio.to_thread(ask, serve().server_port, "GET", "/bench/held")
    assert status == 504


def test_plan_is_the_seeds() -> None:
    """The same seed misbehaves the same way, and every pack holds every kind."""
    cards = list(islice(payments.plan(4), 12))
    assert cards == list(islice(payments.plan(4), 12))
    assert sorted(cards[:6]) == sorted(cards[6:]) == sorted(payments.PACK)
    assert cards != list(islice(payments.plan(5), 12))
