"""A supervisor that cannot be opened or closed properly leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chargehand import Resource, Supervisor, workflow
from chargehand.errors import JournalFull


class Pool:
    """A resource."""


@workflow(name="empty")
async def empty() -> int:
    """Do nothing."""
    return 1


async def test_a_full_disk_does_not_keep_a_worker_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that cannot say goodbye closes its resources and its journal all the same; others find its worker gone."""
    closed: list[int] = []

    @asynccontextmanager
    async def pool() -> AsyncIterator[Pool]:
        yield Pool()
        closed.append(1)

    async def full(owner: str) -> None:
        raise JournalFull("no room")

    supervisor = Supervisor(str(tmp_path / "j.db"), [empty], resources=[Resource(Pool, pool)])
    async with Supervisor(str(tmp_path / "j.db"), work=False) as other:
        with pytest.raises(JournalFull):
            async with supervisor:
                assert len(await other.journal.workers()) == 1
                monkeypatch.setattr(supervisor.journal, "dismiss", full)
        assert not await other.journal.workers()
        assert supervisor.journal._opened is None  # type: ignore[attr-defined]


async def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a worker cannot be enlisted, the journal is closed again."""
    supervisor = Supervisor(str(tmp_path / "j.db"), [empty])

    async def full(about: Any) -> None:
        raise JournalFull("no room")

    monkeypatch.setattr(supervisor.journal, "enlist", full)
    with pytest.raises(JournalFull):
        async with supervisor:
            pass
    assert supervisor.journal._opened is None  # type: ignore[attr-defined]
