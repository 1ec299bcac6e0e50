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
import threading
import traceback
from collections.abc import Coroutine, Generator
from typing import Any

from pydantic import ValidationError

from chargehand.contracts import explain
from chargehand.core.history import History
from chargehand.core.identity import Scope, fraction
from chargehand.core.ladder import Ladder
from chargehand.core.states import CallState, EffectState
from chargehand.core.trampoline import Ask, Branch, Stopping, Trampoline
from chargehand.durable import ParkReason, RunRow, RunStatus, Waiting
from chargehand.errors import ChargehandError, DeadlinePassed
from chargehand.events import Event
from chargehand.supervise import agents, effects, saga, steps, waiting
from chargehand.supervise.call import Call, current_body, current_host
from chargehand.supervise.definitions import AgentDefinition, EffectDefinition, WorkflowDefinition
from chargehand.supervise.failing import failure_of, is_failure, paths_of, recorded_failure
from chargehand.supervise.holding import Holding
from chargehand.supervise.host import Host
from chargehand.supervise.log import Part, RunLog, Standing
from chargehand.supervise.mail import fold_mail
from chargehand.supervise.site import Site, logger
from chargehand.verdicts import ReleasedFact


class RunDriver(Holding, Host):
    """Drives one claimed run in this process.

    Args:
        site: what all runs share.
        row: the run's row as claimed; every append names its epoch.
        events: all events of the run so far.
        silent: the run was taken over from a worker that is alive but silent: effects in flight may still be going on.
    """

    def __init__(self, site: Site, row: RunRow, events: list[Event], *, silent: bool = False) -> None:
        super().__init__(site.clock)
        self.site, self.row, self.silent = site, row, silent
        self.history = History().fold_all(events)
        self.seed = str(self.history.started.get("seed", ""))
        self.workflow: WorkflowDefinition[..., Any] = site.workflows[row.workflow]
        self.trampoline = Trampoline()
        self.log = RunLog(site.journal, site.clock, row, self.history, standing=self._standing, folded=self._folded, wake=self._wake)
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.loop_thread = threading.get_ident()
        self.finished = asyncio.Event()
        self.idle = False
        self._mail_came = True
        self._asked: dict[str, Ask] = {}
        self._deliverable: list[tuple[int, str]] = []
        self._held: list[Ask] = []
        self._live = False
        self._stop = False
        self._crashed: BaseException | None = None
        self._diverged: dict[str, Any] | None = None
        self.definitions: dict[str, Call[Any]] = {}
        self._final: tuple[str, dict[str, Any], RunStatus] | None = None
        self._facts: dict[str, list[ReleasedFact]] = {}
        deadline = self.history.started.get("deadline")
        if deadline is not None:
            self.dues["!deadline"] = deadline

    # -- what others may ask of a driver ----------

    def mail_came(self) -> None:
        """Say that mail was left for this run."""
        self._mail_came = True
        self._wake()

    def stop(self) -> None:
        """Have the driver leave at the next moment at which nothing is between two commits."""
        self._stop = True
        self._wake()

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
            self._start_workflow()
        while self.history.ended is None and self.history.rolling_back is None:
            if self._crashed is not None:
                raise self._crashed
            if self._stop:
                if await self._settled_to_leave():
                    return
                continue
            self._run_code()
            if self._diverged is not None and self.history.parked is None:
                await self._park("diverged", self._diverged)
            if self.log.pending:
                await self.log.flush()
                continue
            if self._deliver_one():
                continue
            if self._mail_came:
                await self._fold_mail()
                continue
            if self._deadline_passed():
                error = DeadlinePassed("The run did not end before its deadline.")
                await saga.begin_rollback(self, {"e": error.record(), "by": "deadline"})
                continue
            if self._begin_held():
                continue
            root = self.trampoline.root
            if root is not None and root.ended and self.history.parked is None:
                await self._root_ended(root)
                continue
            await self._rest()

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
        value = await self.workflow.function(**values)
        lost = self._lost_effects("")
        if lost:
            await _Ask(
                Ask(
                    "",
                    "diverged",
                    {
                        "path": lost[0],
                        "recorded": self._described(lost[0]),
                        "code": "the workflow ended without asking for it",
                    },
                )
            )
        return value

    def _run_code(self) -> None:
        """Rule 1 and 2. Workflow code sees no current task, so that asyncio's own timeouts refuse to meddle with ours."""
        if self.history.parked is not None:
            return
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        if task is not None:
            asyncio.tasks._leave_task(loop, task)
        try:
            asks = self.trampoline.run()
        finally:
            if task is not None:
                asyncio.tasks._enter_task(loop, task)
        for ask in asks:
            self._match(ask)

    def _match(self, ask: Ask) -> None:
        """Rule 2: hold an asked call against the record."""
        if ask.kind == "diverged":
            self._diverged = self._diverged or ask.what
            return
        state = self.history.calls.get(ask.path)
        if isinstance(ask.what, Call):
            self.definitions[ask.path] = ask.what
        if state is not None and not _is_fresh(state):
            state.asked = True
            if ask.digest and state.digest and state.digest != ask.digest and ask.path not in self.history.accepted:
                self._diverged = self._diverged or {
                    "path": ask.path,
                    "recorded": self._described(ask.path),
                    "code": self.asked_text(ask),
                }
                return
        self._asked[ask.path] = ask
        if state is not None and state.settled is not None:
            heapq.heappush(self._deliverable, (state.settled.seq, ask.path))
        else:
            self._held.append(ask)

    def _deliver_one(self) -> bool:
        """Rule 3."""
        while self._deliverable:
            _, path = heapq.heappop(self._deliverable)
            ask = self._asked.pop(path, None)
            state = self.history.calls.get(path)
            if ask is None or state is None or state.settled is None:
                continue
            ok, value = self._outcome(ask, state)
            self.trampoline.deliver(ask, ok, value)
            return True
        return False

    def _outcome(self, ask: Ask, state: CallState) -> tuple[bool, Any]:
        """Decode what the record gives back, live as on replay."""
        assert state.settled is not None
        if not state.settled.ok:
            return False, failure_of(ask.what, state.settled.form, ask.path)
        decode = steps.decoder_of(ask)
        try:
            return True, decode(state.settled.form)
        except ValueError as error:
            detail = explain(error) if isinstance(error, ValidationError) else str(error)
            self._diverged = {
                "path": ask.path,
                "recorded": self._described(ask.path),
                "code": f"its result no longer fits the annotation: {detail}",
            }
            return False, Stopping()

    def _begin_held(self) -> bool:
        """Rule 4."""
        if not self._held or self._diverged is not None or self.history.parked is not None:
            return False
        held, self._held = self._held, []
        for ask in held:
            diverged = self._diverges(ask)
            if diverged is not None:
                self._diverged = diverged
                self._held.append(ask)
                continue
            self._begin(ask)
        self._live = True
        return True

    def _diverges(self, ask: Ask) -> dict[str, Any] | None:
        """Say why a new effect, or an agent that may make one, must not be begun: recorded calls were not asked again."""
        if ask.path in self.history.calls or ask.path in self.history.accepted or not _may_effect(ask) or ask.scope is None:
            return None
        lost = self.history.unclaimed(ask.scope.path)
        if not lost:
            return None
        return {"path": ask.path, "recorded": self._described(lost[0]), "code": self.asked_text(ask)}

    def _begin(self, ask: Ask) -> None:
        self._recorded(ask).asked = True
        self.spawn(ask.path, self._operation(ask))

    def _recorded(self, ask: Ask) -> CallState:
        if ask.kind == "effect":
            return self.history.effect(ask.path)
        return self.history.agent(ask.path) if ask.kind == "agent" else self.history.call(ask.path)

    def _operation(self, ask: Ask) -> Coroutine[Any, Any, None]:
        if ask.kind == "rollback":
            return saga.roll_back_scope(self, ask.path, ask.what)
        if isinstance(ask.what, Call):
            return self.operation(ask.what, ask.path)
        return steps.perform_wait(self, ask)

    def operation(self, call: Call[Any], path: str) -> Coroutine[Any, Any, None]:
        """Return the operation that does a call."""
        match call.definition.kind:
            case "effect":
                return effects.perform(self, call, path)
            case "agent":
                return agents.perform(self, call, path)
            case _:
                return steps.perform(self, call, path)

    def spawn(self, path: str, operation: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start an operation; at most one per path."""
        task = asyncio.get_running_loop().create_task(operation, name=f"{self.row.id}/{path}")
        self.tasks[path] = task
        task.add_done_callback(lambda done: self._operation_ended(path, done))
        return task

    def _operation_ended(self, path: str, task: asyncio.Task[None]) -> None:
        if self.tasks.get(path) is task:
            del self.tasks[path]
        self._holding.pop(path, None)
        failure = None if task.cancelled() else task.exception()
        if failure is not None and self._crashed is None:
            self._crashed = failure
        self._wake()

    # -- resting, holding, waking ----------

    async def _rest(self) -> None:
        """Wait until something happened; first make the row say that the run is idle."""
        busy = len(self.tasks) - sum(1 for path in self.tasks if path in self._holding)
        if busy <= 0 and not self.log.pending:
            if self.log.last != self._standing():
                self.log.put(Part([]))  # the last commit could not know that the run would now wait
                await self.log.flush()
            self.idle = True
        self._wakeup.clear()
        if not (self.log.pending or (self._mail_came and not self._stop) or self._crashed or (self._deliverable and not self._stop)):
            await self._sleep()
        self.idle = False

    async def _sleep(self) -> None:
        """Wait for the next thing to happen; the deadline is one."""
        deadline = self.dues.get("!deadline")
        if deadline is None:
            await self._wakeup.wait()
            return
        alarm = asyncio.ensure_future(self.clock.wait(deadline))
        woken = asyncio.ensure_future(self._wakeup.wait())
        try:
            await asyncio.wait({alarm, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            woken.cancel()

    def _folded(self, event: Event) -> None:
        """Rule 5: an event is on disk and folded."""
        state = self.history.calls.get(event.path)
        if state is not None and state.settled is not None and state.settled.seq == event.seq and event.path in self._asked:
            heapq.heappush(self._deliverable, (event.seq, event.path))
        self._tell(event.path)

    def _standing(self) -> Standing:
        due = min(self.dues.values(), default=None)
        status, reason = self._status()
        return Standing(status, reason, None if status in ("completed", "failed", "cancelled") else due)

    def _status(self) -> tuple[RunStatus, ParkReason | None]:
        if self.log.ending is not None:
            return self.log.ending, None
        if self.history.rolling_back is not None:
            return "rolling back", None
        if self.log.parking is not None:
            return "parked", self.log.parking
        if self.history.parked is not None:
            return "parked", self.history.parked.payload["reason"]
        if self.history.pivoted is not None:
            return "parked", "letter"
        if self.tasks and all(path in self._holding for path in self.tasks):
            stages = {effect.stage for effect in self.history.effects()}
            if stages & {"doubt"}:
                return "parked", "doubt"
            if stages & {"letter", "undo letter"}:
                return "parked", "letter"
            return "waiting", None
        return "running", None

    # -- ends ----------

    async def _root_ended(self, root: Branch) -> None:
        """Decide how the run ends: with a value, by a failure, or not at all because of a bug."""
        if root.ok:
            try:
                value = self.workflow.contract.result.to_json(self.workflow.contract.result.check(root.value))
            except (ValueError, ChargehandError) as error:
                await self._park("broken", {"error": f"{self.workflow.name} returned what it may not: {error}", "traceback": ""})
                return
            await self._finish("run.completed", {"v": value}, "completed")
            return
        error = root.value
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error
        if is_failure(error) or self.workflow.on_bug == "undo":
            await saga.begin_rollback(self, {"e": recorded_failure(error), "by": "failure", "from": paths_of(error)})
            return
        shown = "".join(traceback.format_exception(error))
        await self._park("broken", {"error": f"{type(error).__name__}: {error}", "traceback": shown[-8000:]})

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
        logger.warning("run %s parked as %s: %s", self.row.id, reason, shows.get("error") or shows)

    def unpark(self) -> None:
        """Start the workflow's code again after a person let the run go on."""
        self._diverged = None
        self._asked.clear()
        self._held.clear()
        self._deliverable.clear()
        for state in self.history.calls.values():
            state.asked = False
        self._stop = True  # leave; the run is due at once and its next driver replays it with the code as it is now

    async def _roll_back(self) -> None:
        """Undo the run's effects; workflow code is not resumed."""
        self.trampoline.unload()
        operation = self.spawn("!rollback", saga.roll_back_run(self))
        while not operation.done() or self.log.pending:
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
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)
        self.trampoline.unload()
        self.finished.set()

    async def _fold_mail(self) -> None:
        self._mail_came = False
        letters = await self.site.journal.mail([self.row.number])
        for letter in letters:
            await fold_mail(self, letter)

    # -- for operations and mail ----------

    def dice(self, path: str, n: int) -> float:
        """Return a number in [0, 1) that depends on the run, the path and `n` only."""
        return fraction(self.seed, path, n)

    def entry_id(self, path: str) -> str:
        """Return the id of the next thing that waits at a path."""
        return f"{self.row.id}/{self.history.opening(path)}"

    def effect_definition(self, effect: EffectState) -> EffectDefinition[..., Any] | None:
        """Return the definition of a recorded effect, from the code as it is in this process; None when it is unknown."""
        call = self.definitions.get(effect.path)
        definition = call.definition if call is not None else self.site.effects.get(effect.tool)
        return definition if isinstance(definition, EffectDefinition) else None

    def ask_at(self, path: str) -> Any:
        """Return what workflow code waits for at a path."""
        ask = self._asked.get(path)
        return None if ask is None else ask.what

    def wanted(self) -> list[tuple[str, Any]]:
        """Return what workflow code waits for, in the order it was asked."""
        return [(path, ask.what) for path, ask in self._asked.items()]

    def waits_at(self, path: str) -> bool:
        """Say whether an entry was opened at a path since the rollback began."""
        return path in self._watchers

    def default_ladder(self) -> Ladder | None:
        """Return the ladder of agents that declare none."""
        return self.workflow.ladder if self.workflow.ladder is not None else self.site.ladder

    def released_facts(self) -> list[ReleasedFact]:
        """Return the facts asserted by the outputs released so far."""
        for path, release in self.history.released.items():
            if path not in self._facts:
                self._facts[path] = agents.facts_released(self, path, release.get("v"))
        return [fact for facts in self._facts.values() for fact in facts]

    async def end_operation(self, path: str) -> None:
        """End the operation at a path: at once when it only waits, else when what it sent has an outcome."""
        while (task := self.tasks.get(path)) is not None and not task.done():
            if path in self._holding:
                task.cancel()
            await self._changed(task)

    async def settle_in_flight(self) -> None:
        """Let every call in flight come to its outcome; end what only waits. Bodies are ended, their effects are not."""
        own = asyncio.current_task()
        while True:
            for body in list(self.bodies.values()):
                body.kill()
            others = {path: task for path, task in self.tasks.items() if task is not own}
            if not others:
                return
            for path, task in others.items():
                if path in self._holding:
                    task.cancel()
            await asyncio.wait(others.values(), return_when=asyncio.FIRST_COMPLETED, timeout=0.05)

    async def _changed(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait({task}, timeout=0.05)

    def _deadline_passed(self) -> bool:
        deadline = self.dues.get("!deadline")
        return deadline is not None and self.clock.now() >= deadline

    def entered(self, entry: Waiting) -> None:
        """Tell the host application that something waits."""
        if self.site.entered is not None:
            self.site.entered("entered", entry)


class _Ask:
    """An awaitable that hands one ask to the trampoline."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._ask)


def _is_fresh(state: CallState) -> bool:
    return state.settled is None and state.digest is None and not state.facts


def _may_effect(ask: Ask) -> bool:
    if ask.kind == "effect":
        return True
    definition = getattr(ask.what, "definition", None)
    return isinstance(definition, AgentDefinition) and definition.may_effect()
