"""Processes that stand still: their runs are taken over, and what they say afterwards is refused."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chargehand import DidNotHappen, DoneByHand, Pace, Person, Supervisor, effect, injected, wait_signal, workflow
from chargehand.errors import NotDone, RunFailed
from chargehand.testing import Supervised

SENT: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests sent."""
    SENT.clear()
    MEANWHILE.clear()


async def take_back(receipt: str) -> None: ...


class Gate:
    """The outside world, which answers when the test says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()


@effect(undo=take_back)
async def bare(what: str, gate: Gate = injected()) -> str:
    SENT.append(what)
    await gate.open.wait()
    return what


@effect(undo=take_back)
async def keyed(what: str, gate: Gate = injected(), idempotency_key: str = injected()) -> str:
    SENT.append(idempotency_key)
    await gate.open.wait()
    return what


async def find(what: str) -> str:
    SENT.append(f"find {what}")
    for said in MEANWHILE:
        await said()
    if FOUND_AT == 0:
        raise NotDone("not there")
    if SENT.count(f"find {what}") < FOUND_AT:
        raise ValueError("no answer")
    return what


MEANWHILE: list[Callable[[], Awaitable[None]]] = []
"""What happens while it is being looked up."""
FOUND_AT = 1
"""Which look-up finds it; with 0 it is not there."""


@effect(undo=take_back, lookup=find)
async def findable(what: str, gate: Gate = injected()) -> str:
    SENT.append(what)
    await gate.open.wait()
    return what


@workflow
async def does_findable() -> str:
    found = await findable("a")
    await wait_signal("go", int)
    return found


@workflow
async def does_bare() -> str:
    return await bare("a")


@workflow
async def does_keyed() -> str:
    return await keyed("a")


async def give_back(result: str | None, what: str, idempotency_key: str = injected()) -> None:
    SENT.append(f"give back {what}")


@effect(undo=give_back, undo_in_doubt=True)
async def harmless(what: str, gate: Gate = injected()) -> str:
    SENT.append(what)
    await gate.open.wait()
    return what


@workflow
async def does_harmless() -> str:
    return await harmless("a")


async def frozen(supervised: Supervised, call: Any, *, cancelled: bool = False) -> tuple[Any, Supervised]:
    """Start a run in a process that then stands still in mid-effect; return the run and a second process."""
    gate = Gate()
    supervised.replace(Gate, gate)
    run = await supervised.start(call)
    await supervised.until(lambda: bool(SENT), "the effect to be sent")
    supervised.freeze()
    other = supervised.beside([does_bare, does_keyed, does_findable, does_harmless])
    answering = Gate()
    answering.open.set()
    other.replace(Gate, answering)
    if cancelled:
        await other.rest()
        await other.cancel(run)
    await other.advance(120)
    return run, other


async def test_a_silent_process_loses_its_run_but_nothing_is_sent_blindly(supervised: Supervised) -> None:
    """A missed heartbeat: another worker takes the run over, but an effect in flight without a key stays in doubt."""
    run, other = await frozen(supervised, does_bare())
    row = await run.row()
    assert row.owner == other.supervisor.site.worker
    assert [entry.kind for entry in await run.waiting()] == ["doubt"]
    assert SENT == ["a"]


async def test_what_the_zombie_says_afterwards_is_refused(supervised: Supervised) -> None:
    """It wakes up and reports: its epoch is over, so nothing of it is written."""
    run, other = await frozen(supervised, does_bare())
    before = await run.history()
    gate: Gate = supervised.supervisor.site.resources._made[Gate]
    gate.open.set()
    supervised.thaw()
    await other.rest()
    assert await run.history() == before
    assert SENT == ["a"]


async def test_with_a_key_the_run_goes_on_elsewhere(supervised: Supervised) -> None:
    """A key that makes repeating safe is used by the new owner; the world sees one key."""
    run, other = await frozen(supervised, does_keyed())
    assert await run.result() == "a"
    assert len(SENT) == 2
    assert len(set(SENT)) == 1
    await other.close()


async def test_a_doubt_about_a_silent_process_ends_when_it_is_dead(supervised: Supervised) -> None:
    """While it may still be sending, a look-up would ask too early; once it is gone the doubt is looked up, and nobody else decides."""
    run, other = await frozen(supervised, does_findable())
    assert [entry.kind for entry in await run.waiting()] == ["doubt"]
    doubted = (await run.events("findable"))[-1]
    assert (doubted.type, doubted.payload["silent"]) == ("effect.doubted", True)
    assert doubted.payload["why"] == "the process that made it is silent but not dead, so its call may still be going on"
    assert SENT == ["a"]
    supervised._process.die()
    await other.advance(120)
    assert SENT == ["a", "find a"]
    assert (await run.events("findable"))[-1].type == "effect.done"
    assert await run.waiting() == []
    await other.signal(run, "go", 1)
    assert await run.result() == "a"


async def test_a_look_up_that_fails_leaves_such_a_doubt_to_people(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once, not again and again; a person may still say what came of it."""
    monkeypatch.setattr(f"{__name__}.FOUND_AT", 99)
    run, other = await frozen(supervised, does_findable())
    supervised._process.die()
    await other.advance(600)
    assert SENT == ["a", "find a"]
    await other.decide("doubt", DoneByHand("by hand"))
    await other.signal(run, "go", 1)
    assert await run.result() == "by hand"


