"""The schema: what the tables refuse, and how older and newer files are met."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from chargehand.errors import JournalError, JournalNewer
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.sqlite_schema import MIGRATIONS, VERSION_1

from .driven import JumpClock, created

RELEASED = (Path(__file__).parent / "version_1.sql").read_text()
NEXT = (
    *MIGRATIONS,
    "ALTER TABLE runs ADD COLUMN note TEXT; UPDATE runs SET note = 'was here';",
    "CREATE TABLE notes(run INTEGER NOT NULL, note TEXT NOT NULL) STRICT;INSERT INTO notes SELECT number, note FROM runs;",
)


def ask(path: Path, statement: str) -> list[tuple[object, ...]]:
    """Ask the file itself."""
    connection = apsw.Connection(str(path))
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def released_journal(path: Path) -> None:
    """Make a file as version 1 made it."""
    connection = apsw.Connection(str(path))
    connection.execute(RELEASED)
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def test_version_1_is_as_it_was_released() -> None:
    """A released migration is never changed. If this fails because a closed set of words grew: append a migration."""
    assert VERSION_1.strip() == RELEASED.strip()


async def test_a_file_of_version_1_is_brought_up_to_date(tmp_path: Path, clock: JumpClock) -> None:
    """Migrations are applied in order, once, and runs, events and parked work go on."""
    path = tmp_path / "journal.db"
    released_journal(path)
    journal = SqliteJournal(path, clock=clock, migrations=MIGRATIONS[:1])
    await journal.open()
    run = await created(journal, "po-1")
    await run.append("a")
    await journal.close()
    for _ in range(2):
        newer = SqliteJournal(path, clock=clock, migrations=NEXT)
        await newer.open()
        run.journal = newer
        await run.append("b")
        await newer.verify(run.row.number)
        await newer.close()
    assert ask(path, "PRAGMA user_version") == [(3,)]
    assert ask(path, "SELECT note FROM notes") == [("was here",)]


async def test_a_migration_that_breaks_leaves_the_old_version_whole(tmp_path: Path, clock: JumpClock) -> None:
    """All missing migrations are one transaction."""
    path = tmp_path / "journal.db"
    released_journal(path)
    with pytest.raises(JournalError):
        await SqliteJournal(path, clock=clock, migrations=(*NEXT[:2], "SELECT nonsense FROM nowhere")).open()
    assert ask(path, "PRAGMA user_version") == [(1,)]
    assert ask(path, "SELECT name FROM pragma_table_info('runs') WHERE name = 'note'") == []
    journal = SqliteJournal(path, clock=clock)
    await journal.open()
    await created(journal, "po-1")
    await journal.close()


async def test_a_newer_file_is_refused_untouched(tmp_path: Path, clock: JumpClock) -> None:
    """A file of a later version is neither read nor changed."""
    path = tmp_path / "journal.db"
    newer = SqliteJournal(path, clock=clock, migrations=NEXT)
    await newer.open()
    await newer.close()
    before = path.read_bytes()
    with pytest.raises(JournalNewer, match="version 3"):
        await SqliteJournal(path, clock=clock).open()
    assert path.read_bytes() == before


async def test_another_programs_tables_are_left_alone(tmp_path: Path, clock: JumpClock) -> None:
    """A database with tables of our names that we did not make is refused; one with other tables is shared."""
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE customers(id INTEGER PRIMARY KEY)")
    connection.close()
    journal = SqliteJournal(path, clock=clock)
    await journal.open()
    await journal.close()
    other = tmp_path / "other.db"
    connection = apsw.Connection(str(other))
    connection.execute("CREATE TABLE events(id INTEGER PRIMARY KEY)")
    connection.close()
    with pytest.raises(JournalError, match="events"):
        await SqliteJournal(other, clock=clock).open()
    assert ask(other, "SELECT name FROM sqlite_schema") == [("events",)]


@pytest.mark.parametrize(
    "nonsense",
    [
        "UPDATE runs SET status = 'tired'",
        "UPDATE runs SET status = 'completed'",
        "UPDATE runs SET finished = 1.0",
        "UPDATE runs SET status = 'completed', finished = 1.0",
        "UPDATE runs SET status = 'parked'",
        "UPDATE runs SET status = 'parked', reason = 'tired'",
        "UPDATE runs SET standing = -1",
        "UPDATE runs SET epoch = 'one'",
        "UPDATE runs SET head = x'00'",
        "UPDATE events SET payload = NULL",
        "UPDATE events SET digest = zeroblob(32)",
        "INSERT INTO events(run, seq, time, type, path, payload, hash) SELECT run, seq, time, type, path, payload, hash FROM events",
        "INSERT INTO mailbox(run, kind, body, time) VALUES (1, 'letter', '{}', 0)",
        "INSERT INTO keys VALUES ('test', 't', 'k', 'po-1', 'p', 0, 'd', 'held', NULL, 0)",
        "INSERT INTO keys VALUES ('test', 't', 'k', 'po-1', 'p', 1, 'd', 'lost', NULL, 0)",
        "INSERT INTO chain(kind, run, run_id, seq, head, time, hash) VALUES ('changed', 1, 'po-1', 1, x'', 0, x'')",
    ],
)
async def test_the_tables_refuse_nonsense(sqlite: SqliteJournal, nonsense: str) -> None:
    """No program, ours or another, can write a state that nobody would understand."""
    await created(sqlite, "po-1")
    connection = apsw.Connection(sqlite.path)
    with pytest.raises(apsw.ConstraintError):
        connection.execute(nonsense)
    connection.close()


async def test_a_small_event_is_small(sqlite: SqliteJournal, tmp_path: Path) -> None:
    """A thousand small events take less than 250 bytes of file each."""
    run = await created(sqlite, "po-1")
    before = (await sqlite.statistics())["bytes"]
    for _ in range(10):
        await run.append(*["a value of some fifty letters, as a small step has"] * 100)
    assert (await sqlite.statistics())["bytes"] - before < 250 * 1000
