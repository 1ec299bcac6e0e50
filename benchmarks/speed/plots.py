"""Three plots: speed against concurrency, cost of a step against the length of its run, memory against parked runs.

What is drawn is measured here or, where another item has it, taken from there. Drawing is done by `systems/draw.py` in an
environment of its own.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.environments import SYSTEMS, NotThere, Runner, environment
from benchmarks.speed.page import middle
from benchmarks.speed.rounds import Failed, ask

AT_ONCE = {"peers": (1, 10, 50), "ours": (1, 10, 50, 200, 1000)}
STEPS = 20
LENGTHS = {"peers": (100, 300, 1000), "ours": (100, 300, 1000, 3000, 10_000)}
PARKED = (100, 300, 1000)
LEAST_STEPS = 200

Lines = dict[str, list[tuple[float, float]]]


def measure(runners: Sequence[Runner], folder: Path, found: dict[str, Any], skipped: dict[str, str]) -> dict[str, Any]:
    """Return what is to be drawn; a system that cannot be measured has no line, and `skipped` says why."""
    lines: dict[str, Lines] = {"concurrency": {}, "growth": {}, "parked": {}}
    for runner in runners:
        kind = "ours" if runner.name in ("chargehand", "nothing") else "peers"
        for what, measured in (("concurrency", _concurrency), ("growth", _growth), ("parked", _parked)):
            if what == "parked" and runner.name in ("call4agents", "nothing"):
                continue  # they have no run that waits
            try:
                lines[what][runner.name] = measured(runner, kind, folder / f"{what}-{runner.name}", found)
            except Failed as error:
                skipped[f"{runner.name}, for the plot of {what}"] = str(error)
    return {**lines, "raw_rows_per_s": found["machine"]["raw_rows_per_s"]["1"]}


def _concurrency(runner: Runner, kind: str, folder: Path, found: dict[str, Any]) -> list[tuple[float, float]]:
    points = [(runs, max(STEPS, LEAST_STEPS // runs)) for runs in AT_ONCE[kind]]
    rates = ask(runner, {"do": "concurrency", "points": points}, folder)["steps_per_s"]
    line = [(float(runs), rate) for runs, rate in rates.items()]
    if kind == "peers" and (rounds := found.get("systems", {}).get("rounds", {}).get(runner.name)):
        line.append((200.0, middle(rounds, "concurrent_steps_per_s")))
    return line


def _growth(runner: Runner, kind: str, folder: Path, found: dict[str, Any]) -> list[tuple[float, float]]:
    cpu = ask(runner, {"do": "growth", "at": list(LENGTHS[kind]), "around": 50}, folder)["cpu_us_per_step"]
    return [(float(length), cost) for length, cost in cpu.items()]


def _parked(runner: Runner, kind: str, folder: Path, found: dict[str, Any]) -> list[tuple[float, float]]:
    if kind == "ours" and "parked" in found:
        trace = found["parked"]["rss_mb"]
    else:
        trace = ask(runner, {"do": "parked", "counts": list(PARKED), "wakes": 5}, folder)["rss_mb"]
    return [(float(count), memory) for count, memory in trace]


def draw(measured: dict[str, Any], target: Path, skipped: dict[str, str]) -> list[Path]:
    """Draw all plots into a folder and return their files; without the library there are none, and `skipped` says why."""
    try:
        python = environment("plots")
    except NotThere as reason:
        skipped["plots"] = str(reason)
        return []
    target.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(python), str(SYSTEMS / "draw.py"), str(target)], input=json.dumps(measured), capture_output=True, text=True, check=False
    )
    if done.returncode:
        skipped["plots"] = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return []
    return [target / name for name in done.stdout.split()]
