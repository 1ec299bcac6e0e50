"""The database as a transactional effect sees it: the journal's own file, without the journal's own tables.

Rules of this file:

* The effect runs inside a transaction that it cannot end: statements that begin, end or nest transactions, attach
  files, or set pragmas are refused when they are prepared, and so is anything that reads or changes our tables.
* SQLite itself may end a transaction (``INSERT OR ROLLBACK``, a full disk). From then on every statement would commit
  on its own, so each `execute` looks first and refuses.
* Time is checked inside SQL by a progress handler and before each statement; Python code between two statements is not
  interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import apsw

from chargehand.errors import DefinitionError, JournalError, TimedOut
from chargehand.journals.sqlite_schema import TABLES

WORK_SECONDS = 1.0
"""How long a transactional effect may hold the journal's only writer."""

PROGRESS_STEPS = 2000
"""SQLite instructions between two looks at the time: well under a millisecond."""

_WRITES = {apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE}
_FORBIDDEN = {
    apsw.SQLITE_TRANSACTION,
    apsw.SQLITE_SAVEPOINT,
    apsw.SQLITE_ATTACH,
    apsw.SQLITE_DETACH,
    apsw.SQLITE_PRAGMA,
}
_ON_TABLE_FIRST = _WRITES | {
    apsw.SQLITE_READ,
    apsw.SQLITE_CREATE_TABLE,
    apsw.SQLITE_CREATE_TEMP_TABLE,
    apsw.SQLITE_CREATE_VIEW,
    apsw.SQLITE_CREATE_TEMP_VIEW,
    apsw.SQLITE_CREATE_VTABLE,
    apsw.SQLITE_DROP_TABLE,
    apsw.SQLITE_ANALYZE,
}
_ON_TABLE_SECOND = {
    apsw.SQLITE_ALTER_TABLE,
    apsw.SQLITE_CREATE_INDEX,
    apsw.SQLITE_CREATE_TEMP_INDEX,
    apsw.SQLITE_CREATE_TRIGGER,
    apsw.SQLITE_CREATE_TEMP_TRIGGER,
    apsw.SQLITE_DROP_INDEX,
    apsw.SQLITE_DROP_TRIGGER,
    apsw.SQLITE_DROP_TEMP_TRIGGER,
}
"""Actions whose table is the first or the second argument of the authorizer."""


class WorkFailed(Exception):
    """Carries what an effect raised out of its transaction, so that it is not taken for an error of ours."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Transaction:
    """What a transactional effect is given as `tx`."""

    def __init__(self, connection: apsw.Connection, seconds: float) -> None:
        self._connection = connection
        self._until = monotonic() + seconds
        self._seconds = seconds
        self._over = False

    def execute(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        What it changed is on disk if, and only if, the effect's *done* event is. Raises `DefinitionError` for a
        statement that a transactional effect may not use, `TimedOut` after the time limit, and SQLite's own errors as
        they are.
        """
        self._check()
        try:
            return list(self._connection.execute(sql, tuple(params)))
        except apsw.AuthError as refused:
            raise DefinitionError(
                f"A transactional effect may not do this: {sql!r}. It works on its own tables, inside one transaction."
            ) from refused
        except apsw.InterruptError as interrupted:
            raise self._too_long() from interrupted

    def late(self) -> bool:
        """Say whether the time is up."""
        return monotonic() > self._until

    def end(self) -> None:
        """Refuse every statement from now on; raise if the transaction did not survive the effect."""
        try:
            self._check()
        finally:
            self._over = True

    def _check(self) -> None:
        if self._over:
            raise DefinitionError("The transaction of this effect has ended. Use `tx` only inside the effect.")
        if self.late():
            raise self._too_long()
        if not self._connection.in_transaction:
            raise JournalError("The database rolled the effect's transaction back; nothing of it happened.")

    def _too_long(self) -> TimedOut:
        return TimedOut(f"A transactional effect took more than {self._seconds:g} s; nothing of it happened.")


def authorize(action: int, first: str | None, second: str | None, database: str | None, inner: str | None) -> int:
    """Return SQLite's answer to what a statement is about to do."""
    if action in _FORBIDDEN:
        return apsw.SQLITE_DENY
    table = first if action in _ON_TABLE_FIRST else second if action in _ON_TABLE_SECOND else None
    if table is None:
        return apsw.SQLITE_OK
    name = table.lower()
    if name in TABLES or (action in _WRITES and name == "sqlite_sequence"):
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK


@contextmanager
def transaction_for(connection: apsw.Connection, seconds: float = WORK_SECONDS) -> Iterator[Transaction]:
    """Lend a connection that is inside a transaction to an effect, under restrictions, and take it back."""
    tx = Transaction(connection, seconds)
    connection.authorizer = authorize
    connection.set_progress_handler(tx.late, PROGRESS_STEPS)
    try:
        yield tx
        tx.end()
    finally:
        tx._over = True
        connection.set_progress_handler(None)
        connection.authorizer = None
