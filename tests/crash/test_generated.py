"""Workflows that nobody wrote die at every point of their work, and the next process brings them to the same end.

The plans are drawn by a seed (`generated.py`). The points are before and after every commit, every point that the engine
names, and inside every outside call: it has happened, and the answer is not there yet.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .catalogue import ALL
from .comparing import End
from .dying import Life, dies_and_goes_on, live
from .generated import drawn
from .instants import InFile, InMemory, Kind
from .test_every_point import lives, named_points

COVERING = range(30)
"""Seeds that together lead past every point of the engine and to every end a run may have."""

LAST = 4
"""Points around a run's last commit that a process may not come to any more: whoever waits for the end has seen it by then."""


@contextmanager
def listed(seed: int) -> Iterator[str]:
    """Have what a seed draws in the catalogue for a while, by a name."""
    name = f"generated {seed}"
    ALL[name] = drawn(seed)
    try:
        yield name
    finally:
        del ALL[name]


async def life_of(name: str, kind: Kind, folder: str) -> tuple[list[tuple[str, str]], End]:
    """Return the points that an undisturbed run passes, and its end."""
    life = Life(inside=True)
    _, end = await live(name, kind, folder, None, life)
    assert end is not None
    return life.passed, end


async def check_deaths(seed: int, kind: Kind, folder: str, all_deaths: Sequence[Sequence[int]] | None) -> int:
    """Die at these numbers of points, once for each; at every point when there are none. Returns how many deaths that was."""
    with listed(seed) as name:
        points, expected = await life_of(name, kind, folder)
        for deaths in [[number] for number in range(len(points))] if all_deaths is None else all_deaths:
            try:
                died = await dies_and_goes_on(name, kind, folder, expected, deaths, inside=True)
            except AssertionError as error:
                what = points[deaths[0]] if deaths[0] < len(points) else "none"
                raise AssertionError(f"{name}, dead after {deaths} points (the first: {what}): {error}") from error
            assert died or deaths[0] >= len(points) - LAST
        return len(points)


async def test_every_point_is_passed(tmp_path: Path) -> None:
    """What is drawn leads past every crash point that the engine's source names, and inside every kind of outside call."""
    passed: set[str] = set()
    ends: Counter[str] = Counter()
    types: set[str] = set()
    for seed in COVERING:
        with listed(seed) as name:
            points, end = await life_of(name, InMemory(), str(tmp_path))
        passed |= {point for point, _ in points}
        ends[end.outcomes["run-1"][0]] += 1
        types |= {event.type for event in end.events["run-1"]}
    assert named_points()
    assert (
        named_points() | {"before commit", "after commit", "inside happened", "inside undone", "inside looked up", "inside ran"} <= passed
    )
    assert set(ends) == {"completed", "failed", "cancelled"}
    wanted = {"effect.proposed", "effect.denied", "effect.doubted", "effect.lettered", "undo.done", "undo.lettered", "scope.rolled_back"}
    wanted |= {"agent.released", "agent.rejected", "agent.failed", "call.retrying", "timer.fired", "signal.received", "question.answered"}
    assert wanted | {"run.pivoted", "cancel.requested"} <= types, f"missing: {wanted - types}"


@pytest.mark.parametrize("seed", range(12))
async def test_some_deaths(seed: int, tmp_path: Path) -> None:
    """Dead at a few points drawn by the seed, the run ends as if undisturbed."""
    dice = random.Random(seed)
    with listed(seed) as name:
        points, _ = await life_of(name, InMemory(), str(tmp_path))
    await check_deaths(seed, InMemory(), str(tmp_path), [[dice.randrange(len(points))] for _ in range(3)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
async def test_every_death(seed: int, tmp_path: Path) -> None:
    """Dead at every point, undos and their failures included, the run ends as if undisturbed."""
    assert await check_deaths(seed, InMemory(), str(tmp_path), None) > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 250))
async def test_any_death(seed: int, tmp_path: Path) -> None:
    """The same for many more workflows, each at some points, and dying again and again."""
    dice = random.Random(seed)
    with listed(seed) as name:
        points, _ = await life_of(name, InMemory(), str(tmp_path))
    once = [[dice.randrange(len(points))] for _ in range(10)]
    await check_deaths(seed, InMemory(), str(tmp_path), [*once, lives(seed), lives(1000 + seed)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300, 330))
async def test_deaths_in_a_file(seed: int, tmp_path: Path) -> None:
    """The same on SQLite."""
    dice, kind = random.Random(seed), InFile()
    try:
        with listed(seed) as name:
            points, _ = await life_of(name, kind, str(tmp_path))
        await check_deaths(seed, kind, str(tmp_path), [[dice.randrange(len(points))] for _ in range(6)])
    finally:
        kind.close()
