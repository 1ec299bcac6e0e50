"""Reads and writes that the kernel does in pieces, or only when asked again, are the same reads and writes to the journal."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from chargehand.errors import JournalFull
from crash.catalogue import ALL
from crash.comparing import check_equal

from .disk import Disk
from .lives import Life
from .playing import Play
from .script import Script, picture
from .short import INTERRUPTED, NO_ROOM, Answer, answering


def in_pieces(seed: object, met: Counter[str]) -> Answer:
    """Answer so: now all of it, now a part of it, now a signal came."""
    dice = random.Random(f"{seed}")

    def answer(what: str, amount: int) -> int:
        match dice.randrange(3):
            case 0 if amount > 1:
                met["part of a " + what] += 1
                return dice.randrange(1, amount)
            case 1:
                met["interrupted " + what] += 1
                return INTERRUPTED
        return amount

    return answer


async def test_a_journal_in_pieces(fixed: Script, tmp_path: Path) -> None:
    """No error comes out, every answer is right, and the file has every row."""
    met: Counter[str] = Counter()
    play = Play(fixed, Disk(str(tmp_path)))
    with answering(in_pieces(1, met)):
        await play.all()
        assert picture(play.path) == fixed.pictures[-1]
    assert not play.errors + play.opening
    assert min(met[f"{how} {what}"] for how in ("part of a", "interrupted") for what in ("read", "write")) > 20, met


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if number % 10 == 1 else pytest.mark.slow) for number, name in enumerate(ALL)]
)
async def test_a_run_in_pieces(name: str, tmp_path: Path) -> None:
    """A run whose journal is read and written in pieces ends as any other."""
    expected = await Life(name, tmp_path / "sound").lived()
    life = Life(name, tmp_path / "in pieces")
    with answering(in_pieces(name, Counter())):
        found = await life.lived()
    assert not life.errors
    check_equal(life.example, expected, found, [], [])


@pytest.mark.parametrize("answer", [0, NO_ROOM])
async def test_the_rest_finds_no_room(answer: int, short: Script, tmp_path: Path) -> None:
    """A write of which a part was done before the room was gone is an error that says so; nothing of it counts, and it goes on."""
    told: list[BaseException] = []
    for number in (20, 60, 75, 90, 105):
        seen, folder = Counter[str](), tmp_path / f"{number}"

        def full(what: str, amount: int, seen: Counter[str] = seen, number: int = number) -> int:
            seen[what] += 1
            if what == "write" and seen[what] == number and amount > 1:
                return amount // 2
            return answer if what == "write" and seen[what] == number + 1 else amount

        folder.mkdir()
        play = Play(short, Disk(str(folder)))
        with answering(full):
            await play.all()
            assert picture(play.path) == short.pictures[-1]
        told += play.errors + play.opening
    assert {type(error) for error in told} == {JournalFull}, told
    assert len(told) >= 4
