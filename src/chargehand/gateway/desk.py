"""The desk: what clients wait for in this process, and what has become of the replies they were given.

A session is a run; what a client asks goes to it as a signal, what it answers comes back here. What became of replies is told to the
run with the next signal: it decides by that which call is which.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chargehand.durable import FINAL_STATUSES, RunRow, Waiting
from chargehand.errors import RunConflict, UnknownRun
from chargehand.gateway.book import Answer, Placed, Said
from chargehand.gateway.conversation import SIGNAL, Opened, call_at
from chargehand.gateway.settings import McpTable
from chargehand.supervise.definitions import WorkflowDefinition
from chargehand.supervisor import Supervisor

LOOK_SECONDS = 1.0
"""How often somebody who waits for an answer looks whether the run can still give one."""
FOREIGN_LOOKS_MAX = 5
"""So often it looks whether another process still drives the run, which may be about to leave it."""
SESSIONS_MAX = 1000
"""So many runs a named session may have had; one that ended is followed by another."""


@dataclass(eq=False, slots=True)
class Request:
    """One request of a client whose reply is owed."""

    id: str
    number: int | None = None
    joined: bool = False
    answer: Answer | None = None
    entry: Waiting | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Conversation:
    """One session in this process: the requests that wait, and the marks of those that were answered."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.lock = asyncio.Lock()
        self.ready = False
        self.requests: dict[str, Request] = {}
        self.entries: dict[int, Waiting] = {}
        self._marks: dict[str, list[str]] = {"written": [], "delivered": [], "lost": []}

    # -- what the run tells ----------

    def placed(self, request: str, placed: Placed) -> None:
        """Hear which call a request belongs to."""
        waits = self.requests.get(request)
        if waits is None:
            return
        waits.number, waits.joined, waits.entry = placed.number, not placed.new, self.entries.get(placed.number)
        waits.answer = placed.answer or waits.answer
        waits.changed.set()

    def answered(self, number: int, answer: Answer) -> None:
        """Hear what a call gave."""
        self.entries.pop(number, None)
        for waits in self.requests.values():
            if waits.number == number:
                waits.answer = answer
                waits.changed.set()

    def entered(self, entry: Waiting) -> None:
        """Hear that a call waits for a person."""
        number = call_at(entry.path)
        if number is None:
            return
        self.entries[number] = entry
        for waits in self.requests.values():
            if waits.number == number:
                waits.entry = entry
                waits.changed.set()

    def left(self, entry: Waiting) -> None:
        """Hear that somebody has decided."""
        number = call_at(entry.path)
        if number is not None and (known := self.entries.get(number)) is not None and known.id == entry.id:
            del self.entries[number]
            for waits in self.requests.values():
                if waits.number == number:
                    waits.entry = None
                    waits.changed.set()

    # -- what became of replies ----------

    def mark(self, what: str, request: str) -> None:
        """Note that a reply was written, delivered or lost; the run hears of it with what is said to it next."""
        self._marks[what].append(request)

    def marks(self) -> dict[str, list[str]]:
        """Return what is noted, and begin anew."""
        taken, self._marks = self._marks, {what: [] for what in self._marks}
        return taken

    @property
    def marked(self) -> bool:
        """Say whether something is noted that the run has not heard."""
        return any(self._marks.values())


