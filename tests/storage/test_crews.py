"""Several worker processes on one file whose disks fail, and then the power goes for all of them: no run and no effect is amiss."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chargehand import Pace
from crash.town import Town, check_books, undisturbed
from crash.worker import Crew
from crash.world import Fact

from .crews import Log, LoggedDisk, LoggedTown, Seen, Trouble, read, remains, settle
from .disk import Done
from .faults import KINDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RUNS = range(12)
SHARED = Pace(poll=0.005, claim_at_once=1, drive_at_once=3)
"""So few runs at a time that every worker has some."""
TOGETHER = [
    ["no room", "not written"],
    ["no room for half of it", "not synced"],
    ["half written", "not read"],
    ["quota reached", "no shared lock", "locked"],
    ["no room to sync", "unreadable", "no lock"],
    ["not mapped", "no memory", "no room to share", "shared lock held"],
]
"""Which kinds of faults the disks of one crew have."""


@pytest.fixture
def crew() -> Any:
    """The worker processes of this test."""
    crew = Crew()
    yield crew
    crew.close()


async def check(town: Town, expected: dict[str, Any], facts: list[Fact]) -> None:
    """Wait until every run has ended, and hold them and the books against the undisturbed ones."""
    await town.until(town.all_ended, "every run ended")
    assert await town.outcomes() == expected
    check_books(facts, town.book.facts())


async def troubled(folder: Path, crew: Crew, troubles: Sequence[Trouble]) -> tuple[list[Any], int]:
    """Have a worker on each of these disks bring every run to its end; return the log, and its length when the runs were acknowledged."""
    expected, facts = await undisturbed(RUNS)
    folder.mkdir()
    log = str(folder.parent / "log")
    town = LoggedTown(folder, crew, {"eager": True, "pace": SHARED})
    town.log = log
    disk = LoggedDisk(str(folder), done=Log(log))
    with disk.watched():
        await town.office.journal.open()
        for trouble in troubles:
            town.employ(trouble)

        async def all_there() -> bool:
            return len(await town.office.journal.workers()) == len(troubles)

        await town.until(all_there, "they are at work", people=False)
        await town.open(RUNS)
        acknowledged = len(read(log))
        await check(town, expected, facts)
        crew.close()
        await town.office.close()
    entries = read(log)
    assert len({entry.process for entry in entries if isinstance(entry, Seen)}) >= 2, "one of them did it all"
    return entries, acknowledged


async def check_power(folder: Path, crew: Crew, entries: list[Any], acknowledged: int, count: int) -> None:
    """End all processes at once at so many moments, each time on a disk that loses what it had not synced; others go on."""
    expected, facts = await undisturbed(RUNS)
    dice = random.Random(str(len(entries)))
    for left in remains(entries, dice.sample(range(len(entries) + 1), count), dice):
        place = folder / f"after {left.cut}"
        settle(left, place)
        town = Town(place, crew)
        await town.office.journal.open()
        found = {row.id for row in await town.office.runs(limit=100)}
        assert left.cut < acknowledged or len(found) == len(RUNS), f"power gone after {left.cut}: acknowledged runs are lost"
        await town.open(RUNS)
        hired = [town.hire() for _ in range(2)]
        try:
            await check(town, expected, facts)
        except AssertionError as error:
            raise AssertionError(f"power gone after {left.cut} of {len(entries)}: {error}") from error
        for worker in hired:
            worker.kill()
        await town.office.close()


@pytest.mark.parametrize("kinds", TOGETHER, ids=lambda kinds: " and ".join(kinds))
async def test_two_processes_on_bad_disks(kinds: list[str], tmp_path: Path, crew: Crew) -> None:
    """Two workers whose disks fail again and again end every run, and where all lose their power, two others do."""
    entries, acknowledged = await troubled(tmp_path / "town", crew, [Trouble(f"{kinds} {number}", kinds) for number in range(2)])
    struck = [entry for entry in entries if isinstance(entry, Done) and entry.what == "fault"]
    print(Counter((entry.inode, entry.name) for entry in struck))
    assert len({entry.inode for entry in struck}) == 2, "the disk of one of them never failed"
    assert {entry.name for entry in struck} == set(kinds), "one kind of fault never struck"
    await check_power(tmp_path, crew, entries, acknowledged, 4)


async def test_four_processes_lose_their_power(tmp_path: Path, crew: Crew) -> None:
    """Four workers on sound disks, whose power goes at any of many moments."""
    entries, acknowledged = await troubled(tmp_path / "town", crew, [Trouble()] * 4)
    await check_power(tmp_path, crew, entries, acknowledged, 12)


async def test_who_does_not_wait_for_the_disk_is_found(tmp_path: Path, crew: Crew) -> None:
    """The same check finds workers that acknowledge, and act, before the disk has what they wrote."""
    entries, acknowledged = await troubled(tmp_path / "town", crew, [Trouble(hasty=True)] * 2)
    with pytest.raises(AssertionError):
        await check_power(tmp_path, crew, entries, acknowledged, 12)


def test_each_kind_is_there() -> None:
    """What strikes while runs are driven is a kind that is known, and none of those is left out."""
    named = {kind for kinds in TOGETHER for kind in kinds}
    rare = {"not cut", "no descriptor", "not deleted", "not looked for", "not measured", "not shared"}
    assert named | rare == {kind.name for kind in KINDS}
    assert not named & rare
