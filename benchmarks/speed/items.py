"""What is measured of Chargehand alone, by name: each item in a process of its own, so that none disturbs another.

python -m benchmarks.speed.items NAME FOLDER '{"…": …}'
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.speed import alone, big, commits, parking
from benchmarks.speed.environments import ROOT

Measure = Callable[..., Awaitable[dict[str, Any]]]

ITEMS: dict[str, tuple[Measure, dict[str, Any], dict[str, Any]]] = {
    "sequential": (
        alone.sequential,
        {"slices": 20, "slice_steps": 100, "rounds": 3},
        {"slices": 4, "slice_steps": 25, "rounds": 1},
    ),
    "commits": (commits.commits_per_call, {}, {}),
    "growth": (alone.growth, {"at": [100, 1000, 10_000], "around": 50, "rounds": 3}, {"at": [20, 100], "around": 10, "rounds": 1}),
    "calls": (alone.calls, {"count": 300, "rounds": 3}, {"count": 20, "rounds": 1}),
    "fan_out": (alone.fan_out, {"branches": 1000}, {"branches": 50}),
    "conversation": (alone.conversation, {"turns": 1000}, {"turns": 60}),
    "restart": (alone.restart, {"steps": 1000, "rounds": 3}, {"steps": 50, "rounds": 1}),
    "memory": (parking.memory, {"runs": 500}, {"runs": 20}),
    "processes": (parking.processes, {"runs": 200, "steps": 20, "rounds": 3}, {"runs": 8, "steps": 3, "rounds": 1}),
    "parked": (parking.parked, {"runs": 100_000, "wakes": 200}, {"runs": 30, "wakes": 5}),
    "million_runs": (big.million_runs, {"runs": 1_000_000}, {"runs": 2000}),
    "million_events": (big.million_events, {"events": 1_000_000}, {"events": 2000}),
}
"""What is called, and with what: as a whole, and quickly."""


class ItemFailed(Exception):
    """An item could not be measured; the message says why."""


def measure(name: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Have one item measured in a process of its own. Raises `ItemFailed`."""
    folder.mkdir(parents=True)
    options = json.dumps(ITEMS[name][2 if quick else 1])
    command = [sys.executable, "-m", "benchmarks.speed.items", name, str(folder), options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        raise ItemFailed("not done after 900 s") from None
    if done.returncode:
        raise ItemFailed((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main(name: str, folder: str, options: str) -> None:
    """Measure one item and print what was found."""
    print(json.dumps(asyncio.run(ITEMS[name][0](Path(folder), **json.loads(options)))))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
