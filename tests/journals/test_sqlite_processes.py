"""Several processes at one file: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import chargehand.journals
from chargehand.durable import Census, RunFilter
from chargehand.errors import JournalLocked
from chargehand.journals.sqlite import SqliteJournal

from .conftest import PATIENCE
from .driven import NOBODY, Driven, JumpClock, claimed, created

pytestmark = pytest.mark.slow

Started = subprocess.Popen[str]
Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start another process at this test's journal."""
    started: list[Started] = []
    source = Path(next(iter(chargehand.journals.__path__))).parents[1]
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(here.parent)])}

    def start_one(command: str, *arguments: object) -> Started:
        line = [
            sys.executable,
            "-m",
            f"{here.name}.process",
            command,
            str(tmp_path / "journal.db"),
            *map(str, arguments),
        ]
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def line(process: Started) -> list[str]:
    """Return the next thing a process says."""
    assert process.stdout is not None
    return process.stdout.readline().split()


def order(process: Started, what: str) -> list[str]:
    """Tell a process to do something and return what it says."""
    assert process.stdin is not None
    process.stdin.write(what + "\n")
    process.stdin.flush()
    return line(process)


def rest(process: Started) -> list[list[str]]:
    """Return everything else a process said until it ended."""
    assert process.stdout is not None
    return [text.split() for text in process.stdout.read().splitlines()]


def kill(process: Started) -> None:
    """End a process as a power cut would end it."""
    process.kill()
    process.wait()


def acknowledged(lines: list[list[str]]) -> dict[str, int]:
    """Return the highest acknowledged seq of each run."""
    return {words[1]: int(words[2]) for words in lines if len(words) >= 3 and words[0] == "ack"}


async def test_two_processes_append_without_losing_a_row(sqlite: SqliteJournal, start: Start) -> None:
    """Processes take turns at the file; each one's events are there, in order, in whole chains."""
    processes = [start("append", tag, 20, 30) for tag in ("a", "b")]
    for process in processes:
        assert len(rest(process)) == 600
        assert process.wait() == 0
    rows = await sqlite.runs(RunFilter())
    assert len(rows) == 40
    for row in rows:
        assert (row.seq, row.owner) == (31, None)
        await sqlite.verify(row.number)


async def test_a_kill_between_commits_loses_nothing_acknowledged(sqlite: SqliteJournal, start: Start) -> None:
    """After SIGKILL every acknowledged commit is there, at most one more of each run, and another worker goes on."""
    process = start("append", "a", 20, 100_000)
    lines = [line(process) for _ in range(2000)]
    kill(process)
    last = acknowledged(lines + rest(process))
    assert len(last) == 20
    census = await sqlite.census(60)
    assert len(census.gone) == 1
    heirs = await claimed(sqlite, await sqlite.enlist(), census=census)
    assert {heir.row.id for heir in heirs} == set(last)
    for heir in heirs:
        assert last[heir.row.id] <= heir.row.seq <= last[heir.row.id] + 1
        assert heir.row.crashes == 1
        await heir.append("goes on")
        await sqlite.verify(heir.row.number)


async def test_a_killed_worker_is_gone_at_once(sqlite: SqliteJournal, start: Start, tmp_path: Path) -> None:
    """The kernel lets go of the lock: no lease has to run out. Its file goes when nothing is owned by it any more."""
    process = start("hold", "po-1")
    owner = line(process)[1]
    assert await sqlite.census(60) == NOBODY
    kill(process)
    assert await sqlite.census(60) == Census(frozenset({owner}), frozenset())
    assert await sqlite.census(60) == Census(frozenset({owner}), frozenset())
    assert list(tmp_path.glob("*-worker-*")) != []
    [heir] = await claimed(sqlite, "me", census=await sqlite.census(60))
    assert heir.row.id == "po-1"
    await sqlite.census(60)
    assert list(tmp_path.glob(f"*-worker-{owner}")) == []
    assert owner not in (await sqlite.census(60)).gone


