"""The journal refuses a commit in the middle of a run: nothing is half done, and when it works again the run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chargehand.errors import JournalError, JournalFull

from .catalogue import ALL
from .clock import FakeClock
from .comparing import check_equal, end_of
from .example import MENDED
from .faulty import Faulty, no_pause
from .instants import InMemory
from .playing import ids_of, play_all, supervisor_of
from .world import Book, World


async def play_on(name: str, folder: str, make: Any) -> tuple[Any, Any, Book]:
    """Play an example on a journal that `make` spoils. Returns the journal, the end and the book."""
    example, clock, book, kind = ALL[name], FakeClock(), Book(), InMemory()
    MENDED["now"] = False
    inner = kind.open(None, clock, folder)
    journal = make(inner)
    world = World(book, example.troubles)
    async with supervisor_of(example, journal, clock, world) as supervisor:
        no_pause(supervisor.carrier)
        await play_all(supervisor, world, clock, example)
        end = await end_of(supervisor, ids_of(example), book.facts(), kind, inner)
    return journal, end, book


async def check_refusals(name: str, folder: str, *, every: int, first: int, **how: Any) -> None:
    """Refuse each commit (or every so many) of an example once, in a run of its own, and compare."""
    plain, expected, _ = await play_on(name, folder, lambda inner: Faulty(inner, 0, 0))
    for number in range(1 + first % every, plain.appends + 1, every):
        try:
            journal, found, _ = await play_on(name, folder, lambda inner, n=number: Faulty(inner, n, **how))
            assert journal.failed, "no commit was refused"
            check_equal(ALL[name], expected, found, [], [], lost=journal.failed)
        except AssertionError as error:
            raise AssertionError(f"{name}, commit {number} refused: {error}") from error


FAULTS = {
    "full": {"error": JournalFull},
    "full for a while": {"error": JournalFull, "times": 3},
    "answer lost": {"error": JournalError, "lost": True},
}


@pytest.mark.parametrize("name", ALL)
async def test_a_commit_is_refused(name: str, tmp_path: Path) -> None:
    """Whichever commit is refused, the run ends as if it had not been, and the world saw no more than it may (sampled)."""
    seed = sum(map(ord, name))
    for number, how in enumerate(FAULTS.values()):
        await check_refusals(name, str(tmp_path), every=11, first=seed + 3 * number, **how)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
async def test_each_commit_is_refused(name: str, tmp_path: Path) -> None:
    """The same for every single commit."""
    for how in FAULTS.values():
        await check_refusals(name, str(tmp_path), every=1, first=0, **how)
