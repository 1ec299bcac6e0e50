"""Crashes: worker processes killed with SIGKILL, in mid-rollback and at random moments, and what they leave.

Every run's office is a file and the journal is a file; the worker is a process of its own. After the kill another worker
goes on. Then the office's tables and its own book of keys are held against the recording.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.replay.office import Office, template
from benchmarks.replay.play import run_id
from benchmarks.replay.recording import RecordedRun, Recordings
from chargehand import Supervisor

BATCH = 25
THINK_SECONDS = 0.004
ENDS_WITHIN_SECONDS = 120
PLACES = ("undo", "undone")
Ends = Literal["released", "failed"]


@dataclass(frozen=True, slots=True)
class Crashed:
    """One run that a kill met. `equal`: it ended as it would have undisturbed; `once`: each effect was made once."""

    run: RecordedRun
    equal: bool
    once: bool
    status: str


@dataclass(frozen=True, slots=True)
class Crashes:
    """A crash pass: the runs that a kill met, and how many kills that took."""

    met: tuple[Crashed, ...]
    kills: int

    @property
    def equal(self) -> int:
        """Return how many ended as undisturbed, each effect made once."""
        return sum(crashed.equal and crashed.once for crashed in self.met)


class Worker:
    """One worker process."""

    def __init__(self, folder: Path, runs: Sequence[RecordedRun], ends: Ends, hold: str = "") -> None:
        options = ["--folder", str(folder), "--runs", ",".join(str(run.number) for run in runs), "--ends", ends]
        if hold:
            options += ["--hold", hold]
        else:
            options += ["--think", str(THINK_SECONDS)]
        self._log = folder / "worker.log"
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.replay.worker", *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=Path(__file__).resolve().parents[2],
            )

    def wait_word(self, word: str) -> bool:
        """Return when it has said a word; False when it ended instead. Raises RuntimeError when it hangs."""
        assert self._process.stdout is not None
        alarm = threading.Timer(ENDS_WITHIN_SECONDS, self._process.kill)
        alarm.start()
        try:
            for line in self._process.stdout:
                if line.strip() == word:
                    return True
        finally:
            alarm.cancel()
        self.finish()
        return False

    def kill(self) -> bool:
        """Kill it (SIGKILL); say whether it was still alive."""
        alive = self._process.poll() is None
        self._process.kill()
        self._process.wait()
        self._close()
        return alive

    def finish(self) -> None:
        """Wait until it ends by itself. Raises RuntimeError with its last words when it fails or hangs."""
        try:
            status = self._process.wait(timeout=ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            status = -1
        self._close()
        if status != 0:
            words = self._log.read_text(encoding="utf-8")[-2000:]
            raise RuntimeError(f"A worker ended with {status}: {words}")

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()


def in_rollback(recordings: Recordings, count: int, seed: int) -> Crashes:
    """Kill workers while every run of a batch stands in the middle of its rollback, then let others finish.

    The place is drawn for each run: before or after the change of one of its undos, any of them.
    """
    dice = random.Random(seed)
    candidates = [run for run in recordings.runs if any(call.changes for call in run.calls)]
    met: list[Crashed] = []
    kills = 0
    for runs in _batches(dice.sample(candidates, count)):
        with tempfile.TemporaryDirectory(prefix="chargehand-replay-") as name:
            folder = Path(name)
            plan = [f"{run.number}:{dice.randrange(effects_of(recordings, run))}:{dice.choice(PLACES)}" for run in runs]
            worker = Worker(folder, runs, "failed", hold=",".join(plan))
            if not worker.wait_word("held"):
                raise RuntimeError("A worker ended before its runs stood in their rollbacks.")
            worker.kill()
            kills += 1
            Worker(folder, runs, "failed").finish()
            met += [found for found, hit in _looked(recordings, folder, runs, "failed") if hit]
    return Crashes(tuple(met), kills)


def at_random(recordings: Recordings, count: int, seed: int) -> Crashes:
    """Kill workers at random moments, each batch twice at most, until so many runs were met by a kill."""
    dice = random.Random(seed)
    candidates = [run for run in recordings.runs if run.calls]
    dice.shuffle(candidates)
    met: list[Crashed] = []
    kills = 0
    for runs in _batches(candidates):
        if len(met) >= count:
            break
        with tempfile.TemporaryDirectory(prefix="chargehand-replay-") as name:
            folder = Path(name)
            longest = max(len(run.calls) for run in runs) * 5 * THINK_SECONDS
            for _ in range(dice.choice((1, 2))):
                worker = Worker(folder, runs, "released")
                if not worker.wait_word("started"):
                    break
                time.sleep(dice.random() * longest)
                kills += worker.kill()
            Worker(folder, runs, "released").finish()
            met += [found for found, hit in _looked(recordings, folder, runs, "released") if hit]
    return Crashes(tuple(met[:count]), kills)


def effects_of(recordings: Recordings, run: RecordedRun) -> int:
    """Return how many effects the run makes, and a rollback undoes: those that change nothing are among them."""
    return sum(call.tool in recordings.effects and call.error is None for call in run.calls)


def _batches(runs: Sequence[RecordedRun]) -> Iterator[Sequence[RecordedRun]]:
    for start in range(0, len(runs), BATCH):
        yield runs[start : start + BATCH]


def _looked(recordings: Recordings, folder: Path, runs: Sequence[RecordedRun], ends: Ends) -> list[tuple[Crashed, bool]]:
    """Look at what is there: for each run how it ended, and whether a kill met it (another worker took it over)."""
    rows = asyncio.run(_rows(folder / "journal.db", runs))
    image = template(recordings.start)
    looked = []
    for run in runs:
        status, epoch = rows[run.number]
        office = Office.in_file(folder / f"office-{run.number}.db", image)
        wanted = recordings.recorded_state(run) if ends == "released" else recordings.start
        equal = office.state() == wanted and status == ("completed" if ends == "released" else "failed")
        looked.append((Crashed(run, equal, _once(recordings, run, office, ends), status), epoch > 1))
        office.close()
    return looked


def _once(recordings: Recordings, run: RecordedRun, office: Office, ends: Ends) -> bool:
    """Say whether the office's own book has as many keys as effects and undos were to be made."""
    return len(office.times()) == effects_of(recordings, run) * (1 if ends == "released" else 2)


async def _rows(journal: Path, runs: Sequence[RecordedRun]) -> dict[int, tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    async with Supervisor(str(journal), work=False) as supervisor:
        for run in runs:
            row = await supervisor.row(run_id(run))
            found[run.number] = (row.status, row.epoch)
    return found
