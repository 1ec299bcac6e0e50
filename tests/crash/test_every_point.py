"""A process dies at any point of its work, and the next one goes on.

The points are before and after every commit, and every point that the engine names (`Site.at`).
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

import chargehand

from .catalogue import ALL
from .dying import Life, dies_and_goes_on, live
from .instants import InFile, InMemory, Kind

SOURCES = Path(chargehand.__file__).parent


def named_points() -> set[str]:
    """Return the points that the engine's source names."""
    found = (re.findall(r'\.at\(\s*"([^"]+)",', path.read_text(encoding="utf-8")) for path in SOURCES.rglob("*.py"))
    return {point for points in found for point in points}


async def points_of(name: str, kind: Kind, folder: str) -> tuple[list[tuple[str, str]], object]:
    """Return the points that an undisturbed run passes, and its end."""
    life = Life()
    _, end = await live(name, kind, folder, None, life)
    assert end is not None
    return life.passed, end


async def check_deaths(name: str, kind: Kind, folder: str, expected: object, deaths: list[int]) -> None:
    """Die and go on; say in the error where."""
    try:
        await dies_and_goes_on(name, kind, folder, expected, deaths)  # type: ignore[arg-type]
    except AssertionError as error:
        raise AssertionError(f"{name}, dead after {deaths} points: {error}") from error


async def test_every_named_point_is_passed(tmp_path: Path) -> None:
    """The catalogue leads past every crash point that the engine names."""
    passed: set[str] = set()
    for name in ALL:
        points, _ = await points_of(name, InMemory(), str(tmp_path))
        passed |= {point for point, _ in points}
    assert named_points()
    assert named_points() <= passed


@pytest.mark.parametrize("name", ALL)
async def test_one_of_each_kind(name: str, tmp_path: Path) -> None:
    """Dead at each kind of point once, at a different occurrence in each example, the run ends as if undisturbed."""
    points, expected = await points_of(name, InMemory(), str(tmp_path))
    dice = random.Random(name)
    for kind in sorted({point for point, _ in points}):
        number = dice.choice([number for number, (point, _) in enumerate(points) if point == kind])
        await check_deaths(name, InMemory(), str(tmp_path), expected, [number])


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_every_point(name: str, tmp_path: Path) -> None:
    """Dead at every point, the run ends as if undisturbed."""
    points, expected = await points_of(name, InMemory(), str(tmp_path))
    for number in range(len(points)):
        await check_deaths(name, InMemory(), str(tmp_path), expected, [number])


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_points_in_a_file(name: str, tmp_path: Path) -> None:
    """Dead at every fifth point, on SQLite."""
    kind = InFile()
    try:
        points, expected = await points_of(name, kind, str(tmp_path))
        for number in range(sum(map(ord, name)) % 5, len(points), 5):
            await check_deaths(name, kind, str(tmp_path), expected, [number])
    finally:
        kind.close()


def lives(seed: int) -> list[int]:
    """Return how many points each of some lives has."""
    dice = random.Random(seed)
    return [dice.randrange(1, 25) for _ in range(dice.randrange(2, 9))]


@pytest.mark.parametrize("seed", range(40))
async def test_dying_often(seed: int, tmp_path: Path) -> None:
    """Dead again and again, at times without any progress, the run ends as if undisturbed (a person lets it go on)."""
    name = list(ALL)[seed % len(ALL)]
    _, expected = await points_of(name, InMemory(), str(tmp_path))
    await check_deaths(name, InMemory(), str(tmp_path), expected, lives(seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_dying_often_and_again(name: str, tmp_path: Path) -> None:
    """The same, twenty times for each example."""
    _, expected = await points_of(name, InMemory(), str(tmp_path))
    for seed in range(20):
        await check_deaths(name, InMemory(), str(tmp_path), expected, lives(1000 + seed))
