"""From rows of the SQLite journal to the values of the port."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import apsw

from chargehand.durable import KeyRow, Mail, RunRow, Waiting
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
    values: Row = (*row[:14], json.loads(row[14]), *row[15:])
    return RunRow(*values)


def record(row: Row) -> Record:
    """Return a `Record` from the columns of `EVENTS`."""
    seq, time, type, path, payload, hash = row
    return Record(seq, time, type, path, ERASED if payload is None else payload, hash)


def mail_row(row: Row) -> Mail:
    """Return a `Mail` from the columns of `MAIL_OF_RUN`."""
    id, run, kind, body, time = row
    return Mail(id, run, kind, json.loads(body), time)


def waiting_row(row: Row) -> Waiting:
    """Return a `Waiting` from the columns of `WAITING_COLUMNS`."""
    id, run_id, path, kind, title, shows, decisions, *rest = row
    return Waiting(id, run_id, path, kind, title, json.loads(shows), tuple(json.loads(decisions)), *rest)


def key_row(row: Row) -> KeyRow:
    """Return a `KeyRow` from the columns of `KEY`."""
    return KeyRow(*row)
