"""The worker processes of a test end with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .worker import Crew


@pytest.fixture
def crew() -> Iterator[Crew]:
    """The worker processes of this test."""
    crew = Crew()
    yield crew
    crew.close()
