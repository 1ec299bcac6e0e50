"""Real worker processes are killed with SIGKILL, at seeded moments, until everything is done."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest

from .instants import entries_in
from .market import account, poison
from .town import Town, check_books, undisturbed
from .worker import Crew, kill
from .world import gross


@asynccontextmanager
async def town_of(folder: Path, crew: Crew, runs: int) -> AsyncIterator[Town]:
    """Open a town with so many runs to do; when the test is through with it, check how they came out."""
    numbers = range(runs)
    expected, facts = await undisturbed(numbers)
    town = Town(folder, crew)
    await town.open(numbers)
    yield town
    await town.until(town.all_ended, "every run ended")
    assert await town.outcomes() == expected | town.expected_more
    check_books(facts, town.book.facts())
    entries = entries_in(apsw.Connection(town.orders.journal))
    assert entries == sorted(f"{number} e" for number in numbers if number % 4 == 0)
    await town.office.close()


async def massacre(folder: Path, crew: Crew, *, runs: int, workers: int, kills: int, seed: int) -> Town:
    """Kill a worker whenever the world has seen some more facts, and hire another."""
    dice = random.Random(seed)
    async with town_of(folder, crew, runs) as town:
        hired = [town.hire() for _ in range(workers)]
        for _ in range(kills):
            seen = len(town.book.facts())
            more = dice.randrange(1, 12)

            async def enough(seen: int = seen, more: int = more) -> bool:
                return len(town.book.facts()) >= seen + more or await town.all_ended()

            await town.until(enough, "work goes on")
            victim = hired.pop(dice.randrange(len(hired)))
            kill(victim)
            hired.append(town.hire())
    return town


async def test_one_worker(tmp_path: Path, crew: Crew) -> None:
    """Whenever its only worker is killed, the next one goes on, and no outcome differs."""
    await massacre(tmp_path, crew, runs=8, workers=1, kills=8, seed=1)


async def test_two_workers(tmp_path: Path, crew: Crew) -> None:
    """Two workers on one file take over from each other when one is killed."""
    await massacre(tmp_path, crew, runs=12, workers=2, kills=8, seed=2)


async def test_one_key_many_runs(tmp_path: Path, crew: Crew) -> None:
    """Runs that ask for the same thing under one business key share one doing, whoever is killed in the middle of it."""
    town = Town(tmp_path, crew)
    await town.office.journal.open()
    await town.office.start_many([(account(number % 3, number), f"run-{number}") for number in range(12)])
    worker = town.hire()
    for more in (2, 5, 9, 14):
        await town.until(lambda more=more: len(town.book.facts()) >= more, "work goes on")
        kill(worker)
        worker = town.hire()
    await town.until(town.all_ended, "every run ended")
    found = await town.outcomes()
    assert {outcome[0] for outcome in found.values()} == {"completed"}
    assert all(found[f"run-{number}"][2] == f"account-group {number % 3}-receipt" for number in range(12))
    assert sum(outcome[1] for outcome in found.values()) == 3, "one of each group owns it"
    assert gross(town.book.facts()) == {("account", f"group {group}"): 1 for group in range(3)}
    await town.office.close()


async def test_poison(tmp_path: Path, crew: Crew) -> None:
    """One run that kills its worker parks as poison after three times, and none of twenty others does with it."""
    flag = tmp_path / "mended"
    async with town_of(tmp_path, crew, 20) as town:
        await town.office.start(poison(str(flag)), id="run-poison")

        async def parked() -> bool:
            if not crew.processes or not crew.processes[-1].is_alive():
                town.hire()
            return [entry.run_id for entry in await town.office.waiting(kinds=["poison"])] == ["run-poison"]

        await town.until(parked, "it parks", people=False)
        assert len(crew.processes) == 4, "three died, the fourth parked it"
        others = [row for row in await town.office.runs(limit=100) if row.id != "run-poison"]
        assert max(row.crashes for row in others) < 3
        flag.touch()
        await town.until(town.all_ended, "every run ended")
        town.expected_more["run-poison"] = ("completed", 0, "mended", None)
        assert town.decided["poison"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "seed"), [(1, 11), (1, 12), (2, 21), (2, 22), (4, 41), (4, 42)])
async def test_many(tmp_path: Path, crew: Crew, workers: int, seed: int) -> None:
    """Sixty kills among a hundred runs, on one, two and four workers."""
    await massacre(tmp_path, crew, runs=100, workers=workers, kills=60, seed=seed)