async def test_a_stopped_worker_is_silent_not_gone(sqlite: SqliteJournal, start: Start, clock: JumpClock) -> None:
    """A stopped process keeps its lock: it is silent after a lease, loses its runs, and is fenced when it wakes."""
    process = start("hold", "po-1")
    owner = line(process)[1]
    assert await sqlite.census(10) == NOBODY
    assert order(process, "beat") == ["ok"]
    clock.seconds += 9
    assert await sqlite.census(10) == NOBODY
    process.send_signal(signal.SIGSTOP)
    clock.seconds += 10
    census = await sqlite.census(10)
    assert census == Census(frozenset(), frozenset({owner}))
    me = await sqlite.enlist()
    [claim] = await sqlite.claim(me, workflows=["procure"], environment="test", now=0, limit=9, census=census)
    assert (claim.after, claim.row.epoch) == ("silent", 2)
    await Driven(sqlite, claim.row).append("mine")
    process.send_signal(signal.SIGCONT)
    assert order(process, "append") == ["fenced"]
    assert order(process, "beat") == ["ok"]
    assert await sqlite.census(10) == NOBODY


async def test_a_leaving_process_leaves_no_file(sqlite: SqliteJournal, start: Start, tmp_path: Path) -> None:
    """A dismissed worker's lock file is gone and its run free."""
    process = start("hold", "po-1")
    line(process)
    assert order(process, "leave") == []
    assert process.wait() == 0
    assert list(tmp_path.glob("*-worker-*")) == []
    row = await sqlite.run("po-1")
    assert row is not None
    assert (row.owner, row.due) == (None, 0.0)


async def test_other_journals_of_this_process_do_not_drop_its_locks(sqlite: SqliteJournal, clock: JumpClock, start: Start) -> None:
    """Opening, asking and closing a second journal here leaves this process's workers alive for others."""
    owner = await sqlite.enlist()
    await created(sqlite, "po-1", owner=owner)
    second = SqliteJournal(sqlite.path, clock=clock)
    await second.open()
    other = await second.enlist()
    assert await second.census(60) == await sqlite.census(60) == NOBODY
    await second.dismiss(other)
    await second.close()
    assert line(start("census")) == ["gone"]
    await sqlite.dismiss(owner)


async def test_an_undismissed_worker_of_a_closed_journal_is_gone(sqlite: SqliteJournal, clock: JumpClock, start: Start) -> None:
    """Closing without dismissing is like dying: the runs are taken over."""
    second = SqliteJournal(sqlite.path, clock=clock)
    await second.open()
    owner = await second.enlist()
    await created(second, "po-1", owner=owner)
    assert line(start("census")) == ["gone"]
    await second.close()
    assert line(start("census")) == ["gone", owner]
    assert (await sqlite.census(60)).gone == {owner}


async def test_a_fork_inherits_no_trust(sqlite: SqliteJournal, start: Start) -> None:
    """A forked child can neither use the journal nor beat for its parent, and sees the parent alive."""
    process = start("fork")
    assert rest(process) == [["read", "journal"], ["beat", "journal"], ["gone"], ["gone"]]
    assert process.wait() == 0


async def test_a_process_that_keeps_its_turn_is_not_waited_for_for_ever(sqlite: SqliteJournal, start: Start) -> None:
    """A writer stuck in another process is a `JournalLocked` after a bounded wait; when it is gone, writing goes on."""
    run = await created(sqlite, "po-1")
    process = start("turn")
    assert line(process) == ["taken"]
    sqlite._writer._locked_seconds = 0.05
    for _ in range(2):
        with pytest.raises(JournalLocked, match="turn"):
            await run.append("a")
    kill(process)
    sqlite._writer._locked_seconds = PATIENCE
    await run.append("b")
    assert [record.payload for record in await sqlite.load(run.row.number, after=1)] == [b'{"value": "b"}']


async def test_a_file_size_limit_is_a_full_disk(start: Start) -> None:
    """When no more can be written every caller is told, nothing is half there, and with room it goes on."""
    process = start("full")
    assert line(process) == ["full", "True"]
    lines = rest(process)
    assert process.wait() == 0
    assert len(lines) == 10
    assert all(words[2] == words[3] for words in lines)
