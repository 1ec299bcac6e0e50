"""Real processes leave by `os._exit` at a point of their work, and real processes go on with the same file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .catalogue import ALL
from .dying import Life, live
from .exits import die_and_go_on
from .instants import InFile
from .worker import Crew


async def exit_at(name: str, tmp_path: Path, crew: Crew, times: int, seed: int) -> None:
    """Leave at so many points of an example, drawn by a seed; each time on a new journal."""
    life = Life()
    kind = InFile()
    _, expected = await live(name, kind, str(tmp_path), None, life)
    kind.close()
    assert expected is not None
    for points in random.Random(f"{name} {seed}").sample(range(len(life.passed)), min(times, len(life.passed))):
        folder = tmp_path / f"after {points}"
        folder.mkdir()
        try:
            await die_and_go_on(name, folder, crew, expected, points)
        except AssertionError as error:
            raise AssertionError(f"{name}, gone after {points} points ({life.passed[points]}): {error}") from error


@pytest.mark.parametrize("name", list(ALL)[::3])
async def test_exit(name: str, tmp_path: Path, crew: Crew) -> None:
    """Whatever a process was at when it left for good, the next one brings the run to the same end."""
    await exit_at(name, tmp_path, crew, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_exit_often(name: str, tmp_path: Path, crew: Crew) -> None:
    """The same at three points of every example."""
    await exit_at(name, tmp_path, crew, 3, 2)
