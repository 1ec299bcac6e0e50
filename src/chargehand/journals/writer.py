"""The one writer of a SQLite journal: many callers, few transactions.

The rules:

1. Callers hand in jobs on the event loop. At the end of the loop's tick everything handed in during it becomes one
   group, and a group becomes one transaction: one fsync for all. What comes in while the thread works forms the next.
2. While only one run is active, its commits are carried out on the loop itself, and most of them at once: a change of
   threads or a tick of the loop would cost more than it saves. A caller that is answered at once does not let the loop
   turn, so after `STRAIGHT` such commits one waits for the tick. A second run, a job that may take long, a turn that is
   not free or a file that is busy move the work to the writer's thread.
3. A caller is answered after COMMIT, never before; all callers of a group are woken by one call into the loop.
4. A job is refused alone. The usual refusals come before a job writes (`BEFORE_WRITING`), or the job asks for a
   savepoint. When a job breaks otherwise, the transaction is rolled back and the group is carried out once more, with a
   savepoint around each job: that one is refused, the others stand. A fault of the world (no room, a damaged or locked
   file, COMMIT itself) is everybody's.
5. A job that is `alone` (it lets foreign code into the transaction, or is long) has a transaction of its own.

If the process dies inside, every transaction of a group is either on disk whole or not at all, and no caller of one
that is not on disk has been answered.

Alternatives rejected: a savepoint around every job (half as fast again); a queue without the tick (the thread
takes the first job alone, and the group behind it waits for a second fsync); a thread for one run as well (twice the
CPU per step, see ``benchmarks/driver_choice.py`` and the design's figures).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import apsw

from chargehand.errors import ChargehandError, Fenced, JournalError, JournalLocked, UnknownRun
from chargehand.journals import sqlite_statements as sql
from chargehand.journals.sqlite_faults import FAULTS, journal_error, system_error
from chargehand.journals.transactional import WorkFailed
from chargehand.journals.turns import Turn

T = TypeVar("T")

BEFORE_WRITING = (Fenced, UnknownRun)
"""What a job raises before it has written anything, and nowhere else: it needs no savepoint to be refused alone."""

STRAIGHT = 8
"""Commits of one run that may follow each other without a tick of the loop: some milliseconds."""

BUSY_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Pauses while a foreign program holds the file; the last one repeats."""


@dataclass(slots=True, eq=False)
class Job:
    """Something to do inside a transaction, and who waits for it."""

    do: Callable[[apsw.Cursor], Any]
    answer: asyncio.Future[Any]
    run: int | None
    savepoint: bool
    alone: bool
    result: Any = None
    error: BaseException | None = None


class _Broken(Exception):
    """A job broke after it may have written: the group must be done again with savepoints."""


@dataclass(slots=True)
class Counts:
    """What the writer has done: transactions committed, jobs in them, and how many ran on the loop."""

    transactions: int = 0
    jobs: int = 0
    on_loop: int = 0
    again: int = 0


@dataclass(slots=True)
class _Handed:
    """What lies between the loop and the thread, under one lock."""

    ready: threading.Condition = field(default_factory=threading.Condition)
    jobs: list[Job] = field(default_factory=list)
    closing: bool = False


