"""The desk: what the recorded tools and the recorded model need of the world. One resource per process.

It holds the recordings, one office per run, and, where rules stand between agent and world, one guard per run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.replay.calls import Asked
from benchmarks.replay.guard import Directory, Guard, OfficeTables
from benchmarks.replay.office import Office, template
from benchmarks.replay.recording import RecordedCall, Recordings, State
from benchmarks.replay.request import Request
from benchmarks.replay.rules import Found

Moment = Callable[[int, str], Awaitable[None]]
"""Called with a run and a place ("call 2", "in call 2", "undo 0" …); crash tests hold or kill here."""


@dataclass
class Desk:
    """Everything the tools of one process share.

    `folder`: where offices live as files; in memory when None. `moment`: where crash tests step in.
    """

    recordings: Recordings
    folder: Path | None = None
    moment: Moment | None = None
    image: bytes = b""
    _offices: dict[int, Office] = field(default_factory=dict)
    _guards: dict[int, Guard] = field(default_factory=dict)
    _found: dict[int, dict[int, Found]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.image = self.image or template(self.recordings.start)
        self._directory = Directory.of(self.recordings.start)

    async def at(self, run: int, place: str) -> None:
        """Pass a place where a crash test may step in."""
        if self.moment is not None:
            await self.moment(run, place)

    def call(self, run: int, position: int) -> RecordedCall:
        """Return a recorded call."""
        return self.recordings.runs[run].calls[position]

    # -- offices ---------------------------------------------------------------------------------------------------------

    def office(self, run: int) -> Office:
        """Return the office of a run, opened when first asked for."""
        office = self._offices.get(run)
        if office is None:
            path = None if self.folder is None else self.folder / f"office-{run}.db"
            office = Office.in_memory(self.image) if path is None else Office.in_file(path, self.image)
            self._offices[run] = office
        return office

    def state(self, run: int) -> State:
        """Return the tables of a run as they are now."""
        if run not in self._offices and self.folder is None:
            return self.recordings.start
        office = self.office(run)
        return self.recordings.start if office.image() == self.image else office.state()

    def leave(self, run: int) -> None:
        """Close the office of a run that is over, and forget its guard."""
        office = self._offices.pop(run, None)
        if office is not None:
            office.close()
        self._guards.pop(run, None)
        self._found.pop(run, None)

    # -- guards ----------------------------------------------------------------------------------------------------------

    def guard(self, run: int) -> Guard:
        """Return the guard of a run."""
        guard = self._guards.get(run)
        if guard is None:
            request = Request(self.recordings.runs[run].task.request, self._directory.today, self._directory.first_names)
            guard = Guard(request, OfficeTables(self.office(run), self._directory))
            self._guards[run] = guard
        return guard

    def findings(self, run: int) -> dict[int, Found]:
        """Return what the rules said about the calls of a run, by position."""
        return self._found.get(run, {})

    def found(self, run: int, position: int) -> Found:
        """Return what the rules say about a change that is about to be made; asked once per call."""
        found = self._found.setdefault(run, {})
        if position not in found:
            call = self.call(run, position)
            # a call that the tool itself refuses (a wrong argument name) never gets as far as the rules
            found[position] = None if call.error is not None else self.guard(run).ask(Asked(call.tool, call.arguments))
        return found[position]
