"""The same seeds on the journal that is shipped: one SQLite file, one connection for each simulated process, one scheduler.

What the shipped journal does in a thread is done by a handle of the process instead, at a moment that the seed draws: so a process
may die, and others may write, between a commit's coming in and its being carried out, and between that and the answer. The
reference models are told inside the transaction, which is the only moment at which they and the file have to agree.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import apsw

from chargehand.durable import Census, Claimed, Commit, Created, KeyRow, NewMail, NewRun, RunRow
from chargehand.journals import sqlite, workers
from chargehand.journals import sqlite_statements as sql
from chargehand.journals.sqlite_rows import key_row, run_row
from chargehand.journals.sqlite_schema import TABLES
from chargehand.journals.transactional import WorkFailed
from chargehand.journals.writer import Writer, _groups

from .processes import WORK_SECONDS, Process, Stage, Travelling

PAUSES = (0.0, 0.0, 0.02, 0.5)
"""Seconds after which the writer's thread comes to what it was handed."""


class SimulatedWriter(Writer):
    """A writer whose thread is a handle of its process."""

    pause: Callable[[], float] = staticmethod(lambda: 0.0)

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._thread: Any = self  # there is one, so nobody starts another

    def _end_tick(self) -> None:
        super()._end_tick()
        if self._handed.jobs:
            self._loop.call_later(self.pause(), self.join)

    def join(self) -> None:
        """Carry out what was handed over, as the thread does."""
        jobs, self._handed.jobs = self._handed.jobs, []
        for group in _groups(jobs):
            self._transact(group)
            self._loop.call_soon(self._answer_handed, group)


class FileJournal(Travelling, sqlite.SqliteJournal):
    """One process's view of the file."""

    _tells = False

    def __init__(self, stage: FileStage, process: Process | None) -> None:
        super().__init__(stage.path, clock=stage.clock, work_seconds=WORK_SECONDS)
        self._stage, self._process = stage, process
        self.asked: tuple[float, Census] | None = None

    async def open(self) -> None:
        """Open the file."""
        await super().open()
        assert self._opened is not None
        connection, reader, _, turn = self._opened
        writer = SimulatedWriter(connection, self.path, turn, locked_seconds=5.0)
        writer.pause = lambda: self._stage.threads.choice(PAUSES)  # type: ignore[method-assign]
        self._opened = connection, reader, writer, turn

    async def claim(self, owner: str, *, now: float, census: Census, **which: Any) -> list[Claimed]:
        """Claim runs."""
        self.asked = (now, census)
        return await super().claim(owner, now=now, census=census, **which)

    async def dismiss(self, owner: str) -> None:
        """Withdraw the worker."""
        await self._travel()

        def leaves(cursor: apsw.Cursor) -> None:
            with self._stage.inside_of(cursor):
                cursor.execute(sql.DISMISS, (owner,)).fetchall()
                self._stage.watcher.dismissed(owner)

        await self._writer.submit(leaves)
        self._workers.dismiss(owner)

    def drop(self) -> None:
        """Close everything, as the end of a process does."""
        if self._opened is None:
            return
        connection, reader, _, turn = self._opened
        self._opened = None
        self._workers.close()
        reader.close()
        connection.close()
        turn.close()


class FileStage(Stage):
    """What the processes of one seed share: a file."""

    def _journal(self) -> Any:
        shared = "/dev/shm"  # memory that is a file: a sync costs nothing there
        self.folder = tempfile.mkdtemp(prefix="chargehand-seed-", dir=shared if os.path.isdir(shared) else None)
        self.path = os.path.join(self.folder, "journal.db")
        self.threads = Random(self.dice.getrandbits(64))
        self.loop.at_once = True
        self.inside: apsw.Cursor | None = None
        self.views: list[FileJournal] = []
        self._undo_telling = self._be_told()
        return self.view(None)

    def view(self, process: Process | None) -> Any:
        """Return one process's view of the file."""
        self.views.append(FileJournal(self, process))
        return self.views[-1]

    def begin(self, process: Process) -> Any:
        """Return what a process begins with: it opens the file."""

        async def begun() -> None:
            await process.supervisor.journal.open()
            await process.carrier.start()

        return begun()

    def _rows(self, statement: str, params: Sequence[Any] = ()) -> list[Any]:
        if self.inside is not None:
            return self.inside.connection.cursor().execute(statement, params).fetchall()
        return self.journal._reader.rows(statement, params)  # type: ignore[no-any-return]

    def row(self, number: int) -> RunRow:
        """Return a run's row, as the transaction sees it that is going on."""
        return run_row(self._rows(sql.BY_NUMBER, (number,))[0])

    def tables(self) -> Any:
        """Return what may be asked for the tables of transactional effects."""
        return self

    def execute(self, statement: str, params: Sequence[Any] = ()) -> list[Any]:
        """Ask the file."""
        return self._rows(statement, params)

    def business_keys(self) -> list[KeyRow]:
        """Return every business key."""
        known = self._rows("SELECT environment, tool, key FROM keys")
        return [key_row(self._rows(sql.KEY, one)[0]) for one in known]

    def contents(self) -> Iterator[str]:
        """Yield everything that is in the file."""
        for table in sorted(TABLES):
            yield from sorted(map(repr, self._rows(f"SELECT * FROM {table}")))

    def vanish(self, worker: str) -> None:
        """Have a worker be gone: its lock is free."""
        workers._let_go(self.path + "-worker-" + worker)

    def over(self) -> None:
        """Close and remove the file."""
        self._undo_telling()
        for view in self.views:
            view.drop()
        shutil.rmtree(self.folder)

    # -- telling the models, inside the transaction ----------

    def _be_told(self) -> Callable[[], None]:
        batches = sqlite.batches
        names = ("append", "create", "post", "take")
        before = {name: getattr(batches, name) for name in names}
        for name in names:
            setattr(batches, name, getattr(self, f"_{name}")(before[name]))

        def undo() -> None:
            for name in names:
                setattr(batches, name, before[name])

        return undo

    @contextmanager
    def inside_of(self, cursor: apsw.Cursor) -> Iterator[None]:
        self.inside = cursor
        try:
            yield
        finally:
            self.inside = None

    def _append(self, original: Any) -> Any:
        def append(cursor: apsw.Cursor, commit: Commit, *more: Any) -> Any:
            with self.inside_of(cursor):
                self.watcher.appending(commit)
                try:
                    records = original(cursor, commit, *more)
                except BaseException as error:
                    self.watcher.refused(commit, error.error if isinstance(error, WorkFailed) else error)
                    raise
                self.watcher.appended(commit, records)
            return records

        return append

    def _create(self, original: Any) -> Any:
        def create(cursor: apsw.Cursor, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
            with self.inside_of(cursor):
                made: list[Created] = original(cursor, runs, owner)
                self.watcher.created(runs, owner, made)
            return made

        return create

    def _post(self, original: Any) -> Any:
        def post(cursor: apsw.Cursor, mail: Sequence[NewMail]) -> list[int]:
            with self.inside_of(cursor):
                ids: list[int] = original(cursor, mail)
                self.watcher.posted(mail, ids)
            return ids

        return post

    def _take(self, original: Any) -> Any:
        def take(cursor: apsw.Cursor, owner: str, runs: Any) -> list[Claimed]:
            view = next(view for view in self.views if view._process is not None and view._process.supervisor.site.worker == owner)
            assert view.asked is not None
            with self.inside_of(cursor):
                claims: list[Claimed] = original(cursor, owner, runs)
                self.watcher.claimed(owner, claims, *view.asked)
            return claims

        return take
