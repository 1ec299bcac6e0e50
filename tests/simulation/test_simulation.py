"""Seeds of the whole system under faults: everything that must hold holds, and a seed is the same every time."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .finding import SEEDS_MAX, found
from .planted import PLANTED, PLANTED_ON_FILE
from .simulate import Outcome, simulate

KEPT = Path(__file__).with_name("seeds.txt")
QUICK = range(30, 55)
MANY = range(1_000, 4_000)
ON_FILE_QUICK = range(20, 22)
LIMITED = range(6_000, 6_300)
ON_FILE = range(5_000, 5_600)
SECONDS = float(os.environ.get("SIMULATION_SECONDS", "30"))
"""For so long the random part runs."""


def kept_seeds() -> list[tuple[int, list[str]]]:
    """Return the seeds that once found something, each with how it is lived."""
    lines = [line.partition("#")[0].split() for line in KEPT.read_text().splitlines()]
    return [(int(line[0]), line[1:]) for line in lines if line]


def check(outcome: Outcome) -> None:
    """Fail with what is wrong, and with how to see it."""
    assert not outcome.wrong, (
        f"seed {outcome.seed}: {outcome.wrong[0]}\n"
        f"See it: python -m tests.simulation {outcome.how}--show {outcome.seed}. Keep it: add it to tests/simulation/seeds.txt."
    )


def test_a_few_seeds() -> None:
    """A few seeds hold, every time the tests run."""
    for seed in QUICK:
        check(simulate(seed))


def test_a_seed_is_the_same_every_time() -> None:
    """A seed lived twice writes the same bytes and sees the same things happen."""
    for seed in (3, 7, 12):
        first, second = simulate(seed), simulate(seed)
        assert first.journal == second.journal
        assert first.story == second.story


def test_a_few_seeds_on_a_file() -> None:
    """A few seeds hold on the journal that is shipped, and one that is lived twice writes the same rows."""
    for seed in ON_FILE_QUICK:
        check(simulate(seed, "file"))
    first, second = simulate(ON_FILE_QUICK[0], "file"), simulate(ON_FILE_QUICK[0], "file")
    assert (first.journal, first.story) == (second.journal, second.story)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(4))
def test_many_seeds_on_a_file(part: int) -> None:
    """Hundreds of seeds hold on the journal that is shipped."""
    for seed in ON_FILE[part::4]:
        check(simulate(seed, "file"))


@pytest.mark.slow
def test_many_seeds_with_limits() -> None:
    """Seeds whose runs have budgets, rates and breakers hold, in memory and on a file."""
    for seed in LIMITED:
        check(simulate(seed, "limits"))
        if seed % 5 == 0:
            check(simulate(seed, "file", "limits"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PLANTED_ON_FILE)
def test_faults_planted_in_the_file_are_found(name: str) -> None:
    """Every fault planted in the journal that is shipped is found, and nothing but it."""
    there = found(name, "file")
    assert there is not None, f"{SEEDS_MAX} seeds do not notice: {name}. Make the simulation stronger."
    print(f"{name}: found after {there.seeds} seeds, in seed {there.seed}: {there.wrong}")


@pytest.mark.slow
def test_a_seed_is_the_same_in_every_process() -> None:
    """Two processes that hash differently live the same seeds: nothing depends on the order of a set."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "60..90", "--digests"]
    said = [
        subprocess.run(command, cwd=KEPT.parents[2], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True).stdout
        for seed in ("1", "2")
    ]
    first, second = ([line for line in text.splitlines() if "seeds," not in line] for text in said)
    assert len(first) >= 30
    assert first == second


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found(name: str) -> None:
    """Every planted fault of the engine is found, and nothing but it."""
    there = found(name)
    assert there is not None, f"{SEEDS_MAX} seeds do not notice: {name}. Make the simulation stronger."
    print(f"{name}: found after {there.seeds} seeds, in seed {there.seed}: {there.wrong}")


@pytest.mark.slow
def test_kept_seeds() -> None:
    """What was once found stays mended."""
    for seed, how in kept_seeds():
        check(simulate(seed, *how))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_many_seeds(part: int) -> None:
    """Thousands of seeds hold."""
    for seed in MANY[part::10]:
        check(simulate(seed))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_random_seeds() -> None:
    """Seeds that nobody has lived before hold, for as long as there is time."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        check(simulate(secrets.randbelow(2**48)))
        check(simulate(secrets.randbelow(2**48), "file"))
