"""A log that is copied into the file often, and a script that contains everything."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from chargehand.journals import sqlite

from .script import FIXED, Script, drawn

PAGES = 30
"""Pages of log after which they are copied into the file: so few that it happens several times in a script."""


@pytest.fixture(autouse=True)
def short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the log copied into the file often. Everything else is as it ships: WAL, synchronous=FULL."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", PAGES)


@pytest_asyncio.fixture
async def fixed(tmp_path: Path) -> Script:
    """One of each kind of thing that a journal is told, at least."""
    return await drawn(tmp_path, "fixed", FIXED)
