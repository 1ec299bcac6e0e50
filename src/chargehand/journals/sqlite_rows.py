"""From rows of the SQLite journal to the values of the port."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import apsw

from chargehand.durable import KeyRow, Mail, RunRow, Waiting
from chargehand.errors import JournalCorrupt
from chargehand.events import Record

ERASED = b'{"$erased": true}'
"""What an erased payload reads as."""

Row = tuple[Any, ...]

Rows = Callable[[str, Sequence[Any]], list[Any]]
"""Send a statement and return its rows: inside a transaction or outside of one."""


def fetch(source: apsw.Connection | apsw.Cursor, statement: str, params: Sequence[Any] = ()) -> list[Any]:
    """Send a statement and return all its rows, so that it holds no snapshot afterwards."""
    return source.execute(statement, params).fetchall()


def run_row(row: Row) -> RunRow:
    """Return a `RunRow` from the columns of `RUN_COLUMNS`."""
    values: Row = (*row[:14], _kept(row[14], dict, f"The tags of run {row[1]!r}"), *row[15:])
    return RunRow(*values)


def record(row: Row) -> Record:
    """Return a `Record` from the columns of `EVENTS`."""
    seq, time, type, path, payload, hash = row
    return Record(seq, time, type, path, ERASED if payload is None else payload, hash)


def mail_row(row: Row) -> Mail:
    """Return a `Mail` from the columns of `MAIL_OF_RUN`."""
    id, run, kind, body, time = row
    return Mail(id, run, kind, _kept(body, dict, f"Mail {id}"), time)


def waiting_row(row: Row) -> Waiting:
    """Return a `Waiting` from the columns of `WAITING_COLUMNS`."""
    id, run_id, path, kind, title, shows, decisions, *rest = row
    what = f"The waiting entry {id!r}"
    return Waiting(id, run_id, path, kind, title, _kept(shows, dict, what), tuple(_kept(decisions, list, what)), *rest)


def _kept(text: str, kind: type[dict[str, Any]] | type[list[Any]], what: str) -> Any:
    """Return what a column of JSON holds. Raises `JournalCorrupt` when it is not what was written there."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JournalCorrupt(f"{what} cannot be read: {error}. Restore the journal from a backup.") from error
    if not isinstance(value, kind):
        raise JournalCorrupt(f"{what} cannot be read: it is no JSON {kind.__name__}. Restore the journal from a backup.")
    return value


def key_row(row: Row) -> KeyRow:
    """Return a `KeyRow` from the columns of `KEY`."""
    return KeyRow(*row)
