"""The power goes: what was acknowledged is there, what was not is there whole or not at all, and the journal goes on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from chargehand.errors import JournalNewer
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.sqlite_schema import MIGRATIONS
from journals.driven import JumpClock

from .disk import Disk
from .playing import NAME, Play, check_cuts, check_left, cuts
from .script import KINDS, Script, drawn, rows_of

LATER = (*MIGRATIONS, "CREATE TABLE later(n INTEGER); INSERT INTO later VALUES (1); ALTER TABLE runs ADD COLUMN later TEXT;")


async def played(folder: Path, script: Script, name: str = "disk") -> Play:
    """Tell a script on a sound disk."""
    (folder / name).mkdir()
    play = Play(script, Disk(str(folder / name)))
    with play.disk.watched():
        await play.all()
    assert not play.errors
    return play


async def test_the_power_goes(fixed: Script, tmp_path: Path) -> None:
    """After a power cut at some moments of a script, each with what one of many disks may leave."""
    play = await played(tmp_path, fixed)
    at = random.Random(1).sample(range(len(play.disk.done) + 1), 30)
    assert await check_cuts(tmp_path, play, at, seed=1, samples=1) == 30


@pytest.mark.slow
@pytest.mark.parametrize("part", range(5))
async def test_the_power_goes_at_every_moment(part: int, fixed: Script, tmp_path: Path) -> None:
    """After a power cut at every moment of a script, from opening to closing: before and after each write, sync, deletion."""
    play = await played(tmp_path, fixed)
    await check_cuts(tmp_path, play, range(part, len(play.disk.done) + 1, 5), seed=part, samples=3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_the_power_goes_in_any_life(seed: int, tmp_path: Path) -> None:
    """The same for other scripts, longer ones, at moments drawn by a seed."""
    dice = random.Random(seed)
    script = await drawn(tmp_path, seed, ["create", "create", *dice.choices(KINDS, k=70)])
    play = await played(tmp_path, script)
    at = dice.choices(range(len(play.disk.done) + 1), k=80)
    await check_cuts(tmp_path, play, at, seed=seed, samples=2)


async def again_and_again(folder: Path, script: Script, seed: int, most: int) -> None:
    """Cut the power in every life of a journal, also while it recovers from the last cut, until all has been told."""
    dice, files, sure, told = random.Random(seed), dict[str, bytes](), 0, 0
    for life in range(most):
        disk = Disk(str(folder / f"{seed}-{life}"))
        Path(disk.folder).mkdir()
        for name, content in files.items():
            Path(disk.folder, name).write_bytes(content)
        disk.begin_with(files)
        play = Play(script, disk)
        with disk.watched():
            number = await play.goes_on(sure, told, dice.randrange(1, 8) if life < most - 1 else len(play.flat))
        if number == len(play.flat):
            return
        [(cut, platter)] = cuts(disk.done, [dice.randrange(disk.before, len(disk.done) + 1)])
        least, told = play.marks.between(cut)
        sure = max(sure, least)
        files = platter.left(dice)
        await check_left(folder, script, files, sure, max(sure, told))
        told = max(sure, told)
    raise AssertionError("it never came to the end")


async def test_the_power_goes_again_and_again(short: Script, tmp_path: Path) -> None:
    """A journal whose power goes in each of twenty lives, also while it is opened, loses nothing that it acknowledged in any."""
    await again_and_again(tmp_path, short, 1, 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
async def test_the_power_goes_in_life_after_life(seed: int, tmp_path: Path) -> None:
    """The same for longer scripts and more lives."""
    script = await drawn(tmp_path, seed, ["create", "create", *random.Random(seed).choices(KINDS, k=60)])
    await again_and_again(tmp_path, script, seed, 60)


async def migrated(folder: Path, script: Script) -> tuple[Disk, dict[str, bytes]]:
    """Bring a journal with some content up to a later version; return the disk and what was on it before."""
    play = await played(folder, script, "before")
    before = {NAME: Path(play.path).read_bytes()}
    (folder / "after").mkdir()
    disk = Disk(str(folder / "after"))
    Path(disk.folder, NAME).write_bytes(before[NAME])
    disk.begin_with(before)
    with disk.watched():
        journal = SqliteJournal(Path(disk.folder, NAME), clock=JumpClock(), migrations=LATER)
        await journal.open()
        await journal.close()
    return disk, before


async def check_migration(folder: Path, script: Script, at: Sequence[int] | None, seed: int) -> None:
    """Cut the power while a journal is brought up to date: it has its old version or the new one, and the rest as it was."""
    disk, _ = await migrated(folder, script)
    dice, versions = random.Random(seed), set[int]()
    for cut, platter in cuts(
        disk.done, range(disk.before, len(disk.done) + 1) if at is None else [min(disk.before + one, len(disk.done)) for one in at]
    ):
        place = folder / f"cut-{cut}"
        place.mkdir()
        for name, content in platter.left(dice).items():
            (place / name).write_bytes(content)
        old = SqliteJournal(place / NAME, clock=JumpClock())
        try:
            await old.open()
            version = 1
            await old.close()
        except JournalNewer:
            version = 2
        versions.add(version)
        new = SqliteJournal(place / NAME, clock=JumpClock(), migrations=LATER)
        await new.open()
        await new.verify_chain()
        found = rows_of(new.path)
        await new.close()
        assert found["later"] == [(1,)], f"cut {cut}, version {version}"
        assert len(found["runs"]) == len(rows_of(str(folder / "before" / NAME))["runs"])
    assert versions == {1, 2}


async def test_the_power_goes_in_a_migration(fixed: Script, tmp_path: Path) -> None:
    """At some moments of a migration."""
    await check_migration(tmp_path, fixed, [0, 3, 10, 20, 10**6], 1)


@pytest.mark.slow
async def test_the_power_goes_at_every_moment_of_a_migration(fixed: Script, tmp_path: Path) -> None:
    """At every moment of a migration."""
    await check_migration(tmp_path, fixed, None, 2)