class Writer:
    """Carries out jobs on a connection that nobody else uses. Bound to the loop it was made in."""

    def __init__(self, connection: apsw.Connection, path: str, turn: Turn, *, locked_seconds: float) -> None:
        self.counts = Counts()
        self._connection = connection
        self._cursor = connection.cursor()
        self._path = path
        self._turn = turn
        self._locked_seconds = locked_seconds
        self._loop = asyncio.get_running_loop()
        self._tick: list[Job] = []
        self._handed = _Handed()
        self._outstanding = 0
        self._latest: int | None = None
        self._straight = 0
        self._thread: threading.Thread | None = None

    # on the loop

    def submit(
        self, do: Callable[[apsw.Cursor], T], *, run: int | None = None, savepoint: bool = False, alone: bool = False
    ) -> asyncio.Future[T]:
        """Queue a job and return its answer. A caller that stops waiting does not take the job back."""
        if self._handed.closing:
            raise JournalError(f"The journal is closed: {self._path}.")
        answer: asyncio.Future[T] = self._loop.create_future()
        if run is not None and run == self._latest and not (self._tick or self._outstanding or alone):
            job = Job(do, answer, run, savepoint, alone)
            if self._straight < STRAIGHT and self._on_loop([job]):
                self._straight += 1
                return answer
        if not self._tick:
            self._loop.call_soon(self._end_tick)
        self._tick.append(Job(do, answer, run, savepoint, alone))
        return answer

    async def close(self) -> None:
        """Carry out what is queued, then stop."""
        if self._tick:
            self._end_tick()
        with self._handed.ready:
            self._handed.closing = True
            self._handed.ready.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)  # its last answers are in the loop's queue before this returns

    def _end_tick(self) -> None:
        jobs, self._tick = self._tick, []
        self._straight = 0
        if not jobs:
            return
        run = jobs[0].run if len(jobs) == 1 and not jobs[0].alone else None
        same_run_again = run is not None and run == self._latest and self._outstanding == 0
        self._latest = run
        if same_run_again and self._on_loop(jobs):
            return
        self._outstanding += len(jobs)
        with self._handed.ready:
            self._handed.jobs.extend(jobs)
            self._handed.ready.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="chargehand-writer", daemon=True)
            self._thread.start()

    def _on_loop(self, jobs: Sequence[Job]) -> bool:
        try:
            if not self._turn.take_now():
                return False
        except OSError:  # the thread asks once more, and tells
            return False
        try:
            self._begin()
            self._carry_out(jobs)
        except apsw.BusyError:
            return False
        except apsw.Error as fault:
            self._fail(jobs, fault)
        finally:
            self._turn.give()
        self.counts.on_loop += len(jobs)
        self._answer(jobs)
        return True

    def _answer(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.answer.done():
                continue
            if job.error is None:
                job.answer.set_result(job.result)
            elif isinstance(job.error, StopIteration):
                job.answer.set_exception(RuntimeError("A transactional effect raised StopIteration."))
            else:
                job.answer.set_exception(job.error)

    def _answer_handed(self, jobs: Sequence[Job]) -> None:
        self._outstanding -= len(jobs)
        self._answer(jobs)

    # on the thread

    def _work(self) -> None:
        handed = self._handed
        while True:
            with handed.ready:
                handed.ready.wait_for(lambda: handed.jobs or handed.closing)
                if not handed.jobs:
                    return
                jobs, handed.jobs = handed.jobs, []
            for group in _groups(jobs):
                self._transact(group)
                try:
                    self._loop.call_soon_threadsafe(self._answer_handed, group)
                except RuntimeError:  # the loop was closed without closing the journal: nobody waits any more
                    return

    def _transact(self, jobs: Sequence[Job]) -> None:
        try:
            came = self._turn.take(self._locked_seconds)
        except OSError as error:
            self._tell(jobs, system_error(error, self._path, "written"), error)
            return
        if not came:
            stuck = f"Another process took its turn to write and does not move: {self._path}. End it or let it go on."
            self._tell(jobs, JournalLocked(stuck), None)
            return
        try:
            self._begin_patiently()
            self._carry_out(jobs)
        except apsw.Error as fault:
            self._fail(jobs, fault)
        except Exception as unforeseen:  # nobody may wait for ever because of a mistake of ours
            self._tell(jobs, JournalError(f"The writer broke: {unforeseen!r}"), unforeseen)
        finally:
            self._turn.give()

    def _begin_patiently(self) -> None:
        until = time.monotonic() + self._locked_seconds
        pauses = iter(BUSY_SECONDS)
        pause = 0.0
        while True:
            try:
                self._begin()
            except apsw.BusyError:
                if time.monotonic() >= until:
                    raise
                pause = next(pauses, pause)
                time.sleep(pause)
            else:
                return

    # inside the transaction, on either

    def _begin(self) -> None:
        self._roll_back()  # an interrupt of the keyboard may have left a transaction open
        self._cursor.execute(sql.BEGIN)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._cursor.execute(sql.ROLLBACK)

    def _carry_out(self, jobs: Sequence[Job]) -> None:
        try:
            try:
                for job in jobs:
                    self._do(job, savepoint=job.savepoint and not job.alone)
            except _Broken:
                self._again(jobs)
            if len(jobs) == 1 and jobs[0].error is not None:
                self._roll_back()
                return
            self._cursor.execute(sql.COMMIT)
        except apsw.Error as fault:
            self._fail(jobs, fault)
            return
        self.counts.transactions += 1
        self.counts.jobs += len(jobs)

    def _again(self, jobs: Sequence[Job]) -> None:
        self.counts.again += 1
        self._begin()
        for job in jobs:
            job.result = job.error = None
            self._do(job, savepoint=True)

    def _do(self, job: Job, *, savepoint: bool) -> None:
        cursor = self._cursor
        if savepoint:
            cursor.execute(sql.SAVEPOINT)
        try:
            job.result = job.do(cursor)
        except FAULTS:
            raise
        except BaseException as error:
            if not (savepoint or job.alone or isinstance(error, BEFORE_WRITING)):
                raise _Broken from error
            job.error = _refusal(error)
            if savepoint:
                cursor.execute(sql.ROLLBACK_BATCH)
        if savepoint:
            cursor.execute(sql.RELEASE)

    def _fail(self, jobs: Sequence[Job], fault: apsw.Error) -> None:
        self._tell(jobs, journal_error(fault, self._path, self._connection.system_errno), fault)

    def _tell(self, jobs: Sequence[Job], error: JournalError, cause: BaseException | None) -> None:
        for job in jobs:
            job.error = type(error)(error.message)  # one for each caller: a raised error collects its own traceback
            job.error.__cause__ = cause
        self._roll_back()


def _refusal(error: BaseException) -> BaseException:
    """Return what a caller is told when its own job broke: an effect's errors as they are, ours with a cause."""
    if isinstance(error, WorkFailed):
        return error.error
    if isinstance(error, ChargehandError):
        return error
    told = JournalError(f"The journal refused a batch that does not fit its tables: {error}")
    told.__cause__ = error
    return told


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Return the transactions to make of these jobs, in order."""
    groups: list[list[Job]] = []
    together: list[Job] = []
    for job in jobs:
        if job.alone:
            groups.append([job])
        else:
            together.append(job)
    return [together, *groups] if together else groups
