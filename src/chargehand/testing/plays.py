"""Plays: what people do in a test, said beforehand or as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

from chargehand.durable import Waiting
from chargehand.supervise.approvals import Person
from chargehand.supervise.decisions import Decision


@dataclass(eq=False)
class Play:
    """One thing that a person will decide. Await it to have it decided; or go on, and it is decided when its entry appears.

    `which` is the kind, path, tool or id of the entry; `run` a run's id; `times` how many entries it decides.
    """

    which: str
    decision: Decision
    run: str | None
    by: Person | None
    shown: str | None
    times: int
    until: Callable[[Callable[[], bool], str], Coroutine[Any, Any, None]]
    decided: list[Waiting] = field(default_factory=list)
    refused: Exception | None = None

    @property
    def done(self) -> bool:
        """Say whether everything of it is decided, or was refused."""
        return self.refused is not None or len(self.decided) >= self.times

    def fits(self, entry: Waiting) -> bool:
        """Say whether this play decides that entry. A play votes once on each."""
        if self.done or (self.run is not None and entry.run_id != self.run) or any(seen.id == entry.id for seen in self.decided):
            return False
        tool = str(entry.shows.get("tool", "")).rpartition(".")[2]
        return self.which in (entry.kind, entry.path, entry.id, tool, "*")

    def person_for(self, entry: Waiting) -> Person:
        """Return who decides: as asked, else somebody of the role that the entry wants."""
        return self.by if self.by is not None else Person("tester", () if entry.role is None else entry.role)

    def __await__(self) -> Generator[Any, Any, list[Waiting]]:
        return self._played().__await__()

    async def _played(self) -> list[Waiting]:
        await self.until(lambda: self.done, repr(self))
        if self.refused is not None:
            raise self.refused
        await asyncio.sleep(0)
        return self.decided

    def __repr__(self) -> str:
        return f"the decision {self.decision.name!r} on {self.which!r}"
