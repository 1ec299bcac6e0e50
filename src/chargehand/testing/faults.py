"""Faults: crashes at named points and at commits, in memory, without a process to kill.

A simulated crash is what SIGKILL leaves: the journal as it was after the last commit, and nothing else. From the moment
of the crash no commit of the dead supervisor arrives, its tasks are dropped, its worker is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chargehand.durable import Census, Claimed, Clock, Commit, Created, NewMail, NewRun
from chargehand.errors import ControlSignal
from chargehand.events import Record
from chargehand.journals.memory import MemoryJournal

POINTS = (
    "before step",
    "after step",
    "before attempt",
    "after attempt",
    "before release",
    "before intent",
    "after intent",
    "after send",
    "after done",
    "before undo",
    "after undo intent",
    "after undo",
    "before commit",
    "after commit",
)
"""Where a crash can be asked for. At the commits, the path is that of any event in the commit, or its type."""


class Crashed(ControlSignal):
    """The simulated process has died here."""


@dataclass(slots=True)
class CrashPlan:
    """Crash when a point is passed the `nth` time at a path (any path when None); the next process comes `away` seconds later."""

    point: str
    path: str | None
    nth: int
    away: float = 0.0
    passed: int = field(default=0)

    def hits(self, point: str, paths: Sequence[str]) -> bool:
        """Count one passing; say whether it is the one to crash at."""
        if point != self.point or not (self.path is None or self.path in paths):
            return False
        self.passed += 1
        return self.passed == self.nth


class MortalJournal(MemoryJournal):
    """One simulated process's view of a journal in memory. When the process has died, nothing it asks for is answered.

    Args:
        clock: the clock that all views share.
        beside: the view whose runs this one shares.
        passing: called before and after each commit with the point's name and the paths and types of its events.
        written: called with a run's id and the records that were appended to it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        beside: MemoryJournal,
        passing: Callable[[str, Sequence[str]], None],
        written: Callable[[str, Sequence[Record]], None],
    ) -> None:
        super().__init__(clock, beside=beside)
        self._written = written
        self.dead = False
        self.thawed = asyncio.Event()
        self.thawed.set()
        self._passing = passing

    async def _alive(self) -> None:
        await self.thawed.wait()
        if self.dead:
            await asyncio.Event().wait()

    def beat(self, owner: str) -> None:
        """Beat, unless the process stands still."""
        if self.thawed.is_set() and not self.dead:
            super().beat(owner)

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Carry out a commit, unless the process is dead or dies at it."""
        await self._alive()
        self._passing("before commit", _named(commit.records))
        await self._alive()
        records = await super().append(commit)
        self._written(commit.run_id, records)
        self._passing("after commit", _named(records))
        await self._alive()
        return records

    async def create(self, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
        """Create runs."""
        await self._alive()
        created = await super().create(runs, owner)
        for new, made in zip(runs, created, strict=True):
            self._written(new.id, () if made.existed else (new.first,))
        return created

    async def post(self, mail: Sequence[NewMail]) -> list[int]:
        """Leave mail."""
        await self._alive()
        return await super().post(mail)

    async def claim(self, owner: str, **which: Any) -> list[Claimed]:
        """Claim runs."""
        await self._alive()
        return await super().claim(owner, **which)

    async def dismiss(self, owner: str) -> None:
        """Withdraw the worker."""
        await self._alive()
        await super().dismiss(owner)

    async def census(self, silent_after: float) -> Census:
        """Count the workers."""
        await self._alive()
        return await super().census(silent_after)


def _named(records: Sequence[Record]) -> list[str]:
    return [name for record in records for name in (record.path, record.type)]
