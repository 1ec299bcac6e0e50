"""Speed: supervised runs per second over the whole set, by one worker process and by one per core.

The workers share one journal file. The clock runs from the word *go*, when every worker has read the recordings, to the
end of the last run; opening and closing supervisor, journal and offices are in it, looking at end states is not.

    python -m benchmarks.replay.speed --journal FILE --part 0/2 --every 1     (a worker; the bench starts these)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.replay import recording
from benchmarks.replay.crew import Mode
from benchmarks.replay.play import AT_ONCE, Player

ROUNDS = 3


def measure(every: int = 1) -> dict[str, Any]:
    """Return the figures of speed: rounds of one worker and of one per core, taken in turns."""
    load = os.getloadavg()[0]
    workers = (1, os.cpu_count() or 1)
    rounds: dict[int, list[tuple[float, float]]] = {count: [] for count in workers}
    for _ in range(ROUNDS):
        for count in rounds:
            rounds[count].append(_round(count, every))
    found: dict[str, Any] = {"at_once": AT_ONCE, "load_before": round(load, 2), "by_workers": {}}
    for count, measured in rounds.items():
        found["by_workers"][str(count)] = {
            "runs_per_second": round(statistics.median(rate for rate, _ in measured), 1),
            "rounds": [round(rate, 1) for rate, _ in measured],
            "cpu_ms_per_run": round(min(cpu for _, cpu in measured), 3),
        }
    found["runs_per_second"] = max(one["runs_per_second"] for one in found["by_workers"].values())
    return found


def _round(count: int, every: int) -> tuple[float, float]:
    """Play the set once. Returns runs per second and milliseconds of CPU per run."""
    with tempfile.TemporaryDirectory(prefix="chargehand-replay-") as folder:
        workers = [_start(Path(folder) / "journal.db", f"{part}/{count}", every) for part in range(count)]
        try:
            for worker in workers:
                _answer(worker)
            began = time.perf_counter()
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
            answers = [json.loads(_answer(worker)) for worker in workers]
            seconds = time.perf_counter() - began
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
    runs = sum(answer["runs"] for answer in answers)
    return runs / seconds, 1000 * sum(answer["cpu"] for answer in answers) / runs


def _start(journal: Path, part: str, every: int) -> subprocess.Popen[str]:
    options = ["--journal", str(journal), "--part", part, "--every", str(every)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.replay.speed", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )


def _answer(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError("A worker of the speed pass ended early; its words are above.")
    return line


def main() -> None:
    """Be a worker: play every n-th part of the set when told to."""
    parser = argparse.ArgumentParser(description="A worker of the speed pass.")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--part", required=True)
    parser.add_argument("--every", type=int, required=True)
    options = parser.parse_args()
    part, count = map(int, options.part.split("/"))
    folder = recording.folder()
    if folder is None:
        raise SystemExit("The recordings are not there.")
    recordings = recording.load(folder)
    runs = recordings.runs[:: options.every][part::count]
    player = Player(recordings, options.journal, Mode(), looks=False)
    print("ready", flush=True)
    sys.stdin.readline()
    found = asyncio.run(player.play(runs))
    print(json.dumps({"runs": found.ended, "cpu": found.cpu_seconds}), flush=True)


if __name__ == "__main__":
    main()
