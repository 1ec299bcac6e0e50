"""How many seeds it takes to find a planted fault."""

from __future__ import annotations

from dataclasses import dataclass

from .planted import planted
from .simulate import simulate

SEEDS_MAX = 500


@dataclass(frozen=True)
class Found:
    """After how many seeds a fault was found, in which, and by what was wrong there."""

    seeds: int
    seed: int
    wrong: str


def found(name: str, seeds: range = range(SEEDS_MAX)) -> Found | None:
    """Return in which seed a planted fault is found first: with it something is wrong, without it nothing."""
    for count, seed in enumerate(seeds, 1):
        with planted(name):
            outcome = simulate(seed)
        if outcome.wrong and not simulate(seed).wrong:
            return Found(count, seed, outcome.wrong[0])
    return None