class Desk:
    """All sessions of this process.

    Args:
        gateway: the name of this process.
        table: what the configuration says.
    """

    def __init__(self, gateway: str, table: McpTable) -> None:
        self.gateway, self.table = gateway, table
        self.conversations: dict[str, Conversation] = {}
        self._count = 0

    def conversation(self, run_id: str) -> Conversation:
        """Return the session of a run."""
        return self.conversations.setdefault(run_id, Conversation(run_id))

    def waiting_changed(self, what: str, entry: Waiting) -> None:
        """Hear from the engine that something waits for a person, or does so no longer."""
        talk = self.conversations.get(entry.run_id)
        if talk is not None:
            talk.entered(entry) if what == "entered" else talk.left(entry)

    async def open(
        self, supervisor: Supervisor, session: WorkflowDefinition[..., Any], id: str, client: str, *, follow: bool = False
    ) -> Conversation:
        """Return the session of this id, its run begun. Raises `RunConflict` when the run is none of ours, `UnknownRun` when it has ended.

        Args:
            follow: of a session that has ended, begin the next instead.
        """
        for n in range(1, SESSIONS_MAX):
            talk = self.conversation(_numbered(id, n))
            async with talk.lock:
                driven = supervisor.carrier is not None and supervisor.carrier.drives(talk.run_id)
                if (talk.ready and driven) or await self._begin(supervisor, session, talk, client):
                    talk.ready = True
                    return talk
            if not follow:
                break
        raise UnknownRun(f"The session {id!r} has ended: it was idle, cancelled or closed. Begin another.")

    async def _begin(self, supervisor: Supervisor, session: WorkflowDefinition[..., Any], talk: Conversation, client: str) -> bool:
        """Begin the run of a session, or find it. Says whether it can go on."""
        row = await supervisor.journal.run(talk.run_id)
        _claim(supervisor, talk.run_id)
        if row is None:
            opened = Opened(session=talk.run_id, idle=self.table.idle)
            await supervisor.start(session(opened), talk.run_id, tags={"mcp": self.table.name}, by=f"mcp:{client}")
            return True
        if row.workflow != session.full_name or row.environment != supervisor.environment:
            raise RunConflict(f"{talk.run_id!r} is a run of {row.workflow} in {row.environment}, and no session of this gateway.")
        for entry in await supervisor.waiting(run_id=talk.run_id):
            talk.entered(entry)
        return row.status not in FINAL_STATUSES

    async def take_up(self, supervisor: Supervisor, id: str) -> None:
        """Have the run of a session go on that an earlier process left: what it had in flight is recovered before anybody asks."""
        for n in range(1, SESSIONS_MAX):
            row = await supervisor.journal.run(_numbered(id, n))
            if row is None:
                return
            if row.status not in FINAL_STATUSES:
                _claim(supervisor, row.id)

    @contextmanager
    def request(self, talk: Conversation) -> Iterator[Request]:
        """Give a request of a client that is owed a reply; when it is cancelled, its reply is lost."""
        self._count += 1
        waits = Request(f"{self.gateway}:{self._count}")
        talk.requests[waits.id] = waits
        try:
            yield waits
        except BaseException:
            talk.mark("lost", waits.id)
            raise
        finally:
            del talk.requests[waits.id]

    async def say(self, supervisor: Supervisor, talk: Conversation, **what: Any) -> None:
        """Say something to a session's run, and what became of replies with it; returns when it is on disk."""
        table = self.table
        known = {"gateway": self.gateway, "at": time.time(), "window": table.window, "idle": table.idle}
        said = Said.model_validate(known | talk.marks() | what)
        await supervisor.signal(talk.run_id, SIGNAL, said.model_dump(mode="json", exclude_defaults=True))

    async def close(self, supervisor: Supervisor) -> None:
        """Say to every run what became of the last replies."""
        for talk in self.conversations.values():
            if talk.ready and talk.marked:
                await self.say(supervisor, talk, kind="replies")


def _numbered(id: str, n: int) -> str:
    """Return the id of the n-th run of a session."""
    return id if n == 1 else f"{id}.{n}"


def _claim(supervisor: Supervisor, id: str) -> None:
    """Let this process drive a run."""
    carrier = supervisor.carrier
    if carrier is not None and carrier.only is not None:
        carrier.only.add(id)
        carrier.mail_for()


async def changed(supervisor: Supervisor, talk: Conversation, waits: Request) -> RunRow | None:
    """Return when something has changed for a request; with the run's row when it can give no answer here any more."""
    foreign = 0
    while not waits.changed.is_set():
        try:
            await asyncio.wait_for(waits.changed.wait(), LOOK_SECONDS)
        except TimeoutError:
            row = await supervisor.row(talk.run_id)
            foreign = foreign + 1 if row.owner not in (None, supervisor.site.worker) else 0
            if row.status in FINAL_STATUSES or row.reason in ("broken", "diverged", "poison") or foreign > FOREIGN_LOOKS_MAX:
                talk.ready = False
                return row
    waits.changed.clear()
    return None
