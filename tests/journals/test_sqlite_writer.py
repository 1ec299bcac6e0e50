"""The writer: many callers, few transactions, and no caller answered for what is not on disk."""

from __future__ import annotations

import asyncio

import pytest

from chargehand.durable import NewMail
from chargehand.errors import Fenced, JournalError
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.writer import Counts

from .driven import START, Driven, JumpClock, created, new_run


def counts(journal: SqliteJournal) -> Counts:
    """Return what the writer has done so far, as a copy."""
    now = journal._writer.counts
    return Counts(now.transactions, now.jobs, now.on_loop, now.again)


async def test_commits_of_one_tick_are_one_transaction(sqlite: SqliteJournal) -> None:
    """A thousand runs that commit at the same moment cost a handful of fsyncs, not a thousand."""
    made = await sqlite.create([new_run(f"po-{number}") for number in range(1000)], "w1")
    runs = [Driven(sqlite, one.row) for one in made]
    before = counts(sqlite)
    await asyncio.gather(*(run.append("a") for run in runs))
    after = counts(sqlite)
    assert after.jobs - before.jobs == 1000
    assert after.transactions - before.transactions <= 2


async def test_runs_that_go_on_are_grouped_again_and_again(sqlite: SqliteJournal) -> None:
    """Fifty runs of ten steps each: some ten transactions, not five hundred."""
    runs = [await created(sqlite, f"po-{number}") for number in range(50)]

    async def drive(index: int) -> None:
        for step in range(10):
            await runs[index].append(step)

    before = counts(sqlite)
    await asyncio.gather(*(drive(index) for index in range(50)))
    assert counts(sqlite).transactions - before.transactions <= 20
    for run in runs:
        await sqlite.verify(run.row.number)


async def test_one_run_alone_is_written_on_the_loop(sqlite: SqliteJournal) -> None:
    """A single active run pays for no change of threads; a second one moves the work off the loop."""
    run, other = await created(sqlite, "po-1"), await created(sqlite, "po-2")
    before = counts(sqlite)
    for step in range(10):
        await run.append(step)
    alone = counts(sqlite)
    assert alone.on_loop - before.on_loop == 9
    for step in range(10):
        await asyncio.gather(run.append(step), other.append(step))
    assert counts(sqlite).on_loop - alone.on_loop <= 1


async def test_one_run_alone_does_not_keep_the_loop(sqlite: SqliteJournal) -> None:
    """A run that commits without a pause lets everything else on the loop go on."""
    run = await created(sqlite, "po-1")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(tick())
    for step in range(90):
        await run.append(step)
    other.cancel()
    assert ticks >= 10


async def test_callers_are_woken_once_per_group(sqlite: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread calls into the loop once for a group, however many wait."""
    runs = [await created(sqlite, f"po-{number}") for number in range(100)]
    loop = asyncio.get_running_loop()
    calls: list[object] = []
    real = loop.call_soon_threadsafe

    def counted(callback: object, *arguments: object, **more: object) -> object:
        calls.append(callback)
        return real(callback, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    await asyncio.gather(*(run.append("a") for run in runs))
    assert len(calls) <= 2


async def test_an_unforeseen_break_refuses_one_and_keeps_the_others(sqlite: SqliteJournal) -> None:
    """A batch that no check foresaw is undone alone; the group is done again without it."""
    runs = [await created(sqlite, f"po-{number}") for number in range(5)]
    commits = [run.commit("a") for run in runs]
    commits[2].blobs = [("d", "not bytes")]  # type: ignore[list-item]
    commits[3].epoch = 9
    answers = await asyncio.gather(*map(sqlite.append, commits), return_exceptions=True)
    assert [type(answer) for answer in answers] == [list, list, JournalError, Fenced, list]
    assert [(await run.now()).seq for run in runs] == [2, 2, 1, 1, 2]
    assert counts(sqlite).again == 1
    for run in runs:
        await sqlite.verify(run.row.number)


async def test_mail_and_commits_share_a_transaction(sqlite: SqliteJournal) -> None:
    """Posting is grouped with appending."""
    run = await created(sqlite, "po-1")
    before = counts(sqlite)
    await asyncio.gather(run.append("a"), *(sqlite.post([NewMail("po-1", "signal", {}, START)]) for _ in range(20)))
    assert counts(sqlite).transactions - before.transactions == 1


async def test_a_caller_that_stops_waiting_leaves_a_whole_commit(sqlite: SqliteJournal) -> None:
    """Cancelling a caller neither tears a commit nor harms the others in the group."""
    run, other = await created(sqlite, "po-1"), await created(sqlite, "po-2")
    impatient = asyncio.ensure_future(sqlite.append(run.commit("a")))
    patient = asyncio.ensure_future(sqlite.append(other.commit("a")))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert impatient.cancelled()
    assert (await run.now()).seq == 2
    await sqlite.verify(run.row.number)


async def test_closing_finishes_what_is_queued(sqlite: SqliteJournal, clock: JumpClock) -> None:
    """What was handed in before the close is on disk after it, and its callers are answered."""
    runs = [await created(sqlite, f"po-{number}") for number in range(10)]
    queued = [asyncio.ensure_future(run.append("a")) for run in runs]
    await asyncio.sleep(0)
    await sqlite.close()
    await asyncio.gather(*queued)
    await sqlite.open()
    assert [(await run.now()).seq for run in runs] == [2] * 10


async def test_a_closed_journal_says_so(sqlite: SqliteJournal) -> None:
    """Nobody waits for a journal that is closed."""
    run = await created(sqlite, "po-1")
    await sqlite.close()
    with pytest.raises(JournalError, match="not open"):
        await run.append("a")
    with pytest.raises(JournalError, match="not open"):
        await sqlite.run("po-1")
    await sqlite.close()
