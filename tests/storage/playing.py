"""Telling a journal a script on a disk that may fail, and checking what a power cut leaves of it."""

from __future__ import annotations

import bisect
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from chargehand.durable import RunFilter
from chargehand.errors import JournalError
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.sqlite_schema import MIGRATIONS
from journals.driven import JumpClock

from . import native
from .disk import Disk, Done, Hasty, Platter
from .script import Script, Told, picture, tell

TRIES = 50
"""How often one thing is told again. More means that the journal does not go on."""

NAME = "journal.db"


@dataclass
class Marks:
    """How much had been told, and how much acknowledged, when the disk had seen so many changes."""

    told: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    acknowledged: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])

    def between(self, changes: int) -> tuple[int, int]:
        """Return how much was acknowledged and how much was told when the disk had seen so many changes."""
        return _last(self.acknowledged, changes), _last(self.told, changes)


def _last(marks: Sequence[tuple[int, int]], changes: int) -> int:
    return marks[bisect.bisect_right(marks, changes, key=lambda mark: mark[0]) - 1][1]


@dataclass
class Play:
    """One journal on one disk that is told a script. `errors` are what came out besides answers, `opening` those of opening."""

    script: Script
    disk: Disk
    marks: Marks = field(default_factory=Marks)
    errors: list[BaseException] = field(default_factory=list)
    opening: list[JournalError] = field(default_factory=list)
    after_open: Callable[[SqliteJournal], None] | None = None
    migrations: Sequence[str] = MIGRATIONS

    def __post_init__(self) -> None:
        self.path = str(Path(self.disk.folder) / NAME)
        self.flat: list[Told] = [told for step in self.script.steps for told in step]
        self.journal = SqliteJournal(self.path, clock=JumpClock(), migrations=self.migrations)

    async def all(self) -> None:
        """Open, tell everything, close."""
        await self.opened()
        if self.after_open is not None:
            self.after_open(self.journal)
        number = 0
        for step in self.script.steps:
            number = await self.step(number, len(step))
        await self.closed()

    async def goes_on(self, least: int, most: int, steps: int) -> int:
        """Open a journal that was told so much, tell it so many things more, close; return how much it was told then."""
        self.marks = Marks([(0, most)], [(0, least)])
        await self.opened()
        with self.disk.looked_at():
            number = place(self.script, picture(self.path), least, most)
        self.marks.acknowledged.append((len(self.disk.done), number))
        for _ in range(min(steps, len(self.flat) - number)):
            number = await self.step(number, 1)
        await self.closed()
        return number

    async def opened(self) -> None:
        """Open the journal, again when that failed."""
        for _ in range(TRIES):
            try:
                await self.journal.open()
            except JournalError as error:
                self.opening.append(error)
            else:
                return
        raise AssertionError(f"the journal does not open: {self.opening[-1]!r}")

    async def closed(self) -> None:
        """Close the journal: that never fails, whatever the disk does."""
        await self.journal.close()

    async def step(self, number: int, count: int) -> int:
        """Tell one step, and again what of it was refused by the disk; return the number of the next thing to tell."""
        end = number + count
        for _ in range(TRIES):
            self.marks.told.append((len(self.disk.done), end))
            answers = await tell(self.journal, self.flat[number:end])
            number = self._settled(number, answers)
            self.marks.acknowledged.append((len(self.disk.done), number))
            if number == end:
                return number
        raise AssertionError(f"the journal does not go on: {self.errors[-1]!r}")

    def _settled(self, number: int, answers: Sequence[Any]) -> int:
        """Check answers against the file, and return how much of the script is in it."""
        acknowledged = number
        for offset, answer in enumerate(answers):
            if isinstance(answer, BaseException):
                self.errors.append(answer)
                continue
            told = self.flat[number + offset]
            assert answer == told.answer, f"{told.name} answered {answer}, not {told.answer}"
            acknowledged = number + offset + 1
        with self.disk.looked_at():
            found = picture(self.path)
        return place(self.script, found, acknowledged, number + len(answers))


def place(script: Script, found: str, least: int, most: int) -> int:
    """Return how much of the script a picture shows, which must be so much at least and at most."""
    pictures = script.pictures
    for number in range(least, most + 1):
        if pictures[number] == found:
            return number
    shown = [number for number, one in enumerate(pictures) if one == found]
    raise AssertionError(f"the file shows {shown or 'what never was'} of the script, and should show {least} to {most}")


# -- after a power cut ----------


def cuts(done: Sequence[Done], at: Sequence[int]) -> Iterator[tuple[int, Platter]]:
    """Yield the disk after each of these numbers of changes, in order."""
    platter, number = Platter(), 0
    for cut in sorted(at):
        while number < cut:
            platter.turn(done[number], seed=number)
            number += 1
        yield cut, platter


async def check_left(folder: Path, script: Script, files: dict[str, bytes], least: int, most: int) -> None:
    """Open a journal on what a power cut has left, find in it so much of the script, and have it go on from there."""
    place_of_its_own = Path(tempfile.mkdtemp(dir=folder))
    try:
        for name, content in files.items():
            (place_of_its_own / name).write_bytes(content)
        with native.watching(str(place_of_its_own), Hasty()):
            await _check_opened(str(place_of_its_own / NAME), script, least, most)
    finally:
        shutil.rmtree(place_of_its_own)


async def _check_opened(path: str, script: Script, least: int, most: int) -> None:
    journal = SqliteJournal(path, clock=JumpClock())
    await journal.open()
    try:
        number = place(script, picture(path), least, most)
        for row in await journal.runs(RunFilter(limit=1000)):
            await journal.verify(row.number)
        await journal.verify_chain()
        flat = [told for step in script.steps for told in step]
        for told in flat[number : number + 1]:
            assert await tell(journal, [told]) == [told.answer], f"it does not go on with {told.name}"
            assert picture(path) == told.after
    finally:
        await journal.close()
    connection = apsw.Connection(path)
    assert list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
    connection.close()


async def check_cuts(folder: Path, play: Play, at: Sequence[int], seed: object, samples: int) -> int:
    """Check so many ways in which the power may go at each of these moments; return how many were checked."""
    dice, count = random.Random(f"{seed}"), 0
    for cut, platter in cuts(play.disk.done, at):
        least, most = play.marks.between(cut)
        for sample in range(samples):
            try:
                await check_left(folder, play.script, platter.left(dice), least, most)
            except (AssertionError, JournalError) as error:
                what = play.disk.done[cut - 1].what if cut else "nothing"
                raise AssertionError(f"power gone after {cut} changes (the last: {what}), sample {sample}: {error}") from error
            count += 1
    return count
