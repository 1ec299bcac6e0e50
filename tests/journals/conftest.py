"""Every test with a `journal` runs once for each kind of journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from chargehand.durable import Journal
from chargehand.journals.memory import MemoryJournal
from chargehand.journals.sqlite import SqliteJournal

from .driven import JumpClock

PATIENCE = 60.0
"""Seconds that no test waits for: a test that wants a limit to be reached sets a short one."""

Beside = Callable[[], Awaitable[Journal]]


@pytest.fixture
def clock() -> JumpClock:
    """The time of this test."""
    return JumpClock()


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def beside(request: pytest.FixtureRequest, clock: JumpClock, tmp_path: Path) -> AsyncIterator[Beside]:
    """Open one more view of the same runs, as another part of the program would."""
    opened: list[Journal] = []

    async def open_one() -> Journal:
        journal: Journal
        if request.param == "memory":
            first = opened[0] if opened else None
            assert first is None or isinstance(first, MemoryJournal)
            journal = MemoryJournal(clock, beside=first, work_seconds=PATIENCE)
        else:
            journal = SqliteJournal(tmp_path / "journal.db", clock=clock, locked_seconds=PATIENCE, work_seconds=PATIENCE)
        await journal.open()
        opened.append(journal)
        return journal

    yield open_one
    for journal in opened:
        await journal.close()


@pytest_asyncio.fixture
async def journal(beside: Beside) -> Journal:
    """An empty journal."""
    return await beside()


@pytest_asyncio.fixture
async def sqlite(clock: JumpClock, tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """An empty journal in a real file."""
    journal = SqliteJournal(tmp_path / "journal.db", clock=clock, locked_seconds=PATIENCE, work_seconds=PATIENCE)
    await journal.open()
    yield journal
    await journal.close()
