"""What a process that does nothing but drive runs sets for itself as a whole. A library may not: the process is its host's."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000
"""New objects after which the collector looks at them: some 5 MB. Python's default is 700."""
YOUNGER_LOOKS = 20
"""Looks at one generation after which the next older one is looked at. Python's default is 10."""


def collect_less_often() -> None:
    """Have Python's cyclic garbage collector look less often, and never at what exists now.

    A call whose commit is on its way keeps some dozens of objects alive. With hundreds of runs at once, the default
    settings look at them again and again and find nothing to free: a sixth of the cost of a step (measured with 200 runs at
    once; see docs/performance.md). What is freed by reference counting, which is nearly all, is freed as before.
    Call it when everything is imported and set up.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNGER_LOOKS, YOUNGER_LOOKS)
