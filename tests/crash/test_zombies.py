"""Workers that stand still and come back, workers that leave, workers whose loop is blocked."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chargehand import Pace

from .market import jam, letter, regret
from .town import Town
from .worker import Crew, kill, send

SHORT = Pace(poll=0.01, lease=0.5, silent_after=1.5)
RUN = "run-0"  # of the workflow `shop`
IN_FLIGHT = {"charge": "0 a", "ship": "0 b", "post": "0 c"}


def arrived(town: Town) -> Counter[str]:
    """Count the arrivals at the services of what `shop` does side by side."""
    return Counter(fact.tool for fact in town.book.facts() if fact.what == "arrived" and IN_FLIGHT.get(fact.tool) == fact.ref)


async def taken_over(town: Town) -> bool:
    """Say whether a second worker drives the run and has come as far as it can without people."""
    row = await town.office.row(RUN)
    return row.epoch == 2 and {entry.path for entry in await town.office.waiting()} >= {"gather.3/post"}


async def events(town: Town) -> list[Any]:
    """Return the run's events."""
    return await town.office.run(RUN).events()


def dropped(log: Path) -> bool:
    """Say whether a worker found that its run was taken over."""
    return log.exists() and "was taken over by another worker" in log.read_text()


async def finish(town: Town) -> None:
    """Have the people decide; check how the run came out."""
    await town.until(town.all_ended, "the run ended")
    found = await town.outcomes()
    assert found[RUN][0] == "completed"
    assert found[RUN][1] == 7, "every effect stands"
    await town.office.close()


async def test_a_zombie_writes_nothing(tmp_path: Path, crew: Crew) -> None:
    """A worker that was stopped in the middle of three effects and taken over writes nothing when it wakes up.

    The keyed effect was sent again under its key; the others are in doubt, because the zombie's calls may still go on.
    """
    gate, log = tmp_path / "gate", tmp_path / "zombie.log"
    town = Town(tmp_path, crew, {"pace": SHORT})
    await town.open([0])
    zombie = town.hire(gate=str(gate), log=str(log))
    await town.until(lambda: len(arrived(town)) == 3, "three effects are in flight", people=False)
    send(zombie, signal.SIGSTOP)
    town.hire()
    await town.until(lambda: taken_over(town), "the run is taken over", people=False)
    await town.until(lambda: _has(town, "effect.done", "gather.1/charge"), "the keyed effect is done", people=False)
    doubts = {entry.path: entry.kind for entry in await town.office.waiting()}
    assert doubts == {"gather.2/ship": "doubt", "gather.3/post": "doubt"}
    before = await events(town)
    gate.touch()
    send(zombie, signal.SIGCONT)
    await town.until(lambda: dropped(log), "the zombie noticed", people=False)
    assert await events(town) == before, "the zombie wrote"
    await finish(town)
    assert arrived(town) == {"charge": 2, "ship": 1, "post": 1}
    assert len({fact.key for fact in town.book.facts() if fact.ref == "0 a" and fact.tool == "charge"}) == 1


@pytest.mark.parametrize("where", [("after intent", "post"), ("commit on disk", "effect.intended")])
async def test_a_zombie_sends_nothing(where: tuple[str, str], tmp_path: Path, crew: Crew) -> None:
    """A worker that was stopped between its intent and the sending, and taken over, does not send when it wakes up."""
    log = tmp_path / "zombie.log"
    town = Town(tmp_path, crew, {"pace": SHORT})
    await town.office.journal.open()
    await town.office.start(letter("dear sir"), id=RUN)
    zombie = town.hire(stop_at=where, log=str(log))
    await town.until(lambda: _has(town, "effect.intended", "post"), "the intent is on disk", people=False)
    town.hire()
    await town.until(lambda: _has(town, "effect.doubted", "post"), "the run is taken over", people=False)
    assert not town.book.facts()[2:]
    send(zombie, signal.SIGCONT)
    await town.until(lambda: dropped(log), "the zombie noticed", people=False)
    assert not [fact for fact in town.book.facts() if fact.tool == "post"], "the zombie sent"
    await town.until(town.all_ended, "the run ended")
    assert (await town.outcomes())[RUN][:2] == ("completed", 1)
    assert [fact.what for fact in town.book.facts() if fact.tool == "post"] == ["arrived", "happened"]
    await town.office.close()


@pytest.mark.slow
@pytest.mark.parametrize("where", [("after undo intent", "post"), ("commit on disk", "undo.intended")])
async def test_a_zombie_undoes_nothing(where: tuple[str, str], tmp_path: Path, crew: Crew) -> None:
    """A worker that was stopped just before an undo, and taken over, does not undo when it wakes up."""
    log = tmp_path / "zombie.log"
    town = Town(tmp_path, crew, {"pace": SHORT})
    await town.office.journal.open()
    await town.office.start(regret("dear sir"), id=RUN)
    zombie = town.hire(stop_at=where, log=str(log))
    await town.until(lambda: _has(town, "undo.intended", "post"), "the intent is on disk", people=False)
    town.hire()
    await town.until(lambda: _has(town, "undo.lettered", "post"), "the run is taken over", people=False)
    send(zombie, signal.SIGCONT)
    await town.until(lambda: dropped(log), "the zombie noticed", people=False)
    assert not [fact for fact in town.book.facts() if fact.tool == "post!undo"], "the zombie undid"
    await town.until(town.all_ended, "the run ended")
    assert (await town.outcomes())[RUN][:2] == ("failed", 0)
    assert [fact.what for fact in town.book.facts()] == ["arrived", "happened", "arrived", "undone"]
    await town.office.close()


