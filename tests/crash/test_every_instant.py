"""A run goes on from any instant of its life as if nothing had happened.

Each example of the catalogue is played once without disturbance; then once more from every instant of that run: the
journal as it was on disk at that moment, the outside world as it was then, a fresh supervisor.
"""

from __future__ import annotations

import pytest

from .examples import ALL
from .instants import InMemory
from .playing import resumed, undisturbed


@pytest.mark.parametrize("name", ALL)
async def test_memory(name: str, tmp_path) -> None:
    """From every instant of every example, a fresh supervisor reaches the same end, and the world saw no more than it may."""
    kind = InMemory()
    expected, instants, facts = await undisturbed(name, kind, str(tmp_path))
    for instant in instants:
        try:
            await resumed(name, kind, str(tmp_path), instant, expected, facts)
        except AssertionError as error:
            raise AssertionError(f"{name}, instant {instant.number} ({instant.what}): {error}") from error
