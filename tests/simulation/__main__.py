"""``python -m tests.simulation --seeds A..B [--show SEED]``: live seeds, and tell one of them."""

from __future__ import annotations

import argparse
import time

from .simulate import simulate


def main() -> int:
    """Live the seeds that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0..50", metavar="A..B", help="from A up to, not including, B")
    parser.add_argument("--show", type=int, metavar="SEED", help="tell everything that happens in one seed")
    given = parser.parse_args()
    if given.show is not None:
        return show(given.show)
    first, _, last = given.seeds.partition("..")
    bad, began, events, steps = 0, time.perf_counter(), 0, 0
    for number in range(int(first), int(last)):
        outcome = simulate(number)
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


def show(number: int) -> int:
    """Tell one seed."""
    outcome = simulate(number)
    print(f"seed {number}\n{outcome.faults}\n")
    print("\n".join(outcome.story))
    print(f"\n{outcome.runs}\njournal {outcome.journal}")
    for wrong in outcome.wrong:
        print(f"WRONG: {wrong}")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
