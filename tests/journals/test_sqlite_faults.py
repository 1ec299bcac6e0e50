"""What the world can do to a file, done to it."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from chargehand.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked, JournalOnNetwork
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.sqlite_faults import file_system_of, refuse_network

from .conftest import PATIENCE
from .driven import JumpClock, created

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
files:/export /srv/shared\\040files nfs4 rw 0 0
/dev/vdb /srv/shared\\040files/local xfs rw 0 0
"""


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte, where the system lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def foreign(journal: SqliteJournal) -> apsw.Connection:
    """Return a connection of another program."""
    return apsw.Connection(journal.path)


async def test_a_file_locked_by_a_foreign_program(sqlite: SqliteJournal) -> None:
    """A program that holds the file is waited for, for a bounded time; afterwards the same journal goes on."""
    run = await created(sqlite, "po-1")
    await run.append("a")
    other = foreign(sqlite)
    other.execute("BEGIN IMMEDIATE")
    sqlite._writer._locked_seconds = 0.01
    with pytest.raises(JournalLocked):
        await run.append("b")
    sqlite._writer._locked_seconds = PATIENCE
    other.execute("COMMIT")
    await run.append("c")
    await sqlite.verify(run.row.number)
    other.close()


async def test_a_short_lock_is_waited_out(sqlite: SqliteJournal) -> None:
    """A foreign program that writes for a moment costs nobody an error."""
    run = await created(sqlite, "po-1")
    await run.append("a")
    other = foreign(sqlite)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.ensure_future(run.append("b"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    other.execute("COMMIT")
    await waiting
    other.close()


async def test_a_locked_file_cannot_be_opened(tmp_path: Path, clock: JumpClock) -> None:
    """Opening tells that another program holds the file, and leaves nothing open."""
    other = apsw.Connection(str(tmp_path / "journal.db"))
    other.execute("BEGIN EXCLUSIVE")
    journal = SqliteJournal(tmp_path / "journal.db", clock=clock, locked_seconds=0.05)
    with pytest.raises(JournalLocked):
        await journal.open()
    other.execute("ROLLBACK")
    other.close()
    await journal.open()
    await journal.close()


async def test_a_full_database_refuses_the_whole_group(sqlite: SqliteJournal) -> None:
    """When a transaction has no room nobody in it is acknowledged; with room the same journal goes on."""
    runs = [await created(sqlite, f"po-{number}") for number in range(10)]
    pages = int(sqlite._writer._connection.pragma("page_count"))
    sqlite._writer._connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()
    while True:
        answers = await asyncio.gather(*(run.append("a" * 500) for run in runs), return_exceptions=True)
        if any(isinstance(answer, BaseException) for answer in answers):
            break
    assert all(isinstance(answer, JournalFull) for answer in answers)
    assert [(await run.now()).seq for run in runs] == [run.seq for run in runs]
    sqlite._writer._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    await asyncio.gather(*(run.append("room again") for run in runs))
    for run in runs:
        await sqlite.verify(run.row.number)


async def test_a_full_disk(tiny_disk: Path, clock: JumpClock) -> None:
    """On a disk without a free block: `JournalFull`, nothing half written, and going on once there is room."""
    journal = SqliteJournal(tiny_disk / "journal.db", clock=clock)
    await journal.open()
    (tiny_disk / "ballast").write_bytes(bytes(400_000))
    run = await created(journal, "po-1")
    with pytest.raises(JournalFull):
        for _ in range(1000):
            await run.append("a" * 2000)
    assert (await run.now()).seq == run.seq
    (tiny_disk / "ballast").unlink()
    await run.append("room again")
    await journal.verify(run.row.number)
    await journal.close()


async def test_a_commit_that_fails_is_everybodys(sqlite: SqliteJournal) -> None:
    """If COMMIT itself fails no caller of the group is acknowledged, and nothing of the group is there."""
    runs = [await created(sqlite, f"po-{number}") for number in range(5)]
    sqlite._writer._connection.set_commit_hook(lambda: True)
    answers = await asyncio.gather(*(run.append("a") for run in runs), return_exceptions=True)
    sqlite._writer._connection.set_commit_hook(None)
    assert all(isinstance(answer, JournalError) for answer in answers)
    assert len({id(answer) for answer in answers}) == 5
    assert [(await run.now()).seq for run in runs] == [1] * 5
    await asyncio.gather(*(run.append("b") for run in runs))


async def test_a_file_that_is_no_database(tmp_path: Path, clock: JumpClock) -> None:
    """A file of something else is not touched."""
    path = tmp_path / "journal.db"
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(JournalCorrupt):
        await SqliteJournal(path, clock=clock).open()
    assert path.read_bytes() == b"Dear diary, " * 1000


async def test_damaged_pages_are_reported(tmp_path: Path, clock: JumpClock) -> None:
    """A damaged file is an error with a name, whoever meets it, and never a wrong answer."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, clock=clock)
    await journal.open()
    run = await created(journal, "po-1")
    for _ in range(20):
        await run.append(*["a" * 300] * 20)
    await journal.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(os.urandom(size // 4))
    await journal.open()
    with pytest.raises(JournalCorrupt):
        await journal.verify(run.row.number)
    with pytest.raises(JournalCorrupt):
        await journal.load(run.row.number)
    await journal.close()


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        ('UPDATE events SET payload = \'{"value": "x"}\' WHERE seq = 3', "seq 3: the event's content"),
        ("UPDATE events SET path = 'other' WHERE seq = 2", "seq 2: the event's content"),
        ("UPDATE events SET time = time + 1 WHERE seq = 2", "seq 2: the event's content"),
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 4", "seq 4: the event's content"),
        ("DELETE FROM events WHERE seq = 2", "seq 2: the event is missing; the next one found is 3"),
        ("DELETE FROM events WHERE seq = 4", "seq 4: the run's row says seq 4, the last event found is 3"),
        ("UPDATE runs SET head = zeroblob(32)", "seq 4: the run's head is not"),
        ("UPDATE events SET payload = NULL, digest = zeroblob(32) WHERE seq = 2", "seq 2: the event's content"),
    ],
)
async def test_tampering_is_found_and_placed(sqlite: SqliteJournal, tamper: str, found: str) -> None:
    """`verify` names the run, the event and what differs."""
    run = await created(sqlite, "po-1")
    await run.append("a", "b", "c")
    await sqlite.verify(run.row.number)
    other = foreign(sqlite)
    other.execute(tamper)
    other.close()
    with pytest.raises(JournalCorrupt, match=f"run 'po-1' does not hold at {found}"):
        await sqlite.verify(run.row.number)


async def test_tampering_with_a_finished_run_is_found_in_the_journals_chain(sqlite: SqliteJournal) -> None:
    """A finished run that was rewritten whole, row and all, no longer fits the journal-wide chain."""
    run = await created(sqlite, "po-1")
    await run.append("end", status="completed")
    other = foreign(sqlite)
    other.execute("UPDATE runs SET head = zeroblob(32)")
    with pytest.raises(JournalCorrupt, match="another head"):
        await sqlite.verify_chain()
    other.execute("UPDATE chain SET head = zeroblob(32)")
    other.close()
    with pytest.raises(JournalCorrupt, match="link 1"):
        await sqlite.verify_chain()


async def test_a_place_that_cannot_be_written(tmp_path: Path, clock: JumpClock) -> None:
    """A missing folder, or a folder in the file's place, is a `JournalError` that names the path."""
    with pytest.raises(JournalError, match="missing"):
        await SqliteJournal(tmp_path / "missing" / "journal.db", clock=clock).open()
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(JournalError, match=r"folder\.db"):
        await SqliteJournal(tmp_path / "folder.db", clock=clock).open()


async def test_the_file_is_its_owners_alone(sqlite: SqliteJournal, tmp_path: Path) -> None:
    """A journal holds what agents saw: nobody else may read any of its files."""
    owner = await sqlite.enlist()
    await created(sqlite, "po-1")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes) == {
        "journal.db",
        "journal.db-wal",
        "journal.db-shm",
        "journal.db-turn",
        f"journal.db-worker-{owner}",
    }
    assert set(modes.values()) == {0o600}
    await sqlite.dismiss(owner)


async def test_closing_leaves_one_file_and_the_turn(tmp_path: Path, clock: JumpClock) -> None:
    """After the last process has closed, the journal is one file (and an empty one that orders writers)."""
    journal = SqliteJournal(tmp_path / "journal.db", clock=clock)
    await journal.open()
    owner = await journal.enlist()
    await created(journal, "po-1", owner=owner)
    await journal.dismiss(owner)
    await journal.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.db", "journal.db-turn"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/tmp/journal.db", "tmpfs"),
        ("/home/x/journal.db", "ext4"),
        ("/srv/shared files/journal.db", "nfs4"),
        ("/srv/shared files/local/journal.db", "xfs"),
        ("/srv/shared filesystem/journal.db", "ext4"),
    ],
)
def test_the_file_system_is_found_by_the_longest_mount_point(path: str, kind: str) -> None:
    """Mount points with spaces, within one another, and with similar names are told apart."""
    assert file_system_of(Path(path), MOUNTS) == kind


def test_a_journal_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """Where file locks cannot be trusted, no journal is opened; where mounts are not listed, nothing is refused."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path.resolve()} nfs rw 0 0\n")
    with pytest.raises(JournalOnNetwork, match="nfs"):
        refuse_network(tmp_path / "journal.db", mounts)
    refuse_network(Path("/journal.db"), mounts)
    refuse_network(tmp_path / "journal.db", tmp_path / "no such list")
