"""The tables of a SQLite journal, and how an older file is brought up to date.

Rules of this file:

* The tables refuse nonsense. Closed sets of words come from `durable`; the checks are chains of ``OR``, because SQLite
  builds a temporary index for each ``IN`` list each time a row is written (measured: 33 µs a row against 1 µs).
* Text ids stand only in `runs`, and where a row must outlive its run (`keys`, `chain`). Events are clustered by an
  integer, so a small event costs some 190 bytes of file.
* A migration is never changed after a release: append the next one. `PRAGMA user_version` counts those applied.
* `tests/journals/version_1.sql` is the first version as it was released; a test upgrades from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from chargehand.durable import FINAL_STATUSES, MAIL_KINDS, PARK_REASONS, RUN_STATUSES, WAITING_KINDS
from chargehand.errors import JournalError, JournalNewer
from chargehand.journals.sqlite_rows import fetch
from chargehand.journals.sqlite_statements import SCHEMA_VERSION

TABLES = frozenset({"runs", "tags", "events", "waiting", "mailbox", "keys", "blobs", "chain"})
"""Every table of ours; a transactional effect may not touch them."""

KEY_STATES = ("held", "done", "open")
CHAIN_KINDS = ("finished", "erased", "pruned")


def one_of(column: str, words: Iterable[str]) -> str:
    """Return the condition that a column holds one of these words."""
    return "(" + " OR ".join(f"{column} = '{word}'" for word in words) + ")"


VERSION_1 = f"""
CREATE TABLE runs(
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  workflow TEXT NOT NULL,
  environment TEXT NOT NULL,
  status TEXT NOT NULL CHECK {one_of("status", RUN_STATUSES)},
  reason TEXT,
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  seq INTEGER NOT NULL CHECK (seq >= 1),
  head BLOB NOT NULL CHECK (length(head) = 32),
  owner TEXT,
  due REAL,
  crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0),
  standing INTEGER NOT NULL DEFAULT 0 CHECK (standing >= 0),
  input_digest TEXT NOT NULL,
  tags TEXT NOT NULL,
  created REAL NOT NULL,
  updated REAL NOT NULL,
  finished REAL,
  CHECK ((finished IS NOT NULL) = {one_of("status", sorted(FINAL_STATUSES))}),
  CHECK (finished IS NULL OR (owner IS NULL AND due IS NULL)),
  CHECK (status <> 'parked' OR (reason IS NOT NULL AND {one_of("reason", PARK_REASONS)}))
) STRICT;
CREATE INDEX runs_due ON runs(environment, workflow, due) WHERE owner IS NULL AND due IS NOT NULL;
CREATE INDEX runs_owner ON runs(owner, due) WHERE owner IS NOT NULL;
CREATE INDEX runs_status ON runs(status);
CREATE INDEX runs_finished ON runs(finished) WHERE finished IS NOT NULL;

CREATE TABLE tags(
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  run INTEGER NOT NULL REFERENCES runs(number),
  PRIMARY KEY (name, value, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_run ON tags(run);

CREATE TABLE events(
  id INTEGER PRIMARY KEY,
  run INTEGER NOT NULL REFERENCES runs(number),
  seq INTEGER NOT NULL,
  time REAL NOT NULL,
  type TEXT NOT NULL,
  path TEXT NOT NULL,
  payload TEXT,
  digest BLOB CHECK ((digest IS NULL) = (payload IS NOT NULL)),
  hash BLOB NOT NULL,
  UNIQUE (run, seq)
) STRICT;

CREATE TABLE waiting(
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run INTEGER NOT NULL REFERENCES runs(number),
  path TEXT NOT NULL,
  kind TEXT NOT NULL CHECK {one_of("kind", WAITING_KINDS)},
  title TEXT NOT NULL,
  shows TEXT NOT NULL,
  decisions TEXT NOT NULL,
  role TEXT,
  created REAL NOT NULL,
  due REAL,
  digest TEXT NOT NULL,
  environment TEXT NOT NULL
) STRICT;
CREATE INDEX waiting_run ON waiting(run);
CREATE INDEX waiting_created ON waiting(created, number);

CREATE TABLE mailbox(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  run INTEGER NOT NULL REFERENCES runs(number),
  kind TEXT NOT NULL CHECK {one_of("kind", MAIL_KINDS)},
  body TEXT NOT NULL,
  time REAL NOT NULL
) STRICT;
CREATE INDEX mailbox_run ON mailbox(run);

CREATE TABLE keys(
  environment TEXT NOT NULL,
  tool TEXT NOT NULL,
  key TEXT NOT NULL,
  run_id TEXT NOT NULL,
  path TEXT NOT NULL,
  generation INTEGER NOT NULL CHECK (generation >= 1),
  digest TEXT NOT NULL,
  state TEXT NOT NULL CHECK {one_of("state", KEY_STATES)},
  result BLOB,
  shared INTEGER NOT NULL DEFAULT 0 CHECK (shared >= 0),
  PRIMARY KEY (environment, tool, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs(
  run INTEGER NOT NULL REFERENCES runs(number),
  digest TEXT NOT NULL,
  content BLOB NOT NULL,
  UNIQUE (run, digest)
) STRICT;

CREATE TABLE chain(
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK {one_of("kind", CHAIN_KINDS)},
  run INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  head BLOB NOT NULL,
  time REAL NOT NULL,
  hash BLOB NOT NULL
) STRICT;
"""

MIGRATIONS: tuple[str, ...] = (VERSION_1,)
"""The n-th takes a journal from version n-1 to version n."""


def version_of(connection: apsw.Connection) -> int:
    """Return how many migrations the file has seen."""
    return int(fetch(connection, SCHEMA_VERSION)[0][0])


def refuse_newer(connection: apsw.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Raise `JournalNewer` if a later version of Chargehand wrote the file. Changes nothing."""
    version = version_of(connection)
    if version > len(migrations):
        raise JournalNewer(f"The journal has schema version {version}, this Chargehand knows up to {len(migrations)}. Upgrade it.")


def migrate(connection: apsw.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Bring the schema up to date, in one transaction.

    If the process dies inside, the file still has its old version, whole.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        refuse_newer(connection, migrations)
        version = version_of(connection)
        if version == 0:
            _refuse_foreign(connection)
        for migration in migrations[version:]:
            connection.execute(migration).fetchall()
        if version < len(migrations):
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_foreign(connection: apsw.Connection) -> None:
    found = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if found & TABLES:
        names = ", ".join(sorted(found & TABLES))
        raise JournalError(f"Another program's tables are in the way: {names}. Give the journal a file of its own.")
