"""Simulated processes: workers that live, stand still, leave and die, each with a view of one journal in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from random import Random
from typing import Any

from chargehand import Pace, Resource, Supervisor
from chargehand.carriers.embedded import EmbeddedCarrier
from chargehand.durable import Census, Claimed, Clock, Commit, Created, KeyRow, Mail, NewMail, NewRun, RunRow, Waiting, Worker
from chargehand.errors import JournalError
from chargehand.events import Record
from chargehand.journals.memory import MemoryJournal

from .faults import Death, Faults
from .loop import Place, SeededLoop, SimulatedClock
from .programs import WORKFLOWS
from .services import Services

logging.getLogger("chargehand").setLevel(logging.CRITICAL + 1)

WORK_SECONDS = 600.0
"""How long a transactional effect may take here."""


class Watcher:
    """What is told of everything that happens at the journal. The reference models are one."""

    def created(self, runs: Sequence[NewRun], owner: str | None, made: Sequence[Created]) -> None:
        """Runs were created."""

    def posted(self, mail: Sequence[NewMail], ids: Sequence[int]) -> None:
        """Mail was left."""

    def claimed(self, owner: str, claims: Sequence[Claimed], now: float, census: Census) -> None:
        """Runs were taken over."""

    def appending(self, commit: Commit) -> None:
        """A commit arrives at the journal."""

    def appended(self, commit: Commit, records: Sequence[Record]) -> None:
        """A commit was carried out."""

    def refused(self, commit: Commit, error: BaseException) -> None:
        """A commit was refused."""

    def answered(self, place: Place, commit: Commit, records: Sequence[Record]) -> None:
        """A process knows that its commit was carried out."""

    def dismissed(self, owner: str) -> None:
        """A worker left in good order."""


class Stage:
    """What the processes of one seed share."""

    def __init__(self, loop: SeededLoop, dice: Random, faults: Faults, services: Services) -> None:
        self.loop, self.dice, self.faults, self.services = loop, dice, faults, services
        self.clock = SimulatedClock(loop)
        self.journal: Any = self._journal()
        self.watcher = Watcher()
        self.healed = False
        self.points = 0
        self.appends = 0
        self.processes: list[Process] = []
        self.frozen_there: list[Process] = []
        self.told: Callable[[str], None] = lambda line: None
        loop.rested = self._rested

    # -- the journal that all of them share ----------

    def _journal(self) -> Any:
        return MemoryJournal(self.clock, work_seconds=WORK_SECONDS)

    def view(self, process: Process | None) -> Any:
        """Return one process's view of the journal; the office is nobody's."""
        return SimulatedJournal(self, process)

    def begin(self, process: Process) -> Coroutine[Any, Any, None]:
        """Return what a process begins with."""
        return process.carrier.start()

    def row(self, number: int) -> RunRow:
        """Return a run's row."""
        row: RunRow = self.journal._store.runs[number].row
        return row

    def tables(self) -> Any:
        """Return what may be asked for the tables of transactional effects."""
        return self.journal._store.tables

    def business_keys(self) -> list[KeyRow]:
        """Return every business key."""
        return list(self.journal._store.keys.values())

    def contents(self) -> Iterator[str]:
        """Yield everything that is in the journal."""
        store = self.journal._store
        for run in store.runs.values():
            yield repr(run.row)
            for event in run.events:
                yield repr(event.record)
        for part in (store.chain, store.keys, store.mail, store.waiting):
            yield repr(part)

    def vanish(self, worker: str) -> None:
        """Have a worker be gone, as by SIGKILL."""
        self.journal.vanish(worker)

    def over(self) -> None:
        """Let go of what was opened: the seed is over."""

    # -- faults ----------

    def point(self, process: Process | None, name: str, path: str) -> None:
        """Pass a point at which the process may die, or after which it may stand still. The office (None) does neither."""
        if process is not None and process.place.dead:
            raise Death
        if process is not None and name == "before intent":
            self.services.limits.begins(process.place, path)
        if self.healed or process is None:
            return
        self.points += 1
        freeze = self.faults.freezes.get(self.points)
        if self.faults.freeze_at is not None and self.faults.freeze_at[0] == name and process not in self.frozen_there:
            self.frozen_there.append(process)
            freeze = self.faults.freeze_at[1]
        if freeze is not None and not process.place.frozen:
            process.place.wants_freeze = True
            process.freeze_for = freeze
        if self.points in self.faults.deaths:
            self.told(f"{process.place.name} dies {name} {path}")
            process.die()
            raise Death

    def _rested(self, place: Place) -> None:
        """A place waits for the outside only: now it may be stopped (a handle that is ready would already be running)."""
        if place.wants_freeze and not place.dead:
            place.wants_freeze = False
            place.frozen = True
            process = next(process for process in self.processes if process.place is place)
            self.told(f"{place.name} stands still for {process.freeze_for:g} s")
            self.loop.world.spawn(self._thaw(place, process.freeze_for))

    async def _thaw(self, place: Place, seconds: float) -> None:
        end = self.loop.time() + seconds
        while self.loop.time() < end and not self.healed:
            await asyncio.sleep(min(5.0, max(end - self.loop.time(), 0.001)))
        place.frozen = False
        if not place.dead:
            self.told(f"{place.name} goes on")

    @property
    def living(self) -> list[Process]:
        """The processes that have not died or left."""
        return [process for process in self.processes if not process.place.dead and not process.left]