async def _has(town: Town, type: str, path: str) -> bool:
    return any((event.type, event.path) == (type, path) for event in await events(town))


@pytest.mark.slow
async def test_a_zombie_that_wakes_up_leaves_the_doubt(tmp_path: Path, crew: Crew) -> None:
    """A worker that wakes up may still be sending: what is in doubt because of it stays in doubt."""
    log = tmp_path / "zombie.log"
    town = Town(tmp_path, crew, {"pace": SHORT})
    await town.open([0])
    zombie = town.hire(gate=str(tmp_path / "gate"), log=str(log))
    await town.until(lambda: len(arrived(town)) == 3, "three effects are in flight", people=False)
    send(zombie, signal.SIGSTOP)
    town.hire()
    await town.until(lambda: taken_over(town), "the run is taken over", people=False)
    send(zombie, signal.SIGCONT)
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        assert not await _has(town, "effect.done", "gather.2/ship"), "looked up while it may still be sent"
        await asyncio.sleep(0.02)
    assert {entry.kind for entry in await town.office.waiting()} == {"doubt"}
    await finish(town)


async def test_a_dead_zombie_is_looked_up(tmp_path: Path, crew: Crew) -> None:
    """Once the silent worker is surely dead, an effect that can be looked up is looked up, and nobody is asked."""
    town = Town(tmp_path, crew, {"pace": SHORT})
    await town.open([0])
    zombie = town.hire(gate=str(tmp_path / "gate"))
    await town.until(lambda: len(arrived(town)) == 3, "three effects are in flight", people=False)
    send(zombie, signal.SIGSTOP)
    town.hire()
    await town.until(lambda: taken_over(town), "the run is taken over", people=False)
    kill(zombie)
    until = time.monotonic() + 2.0
    while time.monotonic() < until and not await _has(town, "effect.done", "gather.2/ship"):
        await asyncio.sleep(0.02)
    assert await _has(town, "effect.done", "gather.2/ship")


async def test_a_worker_that_is_told_to_leave(tmp_path: Path, crew: Crew) -> None:
    """On SIGTERM a worker lets the effects in flight come to their end, records them, and leaves the run to others."""
    gate = tmp_path / "gate"
    town = Town(tmp_path, crew, {"gate": str(gate)})
    await town.open([0])
    leaving = town.hire()
    await town.until(lambda: len(arrived(town)) == 3, "three effects are in flight", people=False)
    send(leaving, signal.SIGTERM)
    gate.touch()
    await town.until(lambda: not leaving.is_alive(), "it left", people=False)
    assert leaving.exitcode == 0
    row = await town.office.row(RUN)
    assert (row.owner, row.due, row.crashes) == (None, 0.0, 0)
    assert [event.path for event in await events(town) if event.type == "effect.done"][-3:]
    assert not await town.office.waiting()
    town.hire()
    await finish(town)
    assert set(arrived(town).values()) == {1}
    assert not town.decided, "nobody was asked anything"


async def test_a_worker_leaves_while_its_run_waits(tmp_path: Path, crew: Crew) -> None:
    """A run that waits for a person does not hold its worker back, and goes on with the next one."""
    town = Town(tmp_path, crew)
    await town.open([2])  # of the workflow `wait`, which asks for an approval
    leaving = town.hire()

    async def asks() -> bool:
        return bool(await town.office.waiting())

    await town.until(asks, "it asks", people=False)
    send(leaving, signal.SIGTERM)
    leaving.join(5)
    assert leaving.exitcode == 0, "a waiting run held its worker back"
    town.hire()
    await town.until(town.all_ended, "the run ended")
    assert (await town.outcomes())["run-2"][0] == "completed"
    await town.office.close()


async def test_a_blocked_loop_is_not_a_dead_worker(tmp_path: Path, crew: Crew) -> None:
    """A worker whose event loop stands still for three leases keeps its run: nobody else claims it."""
    pace = replace(SHORT, lease=0.3, silent_after=5.0)
    town = Town(tmp_path, crew, {"pace": pace})
    await town.office.journal.open()
    await town.office.start(jam(0.9), id=RUN)
    town.hire()
    town.hire()
    await town.until(town.all_ended, "the run ended")
    row = await town.office.row(RUN)
    assert (row.epoch, row.crashes) == (1, 0)
    await asyncio.sleep(0)
    await town.office.close()
