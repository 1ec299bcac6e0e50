"""Forged events on a keyed journal."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import apsw

from chargehand import Supervisor, effect, workflow
from chargehand.events import chain_hash

PAID: list[int] = []


async def undo(receipt: str) -> None:
    """Take it back."""


@effect(undo=undo, approve=True, name="pay")
async def pay(amount: int) -> str:
    """Pay."""
    PAID.append(amount)
    return "paid"


@workflow(name="flow.pays")
async def pays(amount: int) -> str:
    """Pay once somebody said yes."""
    return await pay(amount)


async def test_a_driver_does_not_act_on_forged_events(tmp_path: Path) -> None:
    """An approval that was written into the events by who lacks the key approves nothing."""
    path, key = tmp_path / "j.db", b"the key of this journal"
    async with Supervisor(str(path), [pays], chain_key=key) as supervisor:
        await supervisor.start(pays(5), "r")
        while not await supervisor.waiting():
            await asyncio.sleep(0.01)
    connection = apsw.Connection(str(path))
    approves = json.loads(next(iter(connection.execute("SELECT payload FROM events WHERE seq = 2")))[0])["approves"]
    head, time = next(iter(connection.execute("SELECT head, updated FROM runs")))
    payload = json.dumps({"by": {"id": "nobody"}, "approves": approves})
    forged = chain_hash(head, "r", 3, time, "effect.approved", "pay", hashlib.sha256(payload.encode()).digest())
    connection.execute(
        "INSERT INTO events(run, seq, time, type, path, payload, hash) VALUES (1, 3, ?, 'effect.approved', 'pay', ?, ?)",
        (time, payload, forged),
    )
    connection.execute("UPDATE runs SET seq = 3, head = ?, due = 0", (forged,))
    connection.close()
    async with Supervisor(str(path), [pays], chain_key=key) as supervisor:
        for _ in range(50):
            await asyncio.sleep(0.01)
        assert supervisor.carrier is not None
        assert PAID == []
        assert "does not hold at seq 3" in str(supervisor.carrier.failed["r"])