class Travelling:
    """What one process sees of a journal: answers take time, appends may be refused, the dead are not answered.

    Put before a journal among the bases of a class. `_tells`: the watcher is told here of what the journal has done.
    """

    _stage: Stage
    _process: Process | None
    _tells = True

    async def _travel(self) -> None:
        stage = self._stage
        if not stage.healed and stage.dice.random() < stage.faults.latency:
            await asyncio.sleep(stage.dice.choice((0.0, 0.0, 0.002, 0.1)))

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Carry out a commit."""
        stage, process = self._stage, self._process
        assert process is not None, "the office appends nothing"
        named = "+".join(record.type for record in commit.records) or "row"
        await self._travel()
        stage.point(process, "before commit", named)
        stage.appends += 1
        refusal = None if stage.healed else stage.faults.refusals.get(stage.appends)
        if refusal == "before":
            stage.told(f"{process.place.name}: the journal refuses {named}")
            raise JournalError("No room for the journal.")
        records = await self._carried_out(commit)
        if refusal == "lost":
            stage.told(f"{process.place.name}: the answer to {named} is lost")
            raise JournalError("The answer is lost.")
        if not stage.healed and (late := stage.faults.late_answers.get(stage.appends)) is not None:
            stage.told(f"{process.place.name}: the answer to {named} takes {late:g} s")
            await asyncio.sleep(late)
        stage.point(process, "after commit", named)
        await self._travel()
        stage.watcher.answered(process.place, commit, records)
        return records

    async def _carried_out(self, commit: Commit) -> Sequence[Record]:
        records: Sequence[Record] = await super().append(commit)  # type: ignore[misc]
        return records

    async def create(self, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
        """Create runs."""
        await self._travel()
        made = await super().create(runs, owner)
        if self._tells:
            self._stage.watcher.created(runs, owner, made)
        self._stage.point(self._process, "after create", "")
        await self._travel()
        return made

    async def post(self, mail: Sequence[NewMail]) -> list[int]:
        """Leave mail."""
        await self._travel()
        ids = await super().post(mail)
        if self._tells:
            self._stage.watcher.posted(mail, ids)
        await self._travel()
        return ids

    async def claim(self, owner: str, *, now: float, census: Census, **which: Any) -> list[Claimed]:
        """Claim runs."""
        await self._travel()
        claims = await super().claim(owner, now=now, census=census, **which)
        if self._tells:
            self._stage.watcher.claimed(owner, claims, now, census)
        if claims:
            self._stage.point(self._process, "after claim", "")
        await self._travel()
        return claims

    async def still_mine(self, run: int, epoch: int) -> bool:
        """Say whether the run's row still has this epoch."""
        await self._travel()
        mine = await super().still_mine(run, epoch)
        self._stage.point(self._process, "after still mine", "")
        await self._travel()
        return mine

    async def load(self, run: int, after: int = 0, limit: int | None = None) -> list[Record]:
        """Return events."""
        await self._travel()
        return await super().load(run, after, limit)

    async def mail(self, runs: Collection[int]) -> list[Mail]:
        """Return mail."""
        await self._travel()
        mail = await super().mail(runs)
        await self._travel()
        return mail

    async def entry(self, id: str) -> Waiting | None:
        """Return one entry."""
        await self._travel()
        return await super().entry(id)

    async def run(self, id: str) -> RunRow | None:
        """Return a row."""
        await self._travel()
        return await super().run(id)

    async def key(self, environment: str, tool: str, key: str) -> KeyRow | None:
        """Return who holds a business key."""
        await self._travel()
        row = await super().key(environment, tool, key)
        await self._travel()
        return row

    async def workers(self) -> list[Worker]:
        """Return the workers that live."""
        await self._travel()
        return await super().workers()

    async def census(self, silent_after: float) -> Census:
        """Count the workers."""
        census = await super().census(silent_after)
        await self._travel()
        return census

    async def dismiss(self, owner: str) -> None:
        """Withdraw the worker."""
        await self._travel()
        await super().dismiss(owner)
        if self._tells:
            self._stage.watcher.dismissed(owner)


