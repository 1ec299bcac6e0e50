"""A lock that the system refuses."""

from __future__ import annotations

import asyncio
import errno
import fcntl
from pathlib import Path

import pytest

from chargehand.errors import JournalError
from chargehand.journals import turns
from chargehand.journals.sqlite import SqliteJournal
from journals.driven import JumpClock, created


@pytest.mark.parametrize("alone", [True, False], ids=["on the loop", "on the thread"])
async def test_a_turn_that_cannot_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    """A lock that the system refuses for a moment (ENOLCK) is an error of the journal; nobody waits for ever, and it goes on."""
    journal = SqliteJournal(tmp_path / "j.db", clock=JumpClock(), locked_seconds=0.2)
    await journal.open()
    runs = [await created(journal, f"po-{number}") for number in range(2)]
    await runs[0].append("a")
    await runs[0].append("b")
    real = fcntl.flock

    def refused(fd: int, how: int) -> None:
        if how & fcntl.LOCK_EX:
            raise OSError(errno.ENOLCK, "No locks available")
        real(fd, how)

    with monkeypatch.context() as patch:
        patch.setattr(turns.fcntl, "flock", refused)
        chosen = runs[:1] if alone else runs
        async with asyncio.timeout(3):
            answers = await asyncio.gather(*(run.append("x") for run in chosen), return_exceptions=True)
        assert [type(answer) for answer in answers] == [JournalError] * len(chosen), answers
    async with asyncio.timeout(3):
        await asyncio.gather(*(run.append("c") for run in runs))
        await journal.close()
