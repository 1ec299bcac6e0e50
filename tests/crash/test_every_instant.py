"""A run goes on from any instant of its life as if nothing had happened.

Each example of the catalogue is played once without disturbance; then once more from every instant of that run: the
journal as it was on disk at that moment, the outside world as it was then, a fresh supervisor.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .catalogue import ALL
from .instants import InFile, InMemory, Kind
from .playing import resumed, undisturbed

FEWEST_INSTANTS = 5
"""A run of the catalogue has at least so many instants; fewer would mean that the recorder misses some."""


async def from_each(name: str, kind: Kind, folder: str, *, every: int = 1, first: int = 0, away: float = 0.0) -> int:
    """Go on from every instant (or every so many) of an example; return how many it has."""
    expected, instants, facts = await undisturbed(name, kind, folder)
    for instant in instants[first::every]:
        try:
            await resumed(name, kind, folder, instant, expected, facts, away=away)
        except AssertionError as error:
            raise AssertionError(f"{name}, instant {instant.number} ({instant.what}): {error}") from error
    return len(instants)


@pytest.mark.parametrize("name", ALL)
async def test_in_memory(name: str, tmp_path: Path) -> None:
    """From every instant of every example a fresh supervisor reaches the same end, and the world saw no more than it may."""
    assert await from_each(name, InMemory(), str(tmp_path)) >= FEWEST_INSTANTS


@pytest.mark.parametrize("name", ALL)
async def test_in_a_file_sampled(name: str, tmp_path: Path) -> None:
    """The same on SQLite, from one instant in thirty of each example, a different one in each."""
    kind = InFile()
    try:
        await from_each(name, kind, str(tmp_path), every=30, first=sum(map(ord, name)) % 30)
    finally:
        kind.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_in_a_file(name: str, tmp_path: Path) -> None:
    """From every instant of every example, on SQLite."""
    kind = InFile()
    try:
        assert await from_each(name, kind, str(tmp_path)) >= FEWEST_INSTANTS
    finally:
        kind.close()


TIME_DECIDES = {"too late", "hearing", "leaving behind", "stopping early"}
"""A deadline, an expiry, a bound on waiting, a race with a timer: whoever comes at another time comes to another end."""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in TIME_DECIDES])
async def test_hours_later(name: str, tmp_path: Path) -> None:
    """A process that comes twelve hours after the crash reaches the same end: timers, back-offs and keys outlast it."""
    await from_each(name, InMemory(), str(tmp_path), away=12 * 3600.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in TIME_DECIDES])
async def test_with_a_clock_that_is_behind(name: str, tmp_path: Path) -> None:
    """A process whose wall clock is an hour behind that of the dead one reaches the same end; event times never decrease."""
    await from_each(name, InMemory(), str(tmp_path), away=-3600.0)
