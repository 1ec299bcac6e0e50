"""Runs on a disk that fails or loses its power come to the end that they reach on a sound one, and the world saw no more of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from chargehand.carriers import embedded
from crash.catalogue import ALL
from crash.comparing import End

from .faults import KINDS, Failing, Kind
from .lives import Left, Life, check_life

OFTEN = ("write", "sync", "read", "shmlock")
"""What a run has done all the time: faults of these kinds strike at more than one place of it."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a worker that could not read its journal look again at once."""
    monkeypatch.setattr(embedded, "READ_AGAIN_SECONDS", 0.002)


async def undisturbed(name: str, folder: Path) -> tuple[End, Life]:
    """Live on a sound disk."""
    life = Life(name, folder / "undisturbed")
    end = await life.lived()
    assert not life.errors
    return end, life


def calls_of(life: Life) -> Counter[str]:
    """Count the calls of a life by their kind."""
    return Counter(what for what, _ in life.disk.calls)


async def faulty(name: str, folder: Path, expected: End, kind: Kind, at: Collection[int]) -> Life:
    """Live while one kind of fault strikes at these numbers among its calls; check the end, and the end after a power cut."""
    what = f"{kind.name} at {sorted(at)}"
    life = Life(name, folder / what, fault=lambda disk: Failing(disk, kind, at))
    try:
        await check_life(life, expected)
        for cut, left in life.some_cuts(1, random.Random(f"{name} {what}")):
            what += f", power gone after {cut} changes"
            await check_life(Life(name, folder / what, left), expected, lost=len(life.errors) + met(life))
    except AssertionError as error:
        raise AssertionError(f"{name}, {what}: {error}") from error
    return life


def met(life: Life) -> int:
    """Return how often a fault struck."""
    assert isinstance(life.disk.fault, Failing)
    return life.disk.fault.met


def places(name: str, calls: Counter[str]) -> Iterator[tuple[Kind, int]]:
    """Yield for each kind of fault some numbers among the calls, drawn by the name."""
    for kind in KINDS:
        dice = random.Random(f"{name} {kind.name}")
        for number in dice.sample(range(calls[kind.what]), min(calls[kind.what], 2 if kind.what in OFTEN else 1)):
            yield kind, number


@pytest.mark.parametrize("name", list(ALL)[::8])
async def test_a_fault(name: str, tmp_path: Path) -> None:
    """Room and syncs that are refused in the middle of a run, once and for a while, cost it nothing."""
    expected, life = await undisturbed(name, tmp_path)
    for kind in KINDS:
        if kind.name in ("no room", "not synced"):
            first = calls_of(life)[kind.what] // 2
            await faulty(name, tmp_path, expected, kind, range(first, first + 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_faults_of_every_kind(name: str, tmp_path: Path) -> None:
    """Whatever call to the disk fails once, and whenever: the run ends as on a sound disk, also when the power goes as well."""
    expected, life = await undisturbed(name, tmp_path)
    lives = [await faulty(name, tmp_path, expected, kind, [number]) for kind, number in places(name, calls_of(life))]
    struck = sum(met(life) for life in lives)
    assert struck > len(lives) * 3 // 4, f"only {struck} of {len(lives)} faults struck"


@pytest.mark.parametrize("name", list(ALL)[3::8])
async def test_the_power_goes(name: str, tmp_path: Path) -> None:
    """A run whose power goes at some moments goes on from what the disk kept."""
    await check_cuts(name, tmp_path, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_the_power_goes_often(name: str, tmp_path: Path) -> None:
    """The same for every example, at twenty moments of each."""
    await check_cuts(name, tmp_path, 20)


async def check_cuts(name: str, folder: Path, count: int) -> None:
    """Cut the power at so many moments of an undisturbed life, and go on from each."""
    expected, life = await undisturbed(name, folder)
    for cut, left in life.some_cuts(count, random.Random(name)):
        try:
            await check_life(Life(name, folder / f"after {cut}", left), expected)
        except AssertionError as error:
            raise AssertionError(f"{name}, power gone after {cut} changes: {error}") from error


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_life_after_life(name: str, tmp_path: Path) -> None:
    """Faults for a while in each of some lives, each of which the power ends, also while it recovers from the last."""
    expected, life = await undisturbed(name, tmp_path)
    dice, left, lost, told = random.Random(name), Left(), 0, []
    for number in range(4):
        kind = dice.choice(KINDS)
        first = dice.randrange(max(1, calls_of(life)[kind.what]))
        at = range(first, first + dice.choice([1, 3, 8]))
        told.append(f"{kind.name} at {at}")
        try:
            one = Life(name, tmp_path / f"life {number}", left, fault=lambda disk, kind=kind, at=at: Failing(disk, kind, at))  # type: ignore[misc]
            await check_life(one, expected, lost)
        except AssertionError as error:
            raise AssertionError(f"{name}, {told}: {error}") from error
        lost += len(one.errors) + met(one)
        [(cut, left)] = one.some_cuts(1, dice)
        told.append(f"power gone after {cut} changes")
    await check_life(Life(name, tmp_path / "last", left), expected, lost)
