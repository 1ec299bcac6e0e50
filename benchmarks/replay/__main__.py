"""``python -m benchmarks.replay``: one page on stdout, ``replay.json`` and ``replay.md`` in the build folder."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.replay import crash, figures, recording, speed
from benchmarks.replay.crew import Mode
from benchmarks.replay.play import Pass, Played, Player, always_yes, perfect
from benchmarks.replay.recording import Recordings
from benchmarks.replay.report import page


class Bench:
    """All passes over every n-th run."""

    def __init__(self, recordings: Recordings, every: int, seed: int) -> None:
        self.recordings, self.runs = recordings, recordings.runs[::every]
        self.every, self.seed = every, seed

    def play(self, title: str, mode: Mode, **options: Any) -> Pass:
        """Play all runs in one mode, on a journal of its own."""
        with tempfile.TemporaryDirectory(prefix="chargehand-replay-") as folder:
            player = Player(self.recordings, Path(folder) / "journal.db", mode, **options)
            found = asyncio.run(player.play(self.runs))
        tell(f"{title}: {found.ended} runs, {found.runs_per_second:.0f} per second")
        return found

    def containment(self) -> dict[str, Any]:
        """Play with the gates, and count on both halves apart."""
        main = self.play("gates, equal effects once", Mode(guarded=True)).played
        each = Mode(repeat="each", guarded=True)
        variants = {
            "gates and default (as above)": main,
            "gates alone, repeats allowed": self.play("gates, repeats allowed", each, approver=always_yes).played,
            "gates and default, perfect approver": self.play("perfect", Mode(guarded=True), approver=perfect).played,
            "gates and default, whole": self.play("whole", Mode(guarded=True, whole=True)).played,
        }
        found: dict[str, Any] = {half: figures.by_model(some, figures.containment) for half, some in figures.halves(main).items()}
        found["both"] = figures.by_model(main, figures.containment)
        found["variants"] = {name: _both(played) for name, played in variants.items()}
        found["rules"] = {half: figures.rules(some) for half, some in figures.halves(main).items()}
        found["rules"][figures.ALL] = figures.rules(main)
        return found

    def all(self, *, rollbacks: int, crashes: int) -> dict[str, Any]:
        """Make every pass and return all figures."""
        each = Mode(repeat="each")
        rates = speed.measure(self.every)
        tell(f"speed: {rates['runs_per_second']:.0f} runs per second")
        fidelity = figures.by_model(self.play("fidelity", each).played, figures.fidelity)
        rollback = figures.by_model(self.play("rollback", each, ends="failed").played, figures.rollback)
        idempotency = figures.by_model(self.play("idempotency", Mode()).played, figures.idempotency)
        containment = self.containment()
        killed = crash.in_rollback(self.recordings, rollbacks, self.seed)
        tell(f"killed in mid-rollback: {killed.equal} of {len(killed.met)}")
        crashed = crash.at_random(self.recordings, crashes, self.seed)
        tell(f"killed at random moments: {crashed.equal} of {len(crashed.met)}")
        return {
            "source": "olly-styles/WorkBench, MIT",
            "runs": len(self.runs),
            "calls": sum(len(run.calls) for run in self.runs),
            "tasks": len({run.task.number for run in self.runs}),
            "machine": machine(),
            "seed": self.seed,
            "fidelity": fidelity,
            "rollback_exact": rollback,
            "rollback_killed": {"runs": len(killed.met), "equal": killed.equal, "kills": killed.kills},
            "crash_equal": {"runs": len(crashed.met), "equal": crashed.equal, "kills": crashed.kills},
            "idempotency": idempotency,
            "containment": containment,
            "speed": rates,
        }


def _both(played: Sequence[Played]) -> dict[str, Any]:
    return {half: figures.containment(some) for half, some in figures.halves(played).items()}


def machine() -> dict[str, Any]:
    """Return what the figures of speed depend on."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "when": datetime.now(UTC).date().isoformat(),
    }


def tell(line: str) -> None:
    """Say how far it is, beside the page."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Play everything and write the page."""
    parser = argparse.ArgumentParser(description="Play recorded runs of real models as supervised runs.")
    parser.add_argument("--build", type=Path, default=Path("build"), help="where replay.json and replay.md go")
    parser.add_argument("--every", type=int, default=1, help="play every n-th run only")
    parser.add_argument("--rollbacks", type=int, default=200, help="runs to kill in mid-rollback")
    parser.add_argument("--crashes", type=int, default=300, help="runs to kill at random moments")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of runs and moments to kill")
    options = parser.parse_args()
    folder = recording.folder()
    if folder is None:
        tell("skipped: the recordings (workbench/ of the data folder beside the checkout, or CHARGEHAND_DATA) are not here")
        return 0
    recordings = recording.load(folder)
    bench = Bench(recordings, options.every, options.seed)
    found = bench.all(rollbacks=options.rollbacks, crashes=options.crashes)
    text = page(found)
    options.build.mkdir(parents=True, exist_ok=True)
    (options.build / "replay.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (options.build / "replay.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
