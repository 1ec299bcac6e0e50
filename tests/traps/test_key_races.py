"""Races for a business key, and what comes between reading who holds it and writing down that it is taken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chargehand import AtOnce, effect, workflow
from chargehand.durable import Commit
from chargehand.testing import Supervised

SENT: list[str] = []
DOOR: list[asyncio.Event] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests sent; the outside world does not answer yet."""
    SENT.clear()
    DOOR[:] = [asyncio.Event()]


async def take_back(receipt: str) -> None: ...


@effect(undo=take_back, key=lambda call: "order", timeout=3600)
async def pay(by: str) -> str:
    SENT.append(by)
    await DOOR[0].wait()
    return "paid"


@effect(undo=take_back, key=lambda call: "order", at_once=AtOnce(5))
async def pay_soon() -> str:
    SENT.append("soon")
    return "paid"


@workflow
async def pays(by: str) -> str:
    return await pay(by)


@workflow
async def pays_soon() -> str:
    return await pay_soon()


async def test_who_took_the_key_in_between_is_waited_for(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs read that a key is free; the commit of the slower one is refused, and it asks again a second later, and each second."""
    journal = supervised.supervisor.journal
    key, asked = journal.key, []

    async def late(*about: str) -> Any:
        asked.append(supervised.clock.now())
        return None if len(asked) <= 2 else await key(*about)

    first = await supervised.start(pays("first"))
    await supervised.until(lambda: SENT == ["first"])
    begun = supervised.clock.now()
    monkeypatch.setattr(journal, "key", late)
    second = await supervised.start(pays("first"))
    await supervised.until(lambda: bool(asked))
    await supervised.advance(0.5)
    assert asked == [begun]
    row = await second.row()
    assert (row.status, row.due) == ("waiting", begun + 1)
    await supervised.advance(2)
    assert asked == [begun, begun + 1, begun + 2]
    DOOR[0].set()
    assert (await first.result(), await second.result()) == ("paid", "paid")
    assert SENT == ["first"]


async def test_a_rollback_in_between_writes_no_intent(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled while the key was being read: nothing is written down as begun, and the key stays free."""
    journal = supervised.supervisor.journal
    append, key = journal.append, journal.key

    async def slow(*about: str) -> Any:
        if not DOOR[0].is_set():
            await supervised.supervisor.cancel(run.id)
            await DOOR[0].wait()
        return await key(*about)

    async def appended(commit: Commit) -> Any:
        records = await append(commit)
        if "run.rolling_back" in [record.type for record in commit.records]:
            DOOR[0].set()
        return records

    monkeypatch.setattr(journal, "key", slow)
    monkeypatch.setattr(journal, "append", appended)
    run = await supervised.start(pays_soon())
    await supervised.rest()
    assert [event.type for event in await run.events()] == ["run.started", "cancel.requested", "run.rolling_back", "run.cancelled"]
    assert await key("development", pay_soon.full_name, "order") is None
    assert SENT == []
