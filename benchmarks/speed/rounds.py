"""Peers, ourselves and no engine at all, in turns: every round measures each of them, with the disk's own rate beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.environments import ROOT, Runner
from benchmarks.speed.limits import moment, raw_rows_per_second

LONGEST_SECONDS = 600
ROUNDS_SECONDS = 300
"""After so long no further round is begun: on a slow disk two rounds have to do."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything is measured."""

    rounds: int = 3
    sequential: int = 1000
    runs: int = 200
    steps: int = 20
    singles: int = 100
    raw: int = 300


class Failed(Exception):
    """A system could not be measured; the message ends with what it said last."""


def ask(runner: Runner, asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Have a system measured in a process of its own. Raises `Failed`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = runner.command(json.dumps({**asked, "folder": str(folder)}))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST_SECONDS, env=_variables(runner), cwd=folder, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{runner.name} was not done after {LONGEST_SECONDS} s") from None
    if done.returncode or not done.stdout.strip():
        raise Failed(f"{runner.name} ended with status {done.returncode}: {(done.stderr.strip().splitlines() or ['nothing said'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _variables(runner: Runner) -> dict[str, str]:
    """Return the variables of a system's process: only ours may see where our own code is."""
    variables = dict(os.environ)
    if runner.name in ("chargehand", "nothing"):
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), variables.get("PYTHONPATH", "")]))
    else:
        variables.pop("PYTHONPATH", None)
    return variables


def measure(runners: Sequence[Runner], size: Size, folder: Path, skipped: dict[str, str]) -> dict[str, list[Figures]]:
    """Return each system's figures, one entry a round; a system that breaks is skipped from there on, with the reason."""
    found: dict[str, list[Figures]] = {runner.name: [] for runner in runners}
    asked = {"do": "table", "sequential": size.sequential, "runs": size.runs, "steps": size.steps, "singles": size.singles}
    began = time.monotonic()
    for number in range(size.rounds):
        if number >= 2 and time.monotonic() - began > ROUNDS_SECONDS:
            break
        turn = number % len(runners)
        for runner in [*runners[turn:], *runners[:turn]]:
            if runner.name in skipped:
                continue
            place = folder / f"{number}-{runner.name}"
            place.mkdir(parents=True)
            before = raw_rows_per_second(place, size.raw)
            try:
                figures = ask(runner, asked, place)
            except Failed as error:
                skipped[runner.name] = str(error)
                continue
            figures["raw_rows_per_s"] = (before + raw_rows_per_second(place, size.raw)) / 2
            found[runner.name].append(figures | moment())
            _tell(number, size.rounds, runner.name, figures)
    return {name: rounds for name, rounds in found.items() if rounds}


def _tell(number: int, rounds: int, name: str, figures: Figures) -> None:
    print(
        f"round {number + 1} of {rounds}  {name:12} sequential {figures['sequential_steps_per_s']:>8,.0f}/s   "
        f"concurrent {figures['concurrent_steps_per_s']:>8,.0f}/s   raw rows near it {figures['raw_rows_per_s']:>8,.0f}/s",
        flush=True,
    )


def best_peer_ratios(found: dict[str, list[Figures]], figure: str) -> list[float]:
    """Return, round by round, how much faster we were than the fastest peer."""
    peers = [rounds for name, rounds in found.items() if name not in ("chargehand", "nothing")]
    if not peers:
        return []
    return [ours[figure] / max(peer[figure] for peer in theirs) for ours, *theirs in zip(found["chargehand"], *peers, strict=False)]


# -- a kill in the middle ----------


def kill_and_restart(runner: Runner, steps: int, folder: Path) -> dict[str, Any]:
    """Kill a run of so many steps in its middle; return how many finished steps were made twice and how long the rest took."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "ledger"
    asked = {"folder": str(folder), "steps": steps}
    process = subprocess.Popen(
        runner.command(json.dumps({"do": "crash", **asked})),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_variables(runner),
        cwd=folder,
    )
    until = time.monotonic() + 120
    while _lines(ledger) < steps // 2:
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise Failed(f"{runner.name} did not come to the middle of {steps} steps")
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = ledger.read_text().split()
    answer = ask(runner, {"do": "recover", "steps": steps}, folder)
    after = ledger.read_text().split()[len(before) :]
    if len({*before, *after}) != steps:
        raise Failed(f"{runner.name} made {len({*before, *after})} of {steps} steps")
    finished = set(before[:-1])  # a step had ended when the next one began; the last may have been in flight
    return {"killed_after": len(before), "steps_made_twice": len(finished.intersection(after)), **answer}


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
