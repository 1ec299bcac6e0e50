"""The office: five tables in a real SQLite database, changed by the recorded tools and changed back by their undos.

One office per run, in memory (for speed) or in a file (so that it outlives a killed process). A change and the key
under which it was asked are one transaction, so the same key never changes anything twice: the office is a service
that honours idempotency keys. Its book of keys (`ledger`) is a sixth table, which no state shows.

A tool applies the change that was recorded for its call, to the tables as they are *now*:

* a new row gets the next free id, as the recorded sandbox gave it (undisturbed, that is the recorded id);
* a row to delete or to change that is not there, or is already so, changes nothing;
* a plot that is there gets one more copy.

What it really changed is its result, and the undo applies the befores of that backwards.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.replay.recording import COLUMNS, COPIES, Change, Row, State

NUMBERED: Mapping[str, int] = {"calendar": 8, "email": 0, "project_tasks": 8, "crm": 8}
"""The width to which the sandbox filled the ids of new rows, by table."""


def template(start: State) -> bytes:
    """Return the database file of a fresh office."""
    connection = sqlite3.connect(":memory:")
    for table, columns in COLUMNS.items():
        typed = [f'"{column}" {"INTEGER" if column == COPIES else "TEXT"}' for column in columns]
        connection.execute(f"CREATE TABLE {table} ({', '.join(typed)}, PRIMARY KEY ({_quoted(columns[0])})) STRICT")
        marks = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", start[table].values())
    connection.execute("CREATE TABLE ledger (key TEXT PRIMARY KEY, changes TEXT NOT NULL) STRICT")
    connection.commit()
    image = connection.serialize()
    connection.close()
    return image


class Office:
    """One run's office. Not shared between threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def in_memory(cls, image: bytes) -> Office:
        """Open a fresh office that lives as long as this object."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.deserialize(image)
        return cls(connection)

    @classmethod
    def in_file(cls, path: Path, image: bytes) -> Office:
        """Open the office of a file, made from the template if there is none.

        A process killed in here leaves either no file or a whole one. What is committed survives the process (not a
        power cut: the file is not synced).
        """
        if not path.exists():
            draft = path.with_suffix(".draft")
            draft.write_bytes(image)
            draft.rename(path)
        connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        connection.execute("PRAGMA synchronous = OFF")
        return cls(connection)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def perform(self, key: str, wanted: Sequence[Change]) -> list[Change]:
        """Apply the changes a call wants, once per key, and return what was really changed.

        If the process dies in here, either everything is on disk together with the key, or nothing is.
        """
        return self._once(key, lambda: [made for change in wanted for made in self._apply(change, alone=len(wanted) == 1)])

    def revert(self, key: str, made: Sequence[Change]) -> list[Change]:
        """Put back what a call changed, last first, once per key. Returns the changes that this made."""

        def back() -> list[Change]:
            undone = [Change(c.table, c.key, c.field, c.after, c.before) for c in reversed(made)]
            for change in undone:
                self._set(change)
            return undone

        return self._once(key, back)

    def made_under(self, key: str) -> list[Change] | None:
        """Return what was changed under a key, None when the key was never used: the look-up of this service."""
        found = self._rows("SELECT changes FROM ledger WHERE key = ?", (key,))
        return [Change.from_record(form) for form in json.loads(found[0][0])] if found else None

    def state(self) -> State:
        """Return all five tables."""
        return {table: {row[0]: row for row in self._rows(f"SELECT * FROM {table}")} for table in COLUMNS}

    def image(self) -> bytes:
        """Return the database file. Equal images are equal states; equal states need not be equal images."""
        return self._connection.serialize()

    def times(self) -> dict[str, int]:
        """Return how often each key was used: the office's own book (always 1 for each key it knows)."""
        return {row[0]: 1 for row in self._rows("SELECT key FROM ledger")}

    def row(self, table: str, key: str) -> Mapping[str, str | None] | None:
        """Return one row by column, or None."""
        found = self._get(table, key)
        return None if found is None else dict(zip(COLUMNS[table], found, strict=True))

    def rows(self, table: str) -> list[Mapping[str, str | None]]:
        """Return all rows of a table by column."""
        columns = COLUMNS[table]
        return [dict(zip(columns, row, strict=True)) for row in self._rows(f"SELECT * FROM {table}")]

    def _once(self, key: str, change: Callable[[], list[Change]]) -> list[Change]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            made = self.made_under(key)
            if made is None:
                made = change()
                book = json.dumps([change.record() for change in made])
                self._connection.execute("INSERT INTO ledger VALUES (?, ?)", (key, book))
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
        return made

    def _apply(self, change: Change, *, alone: bool) -> Iterable[Change]:
        table, key = change.table, change.key
        row = self._get(table, key)
        if table == "plots":
            made = Change(table, key, None, row, (key, 1 if row is None else int(row[1] or 0) + 1))
        elif change.field is not None:
            if row is None or row[COLUMNS[table].index(change.field)] == change.after:
                return
            made = Change(table, key, change.field, row[COLUMNS[table].index(change.field)], change.after)
        elif change.after is None:
            if row is None:
                return
            made = Change(table, key, None, row, None)
        else:
            if row is not None or alone:
                key = self._next(table)
            made = Change(table, key, None, None, (key, *change.after[1:]))
        self._set(made)
        yield made

    def _set(self, change: Change) -> None:
        columns = COLUMNS[change.table]
        where = f"WHERE {_quoted(columns[0])} = ?"
        if change.field is not None:
            self._connection.execute(f"UPDATE {change.table} SET {_quoted(change.field)} = ? {where}", (change.after, change.key))
        elif change.after is None:
            self._connection.execute(f"DELETE FROM {change.table} {where}", (change.key,))
        else:
            marks = ", ".join("?" * len(columns))
            self._connection.execute(f"INSERT OR REPLACE INTO {change.table} VALUES ({marks})", change.after)

    def _next(self, table: str) -> str:
        key = _quoted(COLUMNS[table][0])
        newest = self._rows(f"SELECT max({key}) FROM {table}")[0][0]
        return str(int(newest) + 1).zfill(NUMBERED[table])

    def _get(self, table: str, key: str) -> Row | None:
        found = self._rows(f"SELECT * FROM {table} WHERE {_quoted(COLUMNS[table][0])} = ?", (key,))
        return found[0] if found else None

    def _rows(self, statement: str, parameters: Sequence[str] = ()) -> list[Row]:
        return self._connection.execute(statement, parameters).fetchall()


def _quoted(column: str) -> str:
    return f'"{column}"'
