"""A worker process of the crash passes: starts runs, drives them, and holds still where the plan says.

    python -m benchmarks.replay.worker --folder F --runs 3,17 --ends failed --hold 3:0:undo,17:1:undone --think 0.002

It writes a line ``started`` when all runs are on disk, ``held`` when every run of the plan stands at its place, and ends
when all runs have ended or wait for a person. Started again with the same folder it goes on with what is there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.replay import recording
from benchmarks.replay.crew import Mode
from benchmarks.replay.desk import Desk
from benchmarks.replay.play import Player, run_id
from chargehand import Failure

WAITS_SECONDS = 60
"""How long a run may take. One that waits for a person is left as it is, and the parent sees it."""


@dataclass
class Holds:
    """Where runs hold still for ever, and how long a step takes otherwise.

    `plan`: for a run, the how-manyth undo and whether before ("undo") or after ("undone") its change.
    """

    plan: dict[int, tuple[int, str]]
    think: float
    seen: Counter[tuple[int, str]] = field(default_factory=Counter)
    held: set[int] = field(default_factory=set)

    async def __call__(self, run: int, place: str) -> None:
        """Pass a place."""
        if self.think:
            await asyncio.sleep(random.random() * 2 * self.think)
        number = self.seen[run, place]
        self.seen[run, place] += 1
        if self.plan.get(run) == (number, place):
            self.held.add(run)
            if len(self.held) == len(self.plan):
                say("held")
            await asyncio.Event().wait()


def say(word: str) -> None:
    """Tell the parent."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def work(folder: Path, numbers: list[int], ends: str, holds: Holds) -> None:
    """Drive the runs to their ends. If the process dies inside, the next worker goes on from the last commit."""
    path = recording.folder()
    if path is None:
        raise SystemExit("The recordings are not there.")
    recordings = recording.load(path)
    desk = Desk(recordings, folder=folder, moment=holds)
    player = Player(recordings, folder / "journal.db", Mode(repeat="each"), desk=desk)
    workflow = player.crew.play if ends == "released" else player.crew.play_and_fail
    async with player.supervisor() as supervisor:
        runs = [recordings.runs[number] for number in numbers]
        views = await supervisor.start_many([(workflow(run.number, run.task.request), run_id(run)) for run in runs])
        say("started")
        for view in views:
            with contextlib.suppress(Failure, TimeoutError):
                await view.result(timeout=WAITS_SECONDS)


def main() -> None:
    """Run a worker."""
    parser = argparse.ArgumentParser(description="A worker of the crash passes.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--runs", required=True)
    parser.add_argument("--ends", choices=("released", "failed"), required=True)
    parser.add_argument("--hold", default="")
    parser.add_argument("--think", type=float, default=0.0)
    options = parser.parse_args()
    plan = {}
    for entry in filter(None, options.hold.split(",")):
        run, number, place = entry.split(":")
        plan[int(run)] = (int(number), place)
    numbers = [int(number) for number in options.runs.split(",")]
    asyncio.run(work(options.folder, numbers, options.ends, Holds(plan, options.think)))


if __name__ == "__main__":
    main()
