"""Every instant of a run: copies of the journal and of the world's book as a crash at that instant would leave them.

A copy is taken before and after every commit and with every fact of the outside world, so no state that a dying process
can leave behind is left out, short of tearing a transaction, which is SQLite's own to prevent.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import apsw

from chargehand.durable import Clock, Commit, Created, NewMail, NewRun
from chargehand.events import Record
from chargehand.journals.memory import MemoryJournal
from chargehand.journals.memory_store import Run, Store
from chargehand.journals.sqlite import SqliteJournal

from .clock import FakeClock
from .world import Book, Fact

PATIENT = 60.0
"""Seconds that a transactional effect may take here: a machine that stands still for one is no fault of the example's."""


@dataclass(frozen=True)
class Instant:
    """What is left when the process dies now."""

    number: int
    what: str
    journal: Any
    facts: int
    now: float
    world: Any = None


class Kind(Protocol):
    """How one kind of journal is copied and opened again."""

    def copy(self, journal: Any) -> Any:
        """Return the journal's content."""

    def open(self, content: Any, clock: Clock, folder: str) -> Any:
        """Return a new journal with that content, not opened yet."""

    def entries(self, journal: Any) -> list[str]:
        """Return what transactional effects wrote."""


class InMemory:
    """Copies of a `MemoryJournal`. The workers of the copy are gone."""

    def copy(self, journal: MemoryJournal) -> Store:
        """Return the journal's content."""
        old = journal._store
        runs = {number: Run(run.row, list(run.events), dict(run.blobs)) for number, run in old.runs.items()}
        tables = apsw.Connection(":memory:")
        written = old.tables.serialize("main")
        if written:
            tables.deserialize("main", written)
        return Store(
            runs=runs,
            numbers=dict(old.numbers),
            waiting=dict(old.waiting),
            keys=dict(old.keys),
            mail=dict(old.mail),
            chain=list(old.chain),
            numbers_given=old.numbers_given,
            mail_given=old.mail_given,
            workers_given=old.workers_given,
            tables=tables,
        )

    def open(self, content: Store | None, clock: Clock, folder: str) -> MemoryJournal:
        """Return a new journal with that content."""
        journal = MemoryJournal(clock, work_seconds=PATIENT)
        if content is not None:
            journal._store = content
            journal._store = self.copy(journal)
        return journal

    def entries(self, journal: MemoryJournal) -> list[str]:
        """Return what transactional effects wrote."""
        return entries_in(journal._store.tables)


class InFile:
    """Copies of a `SqliteJournal`: the bytes of its file with everything committed in it."""

    def __init__(self) -> None:
        self._readers: dict[str, apsw.Connection] = {}

    def copy(self, journal: SqliteJournal) -> bytes:
        """Return the bytes of the file as the last transaction left it."""
        reader = self._readers.get(journal.path)
        if reader is None:
            reader = self._readers[journal.path] = apsw.Connection(journal.path)
        return reader.serialize("main")

    def open(self, content: bytes | None, clock: Clock, folder: str, name: str | None = None) -> SqliteJournal:
        """Return a journal on a new file with that content, or on the file of that name as it is."""
        if name is not None:
            return SqliteJournal(os.path.join(folder, name), clock=clock, work_seconds=PATIENT)
        file, path = tempfile.mkstemp(dir=folder, suffix=".db")
        if content is not None:
            os.write(file, content)
        os.close(file)
        return SqliteJournal(path, clock=clock, work_seconds=PATIENT)

    def entries(self, journal: SqliteJournal) -> list[str]:
        """Return what transactional effects wrote."""
        connection = apsw.Connection(journal.path)
        try:
            return entries_in(connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Let go of the files."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()


def entries_in(connection: apsw.Connection) -> list[str]:
    """Return the references in the table of the transactional effects."""
    if not list(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'entries'")):
        return []
    return [str(ref) for (ref,) in connection.execute("SELECT ref FROM entries ORDER BY ref")]


class Recorder:
    """A journal around another one. Keeps an `Instant` before and after every commit, and with every fact.

    `world` returns a copy of what else belongs to an instant.
    """

    def __init__(self, journal: Any, kind: Kind, book: Book, clock: FakeClock) -> None:
        self._journal, self._kind, self._book, self._clock = journal, kind, book, clock
        self.world: Callable[[], Any] = lambda: None
        self.instants: list[Instant] = []
        self._recording = True
        self._commits = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def take(self, what: str) -> None:
        """Keep this instant, unless it is the same as the last."""
        if not self._recording:
            return
        content, facts, world = self._kind.copy(self._journal), len(self._book.facts()), self.world()
        last = self.instants[-1] if self.instants else None
        if last is None or facts != last.facts or world != last.world or not _same(content, last.journal):
            self.instants.append(Instant(len(self.instants), what, content, facts, self._clock.now(), world))

    def fact(self, fact: Fact) -> None:
        """Keep the instant of a new fact."""
        self.take(" ".join(fact))

    async def stop(self) -> None:
        """Record no more. What the last commit left is recorded first: a reader can see a run's end before its writer does."""
        await self._idle.wait()
        self._recording = False

    async def create(self, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
        """Create runs."""
        created = await self._journal.create(runs, owner)
        self.take("after create")
        return created

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Make a commit durable."""
        names = "+".join(record.type for record in commit.records) or "row"
        self.take(f"before {names}")
        self._commits += 1
        self._idle.clear()
        try:
            records = await self._journal.append(commit)
            self.take(f"after {names}")
        finally:
            self._commits -= 1
            if not self._commits:
                self._idle.set()
        return records

    async def post(self, mail: Sequence[NewMail]) -> list[int]:
        """Leave mail."""
        ids = await self._journal.post(mail)
        self.take("after mail")
        return ids


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, bytes):
        return bool(a == b)
    return a.runs.keys() == b.runs.keys() and a.mail == b.mail and all(a.runs[n].row == b.runs[n].row for n in a.runs)
