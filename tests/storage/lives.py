"""Whole supervisors that drive runs on a disk which fails or loses its power, beside a world that keeps its own books.

A life is one process on one disk: it opens the journal, has every run of an example come to its end, and closes. A power cut
takes the journal back to what the disk kept at that moment; the outside world stays as it was then, and the next life goes on
from there. Whatever happened, the last life's end is held against an undisturbed one (`crash.comparing`).
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chargehand import Supervisor
from chargehand.durable import Commit, Created, NewRun
from chargehand.errors import JournalError
from chargehand.events import Event, Record
from chargehand.journals.sqlite import SqliteJournal
from crash.catalogue import ALL
from crash.clock import START, FakeClock
from crash.comparing import End, check_equal, end_of
from crash.example import MENDED, Example
from crash.faulty import no_pause
from crash.instants import PATIENT, InFile
from crash.playing import events_of, ids_of, play_all, supervisor_of
from crash.world import Book, Fact, World

from .disk import Disk, Fault
from .playing import NAME, TRIES, cuts


@dataclass(frozen=True)
class Left:
    """What a power cut leaves: the disk's files, the world's book, the time, and how many events of each run were acknowledged."""

    files: dict[str, bytes] = field(default_factory=dict)
    facts: Sequence[Fact] = ()
    now: float = START
    acknowledged: dict[str, int] = field(default_factory=dict)


@dataclass
class Witness:
    """What was known to whom when the disk had seen so many changes. `facts` has how many facts the world had in all.

    What a service notes at one go is one change of the world: no power cut comes between an arrival and what it did.
    """

    disk: Disk
    clock: FakeClock
    book: Book
    facts: list[tuple[int, int]] = field(default_factory=list)
    acknowledged: list[tuple[int, str, int]] = field(default_factory=list)
    times: list[tuple[int, float]] = field(default_factory=list)

    def saw(self, fact: Fact) -> None:
        """Note the new facts of the outside world, of which this is the last."""
        self.facts.append((len(self.disk.done), len(self.book.facts())))
        self.times.append((len(self.disk.done), self.clock.now()))

    def heard(self, run: str, seq: int) -> None:
        """Note that so many events of a run were acknowledged."""
        self.acknowledged.append((len(self.disk.done), run, seq))
        self.times.append((len(self.disk.done), self.clock.now()))

    def at(self, cut: int, dice: random.Random, before: Left) -> tuple[list[Fact], float, dict[str, int]]:
        """Return the world's book, the time and what was acknowledged when the disk had seen so many changes."""
        sure, most = (bisect.bisect_left(self.facts, (bound,)) for bound in (cut, cut + 1))
        happened = dice.randint(sure, most)
        facts = self.book.facts()[: self.facts[happened - 1][1]] if happened else list(before.facts)
        acknowledged = dict(before.acknowledged)
        for at, run, seq in self.acknowledged:
            if at <= cut:
                acknowledged[run] = max(seq, acknowledged.get(run, 0))
        return facts, max([before.now, *(now for at, now in self.times if at <= cut)]), acknowledged


class Noting:
    """A journal around another one that tells a witness what it acknowledges."""

    def __init__(self, journal: SqliteJournal, witness: Witness) -> None:
        self._journal, self._witness = journal, witness

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def create(self, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
        """Create runs."""
        created = await self._journal.create(runs, owner)
        for one in created:
            self._witness.heard(one.row.id, 1)
        return created

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Make a commit durable."""
        records = await self._journal.append(commit)
        for record in records:
            self._witness.heard(commit.run_id, record.seq)
        return records


class Failures(dict[str, Exception]):
    """What a carrier could not drive, and why: nothing but the journal's own errors may be among it."""

    def __setitem__(self, run: str, error: Exception) -> None:
        assert isinstance(error, JournalError), f"{run} could not be driven: {error!r}"
        super().__setitem__(run, error)


@dataclass
class Life:
    """One process on one disk. `errors` are what the journal answered besides answers."""

    name: str
    folder: Path
    left: Left = field(default_factory=Left)
    fault: Callable[[Disk], Fault] | None = None
    errors: list[JournalError] = field(default_factory=list)
    recorded: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        for name, content in self.left.files.items():
            (self.folder / name).write_bytes(content)
        self.disk = Disk(str(self.folder))
        self.disk.begin_with(self.left.files)
        if self.fault is not None:
            self.disk.fault = self.fault(self.disk)
        self.clock = FakeClock(self.left.now)
        self.book = Book(self.left.facts)
        self.witness = Witness(self.disk, self.clock, self.book)
        self.example: Example = ALL[self.name]

    async def lived(self) -> End:
        """Live until every run of the example has ended; return how they came out."""
        with self.disk.watched():
            inner = SqliteJournal(self.folder / NAME, clock=self.clock, work_seconds=PATIENT)
            journal: Any = Noting(inner, self.witness)
            world = World(self.book, self.example.troubles)
            supervisor = supervisor_of(self.example, journal, self.clock, world)
            assert supervisor.carrier is not None
            supervisor.carrier.failed = Failures()
            no_pause(supervisor.carrier)
            await self._again(supervisor.__aenter__)
            await self._check_recorded(supervisor)
            await self._again(lambda: self._play(supervisor, world))
            with self.disk.looked_at():
                end = await end_of(supervisor, ids_of(self.example), self.book.facts(), InFile(), inner)
            with suppress(JournalError):
                await supervisor.close()
        return end

    async def _play(self, supervisor: Supervisor, world: World) -> None:
        world.seen = self.witness.saw
        await play_all(supervisor, world, self.clock, self.example)

    async def _check_recorded(self, supervisor: Supervisor) -> None:
        """Check that all that was acknowledged before is there."""
        with self.disk.looked_at():
            for id in ids_of(self.example):
                found = await events_of(supervisor, id)
                least = self.left.acknowledged.get(id, 0)
                assert len(found) >= least, f"{least} events of {id} were acknowledged, {len(found)} are there"
            self.recorded = await events_of(supervisor, "run-1")
        MENDED["now"] = any(event.type == "run.parked" for event in self.recorded)

    async def _again(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Do something, again and again while the journal cannot be read or written."""
        for _ in range(TRIES):
            try:
                await act()
            except JournalError as error:
                self.errors.append(error)
            else:
                return
        raise AssertionError(f"it does not go on: {self.errors[-1]!r}")

    def cut(self, at: Sequence[int], dice: random.Random) -> list[tuple[int, Left]]:
        """Return what a power cut leaves after each of these numbers of changes."""
        found = []
        for cut, platter in cuts(self.disk.done, at):
            facts, now, acknowledged = self.witness.at(cut, dice, self.left)
            found.append((cut, Left(platter.left(dice), facts, now, acknowledged)))
        return found

    def some_cuts(self, count: int, dice: random.Random) -> list[tuple[int, Left]]:
        """Return what power cuts at so many moments of this life leave."""
        moments = range(self.disk.before, len(self.disk.done) + 1)
        return self.cut(sorted(dice.sample(moments, min(count, len(moments)))), dice)


async def check_life(life: Life, expected: End, lost: int = 0) -> None:
    """Live a life to its end and compare it with the undisturbed one. `lost`: how many errors earlier lives met."""
    found = await life.lived()
    check_equal(life.example, expected, found, life.left.facts, life.recorded, lost=lost + len(life.errors) + _met(life.disk))


def _met(disk: Disk) -> int:
    return int(getattr(disk.fault, "met", 0))
