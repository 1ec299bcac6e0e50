"""Playing: every recorded run as a supervised run, through the real supervisor on a real journal file.

A pass is one mode over many runs. What happened to each run comes out as a `Played`; figures are counted from those
alone. `seconds` is the time in which the supervisor had runs to drive; looking at the end states is not in it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.replay.crew import Crew, Mode, crew
from benchmarks.replay.desk import Desk
from benchmarks.replay.recording import Change, Outcome, RecordedRun, Recordings, State, difference
from benchmarks.replay.rules import Ask, Rejection
from chargehand import Approve, Failure, Person, Reject, Resource, Supervisor, Waiting

AT_ONCE = 64
"""Runs in flight at the same time."""

ENDS_WITHIN_SECONDS = 120

Approver = Callable[[Recordings, RecordedRun, int], bool]
"""Says yes or no to a call that waits for approval: the recordings, the run, the call's position."""


@dataclass(frozen=True, slots=True)
class Played:
    """How one run went.

    `refused`: the calls that were not made, as position, rule, and whether the recorded call changed something. `asked`
    counts approvals asked. `status` is the run's, `outcome` what the judge says of the tables.
    """

    run: RecordedRun
    status: str
    outcome: Outcome
    as_recorded: bool
    as_started: bool
    nothing_wrong: bool
    refused: tuple[tuple[int, str, bool], ...] = ()
    asked: int = 0


@dataclass
class Pass:
    """All runs of one mode."""

    mode: Mode
    played: list[Played] = field(default_factory=list)
    ended: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def runs_per_second(self) -> float:
        """Return supervised runs per second of driving."""
        return self.ended / self.seconds if self.seconds else 0.0


def always_yes(recordings: Recordings, run: RecordedRun, position: int) -> bool:
    """Approve whatever is asked: the most harm that approvals can let through."""
    return True


def perfect(recordings: Recordings, run: RecordedRun, position: int) -> bool:
    """Approve what the ground truth does too: no person is like this; it bounds what asking could bring."""
    wanted = recordings.wanted[run.task.number]
    return all(_is_wanted(change, wanted) for change in run.calls[position].changes)


def _is_wanted(change: Change, wanted: Any) -> bool:
    if change.field is not None:
        row = wanted.get((change.table, change.key))
        return row is not None and str(change.after).lower() in [str(value).lower() for value in row]
    if change.after is None:
        return (change.table, change.key) in wanted and wanted[change.table, change.key] is None
    new = [str(value).lower() for value in change.after[1:]]
    return any(row is not None and [str(v).lower() for v in row[1:]] == new for row in wanted.values())


class Player:
    """Plays runs of one mode on one journal.

    Args:
        recordings: what was recorded.
        journal: the journal's file.
        mode: how to play.
        ends: "released" plays to the end, "failed" makes each run fail after its last effect.
        approver: who decides about approvals.
        desk: the world of the runs; a fresh one in memory when None.
        looks: look at every end state. False only plays, to measure speed.
    """

    def __init__(
        self,
        recordings: Recordings,
        journal: Path,
        mode: Mode,
        *,
        ends: Literal["released", "failed"] = "released",
        approver: Approver = always_yes,
        desk: Desk | None = None,
        looks: bool = True,
    ) -> None:
        self.recordings, self.mode, self.approver = recordings, mode, approver
        self.desk = desk or Desk(recordings)
        self.crew: Crew = crew(recordings, self.desk, mode)
        self.workflow = self.crew.play if ends == "released" else self.crew.play_and_fail
        self.looking = 0.0
        self.looks = looks
        self._journal = journal
        self._asked: dict[int, int] = {}
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()

    def supervisor(self) -> Supervisor:
        """Return the supervisor; enter it to drive."""
        return Supervisor(
            str(self._journal),
            workflows=[self.crew.play, self.crew.play_and_fail],
            resources=[Resource(Desk, lambda: self.desk)],
            on_waiting=self._enters,
        )

    async def play(self, runs: Sequence[RecordedRun]) -> Pass:
        """Play runs and return how they went."""
        found = Pass(self.mode)
        waiting = iter(runs)
        started, cpu = time.perf_counter(), time.process_time()
        async with self.supervisor() as supervisor:

            async def lane() -> None:
                for run in waiting:
                    status = await self._one(supervisor, run)
                    found.ended += 1
                    if self.looks:
                        found.played.append(self._timed_look(run, status))
                    self.desk.leave(run.number)

            async with asyncio.TaskGroup() as group:
                people = group.create_task(self._people(supervisor))
                await asyncio.gather(*(group.create_task(lane()) for _ in range(AT_ONCE)))
                people.cancel()
            found.seconds = time.perf_counter() - started - self.looking
            found.cpu_seconds = time.process_time() - cpu - self.looking
        found.played.sort(key=lambda played: played.run.number)
        return found

    async def _one(self, supervisor: Supervisor, run: RecordedRun) -> str:
        view = await supervisor.start(self.workflow(run.number, run.task.request), id=run_id(run))
        try:
            await view.result(timeout=ENDS_WITHIN_SECONDS)
        except Failure:
            return "failed"
        except TimeoutError:
            row, waits = await view.row(), await supervisor.waiting(run_id=view.id)
            raise RuntimeError(f"Run {view.id} does not end: {row.status} {row.reason}, waits for {waits}") from None
        return "completed"

    def _timed_look(self, run: RecordedRun, status: str) -> Played:
        began = time.perf_counter()
        played = self._look(run, status)
        self.looking += time.perf_counter() - began
        return played

    def _look(self, run: RecordedRun, status: str) -> Played:
        state: State = self.desk.state(run.number)
        outcome: Outcome = "harmless"
        if state is not self.recordings.start or not self.recordings.wanted[run.task.number]:
            outcome = self.recordings.judge(run, state)
        if self.mode.whole and status == "failed" and outcome == "right":
            outcome = "harmless"  # what was asked for was nothing, yet the answer was not released
        refused = [
            (position, found.rule, bool(run.calls[position].changes))
            for position, found in self.desk.findings(run.number).items()
            if isinstance(found, Rejection) or (isinstance(found, Ask) and not self.approver(self.recordings, run, position))
        ]
        return Played(
            run=run,
            status=status,
            outcome=outcome,
            as_recorded=state == self.recordings.recorded_state(run),
            as_started=not difference(self.recordings.start, state),
            nothing_wrong=self.recordings.nothing_wrong(run, state),
            refused=tuple(sorted(refused)),
            asked=self._asked.get(run.number, 0),
        )

    # -- people ----------------------------------------------------------------------------------------------------------

    def _enters(self, what: str, entry: Waiting) -> None:
        if what == "entered":
            self._waiting.put_nowait(entry)

    async def _people(self, supervisor: Supervisor) -> None:
        """Play the people: decide about each approval as the approver would."""
        while True:
            entry = await self._waiting.get()
            if entry.kind != "approval":
                raise RuntimeError(f"{entry.run_id} waits for a person: {entry.kind}: {entry.title}: {dict(entry.shows)}")
            arguments = entry.shows["arguments"]
            run, position = self.recordings.runs[arguments["run"]], arguments["position"]
            self._asked[run.number] = self._asked.get(run.number, 0) + 1
            yes = self.approver(self.recordings, run, position)
            decision = Approve() if yes else Reject("Not what was asked for.")
            await supervisor.decide(entry, decision, by=PERSON, shown=entry.digest)


PERSON = Person("clerk", roles=["office"])


def run_id(run: RecordedRun) -> str:
    """Return the id of a supervised run."""
    return f"run-{run.number}"