async def test_a_look_up_that_does_not_find_it_ends_such_a_doubt(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """It surely did not happen, tries left or not: the doubt's entry is closed, and what is left is a dead letter."""
    monkeypatch.setattr(f"{__name__}.FOUND_AT", 0)
    run, other = await frozen(supervised, does_findable())
    supervised._process.die()
    await other.advance(120)
    assert SENT == ["a", "find a"]
    (told,) = [event for event in await run.events("findable") if event.type == "effect.did_not_happen"]
    assert (told.payload["by"], told.payload["permanent"]) == ("lookup", True)
    assert [entry.kind for entry in await run.waiting()] == ["letter"]


async def test_a_person_is_quicker_than_such_a_look_up(supervised: Supervised) -> None:
    """What a person has said while it was being looked up stands, whatever the look-up finds then."""
    run, other = await frozen(supervised, does_findable())
    (entry,) = await run.waiting()

    async def decided() -> None:
        await other.supervisor.decide(entry, DidNotHappen(), by=Person("ann"))
        for _ in range(100):
            await asyncio.sleep(0)

    MEANWHILE.append(decided)
    supervised._process.die()
    await other.advance(120)
    assert SENT == ["a", "find a"]
    assert [event.type for event in await run.events("findable")][-2:] == ["effect.did_not_happen", "effect.lettered"]
    assert [entry.kind for entry in await run.waiting()] == ["letter"]


# -- what was in flight, in a rollback elsewhere ----------


async def test_nothing_is_undone_while_the_silent_process_may_be_sending(supervised: Supervised) -> None:
    """Even an undo that is harmless when the effect never happened: before the effect it would undo nothing, and the effect would stand."""
    run, other = await frozen(supervised, does_harmless(), cancelled=True)
    assert [entry.kind for entry in await run.waiting()] == ["doubt"]
    assert SENT == ["a"]
    supervised._process.die()
    await other.advance(120)
    assert await run.status() == "cancelled"
    assert SENT == ["a", "give back a"]
    assert await run.waiting() == []


@pytest.mark.parametrize(("found_at", "ends"), [(1, ["effect.done", "undo.intended", "undo.done"]), (0, ["effect.did_not_happen"])])
async def test_a_rollback_looks_up_when_the_silent_process_is_dead(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, found_at: int, ends: list[str]
) -> None:
    """Earlier a look-up would ask too early. Found, it is undone; not there, there is nothing to undo. Nobody is asked."""
    monkeypatch.setattr(f"{__name__}.FOUND_AT", found_at)
    run, other = await frozen(supervised, does_findable(), cancelled=True)
    assert [entry.kind for entry in await run.waiting()] == ["doubt"]
    assert SENT == ["a"]
    supervised._process.die()
    await other.advance(120)
    assert SENT == ["a", "find a"]
    assert [event.type for event in await run.events("findable")] == ["effect.intended", "effect.doubted", *ends]
    assert await run.status() == "cancelled"
    assert await run.waiting() == []


async def test_a_rollback_whose_look_up_fails_waits_for_people(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once, and the entry that was opened stays open for whoever knows what came of it."""
    monkeypatch.setattr(f"{__name__}.FOUND_AT", 99)
    run, other = await frozen(supervised, does_findable(), cancelled=True)
    (entry,) = await run.waiting()
    supervised._process.die()
    await other.advance(600)
    assert SENT == ["a", "find a"]
    assert [still.id for still in await run.waiting()] == [entry.id]
    await other.decide("doubt", DoneByHand("by hand"))
    assert await run.ended() == "cancelled"
    await other.assert_effects(run, ["findable", "undo findable"])


async def test_a_rollback_does_not_hold_its_people_up(supervised: Supervised) -> None:
    """Whoever knows what came of the call may say so while the process still stands still; nothing is looked up after that."""
    run, other = await frozen(supervised, does_findable(), cancelled=True)
    await other.decide("doubt", DidNotHappen())
    assert await run.ended() == "cancelled"
    supervised._process.die()
    await other.advance(120)
    assert SENT == ["a"]


ENTERED = threading.Event()


@effect(undo=take_back, name="blocks the loop")
async def blocks(path: str, seconds: float) -> str:
    """Hold the whole event loop up, as a careless library does."""
    with sqlite3.connect(path) as ledger:
        ledger.execute("INSERT INTO sent VALUES (1)")
    ENTERED.set()
    time.sleep(seconds)
    return "done"


@workflow(name="holds up")
async def holds_up(path: str, seconds: float) -> str:
    return await blocks(path, seconds)


@pytest.mark.slow
def test_a_blocked_loop_does_not_lose_its_runs_wrongly(tmp_path: Path) -> None:
    """The event loop of one worker stands still for three leases while another looks for work: the effect is sent once, and the run ends once."""
    ledger = str(tmp_path / "ledger.db")
    with sqlite3.connect(ledger) as made:
        made.execute("CREATE TABLE sent (n)")
    pace = Pace(poll=0.02, lease=0.3, silent_after=60.0)
    said: list[str] = []
    over = threading.Event()

    async def blocked() -> None:
        async with Supervisor(str(tmp_path / "journal.db"), [holds_up], pace=pace) as supervisor:
            run = await supervisor.start(holds_up(ledger, 1.0), "r")
            try:
                said.append(await run.result(30))
            except RunFailed as error:
                said.append(f"failed: {error}")
        over.set()

    async def looking() -> list[str]:
        async with Supervisor(str(tmp_path / "journal.db"), [holds_up], pace=pace) as supervisor:
            owners: list[str] = []
            while not over.is_set():
                row = await supervisor.row("r")
                if row.owner is not None:
                    owners.append(row.owner)
                await asyncio.sleep(0.02)
            owners.append(supervisor.site.worker)
            return owners

    thread = threading.Thread(target=lambda: asyncio.run(blocked()))
    thread.start()
    assert ENTERED.wait(20)
    *owners, mine = asyncio.run(looking())
    thread.join(30)
    assert said == ["done"]
    assert mine not in owners
    with sqlite3.connect(ledger) as made:
        assert made.execute("SELECT count(*) FROM sent").fetchone() == (1,)
