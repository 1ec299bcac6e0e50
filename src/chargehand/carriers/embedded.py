"""The embedded carrier: keeps runs moving in this event loop, with the journal as the only thing shared with others.

It claims due runs, drives each as a task of this loop, tells drivers of their mail, takes over the runs of dead workers,
and lets idle runs leave memory. Several carriers, in one process or many, may share one journal.

Liveness never uses the wall clock: a thread beats for this worker as long as the loop ticks; others look at the lock of
this worker's file first, and at the beat second.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from chargehand.carriers.room import Room
from chargehand.core.trampoline import current_branch
from chargehand.durable import SUSPECT_CRASHES, Census, Claimed, RunRow, Suspects
from chargehand.errors import Fenced, JournalError
from chargehand.events import Event
from chargehand.supervise.call import current_body, current_host
from chargehand.supervise.log import loaded
from chargehand.supervise.run import RunDriver
from chargehand.supervise.site import Site, logger

QUIET_AFTER_LEASES = 10
"""After so long without a quiet moment a worker makes one, if a run may be waiting that must be driven alone."""

READ_AGAIN_SECONDS = 1.0
"""How long a worker that could not read its journal waits before it looks again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the carrier looks around, and how much it takes on. Times in seconds of the monotonic clock.

    `poll`: how long it waits at most before it looks for due runs and mail. `lease`: a worker whose loop has not ticked for so
    long stops beating. `silent_after`: when the runs of a worker that lives and does not beat are taken over. `keep_loaded`:
    how many runs stay in memory before those that only wait leave it. `claim_at_once`: how many runs it claims in one transaction.
    `drive_at_once`: with so many runs going on it claims no more.
    """

    poll: float = 0.05
    lease: float = 10.0
    silent_after: float = 60.0
    keep_loaded: int = 1000
    claim_at_once: int = 200
    drive_at_once: int = 1000


End = tuple[str, Event]
"""How a run ended: the name of its workflow, and its last event."""


class EmbeddedCarrier:
    """Drives the due runs of one site.

    Args:
        site: what the runs share.
        pace: how often to look around.
        left: called with a run's id when its driver has left it, and with the run's end if it has ended.
    """

    def __init__(self, site: Site, pace: Pace, left: Callable[[str, End | None], None]) -> None:
        self.site, self.pace = site, pace
        self._left = left
        self.room = Room(site)
        self._drivers: OrderedDict[int, RunDriver] = OrderedDict()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ids: set[str] = set()
        self._next: dict[int, Claimed] = {}
        self._wakeup = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._draining = False
        self._ticked = threading.Event()
        self._stop_beating = threading.Event()
        self._backoff: dict[int, float] = {}
        self._redrives: set[asyncio.Task[None]] = set()
        self._quiet_at = site.clock.monotonic()
        self._somebody_died = True
        self._dropped: list[asyncio.Task[None]] = []
        self._started: set[str] = set()
        self.only: set[str] | None = None
        """Ids of the runs that may be claimed; None for all. What this process starts, it drives all the same."""
        self.failed: dict[str, Exception] = {}
        """By run id: why a run could not be driven the last time. Empty when all is well."""

    async def start(self) -> None:
        """Become a worker. If the process dies later, others take its runs over."""
        self.site.worker = await self.site.journal.enlist(self._about())
        self._ticked.set()
        threading.Thread(target=self._beat, name="chargehand-beat", daemon=True).start()
        self._loop_task = asyncio.get_running_loop().create_task(self._carry())

    def _about(self) -> dict[str, Any]:
        """Return what others may know of this worker."""
        return {"pid": os.getpid(), "environment": self.site.environment, "workflows": sorted(self.site.workflows)}

    def _beat(self) -> None:
        """Beat as long as the loop has ticked within a lease: a process whose loop stands still must fall silent."""
        interval = self.pace.lease / 5
        missed = 0
        while not self._stop_beating.wait(interval):
            missed = 0 if self._ticked.is_set() else missed + 1
            self._ticked.clear()
            if missed <= 5:
                try:
                    self.site.journal.beat(self.site.worker)
                except JournalError as error:  # the next beat may come through; without any, others take the runs over
                    logger.error("worker %s cannot beat: %s", self.site.worker, error)

    async def carried(self) -> None:
        """Return when this carrier has stopped looking around; raise what stopped it."""
        if self._loop_task is not None:
            await asyncio.shield(self._loop_task)

    @property
    def quiet(self) -> bool:
        """Say whether no run of this carrier is doing anything but wait for time or people."""
        return self._tasks.keys() == self._drivers.keys() and all(driver.at_rest for driver in self._drivers.values())

    def in_flight(self) -> list[str]:
        """Return run and path of every call that is being made now: what a drain waits for."""
        return [f"{driver.row.id}/{path}" for driver in self._drivers.values() for path in driver.tasks if not driver.holds(path)]

    def dues(self, run: int) -> dict[str, float] | None:
        """Return what a run in memory waits for in time, by path; None when it is not in memory."""
        driver = self._drivers.get(run)
        return None if driver is None else dict(driver.dues)

    def mail_for(self, run: int | None = None) -> None:
        """Say that mail was left, for a run of this carrier or for anybody's."""
        driver = self._drivers.get(run) if run is not None else None
        if driver is not None:
            driver.mail_came()
        self._wakeup.set()

    def drives(self, id: str) -> bool:
        """Say whether this carrier drives a run now."""
        return id in self._ids

    def wants_place(self, row: RunRow) -> None:
        """Say that this process has started a run that is driven when there is a place for it."""
        if self.only is not None:
            self._started.add(row.id)
        self._wakeup.set()

    def might_take(self, workflow: str) -> bool:
        """Say whether a run of a workflow that is due would be taken."""
        return self.room.might_take(workflow, self._drivers.values())

    def drive(self, row: RunRow, events: list[Event] | None = None, *, silent_owner: str | None = None) -> None:
        """Drive a run that this worker owns."""
        self.room.entered(row)
        self._started.discard(row.id)
        context = contextvars.copy_context()
        for variable in (current_body, current_branch, current_host):
            context.run(variable.set, None)
        loop = asyncio.get_running_loop()
        self._ids.add(row.id)
        self._tasks[row.number] = loop.create_task(self._advance(row, events, silent_owner), name=f"run {row.id}", context=context)

    async def _advance(self, row: RunRow, events: list[Event] | None, silent_owner: str | None) -> None:
        try:
            if events is None:
                if self.site.journal.chain_key:  # with a key nothing is done on the word of who does not have it
                    await self.site.journal.verify(row.number)
                events = await loaded(self.site.journal, row.number)
            driver = RunDriver(self.site, row, events, silent_owner=silent_owner)
            self._drivers[row.number] = driver
            with nullcontext() if self.site.spans is None else self.site.spans.run(driver):
                await driver.advance()
            self._forget(row)
        except Fenced:
            logger.warning("run %s was taken over by another worker; this one drops it", row.id)
            self._forget(row)
        except JournalError as error:
            logger.error("run %s cannot be written: %s", row.id, error)
            self.failed[row.id] = error
            self._again_later(row)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logger.exception("run %s cannot be driven; it is left as it is and tried again later", row.id)
            self.failed[row.id] = error
            self._again_later(row)
        finally:
            left = self._drivers.pop(row.number, None)
            self._tasks.pop(row.number, None)
            self._ids.discard(row.id)
            if row.number not in self._backoff:  # else it is driven again, in its place
                self.room.left(row)
            claim = self._next.pop(row.number, None)
            if claim is not None and not self._draining:
                self.drive(claim.row, silent_owner=claim.before if claim.after == "silent" else None)
            end = left.history.ended if left is not None else None
            self._left(row.id, None if end is None else (row.workflow, end))
            self._wakeup.set()

    def _forget(self, row: RunRow) -> None:
        """Keep nothing of earlier failures to drive a run."""
        self._backoff.pop(row.number, None)
        self.failed.pop(row.id, None)

    def _again_later(self, row: RunRow) -> None:
        """Drive a run again after a pause that grows: the journal or the engine refused it."""
        pause = min(60.0, self._backoff.get(row.number, 0.5) * 2)
        self._backoff[row.number] = pause
        if self._draining:
            return
        asyncio.get_running_loop().call_later(pause, self._begin_redrive, row)

    def _begin_redrive(self, row: RunRow) -> None:
        self._in_background(self._redrive(row))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._redrives.add(task)
        task.add_done_callback(self._redrives.discard)

    async def _redrive(self, row: RunRow) -> None:
        if self._draining or row.number in self._tasks:
            return
        try:
            fresh = await self.site.journal.run(row.id)
        except JournalError as error:
            logger.error("run %s cannot be read: %s", row.id, error)
            self._again_later(row)
            return
        if fresh is not None and fresh.owner == self.site.worker and fresh.epoch == row.epoch:
            self.drive(fresh)
        else:
            self._forget(row)
            self.room.left(row)

    # -- looking around ----------

    async def _carry(self) -> None:
        census_at = 0.0
        census = Census(frozenset(), frozenset())
        while not self._draining:
            self._ticked.set()
            try:
                now = self.site.clock.monotonic()
                if now >= census_at:
                    census = await self.site.journal.census(self.pace.silent_after)
                    await self._watch_silent_owners()
                    census_at = now + self.pace.lease / 5
                await self._look_around(census)
            except JournalError as error:
                logger.error("the journal cannot be read: %s", error)
                await asyncio.sleep(READ_AGAIN_SECONDS)
            self._evict()
            await self._pause()

    async def _watch_silent_owners(self) -> None:
        """Tell drivers when the silent process that had their run before is dead. One that wakes up ends no doubt."""
        watching = [driver for driver in self._drivers.values() if driver.silent_owner is not None]
        if watching:
            living = {worker.id for worker in await self.site.journal.workers()}
            for driver in watching:
                if driver.silent_owner not in living:
                    driver.silent_owner_gone()

    async def _look_around(self, census: Census) -> None:
        """Claim what is due and hand out mail."""
        journal = self.site.journal
        if journal.changed() or self._wakeup.is_set():
            for number in await journal.mailed(self.site.worker):
                driver = self._drivers.get(number)
                if driver is not None:
                    driver.mail_came()
        self._wakeup.clear()
        if self.only is not None and not self.only | self._started:
            return
        active = [driver for driver in self._drivers.values() if not driver.idle]
        loading = len(self._tasks) > len(self._drivers)
        room = self.pace.drive_at_once - len(active)
        if room <= 0 or any(driver.row.crashes >= SUSPECT_CRASHES and not driver.log.advanced for driver in active):
            return
        self._somebody_died = self._somebody_died or bool(census.gone or census.silent)
        suspects = self._suspects(bool(active) or loading)
        if suspects is None:
            return
        alone = await self._claim(min(room, self.pace.claim_at_once), census, suspects)
        if suspects == "one alone" and not alone:
            self._somebody_died = False
        for driver in await self.room.asked_to_leave(self._drivers.values(), census):
            driver.stop()

    async def _claim(self, limit: int, census: Census, suspects: Suspects) -> bool:
        """Claim what is due and has a place, and drive it. Says whether it was a suspect, which is driven alone."""
        taken = 0
        for workflows, places in self.room.groups(limit):
            claimed = await self.site.journal.claim(
                self.site.worker,
                workflows=workflows,
                environment=self.site.environment,
                now=self.site.clock.now(),
                limit=min(places, limit - taken),
                census=census,
                only=() if self.only is None else self.only | self._started,
                suspects="left" if taken and suspects == "one alone" else suspects,
            )
            for claim in claimed:
                self._take_up(claim)
            taken += len(claimed)
            if any(claim.row.crashes >= SUSPECT_CRASHES for claim in claimed):
                return True
            if taken >= limit:
                break
        return False

    def _take_up(self, claim: Claimed) -> None:
        """Drive a claimed run, unless it has to wait for its turn."""
        row = claim.row
        if row.number in self._tasks:
            self._next[row.number] = claim  # its last driver is not gone yet
            old = self._drivers.get(row.number)
            if old is None or old.row.epoch < row.epoch - 1:
                self._tasks[row.number].cancel()  # it lost the run to somebody who lost it too, and does not know it
        elif self.room.begins(row):
            self.drive(row, silent_owner=claim.before if claim.after == "silent" else None)
        else:
            self._in_background(self._begin_later(claim))

    async def _begin_later(self, claim: Claimed) -> None:
        """Leave a run to be claimed again when its turn comes, or wait for its turn here."""
        row = claim.row
        try:
            if await self.room.is_cancelled(row):
                self.drive(row)
            elif await self.room.turn(row):
                if self.room.places(row.workflow) != 0:
                    self._take_up(claim)
                    return
                await self.room.leave(row, 0.0)
            self._wakeup.set()
        except JournalError as error:
            logger.error("run %s cannot be left for later: %s", row.id, error)
            self._again_later(row)

    def _suspects(self, busy: bool) -> Suspects | None:
        """Say how to claim now: runs that may kill their worker only when nothing is driven beside them.

        A worker that is never quiet claims nothing for a while (None) when some worker has died since its last quiet moment,
        so that a suspect gets its turn all the same.
        """
        now = self.site.clock.monotonic()
        if not busy:
            self._quiet_at = now
            return "one alone"
        overdue = self._somebody_died and now - self._quiet_at > QUIET_AFTER_LEASES * self.pace.lease
        return None if overdue else "left"

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wakeup.wait(), self.pace.poll)
        except TimeoutError:
            return

    def _evict(self) -> None:
        """Let the runs that have waited longest leave memory when more are loaded than wanted."""
        surplus = len(self._drivers) - self.pace.keep_loaded
        if surplus <= 0:
            return
        for driver in list(self._drivers.values()):
            if surplus <= 0:
                return
            if driver.evictable:
                driver.stop()
                surplus -= 1

    def unload(self) -> None:
        """Have every run that only waits leave memory now."""
        for driver in list(self._drivers.values()):
            if driver.evictable:
                driver.stop()

    # -- leaving ----------

    def drop(self) -> None:
        """Stop as if the process had died (tests): nothing is claimed, beaten or driven any more, the journal stays as it is."""
        self._draining = True
        self._stop_beating.set()
        self._dropped = [task for task in [self._loop_task, *self._redrives, *self._tasks.values()] if task is not None]
        for task in self._dropped:
            task.cancel()

    async def dropped(self) -> None:
        """Return when what `drop` stopped has ended."""
        await asyncio.gather(*self._dropped, return_exceptions=True)

    async def drain(self, grace: float = 30.0) -> None:
        """Claim nothing more, let calls in flight settle, leave every run, and stop being a worker."""
        self._draining = True
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.wait({self._loop_task})
        for task in self._redrives:
            task.cancel()
        for driver in list(self._drivers.values()):
            driver.stop()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        await self.site.dispatched()  # whoever takes over may ask whether it happened only when nothing is being sent
        self._stop_beating.set()
        if self.site.worker:
            await self.site.journal.dismiss(self.site.worker)
