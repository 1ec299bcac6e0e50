"""What the operating system refuses about the files of the workers."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from chargehand import Pace, Supervisor, step, workflow
from chargehand.errors import JournalError
from chargehand.journals import workers
from chargehand.journals.sqlite import SqliteJournal
from journals.driven import JumpClock


@step(name="one")
async def one() -> int:
    """Give one."""
    return 1


@workflow(name="tiny")
async def tiny() -> int:
    """Make one step."""
    return await one()


async def test_no_descriptor_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that finds no free descriptor when it counts the workers goes on when there is one."""
    async with Supervisor(str(tmp_path / "j.db"), [tiny], pace=Pace(poll=0.01, lease=0.1)) as supervisor:
        assert await (await supervisor.start(tiny(), id="a")).result() == 1
        (tmp_path / "j.db-worker-1-dead").write_bytes(bytes(8))
        real, asked = os.open, 0

        def refused(path: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal asked
            if "-worker-" in str(path):
                asked += 1
                raise OSError(errno.EMFILE, "Too many open files")
            return real(path, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", refused)
            while asked < 3 and not supervisor.carrier._loop_task.done():
                await asyncio.sleep(0.01)
        assert not supervisor.carrier._loop_task.done()


async def test_a_heartbeat_that_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat that the disk refuses for a moment does not end the heartbeat."""
    async with Supervisor(str(tmp_path / "j.db"), [tiny], pace=Pace(poll=0.01, lease=0.1)) as supervisor:
        real, refusals = os.write, 0

        def refused(fd: int, content: bytes) -> int:
            nonlocal refusals
            if len(content) == 8:
                refusals += 1
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, content)

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refused)
            while not refusals:
                await asyncio.sleep(0.01)
        own = workers._own(supervisor.journal._workers._prefix + supervisor.site.worker)
        before = own.counter
        while own.counter == before:  # a heartbeat that has ended is found by the test's time limit
            await asyncio.sleep(0.01)
        assert own.counter > before


async def test_census_names_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor that is not to be had is a journal error, for who asks and for who claims."""
    journal = SqliteJournal(tmp_path / "j.db", clock=JumpClock())
    await journal.open()
    (tmp_path / "j.db-worker-1-dead").write_bytes(bytes(8))

    def refused(path: Any, *args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        with pytest.raises(JournalError):
            await journal.census(1.0)
        with pytest.raises(JournalError):
            await journal.workers()
    await journal.close()
