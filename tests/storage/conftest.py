"""A log that is copied into the file often, and a script that contains everything."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from chargehand.journals import sqlite

from .script import FIXED, Script, drawn

PAGES = 30
"""Pages of log after which they are copied into the file: so few that it happens several times in a script."""


@pytest.fixture(autouse=True)
def short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the log copied into the file often. Everything else is as it ships: WAL, synchronous=FULL."""
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", PAGES)


def script(factory: pytest.TempPathFactory, kinds: Sequence[str]) -> Script:
    """Draw a script outside of any test's loop."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(drawn(factory.mktemp("script"), "fixed", kinds))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture(scope="session")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """One of each kind of thing that a journal is told, at least."""
    return script(tmp_path_factory, FIXED)


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """The first half of it."""
    return script(tmp_path_factory, FIXED[:13])
