"""The embedded journal: one SQLite file, several processes.

How the parts fit together:

* `sqlite_schema` says what the tables are, `sqlite_statements` names every statement, `sqlite_batches` is what happens
  inside a transaction, `sqlite_reads` what is read outside of one.
* `writer` groups the commits of many runs into few transactions; `turns` lets processes queue for the file.
* `workers` knows which workers live. Liveness is in lock files, not in the database: a heartbeat costs no commit.

WAL with ``synchronous=FULL``: a transaction is on the disk before its callers are answered. APSW and not the standard
library's driver: it needs half the CPU per row and brings its own, current SQLite (``benchmarks/driver_choice.py``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from chargehand.durable import (
    Census,
    ChainLink,
    Claimed,
    Clock,
    Commit,
    Created,
    KeyRow,
    Mail,
    NewMail,
    NewRun,
    RunFilter,
    RunRow,
    Suspects,
    Waiting,
    WaitingKind,
    Worker,
)
from chargehand.errors import JournalCorrupt, JournalError, JournalLocked
from chargehand.events import Record
from chargehand.journals import sqlite_batches as batches
from chargehand.journals import sqlite_reads as reads
from chargehand.journals import sqlite_statements as sql
from chargehand.journals.sqlite_faults import journal_error, refuse_network, system_error
from chargehand.journals.sqlite_rows import fetch, key_row, mail_row, record, run_row, waiting_row
from chargehand.journals.sqlite_schema import MIGRATIONS, migrate, refuse_newer
from chargehand.journals.transactional import WORK_SECONDS
from chargehand.journals.turns import Turn
from chargehand.journals.workers import Workers
from chargehand.journals.writer import Writer

LOOK_UP_EVENTS = 500
"""A load or a proof of more events than this goes to a thread: a change of threads costs more than proving a short run."""

CHECKPOINT_PAGES = 4000
"""Pages of write-ahead log (16 MB) after which they are copied into the file."""


class SqliteJournal:
    """A `chargehand.durable.Journal` in one SQLite file. Use one object for each event loop.

    `clock` gives the monotonic time for the census and the time that erasures and prunes are noted with.
    `locked_seconds` is how long a foreign program may hold the file before `JournalLocked`; `work_seconds` how long a
    transactional effect may take.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock,
        locked_seconds: float = 5.0,
        work_seconds: float = WORK_SECONDS,
        migrations: Sequence[str] = MIGRATIONS,
        chain_key: bytes = b"",
    ) -> None:
        self.chain_key = chain_key
        self.path = os.path.realpath(path)
        self._clock = clock
        self._locked_seconds = locked_seconds
        self._work_seconds = work_seconds
        self._migrations = migrations
        self._workers = Workers(self.path, clock.monotonic)
        self._pid = 0
        self._opened: tuple[apsw.Connection, reads.Reader, Writer, Turn] | None = None
        self._version: int | None = None

    # opening and closing

    async def open(self) -> None:
        """Open or create the file and bring its schema up to date. If the process dies inside, nothing changed."""
        if self._opened is not None:
            return
        refuse_network(Path(self.path))
        connection, reader, turn = await asyncio.to_thread(self._open)
        writer = Writer(connection, self.path, turn, locked_seconds=self._locked_seconds)
        self._opened = connection, reader, writer, turn
        self._pid = os.getpid()
        self._version = None

    def _open(self) -> tuple[apsw.Connection, reads.Reader, Turn]:
        connections: list[apsw.Connection] = []

        def connect() -> apsw.Connection:
            connections.append(self._connect())
            return connections[-1]

        try:
            turn = Turn(self.path + "-turn")
        except OSError as error:
            raise system_error(error, self.path, "opened") from error
        try:
            if not turn.take(self._locked_seconds):
                raise JournalLocked(f"Another process holds the journal: {self.path}.")
            try:
                self._make_file()
                connection = connect()
                self._prepare(connection)
                reader = reads.Reader(connect, self.path)
            finally:
                turn.give()
        except BaseException as error:
            number = connections[-1].system_errno if connections else 0
            for one in connections:
                one.close()
            turn.close()
            if isinstance(error, apsw.Error):
                raise journal_error(error, self.path, number) from error
            if isinstance(error, OSError):
                raise system_error(error, self.path, "opened") from error
            raise
        return connection, reader, turn

    def _make_file(self) -> None:
        """Create a missing file for its owner alone. A file that is there is not opened: closing it would let go of the
        locks that other connections of this process have on it."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise system_error(error, self.path, "created") from error

    def _prepare(self, connection: apsw.Connection) -> None:
        refuse_newer(connection, self._migrations)
        mode = fetch(connection, "PRAGMA journal_mode = WAL")[0][0]
        if mode != "wal":
            raise JournalError(f"The journal's file system does not take a write-ahead log: {self.path}.")
        migrate(connection, self._migrations)
        connection.set_busy_timeout(0)

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(self.path, flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=200)
        connection.set_busy_timeout(int(self._locked_seconds * 1000))
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -16000")
        connection.wal_autocheckpoint(CHECKPOINT_PAGES)
        return connection

    async def close(self) -> None:
        """Finish what is queued and close. Workers that were not dismissed count as gone from here on."""
        if self._opened is None:
            return
        connection, reader, writer, turn = self._opened
        await writer.close()
        self._opened = None
        await asyncio.to_thread(reader.close)
        await asyncio.to_thread(connection.close)  # the last to close copies the write-ahead log
        self._workers.close()
        turn.close()

    @property
    def _writer(self) -> Writer:
        return self._usable()[2]

    @property
    def _reader(self) -> reads.Reader:
        return self._usable()[1]

    def _usable(self) -> tuple[apsw.Connection, reads.Reader, Writer, Turn]:
        if self._opened is None:
            raise JournalError(f"The journal is not open: {self.path}.")
        if self._pid != os.getpid():
            raise JournalError(f"The journal was opened before this process was forked: {self.path}. Open it anew.")
        return self._opened

    # writing

    async def create(self, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
        """Create runs in one transaction, claimed by `owner` (epoch 1) or by nobody. A known id changes nothing."""
        return await self._writer.submit(lambda cursor: batches.create(cursor, runs, owner))

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Make a commit durable and return the records appended. `Fenced`, `KeyHeld` and what `work` raises refuse it.

        If the process dies inside, or the caller stops waiting, the commit is on disk whole or not at all.
        """
        seconds = self._work_seconds
        return await self._writer.submit(
            lambda cursor: batches.append(cursor, commit, seconds, self.chain_key),
            run=commit.run,
            savepoint=bool(commit.keys),
            alone=commit.work is not None,
        )

    async def post(self, mail: Sequence[NewMail]) -> list[int]:
        """Leave mail and make the runs due, in one transaction. `UnknownRun` refuses all of it."""
        return await self._writer.submit(lambda cursor: batches.post(cursor, mail))

    async def claim(
        self,
        owner: str,
        *,
        workflows: Collection[str],
        environment: str,
        now: float,
        limit: int,
        census: Census,
        only: Collection[str] = (),
        suspects: Suspects = "with the others",
    ) -> list[Claimed]:
        """Take over due runs. Looks first without a transaction, so asking often costs little.

        If the process dies inside, its worker is gone and the runs it took are claimed by others.
        """
        asked = batches.Claiming(owner, frozenset(workflows), environment, now, limit, census, tuple(sorted(only)), suspects)
        if not batches.claimable(self._reader.rows, asked):
            return []

        def take(cursor: apsw.Cursor) -> list[Claimed]:
            return batches.take(cursor, owner, batches.claimable(partial(fetch, cursor), asked))

        return await self._writer.submit(take)

    async def still_mine(self, run: int, epoch: int) -> bool:
        """Say whether the run's row still has this epoch."""
        return self._reader.rows(sql.EPOCH, (run,)) == [(epoch,)]

    # reading

    async def load(self, run: int, after: int = 0, limit: int | None = None) -> list[Record]:
        """Return the events with `seq > after`, in order."""
        params = (run, after, -1 if limit is None else limit)
        last = self._reader.rows(sql.SEQ, (run,))
        count = last[0][0] - after if last else 0
        if min(count, count if limit is None else limit) <= LOOK_UP_EVENTS:
            rows = self._reader.rows(sql.EVENTS, params)
        else:
            rows = await self._reader.apart(lambda connection: fetch(connection, sql.EVENTS, params))
        return [record(row) for row in rows]

    async def blob(self, run: int, digest: str) -> bytes:
        """Return a blob of a run."""
        found = self._reader.rows(sql.BLOB, (run, digest))
        if not found:
            raise JournalCorrupt(f"Run number {run} has no blob {digest!r}; it was erased, or never written.")
        content: bytes = found[0][0]
        return content

    async def mail(self, runs: Collection[int]) -> list[Mail]:
        """Return the mail of these runs, oldest first."""
        found = [mail_row(row) for run in set(runs) for row in self._reader.rows(sql.MAIL_OF_RUN, (run,))]
        return sorted(found, key=lambda mail: mail.id)

    async def mailed(self, owner: str) -> list[int]:
        """Return the numbers of this owner's runs that have mail."""
        return [row[0] for row in self._reader.rows(sql.MAILED, (owner,))]

    async def run(self, id: str) -> RunRow | None:
        """Return one run's row."""
        found = self._reader.rows(sql.BY_ID, (id,))
        return run_row(found[0]) if found else None

    async def runs(self, which: RunFilter) -> list[RunRow]:
        """Return rows, newest first."""
        return await self._reader.apart(lambda connection: reads.runs(connection, which))

    async def waiting(
        self,
        *,
        run_id: str | None = None,
        kinds: Collection[WaitingKind] = (),
        environment: str | None = None,
        limit: int = 1000,
    ) -> list[Waiting]:
        """Return what waits for a person, oldest first."""
        return reads.waiting(self._reader, run_id, kinds, environment, limit)

    async def entry(self, id: str) -> Waiting | None:
        """Return one entry."""
        found = self._reader.rows(sql.WAITING_BY_ID, (id,))
        return waiting_row(found[0]) if found else None

    async def key(self, environment: str, tool: str, key: str) -> KeyRow | None:
        """Return who holds a business key."""
        found = self._reader.rows(sql.KEY, (environment, tool, key))
        return key_row(found[0]) if found else None

    async def next_due(self, *, workflows: Collection[str], environment: str) -> float | None:
        """Return the earliest due time of the unowned, unfinished runs."""
        found = [self._reader.rows(sql.NEXT_DUE, (environment, workflow))[0][0] for workflow in set(workflows)]
        return min((due for due in found if due is not None), default=None)

    def changed(self) -> bool:
        """Say whether the database may have changed since the last call; `True` at the first."""
        version = self._reader.rows(sql.DATA_VERSION)[0][0]
        before, self._version = self._version, version
        return bool(version != before)

    # workers

    async def enlist(self, about: Mapping[str, Any] | None = None) -> str:
        """Register this process as a worker. If the process dies, however it dies, the worker is gone."""
        self._usable()
        try:
            return self._workers.enlist(about or {})
        except OSError as error:
            raise system_error(error, self.path, "joined") from error

    def beat(self, owner: str) -> None:
        """Say that the worker is ticking. From any thread; no transaction."""
        try:
            self._workers.beat(owner)
        except OSError as error:
            raise system_error(error, self.path, "told of a heartbeat") from error

    async def dismiss(self, owner: str) -> None:
        """Withdraw the worker. Runs it still owns are free: due at once if work was under way, else as they were."""
        await self._writer.submit(lambda cursor: cursor.execute(sql.DISMISS, (owner,)).fetchall())
        try:
            self._workers.dismiss(owner)
        except OSError as error:
            raise system_error(error, self.path, "left") from error

    async def census(self, silent_after: float) -> Census:
        """Say which workers are gone, and which have not beaten for `silent_after` seconds of this journal's clock."""
        owners = [row[0] for row in self._reader.rows(sql.OWNERS)]
        try:
            return self._workers.census(owners, self._owns_runs, silent_after)
        except OSError as error:
            raise system_error(error, self.path, "asked for its workers") from error

    async def workers(self) -> list[Worker]:
        """Return the workers that live, silent ones included."""
        try:
            return [Worker(id, about) for id, about in self._workers.living()]
        except OSError as error:
            raise system_error(error, self.path, "asked for its workers") from error

    def _owns_runs(self, owner: str) -> bool:
        return bool(self._reader.rows(sql.OWNS_RUNS, (owner,))[0][0])

    # keeping

    async def verify(self, run: int) -> None:
        """Raise `JournalCorrupt` naming run and seq where a run's chain does not hold, and what differs."""
        last = self._reader.rows(sql.SEQ, (run,))
        if last and last[0][0] <= LOOK_UP_EVENTS:
            self._reader.near(lambda connection: reads.verify_run(connection, run, self.chain_key))
        else:
            await self._reader.apart(lambda connection: reads.verify_run(connection, run, self.chain_key))

    async def verify_chain(self) -> None:
        """Raise `JournalCorrupt` where the journal-wide chain of finished heads, erasures and prunes does not hold."""
        await self._reader.apart(lambda connection: reads.verify_chain(connection, self.chain_key))

    async def chain(self, after: int = 0, limit: int = 1000) -> list[ChainLink]:
        """Return the links of the journal-wide chain with `id > after`, in order."""
        return [ChainLink(*row) for row in await self._reader.apart(lambda connection: fetch(connection, sql.CHAIN_AFTER, (after, limit)))]

    async def erase(self, run: int, seqs: Collection[int], blobs: Collection[str] = ()) -> int:
        """Take away payloads and blobs of a run; the chain still holds and notes it. Returns how many payloads."""
        now = self._clock.now()
        return await self._writer.submit(lambda cursor: batches.erase(cursor, run, seqs, blobs, now, self.chain_key))

    async def prune(self, *, before: float, limit: int, environment: str | None = None) -> int:
        """Delete finished runs (of one environment) last touched before a time, in one transaction; key rows stay."""
        now = self._clock.now()
        return await self._writer.submit(lambda cursor: batches.prune(cursor, before, limit, environment, now, self.chain_key), alone=True)

    async def statistics(self) -> Mapping[str, Any]:
        """Return counts and sizes, and what this journal's writer has done."""
        counts = self._writer.counts
        found = await self._reader.apart(reads.statistics)
        found["writer"] = {
            "transactions": counts.transactions,
            "jobs": counts.jobs,
            "on_loop": counts.on_loop,
            "done_again": counts.again,
        }
        return found
