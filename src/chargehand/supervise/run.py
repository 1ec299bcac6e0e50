"""The driver of one run: load, decide, commit, act, commit.

The rules of this file, in the order in which the loop obeys them:

1. Run the workflow's coroutines to their waits (`core/trampoline.py`).
2. Match each asked call with the record: *recorded* waits to be delivered, *new* and *in flight when we died* are held.
3. Deliver what is recorded, lowest seq first, one at a time, going back to 1 after each.
4. Only when nothing recorded is left to deliver are held calls begun, each as an operation of its own.
5. Operations commit; the loop flushes; what is on disk is folded; what settles an asked call is delivered (3).
6. When every operation waits for time or people the run is idle: it may leave memory at any moment.

An operation (``steps.py``, ``effects.py``, ``agents.py``, ``saga.py``) reads the history, decides by a pure function of
``core``, commits, acts, and commits again. It can be started afresh from any prefix of the journal: that is the whole of
crash recovery.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import traceback
from collections.abc import Coroutine
from typing import Any

from pydantic import ValidationError

from chargehand.contracts import explain
from chargehand.core.history import History
from chargehand.core.identity import Scope
from chargehand.core.leaving import failure_in
from chargehand.core.states import CallState
from chargehand.core.trampoline import Ask, Branch, Stopping
from chargehand.durable import ParkReason, RunRow, RunStatus
from chargehand.errors import ChargehandError, DeadlinePassed, IllegalMove, InvalidInput, JournalError
from chargehand.events import Event
from chargehand.supervise import agents, effects, saga, steps, waiting
from chargehand.supervise.call import Call, current_body, current_host
from chargehand.supervise.definitions import WorkflowDefinition
from chargehand.supervise.failing import is_failure, paths_of, recorded_failure
from chargehand.supervise.log import Part, RunLog, Standing
from chargehand.supervise.mail import fold_mail
from chargehand.supervise.matching import Matching
from chargehand.supervise.site import Site, logger

TURNS_TO_GO_ON = 4
"""Turns of the loop in which an operation that was woken has run: its future, its task, and who waits for that."""


class RunDriver(Matching):
    """Drives one claimed run in this process, in the task that makes it.

    Args:
        site: what all runs share.
        row: the run's row as claimed; every append names its epoch.
        events: all events of the run so far.
        silent_owner: from whom the run was taken over, alive but silent: what it had in flight may still be going on.
    """

    def __init__(self, site: Site, row: RunRow, events: list[Event], *, silent_owner: str | None = None) -> None:
        super().__init__(site, site.clock)
        task = asyncio.current_task()
        assert task is not None
        self._task, self._loop = task, task.get_loop()
        self.row, self.silent_owner = row, silent_owner
        self.history = History().fold_all(events)
        self._inherited = set(self.history.in_flight())
        self.unclaimed = set(self.history.unclaimed(""))
        self.seed = str(self.history.started.get("seed", ""))
        self.workflow: WorkflowDefinition[..., Any] = site.workflows[row.workflow]
        self.log = RunLog(
            site.journal, site.clock, row, self.history, standing=self._standing, folded=self._folded, wake=self._wake, told=site.entered
        )
        self.unawaited = {}
        self.idle = False
        self._mail_came = True
        self._folded_mail: set[int] = set()
        self._stop = False
        self._unparked = False
        self._final: tuple[str, dict[str, Any], RunStatus] | None = None
        if self.history.deadline is not None and self.history.rolling_back is None:
            self.dues["!deadline"] = self.history.deadline

    # -- what others may ask of a driver ----------

    def mail_came(self) -> None:
        """Say that mail was left for this run."""
        self._mail_came = True
        self._wake()

    def may_go_on(self, path: str) -> bool:
        """Say whether a call that was in flight at the take-over may still be going on elsewhere."""
        return self.silent_owner is not None and path in self._inherited

    def silent_owner_gone(self) -> None:
        """Say that the process from which the run was taken over is dead: what it had in flight has ended."""
        self.silent_owner = None
        for path in self._inherited:
            self._tell(path)
        self._wake()

    def stop(self) -> None:
        """Have the driver leave at the next moment at which nothing is between two commits."""
        self._stop = True
        self._wake()

    @property
    def at_rest(self) -> bool:
        """Say whether everything of this run waits for time or people."""
        return self.idle and not self.log.pending and not self._woken and all(path in self._holding for path in self.tasks)

    @property
    def evictable(self) -> bool:
        """Say whether the run may leave memory now without losing an attempt."""
        return self.idle and not self.bodies

    # -- the loop ----------

    async def advance(self) -> None:
        """Drive the run until it ends, leaves memory, or the journal refuses this driver.

        If the process dies inside: the next driver goes on from the last commit.
        """
        try:
            if self.row.crashes >= 3 and self.history.ended is None and self.history.parked is None:
                await self._park("poison", saga.poison_report(self.history, self.row.crashes))
            if self.history.rolling_back is None and self.history.ended is None:
                await self._drive()
            if self.history.rolling_back is not None and self.history.ended is None and not self._stop:
                await self._roll_back()
            if self.history.ended is None:
                await self.log.flush(leave=True)
        finally:
            await self._quit()

    async def _drive(self) -> None:
        """Run workflow code until the run has ended, is being rolled back, or must leave."""
        if self.history.parked is None:
            try:
                self._start_workflow()
            except InvalidInput as unfit:
                recorded = f"input {self.history.started['input']}"
                await self._park("diverged", {"path": "", "recorded": recorded, "code": f"the workflow no longer takes it: {unfit}"})
        history, log, trampoline = self.history, self.log, self.trampoline
        while history.ended is None and history.rolling_back is None:
            if self._crashed is not None:
                await self._operation_crashed(self._crashed)
                continue
            if self._stop:
                if await self._settled_to_leave():
                    return
                continue
            if trampoline.ready:
                self._run_code()
            if self._diverged is not None and history.parked is None:
                await self._park("diverged", self._diverged)
            if log.pending:
                await log.flush()
                continue
            if self._deliverable and self._deliver_one():
                continue
            if self._mail_came:
                await self._fold_mail()
                continue
            if self.dues and self._deadline_passed():
                error = DeadlinePassed("The run did not end before its deadline.")
                await saga.begin_rollback(self, {"e": error.record(), "by": "deadline"})
                continue
            if self._held and self._begin_held():
                continue
            root = trampoline.root
            if root is not None and self._has_ended(root) and history.parked is None:
                await self._root_ended(root)
                continue
            await self._rest()

    async def _operation_crashed(self, error: BaseException) -> None:
        """Park the run as broken when an operation met a mistake in a definition, a callback or the set-up, with its traceback.

        What the journal refused, and what can only be a defect of ours, ends this driver instead.
        """
        if not isinstance(error, Exception) or isinstance(error, (JournalError, IllegalMove)) or self.history.parked is not None:
            raise error
        self._crashed = None
        code = f"{error.code}: " if isinstance(error, ChargehandError) else f"{type(error).__name__}: "
        shown = "" if isinstance(error, ChargehandError) else "".join(traceback.format_exception(error))[-8000:]
        await self._park("broken", {"error": f"{code}{error}", "traceback": shown})

    async def _settled_to_leave(self) -> bool:
        """Begin nothing new; say whether every call in flight has come to its outcome."""
        if self.log.pending:
            await self.log.flush()
            return False
        if all(path in self._holding for path in self.tasks):
            return True
        await self._rest()
        return False

    def _start_workflow(self) -> None:
        arguments = self.workflow.contract.from_record(self.history.started["input"])
        contextvars.copy_context().run(self._start_in_context, arguments.values)

    def _start_in_context(self, values: dict[str, Any]) -> None:
        current_body.set(None)
        current_host.set(self)
        self.trampoline.start(self._root(values), Scope(""))

    async def _root(self, values: dict[str, Any]) -> Any:
        return await self.workflow.function(**values)

    def _run_code(self) -> None:
        """Rule 1 and 2. Workflow code sees no current task, so that asyncio's own timeouts refuse to meddle with ours."""
        if self.history.parked is not None:
            return
        loop, task = self._loop, self._task
        asyncio.tasks._leave_task(loop, task)
        try:
            asks = self.trampoline.run()
        finally:
            asyncio.tasks._enter_task(loop, task)
        for ask in asks:
            self._match(ask)
        while self.trampoline.withdrawn:
            self._withdraw(self.trampoline.withdrawn.pop())

    def _begin_held(self) -> bool:
        """Rule 4."""
        if self._diverged is not None or self.history.parked is not None:
            return False
        held, self._held = self._held, []
        for ask in held:
            diverged = self._diverges(ask)
            if diverged is not None:
                self._diverged = diverged
                self._held.append(ask)
                continue
            self._begin(ask)
        return True

    def _begin(self, ask: Ask) -> None:
        self._recorded(ask).asked = True
        self.spawn(ask.path, self._operation(ask), asker=self._task)

    def _operation(self, ask: Ask) -> Coroutine[Any, Any, None]:
        if ask.kind in ("step", "read"):
            return steps.perform(self, ask.what, ask.path, told=False)
        if ask.kind == "rollback":
            return saga.roll_back_scope(self, ask.path, ask.what)
        if isinstance(ask.what, Call):
            return self.operation(ask.what, ask.path)
        return steps.perform_wait(self, ask)

    def operation(self, call: Call[Any], path: str) -> Coroutine[Any, Any, None]:
        """Return the operation that does a call."""
        match call.definition.kind:
            case "effect":
                return _staying(effects.perform(self, call, path))
            case "agent":
                return _staying(agents.perform(self, call, path))
            case _:
                return steps.perform(self, call, path)

    # -- resting, holding, waking ----------

    async def _rest(self) -> None:
        """Wait until something happened; first make the row say that the run is idle."""
        busy = len(self.tasks) - sum(1 for path in self.tasks if path in self._holding)
        if busy <= 0 and not self.log.pending:
            if self.log.noted and await self._somebody_goes_on():
                return
            if self.log.noted or self.log.last != self._standing():
                self.log.put(Part([]))  # the last commit could not know that the run would now wait
                await self.log.flush()
                return  # meanwhile anything may have happened: look again before sleeping
            self.idle = True
        self._woken = False
        if not (self.log.pending or (self._mail_came and not self._stop) or self._crashed or (self._deliverable and not self._stop)):
            await self._sleep()
        self.idle = False

    async def _somebody_goes_on(self) -> bool:
        """Let operations that were told something come to their next commit, for the note to ride on; say whether one did."""
        for _ in range(TURNS_TO_GO_ON):
            await asyncio.sleep(0)
            if self.log.pending or any(path not in self._holding for path in self.tasks):
                return True
        return False

    async def _sleep(self) -> None:
        """Wait for the next thing to happen; the deadline is one."""
        deadline = None if self._stop else self.dues.get("!deadline")  # who leaves does not act on it any more
        if deadline is None:
            await self._until_woken()
            return
        alarm = asyncio.ensure_future(self.clock.wait(deadline))
        woken = asyncio.ensure_future(self._until_woken())
        try:
            await asyncio.wait({alarm, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            woken.cancel()

    def _folded(self, event: Event, state: CallState | None) -> None:
        """Rule 5: an event is on disk and folded."""
        seq, path = event.seq, event.path
        if state is None:
            if event.type == "run.rolling_back":
                self.dues.pop("!deadline", None)
        elif state.settled is not None and state.settled.seq == seq and path in self._asked:
            heapq.heappush(self._deliverable, (seq, path))
        if self._watchers:
            self._tell(path)

    def _standing(self) -> Standing:
        due = min(self.dues.values()) if self.dues else None
        status, reason = self._status()
        if self._stop and self._has_work():
            due = 0.0  # this driver leaves in the middle of work: the next one goes on at once
        return Standing(status, reason, None if status in ("completed", "failed", "cancelled") else due)

    def _has_work(self) -> bool:
        """Say whether a driver could go on with something else than waiting for time or people."""
        if self._unparked:
            return True
        if self.history.parked is not None or self.log.parking is not None:
            return False
        waits = bool(self.tasks) and all(path in self._holding for path in self.tasks)
        return not waits or bool(self._deliverable or self._held or self.trampoline.ready)

    def _status(self) -> tuple[RunStatus, ParkReason | None]:
        if self.log.ending is not None:
            return self.log.ending, None
        if self.history.pivoted is not None and self.history.pivot_choice is None:
            return "parked", "letter"
        if self.log.parking is not None:
            return "parked", self.log.parking
        if self.history.parked is not None:
            return "parked", self.history.parked.payload["reason"]
        if self.history.rolling_back is not None:
            return "rolling back", None
        if self.history.pivoted is not None:
            return "parked", "letter"
        if self.tasks and all(path in self._holding for path in self.tasks):
            stages = self.history.for_people()
            if "doubt" in stages:
                return "parked", "doubt"
            if stages or None in self.history.scope_pivots.values():
                return "parked", "letter"
            return "waiting", None
        return "running", None

    # -- ends ----------

    def _has_ended(self, root: Branch) -> bool:
        """Say whether the workflow has ended: with a value only when no branch that outlived its gather goes on."""
        return root.ended and not (root.ok and self.trampoline.branches)

    async def _root_ended(self, root: Branch) -> None:
        """Decide how the run ends: with a value, by a failure, or not at all because of a bug."""
        forgotten = next(iter(self.unawaited.values()), None)
        if root.ok and forgotten is not None:
            said = f"{forgotten.definition.name}(…) was called and never awaited, so it was never made. Write: await {forgotten.definition.name}(…)."
            await self._park("broken", {"error": said, "traceback": ""})
            return
        self._diverged = self._diverged or self.lost_at_end(root)
        if self._diverged is not None:
            return
        late = [branch.value for branch in self.trampoline.late if not branch.ok]
        bugs = [error for error in late if not is_failure(error) and not isinstance(error, Stopping)]
        if root.ok and bugs:
            root.settle(False, bugs[0])
        if root.ok:
            try:
                value = self.workflow.contract.result.to_json(self.workflow.contract.result.check(root.value))
            except (ValueError, ChargehandError) as error:
                why = explain(error) if isinstance(error, ValidationError) else error
                await self._park("broken", {"error": f"{self.workflow.name} returned what it may not: {why}", "traceback": ""})
                return
            await self._finish("run.completed", {"v": value}, "completed")
            return
        raised: BaseException = root.value
        if is_failure(raised) or self.workflow.on_bug == "undo":
            await saga.begin_rollback(self, {"e": recorded_failure(raised), "by": "failure", "from": paths_of(raised)})
            return
        shown = "".join(traceback.format_exception(raised))
        await self._park("broken", {"error": f"{type(raised).__name__}: {raised}", "traceback": shown[-8000:]})

    async def _finish(self, type: str, payload: dict[str, Any], status: RunStatus) -> None:
        self.log.ending = status
        self.log.put(Part([(type, "", payload)], progress=True))
        await self.log.flush(close_all=True, leave=True)

    async def finish_from_operation(self, type: str, payload: dict[str, Any], status: RunStatus) -> None:
        """Have the loop end the run; everything of it that waits is closed in the same commit."""
        self._final = (type, payload, status)

    async def _park(self, reason: ParkReason, shows: dict[str, Any]) -> None:
        """Park the whole run until a person lets it go on."""
        entry = waiting.parked_entry(self, reason, shows)
        self.log.parking = reason
        self.log.put(Part([("run.parked", "", {"reason": reason, "shows": shows, "entry": entry.id})], opened=[entry]))
        await self.log.flush()
        self.log.parking = None  # from here on the history says so
        logger.warning("run %s parked as %s: %s", self.row.id, reason, shows.get("error") or shows)

    def unpark(self) -> None:
        """Start the workflow's code again after a person let the run go on."""
        self._diverged = None
        self._asked.clear()
        self._held.clear()
        self._deliverable.clear()
        for state in self.history.calls.values():
            state.asked = False
        self._unparked = True
        self._stop = True  # leave; the run is due at once and its next driver replays it with the code as it is now

    async def _roll_back(self) -> None:
        """Undo the run's effects; workflow code is not resumed."""
        self.trampoline.unload()
        self._asked.clear()  # nobody waits for results any more: nothing is delivered
        self._held.clear()
        self._deliverable.clear()
        operation: asyncio.Task[None] | None = None
        while operation is None or not operation.done() or self.log.pending:
            if operation is None and self.history.parked is None:
                operation = self.spawn("!rollback", saga.roll_back_run(self))  # not while it is parked as poison
            if self._crashed is not None:
                raise self._crashed
            if self._stop and all(path in self._holding for path in self.tasks):
                return
            if self.log.pending:
                await self.log.flush()
            elif self._mail_came:
                await self._fold_mail()
            else:
                await self._rest()
        if self._crashed is not None:
            raise self._crashed
        if self._final is not None:
            await self._finish(*self._final)

    async def _quit(self) -> None:
        """Leave nothing running: operations at their waits are cancelled, coroutines get `Unloading`."""
        for body in list(self.bodies.values()):
            body.kill()
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=5.0)
            await self.site.dispatched(self.row.id)  # a thread goes on sending when its task is gone
            hidden = [task for task in tasks if not task.done()]
            for task in hidden:
                task.cancel()  # it hid from the first, and now waits for a commit that nobody makes any more
            if hidden:
                await asyncio.wait(hidden, timeout=5.0)
        finally:
            self.trampoline.unload()  # also when this driver is cancelled: garbage collection must not end a workflow's code

    async def _fold_mail(self) -> None:
        self._mail_came = False
        for letter in await self.site.journal.mail([self.row.number]):
            if letter.id not in self._folded_mail:  # its row is there until the commit that its events ride on
                self._folded_mail.add(letter.id)
                await fold_mail(self, letter)


async def _staying(operation: Coroutine[Any, Any, None]) -> None:
    """Do an operation. A callback in it (a condition, a key, a look at the facts) that asks the process to end is a mistake like any other."""
    try:
        await operation
    except SystemExit as leaving:
        raise failure_in(leaving) from leaving
