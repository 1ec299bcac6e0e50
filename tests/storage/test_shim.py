"""The disk of these tests bites: a journal that is told to trust it blindly loses what it acknowledged, and that is noticed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.writer import Writer

from .disk import Disk, Done, Platter
from .native import Call
from .playing import Play, check_cuts
from .script import Script, drawn


def setting(pragma: str) -> Any:
    """Return what changes a pragma of the journal's writer."""

    def change(journal: SqliteJournal) -> None:
        assert journal._opened is not None
        journal._opened[0].execute(pragma)

    return change


async def played(script: Script, folder: Path, after_open: Any = None, fault: Any = None) -> Play:
    """Tell a script on a disk of some kind."""
    (folder / "disk").mkdir()
    play = Play(script, Disk(str(folder / "disk"), fault=fault), after_open=after_open)
    with play.disk.watched():
        await play.all()
    return play


async def loss(play: Play, folder: Path) -> str:
    """Return what the check of power cuts says; empty if it says nothing."""
    at = range(len(play.disk.done) // 2, len(play.disk.done), 11)
    try:
        await check_cuts(folder, play, at, seed=1, samples=1)
    except AssertionError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("pragma", ["PRAGMA synchronous = OFF", "PRAGMA synchronous = NORMAL"])
async def test_without_syncs_acknowledged_data_is_lost(pragma: str, fixed: Script, tmp_path: Path) -> None:
    """A journal that does not wait for the disk is found out."""
    assert await loss(await played(fixed, tmp_path, setting(pragma)), tmp_path)


async def test_with_syncs_nothing_is(fixed: Script, tmp_path: Path) -> None:
    """The same check finds nothing in the journal as it ships."""
    assert await loss(await played(fixed, tmp_path), tmp_path) == ""


async def test_a_disk_that_lies(fixed: Script, tmp_path: Path) -> None:
    """A disk that says it has synced, and has not, is found out; so a sync is what the promise stands on."""

    def lies(call: Call) -> int | None:
        return 0 if call.what == "sync" else None

    assert await loss(await played(fixed, tmp_path, fault=lies), tmp_path)


async def test_a_torn_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that does not put its batches into transactions is found out: something is between before and after."""
    script = await drawn(tmp_path, "torn", ["create", "create", *["append"] * 12])
    with monkeypatch.context() as sabotage:
        sabotage.setattr("chargehand.journals.writer.sql.COMMIT", "SELECT 1")
        sabotage.setattr(Writer, "_begin", lambda self: None)
        sabotage.setattr(Writer, "_roll_back", lambda self: None)
        play = await played(script, tmp_path)
    assert "what never was" in await loss(play, tmp_path)


def test_a_power_cut_leaves_some_of_each() -> None:
    """What was synced is there; of what was not, now nothing is left, now a part, now all, sector by sector."""
    platter = Platter()
    for done in (Done("create", 1, name="f"), Done("write", 1, 0, b"a" * 1024), Done("sync", 1), Done("sync folder")):
        platter.turn(done)
    platter.turn(Done("write", 1, 0, b"b" * 2048))
    left = {platter.left(random.Random(seed))["f"] for seed in range(200)}
    assert b"a" * 1024 in left
    assert b"b" * 2048 in left
    assert b"a" * 512 + b"b" * 512 + b"b" * 1024 in left
    assert b"b" * 512 + b"a" * 512 in left
    assert all(set(content[:1024]) <= set(b"ab") and len(set(content[:512])) == 1 for content in left)


def test_a_failed_sync_is_not_made_good() -> None:
    """What a sync failed to write is forgotten: the next sync does not write it."""
    platter = Platter()
    for done in (Done("create", 1, name="f"), Done("sync folder"), Done("write", 1, 0, b"a" * 512)):
        platter.turn(done)
    contents = set()
    for seed in range(40):
        platter.turn(Done("write", 1, 0, b"b" * 512))
        platter.turn(Done("lost", 1), seed)
        platter.turn(Done("sync", 1))
        contents.add(platter.left(random.Random(0))["f"])
        platter.turn(Done("truncate", 1, size=0))
        platter.turn(Done("sync", 1))
    assert {content[:1] for content in contents} >= {b"", b"b"}


def test_names_last_with_their_folder() -> None:
    """A new file may be gone, and a deleted one back, until the folder is synced."""
    platter = Platter()
    platter.turn(Done("create", 1, name="f"))
    assert {"f" in platter.left(random.Random(seed)) for seed in range(20)} == {True, False}
    platter.turn(Done("sync folder"))
    assert all("f" in platter.left(random.Random(seed)) for seed in range(20))
    platter.turn(Done("delete", name="f"))
    assert {"f" in platter.left(random.Random(seed)) for seed in range(20)} == {True, False}


def test_nobody_else_is_watched(tmp_path: Path) -> None:
    """Files outside of the folder are left alone, and when nobody watches SQLite's own functions are back."""
    (tmp_path / "in").mkdir()
    disk = Disk(str(tmp_path / "in"))
    with disk.watched():
        for path in (tmp_path / "in" / "a.db", tmp_path / "out.db"):
            connection = apsw.Connection(str(path))
            connection.execute("CREATE TABLE t(x)")
            connection.close()
    seen = len(disk.calls)
    assert seen > 10
    assert {path for _, path in disk.calls} == {"/a.db", "/a.db-journal", "/a.db-wal"}
    connection = apsw.Connection(str(tmp_path / "in" / "a.db"))
    connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    assert len(disk.calls) == seen
