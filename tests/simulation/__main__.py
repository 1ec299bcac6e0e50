"""``python -m tests.simulation --seeds A..B [--show SEED] [--how file limits]``: live seeds, and tell one of them."""

from __future__ import annotations

import argparse
import hashlib
import time

from .finding import found
from .planted import PLANTED, PLANTED_ON_FILE
from .simulate import simulate


def main() -> int:
    """Live the seeds that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0..50", metavar="A..B", help="from A up to, not including, B")
    parser.add_argument("--show", type=int, metavar="SEED", help="tell everything that happens in one seed")
    parser.add_argument("--planted", metavar="NAME", help="how many seeds it takes to find a planted fault; 'all' for each of them")
    parser.add_argument("--digests", action="store_true", help="print the digest of each seed's journal and story")
    parser.add_argument(
        "--how", default=[], nargs="*", choices=["file", "limits"], help="on a SQLite file; with budgets, rates and breakers"
    )
    given = parser.parse_args()
    how = tuple(given.how)
    if given.planted is not None:
        return plant(given.planted, *how)
    if given.show is not None:
        return show(given.show, *how)
    first, _, last = given.seeds.partition("..")
    bad, began, events, steps = 0, time.perf_counter(), 0, 0
    for number in range(int(first), int(last)):
        outcome = simulate(number, *how)
        if given.digests:
            print(number, outcome.journal, hashlib.sha256("\n".join(outcome.story).encode()).hexdigest()[:16])
        events, steps = events + outcome.events, steps + outcome.steps
        if outcome.wrong:
            bad += 1
            print(
                f"seed {number}: {outcome.wrong[0]}" + (f" (and {len(outcome.wrong) - 1} more)" if len(outcome.wrong) > 1 else ""),
                flush=True,
            )
    elapsed = time.perf_counter() - began
    print(f"{int(last) - int(first)} seeds, {bad} wrong, {events} events, {steps} steps of the scheduler, {elapsed:.1f} s")
    return 1 if bad else 0


def show(number: int, *how: str) -> int:
    """Tell one seed."""
    outcome = simulate(number, *how)
    print(f"seed {number}\n{outcome.faults}\n")
    print("\n".join(outcome.story))
    print(f"\n{outcome.runs}\njournal {outcome.journal}")
    for wrong in outcome.wrong:
        print(f"WRONG: {wrong}")
    return 1 if outcome.wrong else 0


def plant(name: str, *how: str) -> int:
    """Tell how many seeds it takes to find a planted fault."""
    missed = 0
    for one in (PLANTED_ON_FILE if "file" in how else PLANTED) if name == "all" else name.split("; "):
        began, there = time.perf_counter(), found(one, *how)
        missed += there is None
        said = "NOT FOUND" if there is None else f"found after {there.seeds} seeds, in seed {there.seed}: {there.wrong[:200]}"
        print(f"{one}: {said} ({time.perf_counter() - began:.1f} s)", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
