"""Appending: one commit is one atomic step of one run, and only the holder of the epoch takes it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chargehand.durable import Journal
from chargehand.errors import Fenced, JournalCorrupt, JournalError

from .driven import START, claimed, created, entry


async def test_a_commit_moves_the_row_with_its_records(journal: Journal) -> None:
    """The row always says what the last event says: seq, head, time, status."""
    run = await created(journal, "po-1")
    records = await run.append("a", "b", status="waiting", due=START + 60, standing=2)
    row = await run.now()
    assert (row.seq, row.head, row.updated) == (3, records[-1].hash, records[-1].time)
    assert (row.status, row.due, row.standing, row.owner, row.epoch) == ("waiting", START + 60, 2, "w1", 1)
    assert await journal.load(run.row.number, after=1) == list(records)
    assert await journal.load(run.row.number, after=1, limit=1) == list(records[:1])


async def test_a_commit_without_records_updates_only_the_row(journal: Journal) -> None:
    """Giving a claim up needs no event."""
    run = await created(journal, "po-1")
    assert list(await run.append(status="waiting", leave=True)) == []
    row = await run.now()
    assert (row.seq, row.head, row.updated, row.status, row.owner) == (1, run.head, START + 1, "waiting", None)


@pytest.mark.parametrize("change", [{"epoch": 0}, {"epoch": 2}, {"before": 0}, {"before": 2}, {"run": 99}])
async def test_a_wrong_epoch_or_seq_is_fenced(journal: Journal, change: dict[str, Any]) -> None:
    """A driver that is not at the run's last event in the run's own epoch writes nothing."""
    run = await created(journal, "po-1")
    before = await run.now()
    with pytest.raises(Fenced):
        await journal.append(replace(run.commit("a", opened=[entry("e1", "po-1")]), **change))
    assert await run.now() == before
    assert len(await journal.load(run.row.number)) == 1
    assert await journal.waiting() == []


async def test_a_zombie_never_writes_again(journal: Journal) -> None:
    """Once another driver has claimed the run, the old one is refused for ever."""
    zombie = await created(journal, "po-1")
    await zombie.append(status="running", leave=True, due=0.0)
    [heir] = await claimed(journal, "w2")
    with pytest.raises(Fenced):
        await zombie.append("late")
    await heir.append("mine")
    with pytest.raises(Fenced):
        await zombie.append("later")
    assert [record.payload for record in await journal.load(heir.row.number, after=1)] == [b'{"value": "mine"}']


async def test_fencing_refuses_only_the_stale_commit_of_a_group(journal: Journal) -> None:
    """One zombie among many drivers costs the others nothing."""
    runs = [await created(journal, f"po-{number}") for number in range(20)]
    epochs = [7 if number % 5 == 0 else 1 for number in range(20)]
    commits = [replace(run.commit("a"), epoch=epoch) for run, epoch in zip(runs, epochs, strict=True)]
    answers = await asyncio.gather(*map(journal.append, commits), return_exceptions=True)
    assert [isinstance(answer, Fenced) for answer in answers] == [number % 5 == 0 for number in range(20)]
    assert [(await run.now()).seq for run in runs] == [1 if number % 5 == 0 else 2 for number in range(20)]


async def test_a_finished_run_is_left_by_everybody(journal: Journal) -> None:
    """A final status ends ownership, due time and waiting entries in one commit, and nothing is written after it."""
    run = await created(journal, "po-1")
    await run.append("a", opened=[entry("e1", "po-1")], due=START + 5)
    await run.append("end", status="completed", due=START + 9, opened=[entry("e2", "po-1")])
    row = await run.now()
    assert (row.status, row.owner, row.due, row.seq) == ("completed", None, None, 3)
    assert await journal.waiting() == []
    with pytest.raises(Fenced):
        await run.append("after the end")


async def test_progress_resets_the_count_of_crashes(journal: Journal) -> None:
    """Only a commit that says so forgives earlier crashes."""
    run = await created(journal, "po-1", owner="dead")
    census = await journal.census(60)
    [heir] = await claimed(journal, "w2", census=census)
    assert heir.row.crashes == 1
    await heir.append("a")
    assert (await run.now()).crashes == 1
    await heir.append("b", progress=True)
    assert (await run.now()).crashes == 0


async def test_a_nonsense_status_is_refused_alone(journal: Journal) -> None:
    """The tables refuse what no reader could understand; commits beside it stand."""
    runs = [await created(journal, f"po-{number}") for number in range(3)]
    commits = [
        runs[0].commit("a"),
        runs[1].commit("a", status="parked", reason="tired", opened=[entry("e1", "po-1")]),
        runs[2].commit("a"),
    ]
    good, bad, fine = await asyncio.gather(*map(journal.append, commits), return_exceptions=True)
    assert isinstance(bad, JournalError)
    assert not isinstance(bad, Fenced)
    assert len(good) == len(fine) == 1  # type: ignore[arg-type]
    assert [(await run.now()).seq for run in runs] == [2, 1, 2]
    assert await journal.waiting() == []


async def test_records_that_do_not_follow_are_refused(journal: Journal) -> None:
    """A gap in a run's events cannot be written."""
    run = await created(journal, "po-1")
    with pytest.raises(JournalError, match="do not follow"):
        await journal.append(run.commit(records=run.records("a", "b")[1:]))
    assert (await run.now()).seq == 1


async def test_blobs_belong_to_one_run_and_are_kept_once(journal: Journal) -> None:
    """A large value is found by run and digest; writing it again changes nothing."""
    run = await created(journal, "po-1", blobs=[("d0", b"zero")])
    other = await created(journal, "po-2")
    await run.append("a", blobs=[("d1", b"\x00one" * 30_000)])
    await run.append("b", blobs=[("d1", b"never written")])
    assert await journal.blob(run.row.number, "d0") == b"zero"
    assert await journal.blob(run.row.number, "d1") == b"\x00one" * 30_000
    with pytest.raises(JournalCorrupt, match="d1"):
        await journal.blob(other.row.number, "d1")


async def test_payloads_come_back_byte_for_byte(journal: Journal) -> None:
    """What was hashed is what is read: any text, any length."""
    run = await created(journal, "po-1")
    values = ["Zürich 東京 🚚", "\u0000\n\t", "x" * 60_000, {"deep": [1, 2.5, None, True]}, ""]
    records = await run.append(*values)
    assert await journal.load(run.row.number, after=1) == list(records)
    await journal.verify(run.row.number)


async def test_many_events_are_loaded_in_order(journal: Journal) -> None:
    """A long history is read whole or in pages."""
    run = await created(journal, "po-1")
    for _ in range(4):
        await run.append(*range(300))
    loaded = await journal.load(run.row.number)
    assert [record.seq for record in loaded] == list(range(1, 1202))
    assert await journal.load(run.row.number, after=1000, limit=50) == loaded[1000:1050]
    await journal.verify(run.row.number)


async def test_still_mine_follows_the_epoch(journal: Journal) -> None:
    """Just before sending, a driver can ask whether the run is still its own."""
    run = await created(journal, "po-1")
    assert await journal.still_mine(run.row.number, 1)
    await run.append(leave=True, due=0.0)
    await claimed(journal, "w2")
    assert not await journal.still_mine(run.row.number, 1)
    assert await journal.still_mine(run.row.number, 2)