class SimulatedJournal(Travelling, MemoryJournal):
    """One process's view of the journal in memory."""

    def __init__(self, stage: Stage, process: Process | None) -> None:
        super().__init__(stage.clock, beside=stage.journal, work_seconds=WORK_SECONDS)
        self._stage, self._process = stage, process

    async def _carried_out(self, commit: Commit) -> Sequence[Record]:
        watcher = self._stage.watcher
        watcher.appending(commit)
        try:
            records = await super()._carried_out(commit)
        except BaseException as error:
            watcher.refused(commit, error)
            raise
        watcher.appended(commit, records)
        return records


class SimulatedCarrier(EmbeddedCarrier):
    """The embedded carrier, whose beat is a task of its loop instead of a thread."""

    async def start(self) -> None:
        """Become a worker."""
        self.site.worker = await self.site.journal.enlist(self._about())
        self._ticked.set()
        loop = asyncio.get_running_loop()
        self._beating = loop.create_task(self._beats())
        self._loop_task = loop.create_task(self._carry())

    def _about(self) -> dict[str, Any]:
        return {"environment": self.site.environment}

    async def _beats(self) -> None:
        while not self._stop_beating.is_set():
            await asyncio.sleep(self.pace.lease)  # seldom enough to be cheap, often enough to be heard
            if self._stop_beating.is_set():
                return
            self.site.journal.beat(self.site.worker)


class Process:
    """One simulated process with a supervisor that works."""

    def __init__(self, stage: Stage, number: int) -> None:
        self.stage = stage
        self.place = Place(f"w{number}")
        self.left = False
        self.freeze_for = 0.0
        faults = stage.faults
        self.supervisor = supervisor_of(stage, stage.view(self), stage.clock)
        pace = Pace(poll=faults.poll, lease=10.0, silent_after=60.0, keep_loaded=faults.keep_loaded)
        self.supervisor.site.silent_after = pace.silent_after - pace.lease
        self.supervisor.site.crash_point = lambda point, path: stage.point(self, point, path)
        self.supervisor.carrier = self.carrier = SimulatedCarrier(self.supervisor.site, pace, self.supervisor._left)
        stage.processes.append(self)

    def start(self) -> None:
        """Begin to work."""
        self.place.spawn(self.stage.begin(self))

    def die(self) -> None:
        """End as by SIGKILL: nothing of it runs any more, and what it had sent arrives now or never."""
        self.stage.loop.kill(self.place)
        self.stage.services.cut_off(self.place)
        if self.supervisor.site.worker:
            self.stage.vanish(self.supervisor.site.worker)

    async def leave(self) -> None:
        """Leave in good order."""
        await self.supervisor.close(grace=60.0)
        self.left = True


def supervisor_of(stage: Stage, journal: Any, clock: Clock) -> Supervisor:
    """Return a supervisor that does not work."""
    resources: Sequence[Resource[Any]] = [Resource(Services, lambda: stage.services)]
    return Supervisor("memory:", WORKFLOWS, work=False, clock=clock, journal=journal, resources=resources)


__all__ = ["Process", "SimulatedCarrier", "SimulatedJournal", "Stage", "Travelling", "Watcher", "supervisor_of"]
