"""Dying for real: a process that plays an example on a journal file and leaves by `os._exit` after so many points.

Nothing is cleaned up: no `finally`, no rollback, no closing of files. What is left is what the disk has.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from chargehand.events import Event

from .catalogue import ALL
from .clock import START, FakeClock
from .comparing import End, check_equal, end_of
from .dying import Life, Mortal
from .example import MENDED
from .instants import InFile
from .playing import events_of, ids_of, play_all, supervisor_of
from .worker import Crew
from .world import Fact, FileBook, World

KILLED = 9


class Exit(Life):
    """A life that ends by leaving the process on the spot."""

    def at(self, point: str, path: str) -> None:
        """Pass a point, or leave there."""
        self.passed.append((point, path))
        if self.left is not None and len(self.passed) > self.left:
            os._exit(KILLED)


def play(name: str, folder: str, points: int | None) -> None:
    """Play an example to its end, or until death comes after so many points."""
    asyncio.run(_play(name, folder, points))


async def _play(name: str, folder: str, points: int | None) -> None:
    example = ALL[name]
    inner = InFile().open(None, FakeClock(), folder, "journal.db")
    await inner.open()
    row = await inner.run("run-2") or await inner.run("run-1")
    clock = FakeClock(START if row is None else row.updated)
    inner._clock = clock
    world = World(FileBook(os.path.join(folder, "book")), example.troubles)
    journal: Any = Mortal(inner, Exit(left=points))
    supervisor = supervisor_of(example, journal, clock, world)
    supervisor.site.crash_point = journal._life.at
    recorded = await events_of(supervisor, "run-1")
    MENDED["now"] = any(event.type == "run.parked" for event in recorded)
    async with supervisor:
        await play_all(supervisor, world, clock, example)


async def left_by(name: str, folder: Path) -> tuple[End | None, list[Event], list[Fact]]:
    """Read what the processes left: the end if all runs have ended, the events, the facts."""
    kind, example = InFile(), ALL[name]
    facts = FileBook(str(folder / "book")).facts()
    journal = kind.open(None, FakeClock(), str(folder), "journal.db")
    supervisor = supervisor_of(example, journal, FakeClock(), World(FileBook(str(folder / "book"))))
    await journal.open()
    try:
        events = await events_of(supervisor, "run-1")
        rows = [await journal.run(id) for id in ids_of(example)]
        ended = all(row is not None and row.status in ("completed", "failed", "cancelled") for row in rows)
        end = await end_of(supervisor, ids_of(example), facts, kind, journal) if ended else None
    finally:
        await journal.close()
    return end, events, facts


async def die_and_go_on(name: str, folder: Path, crew: Crew, expected: End, points: int) -> None:
    """Leave after so many points, then have a second process go on to the end, and compare."""
    first = crew.start(play, name, str(folder), points)
    await _over(first)
    assert first.exitcode in (0, KILLED), f"exit status {first.exitcode}"
    _, recorded, before = await left_by(name, folder)
    second = crew.start(play, name, str(folder), None)
    await _over(second)
    assert second.exitcode == 0, f"the second process ended with {second.exitcode}"
    found, _, _ = await left_by(name, folder)
    assert found is not None
    check_equal(ALL[name], expected, found, before, recorded)


async def _over(process: Any) -> None:
    await asyncio.to_thread(process.join, 30)
    assert not process.is_alive(), "the process does not come to an end"
