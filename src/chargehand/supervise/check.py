"""Checking a replay: would the code as it is now go on with a recorded run? Nothing is executed and nothing is written.

`Check` is a driver that never begins an operation: the workflow's own code runs against the record, by the very rules
of `run.py`, until it asks for something that is not recorded. A divergence does not end it, as it would end a driver: it
is noted, taken as accepted, and the replay goes on, so that one look shows them all.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from chargehand.core.trampoline import Ask, Stopping
from chargehand.durable import RunRow
from chargehand.errors import ChargehandError
from chargehand.events import Event
from chargehand.supervise.failing import is_failure
from chargehand.supervise.run import RunDriver
from chargehand.supervise.site import Site

Outcome = Literal["replays", "diverges", "breaks", "not replayed"]


@dataclass(frozen=True, slots=True)
class Divergence:
    """One place where code and record differ: the call's path, and both sides in words."""

    path: str
    recorded: str
    code: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay showed. `begins` are the paths that a driver would begin or go on with.

    `unreached` are recorded effects behind a call that is new: whether the code still asks for them can only be known once
    that call is made. A driver that does not find them parks the run, and makes no effect before that.
    """

    outcome: Outcome
    divergences: tuple[Divergence, ...] = ()
    begins: tuple[str, ...] = ()
    why: str = ""
    unreached: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    divergences: list[Divergence] = field(default_factory=list)

    def note(self, shows: dict[str, Any]) -> None:
        divergence = Divergence(str(shows["path"]), str(shows["recorded"]), str(shows["code"]))
        if divergence not in self.divergences:
            self.divergences.append(divergence)


class Check(RunDriver):
    """Replays one run in memory. Use it once, in a running event loop."""

    def __init__(self, site: Site, row: RunRow, events: list[Event]) -> None:
        super().__init__(site, row, events)
        self._found = _Found()

    def replay(self) -> Replayed:
        """Run the workflow's code against the record as far as that goes, and say what was found."""
        if self.history.ended is not None or self.history.rolling_back is not None:
            return Replayed("not replayed", why="its code is not resumed any more: it has ended or is being rolled back")
        self.history.parked = None
        try:
            self._start_workflow()
        except ChargehandError as error:
            return Replayed("diverges", (Divergence("", f"input {self.history.started.get('input')}", error.message),))
        try:
            while True:
                self._run_code()
                if not self._deliver_one():
                    break
                self._note()
            begins = self._look_at_held()
            return self._concluded(begins)
        finally:
            self.trampoline.unload()

    def _match(self, ask: Ask) -> None:
        """Hold an asked call against the record; note a divergence and go on as if it were accepted."""
        super()._match(ask)
        if not self._note():
            return
        if ask.kind == "diverged":
            self.trampoline.deliver(ask, True, None)
        else:
            self.history.accepted.add(ask.path)
            super()._match(ask)

    def _note(self) -> bool:
        if self._diverged is None:
            return False
        self._found.note(self._diverged)
        self._diverged = None
        return True

    def _look_at_held(self) -> tuple[str, ...]:
        """Note what must not be begun; return what would be."""
        begins: list[str] = []
        for ask in self._held:
            shows = self._diverges(ask)
            if shows is None:
                begins.append(ask.path)
            else:
                self._found.note(shows)
        return tuple(begins)

    def _concluded(self, begins: Sequence[str]) -> Replayed:
        ended = self.trampoline.root
        if ended is not None and ended.ended and not self.trampoline.branches and (lost := self.lost_at_end(ended)) is not None:
            self._found.note(lost)
        found = tuple(self._found.divergences)
        if found:
            return Replayed("diverges", found, tuple(begins))
        root = self.trampoline.root
        if root is not None and root.ended and not root.ok and not is_failure(root.value) and not isinstance(root.value, Stopping):
            shown = "".join(traceback.format_exception_only(root.value)).strip()
            return Replayed("breaks", (), tuple(begins), shown)
        unreached = self._lost_effects("") if begins else []
        return Replayed("replays", (), tuple(begins), unreached=tuple(unreached))
