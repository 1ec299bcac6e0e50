"""A bench for each test of an adapter, with nothing asked and nothing made yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from .buying import ASKED, MADE, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A file for a journal."""
    ASKED.clear()
    MADE.clear()
    return Bench(tmp_path / "work.db")
