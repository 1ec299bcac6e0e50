"""What a SQLite journal reads: look-ups by index on the event loop, long reads on a thread, each on its own connection.

A read never waits for the writer (WAL) and never holds a snapshot longer than one statement: every statement's rows are
fetched whole.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from typing import Any, TypeVar

import apsw

from chargehand.durable import RunFilter, RunRow, Waiting, WaitingKind
from chargehand.errors import JournalCorrupt, UnknownRun
from chargehand.events import chain_hash
from chargehand.journals import sqlite_statements as sql
from chargehand.journals.sqlite_batches import NO_HASH
from chargehand.journals.sqlite_faults import journal_error
from chargehand.journals.sqlite_rows import Row, fetch, run_row, waiting_row

T = TypeVar("T")


class Reader:
    """A connection that only reads. `rows` on the loop; `apart` in a thread, one at a time."""

    def __init__(self, connect: Callable[[], apsw.Connection], path: str) -> None:
        self._path = path
        self._near = connect()
        self._far = connect()
        self._far_is_free = threading.Lock()

    def rows(self, statement: str, params: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a look-up."""
        try:
            return fetch(self._near, statement, params)
        except UnicodeDecodeError as error:
            raise JournalCorrupt(
                f"The journal's file is damaged: {self._path} (a text is no text: {error}). Restore it from a backup."
            ) from error
        except apsw.Error as error:
            raise journal_error(error, self._path, self._near.system_errno) from error

    def near(self, read: Callable[[apsw.Connection], T]) -> T:
        """Carry out a read of a few look-ups here, inside one snapshot."""
        return self._read(self._near, read)

    async def apart(self, read: Callable[[apsw.Connection], T]) -> T:
        """Carry out a long read in a thread, inside one snapshot."""
        return await asyncio.to_thread(self._apart, read)

    def _apart(self, read: Callable[[apsw.Connection], T]) -> T:
        with self._far_is_free:
            return self._read(self._far, read)

    def _read(self, connection: apsw.Connection, read: Callable[[apsw.Connection], T]) -> T:
        try:
            fetch(connection, sql.BEGIN_READING)
            try:
                return read(connection)
            finally:
                fetch(connection, sql.COMMIT)
        except UnicodeDecodeError as error:
            raise JournalCorrupt(
                f"The journal's file is damaged: {self._path} (a text is no text: {error}). Restore it from a backup."
            ) from error
        except apsw.Error as error:
            raise journal_error(error, self._path, connection.system_errno) from error

    def close(self) -> None:
        """Close both connections."""
        self._near.close()
        with self._far_is_free:
            self._far.close()


# -- lists ----------


def runs(connection: apsw.Connection, which: RunFilter) -> list[RunRow]:
    """Return the rows a filter asks for, newest first."""
    conditions: list[str] = []
    params: list[Any] = []

    def where(condition: str, *values: Any) -> None:
        conditions.append(condition)
        params.extend(values)

    if which.workflow is not None:
        where(sql.RUNS_OF_WORKFLOW, which.workflow)
    if which.environment is not None:
        where(sql.RUNS_IN_ENVIRONMENT, which.environment)
    if which.since is not None:
        where(sql.RUNS_SINCE, which.since)
    if which.until is not None:
        where(sql.RUNS_UNTIL, which.until)
    if which.before is not None:
        where(sql.RUNS_BEFORE, which.before)
    if which.status:
        where(sql.RUNS_WITH_STATUS, json.dumps(sorted(which.status)))
    if which.ids:
        where(sql.RUNS_WITH_ID, json.dumps(sorted(which.ids)))
    for name, value in which.tags.items():
        where(sql.RUNS_TAGGED, name, value)
    statement = sql.RUN_COLUMNS + (sql.RUNS_IN + " AND ".join(conditions) if conditions else "") + sql.RUNS_NEWEST_FIRST
    return [run_row(row) for row in fetch(connection, statement, (*params, which.limit))]


