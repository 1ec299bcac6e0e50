"""Which of the claimable runs a worker takes: one rule for both journals.

A run whose workers died over it twice without progress may be what kills them. Driven beside others it would take them
with it again and again, until all of them counted as poison; so it is driven with no other beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chargehand.durable import SUSPECT_CRASHES, Suspects

After = Literal["left", "gone", "silent"]


@dataclass(frozen=True, slots=True)
class Claimable:
    """A run that may be taken. `crashes` is what the claim would make of its count."""

    number: int
    after: After
    crashes: int

    @property
    def suspect(self) -> bool:
        """Say whether the run may be what killed its workers."""
        return self.crashes >= SUSPECT_CRASHES


def chosen(found: Sequence[Claimable], suspects: Suspects, limit: int) -> list[Claimable]:
    """Return which of the claimable runs, in their order, are taken."""
    if suspects == "with the others":
        return list(found[:limit])
    if suspects == "one alone":
        for one in found:
            if one.suspect:
                return [one]
    return [one for one in found if not one.suspect][:limit]
