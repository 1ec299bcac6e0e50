"""The disk answers with errors: each comes out as a documented one, and when the disk works again the journal goes on."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

from chargehand.errors import JournalError

from .disk import Disk
from .faults import KINDS, Failing, Kind
from .playing import NAME, Play, check_cuts
from .script import KINDS as TOLD
from .script import Script, drawn, picture


async def calls_of(script: Script, folder: Path) -> Counter[str]:
    """Count the calls of a script on a sound disk, by their kind."""
    play = await told(script, folder)
    return Counter(what for what, _ in play.disk.calls)


async def told(script: Script, folder: Path, kind: Kind | None = None, at: Collection[int] = ()) -> Play:
    """Tell a script while one kind of fault strikes at these numbers; check the answers, the errors, the file and a power cut."""
    folder.mkdir()
    play = Play(script, Disk(str(folder)))
    if kind is not None:
        play.disk.fault = Failing(play.disk, kind, at)
    with play.disk.watched():
        await play.all()
    for error in play.errors:
        assert kind is not None
        assert type(error) in kind.errors, f"{error!r} came of {kind.name!r}"
    for error in play.opening:
        assert kind is not None
        assert isinstance(error, (*kind.errors, JournalError)), f"{error!r} came of {kind.name!r}"
    assert picture(str(folder / NAME)) == script.pictures[-1]
    return play


async def check_at(script: Script, folder: Path, kind: Kind, numbers: Iterable[int]) -> int:
    """Have a fault strike at each of these numbers, one life of the journal each; return how many came out as errors."""
    came_out = 0
    for number in numbers:
        play = await told(script, folder / f"{kind.name} {number}", kind, [number])
        assert isinstance(play.disk.fault, Failing)
        assert play.disk.fault.met == 1, "the fault never struck"
        came_out += len(play.errors)
        cut = random.Random(number).randrange(len(play.disk.done) + 1)
        await check_cuts(folder, play, [cut], seed=number, samples=1)
    return came_out


def share_of(kind: Kind, calls: Counter[str]) -> range:
    """Return this kind's share of the calls: together, the kinds of one call strike at each of them."""
    alike = [one for one in KINDS if one.what == kind.what]
    return range(alike.index(kind), calls[kind.what], len(alike))


async def test_one_of_each_kind(short: Script, tmp_path: Path) -> None:
    """Each kind of fault once, at a call drawn by a seed."""
    calls = await calls_of(short, tmp_path / "sound")
    for kind in KINDS:
        await check_at(short, tmp_path, kind, random.Random(kind.name).sample(range(calls[kind.what]), 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_every_call_fails_once(kind: Kind, fixed: Script, tmp_path: Path) -> None:
    """Whichever call to the disk fails, from opening to closing: nothing is lost, nothing is half there, and it goes on."""
    calls = await calls_of(fixed, tmp_path / "sound")
    numbers = share_of(kind, calls)
    assert numbers
    await check_at(fixed, tmp_path, kind, numbers)


@pytest.mark.parametrize("name", ["no room", "not written", "not synced", "not mapped"])
async def test_a_fault_that_lasts(name: str, short: Script, tmp_path: Path) -> None:
    """A disk that refuses for a while, as a full one: every try meanwhile is an error, and then the same journal goes on."""
    kind = next(kind for kind in KINDS if kind.name == name)
    calls = await calls_of(short, tmp_path / "sound")
    first = calls[kind.what] * 2 // 3
    play = await told(short, tmp_path / "lasting", kind, range(first, first + 8))
    assert play.errors or kind.what == "shmmap"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
async def test_any_faults_in_any_life(seed: int, tmp_path: Path) -> None:
    """Other scripts, with a fault of some kind again and again, for a moment or for a while; and then the power goes."""
    dice = random.Random(seed)
    script = await drawn(tmp_path, seed, ["create", "create", *dice.choices(TOLD, k=50)])
    calls = await calls_of(script, tmp_path / "sound")
    kind = dice.choice(KINDS)
    starts = dice.sample(range(calls[kind.what]), min(6, calls[kind.what]))
    at = {number for start in starts for number in range(start, start + dice.choice([1, 1, 3, 10]))}
    play = await told(script, tmp_path / "faulty", kind, at)
    await check_cuts(tmp_path, play, dice.choices(range(len(play.disk.done) + 1), k=15), seed=seed, samples=2)