def waiting(reader: Reader, run_id: str | None, kinds: Collection[WaitingKind], environment: str | None, limit: int) -> list[Waiting]:
    """Return what waits for a person, oldest first."""
    conditions: list[str] = []
    params: list[Any] = []
    if run_id is not None:
        conditions.append(sql.WAITING_OF_RUN)
        params.append(run_id)
    if environment is not None:
        conditions.append(sql.WAITING_IN_ENVIRONMENT)
        params.append(environment)
    if kinds:
        conditions.append(sql.WAITING_OF_KIND)
        params.append(json.dumps(sorted(kinds)))
    where = sql.RUNS_IN + " AND ".join(conditions) if conditions else ""
    rows = reader.rows(sql.WAITING_COLUMNS + where + sql.WAITING_OLDEST_FIRST, (*params, limit))
    return [waiting_row(row) for row in rows]


# -- proofs ----------


def verify_run(connection: apsw.Connection, number: int, key: bytes) -> None:
    """Recompute a run's chain and compare it, event by event, then with the run's row."""
    found = fetch(connection, sql.BY_NUMBER, (number,))
    if not found:
        raise UnknownRun(f"There is no run number {number} in the journal.")
    row = run_row(found[0])
    previous, expected = NO_HASH, 1
    event: Row
    for event in connection.execute(sql.CHAIN_OF_RUN, (number,)):
        seq, time, type, path, payload, digest, stored = event
        if seq != expected:
            raise _broken(row.id, expected, f"the event is missing; the next one found is {seq}")
        digest = digest if payload is None else sha256(payload).digest()
        previous = chain_hash(previous, row.id, seq, time, type, path, digest, key)
        if previous != stored:
            raise _broken(row.id, seq, "the event's content does not give its hash")
        expected += 1
    if expected - 1 != row.seq:
        raise _broken(row.id, expected, f"the run's row says seq {row.seq}, the last event found is {expected - 1}")
    if previous != row.head:
        raise _broken(row.id, row.seq, "the run's head is not the hash of its last event")


def verify_chain(connection: apsw.Connection, key: bytes) -> None:
    """Recompute the journal-wide chain, and compare it with the finished runs: none may be missing on either side."""
    previous = NO_HASH
    pruned = {run for (run,) in fetch(connection, sql.PRUNED)}
    link: Row
    for link in connection.execute(sql.CHAIN):  # row by row: a journal of a million runs has a million links
        id, kind, run, run_id, seq, head, time, stored, run_seq, run_head = link
        previous = chain_hash(previous, run_id, seq, time, kind, "", head, key)
        if previous != stored:
            raise JournalCorrupt(f"The journal's chain does not hold at link {id} ({kind}, run {run_id!r}, seq {seq}).")
        if kind != "finished" or run in pruned:
            continue
        if run_seq is None:
            raise _broken(run_id, seq, "the run ended there, and the journal no longer has it as ended")
        if (run_seq, run_head) != (seq, head):
            raise _broken(run_id, seq, f"the run ended at seq {seq} with another head than its row has now")
    for run_id, seq in fetch(connection, sql.FINISHED_WITHOUT_LINK):
        raise _broken(run_id, seq, "the run has ended, and the journal's chain does not say so")


def _broken(run_id: str, seq: int, what: str) -> JournalCorrupt:
    return JournalCorrupt(f"The chain of run {run_id!r} does not hold at seq {seq}: {what}.")


def statistics(connection: apsw.Connection) -> dict[str, Any]:
    """Return counts and sizes."""

    def one(statement: str) -> Any:
        return fetch(connection, statement)[0][0]

    newest = fetch(connection, sql.CHAIN_HEAD)
    words = ("environment", "workflow", "status", "runs")
    return {
        "runs": dict(fetch(connection, sql.COUNT_BY_STATUS)),
        "unfinished": [dict(zip(words, row, strict=True)) for row in fetch(connection, sql.COUNT_UNFINISHED)],
        "schema": one(sql.SCHEMA_VERSION),
        "events": one(sql.COUNT_EVENTS),
        "waiting": dict(fetch(connection, sql.COUNT_WAITING)),
        "mail": one(sql.COUNT_MAIL),
        "keys": one(sql.COUNT_KEYS),
        "chain": one(sql.COUNT_CHAIN),
        "chain_head": newest[0][0].hex() if newest else NO_HASH.hex(),
        "bytes": one(sql.COUNT_PAGES),
    }
