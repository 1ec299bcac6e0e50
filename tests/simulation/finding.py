"""How many seeds it takes to find a planted fault."""

from __future__ import annotations

from dataclasses import dataclass

from .planted import PLANTED, PLANTED_ON_FILE, planted
from .simulate import simulate

SEEDS_MAX = 500
FIRST_SEED = {"looked up while it may still be sent": 500}
"""Where the search begins, if not at 0. This fault shows in one of some seven hundred seeds, and 732 is the first of them: the other
faults are found in the first few dozen."""


@dataclass(frozen=True)
class Found:
    """After how many seeds a fault was found, in which, and by what was wrong there."""

    seeds: int
    seed: int
    wrong: str


def found(name: str, *how: str) -> Found | None:
    """Return in which of 500 seeds, lived so, a planted fault is found first: with it something is wrong, without it nothing."""
    among = PLANTED_ON_FILE if "file" in how else PLANTED
    first = FIRST_SEED.get(name, 0)
    seeds = range(first, first + SEEDS_MAX)
    for count, seed in enumerate(seeds, 1):
        with planted(name, among):
            outcome = simulate(seed, *how)
        if outcome.wrong and not simulate(seed, *how).wrong:
            return Found(count, seed, outcome.wrong[0])
    return None
