"""An incarnation: one execution of an agent's body, and where the durable calls of that body go.

A body is any code: it is run again from its start after a crash, and only its journaled calls are not repeated. Identity
inside it is content: the n-th equal ask of an effect, in any incarnation, is the n-th such effect of the agent call; the
n-th equal read answers a later incarnation of the same attempt only.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import TYPE_CHECKING, Any

from chargehand.core.identity import content_segment, join
from chargehand.core.lifecycle import UNDOING_STAGES
from chargehand.core.states import AgentState, CallState, EffectState
from chargehand.core.trampoline import current_branch
from chargehand.errors import OutOfRole, OutsideRun, TimedOut
from chargehand.supervise import saga
from chargehand.supervise.budgets import Meter, current_meter
from chargehand.supervise.call import Call, current_body, current_host
from chargehand.supervise.definitions import AgentDefinition, EffectDefinition
from chargehand.supervise.failing import failure_of
from chargehand.verdicts import Feedback, ToolResult, Verdict

if TYPE_CHECKING:
    from chargehand.supervise.run import RunDriver


class Body:
    """One incarnation. `used` are the paths that its attempt asked for, `before` by incarnations that a crash ended;
    `tools` what its calls gave back.
    """

    def __init__(
        self, driver: RunDriver, definition: AgentDefinition[..., Any], path: str, attempt: int, before: Sequence[str] = ()
    ) -> None:
        self.driver, self.definition, self.path, self.attempt = driver, definition, path, attempt
        self.loop_thread = threading.get_ident()
        self.used: list[str] = list(before)
        self.tools: list[ToolResult] = []
        self.out_of_role: OutOfRole | None = None
        self.dead = False
        self._loop = asyncio.get_running_loop()
        self.meter = Meter(driver, path)
        self._counts: dict[tuple[str, str], int] = {}
        self._paused = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Future[Any] | None = None

    # -- the body's calls ----------

    def perform(self, call: Call[Any]) -> Generator[Any, Any, Any]:
        """Do a call of this body."""
        return self._do(call).__await__()

    def perform_from_thread(self, call: Call[Any]) -> Any:
        """Do a call of this body from a thread of its own."""
        return asyncio.run_coroutine_threadsafe(self._do(call), self._loop).result()

    async def _do(self, call: Call[Any]) -> Any:
        if self.dead:
            raise OutsideRun(f"{call.definition.name}(…) came from an attempt of {self.definition.name} that has ended; it was not made.")
        self._check_role(call)
        path = self._path_of(call)
        driver = self.driver
        if path not in self.used:
            self.used.append(path)
        while (state := self._recorded(path)) is None:
            driver.definitions[path] = call
            await driver.outcome(self.path, path, lambda: self._operation(call, path))
        assert state.settled is not None
        if not state.settled.ok:
            raise failure_of(call, state.settled.form, path)
        value = call.definition.contract.result.from_json(state.settled.form)
        self.tools.append(ToolResult(call.definition.name, call.definition.contract.to_record(call.arguments), state.settled.form))
        return value

    def _recorded(self, path: str) -> CallState | None:
        """Return a call that is settled. An effect that was undone is not there any more: it is to be made anew, in its next generation."""
        state = self.driver.history.calls.get(path)
        if isinstance(state, EffectState):
            if state.stage == "undone":
                self.driver.history.anew(path)
                return None
            if state.stage in UNDOING_STAGES:
                return None
        return state if state is not None and state.settled is not None else None

    def _operation(self, call: Call[Any], path: str) -> Coroutine[Any, Any, None]:
        """Return what does a call; an undo that a crash interrupted is finished first."""
        state = self.driver.history.calls.get(path)
        if isinstance(state, EffectState) and state.stage in UNDOING_STAGES:
            return saga.undo(self.driver, state)
        return self.driver.operation(call, path)

    def _check_role(self, call: Call[Any]) -> None:
        """Refuse a tool that the contract does not list (MAST FM-1.2). Plain steps are the body's own business."""
        definition = call.definition
        if definition.kind == "step":
            return
        if self.definition.uses.get(definition.name) is definition:
            return
        listed = ", ".join(self.definition.uses) or "no tools"
        error = OutOfRole(
            f"The agent {self.definition.name} used {definition.name}, which its contract does not list. It may use: {listed}."
        )
        self.out_of_role = self.out_of_role or error
        raise error

    def _path_of(self, call: Call[Any]) -> str:
        definition = call.definition
        name, digest = call.name, call.arguments.digest
        if isinstance(definition, EffectDefinition):
            if definition.options.advisory:
                digest = definition.contract.digest_without(call.arguments, definition.options.advisory)
            if definition.options.once_per == "agent":
                return join(self.path, content_segment(name, "once", 1))
            if definition.options.repeat == "once":
                return join(self.path, content_segment(name, digest, 1))
            return join(self.path, content_segment(name, digest, self._count(name, digest)))
        return join(self.path, f"try{self.attempt}/{content_segment(name, digest, self._count(name, digest))}")

    def _count(self, name: str, digest: str) -> int:
        number = self._counts.get((name, digest), 0) + 1
        self._counts[(name, digest)] = number
        return number

    # -- running it ----------

    async def run(self, call: Call[Any], feedback: Feedback | None) -> Any:
        """Execute the body once. Raises what it raised; `TimedOut` when it did not end in its time, waits not counted."""
        site = self.driver.site
        contract = self.definition.contract
        filled = await site.filled(contract, feedback=feedback)
        known = {p.name for p in contract.parameters}
        values = {name: value for name, value in call.arguments.values.items() if name in known}
        function: Callable[..., Any] = site.function_of(self.definition)
        context = contextvars.copy_context()
        context.run(current_body.set, self)
        context.run(current_meter.set, self.meter)
        context.run(current_host.set, None)
        context.run(current_branch.set, None)
        work = self._loop.create_task(site.run(function, _copied(call, values) | filled), context=context)
        self._task = work
        self.driver.bodies[self.path] = self
        try:
            if self.definition.timeout is None:
                return await asyncio.shield(work)
            return await self._timed(work, self.definition.timeout)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            self.dead = True
            self.driver.body_ended(self.path)

    async def _timed(self, work: asyncio.Task[Any], left: float) -> Any:
        clock = self.driver.clock
        while True:
            self._changed.clear()
            started = clock.monotonic()
            paused = self._paused > 0
            change = asyncio.ensure_future(self._changed.wait())
            racing: set[asyncio.Future[Any]] = {work, change}
            alarm = None
            if not paused:
                alarm = asyncio.ensure_future(clock.sleep(left))
                racing.add(alarm)
            try:
                await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                change.cancel()
                if alarm is not None:
                    alarm.cancel()
            if work.done():
                return work.result()
            if not paused:
                left -= clock.monotonic() - started
                if left <= 0:
                    self.dead = True
                    work.cancel()
                    await asyncio.wait({work}, timeout=1.0)
                    raise TimedOut(f"{self.definition.name} did not end within {self.definition.timeout:g} s.")

    def pause(self) -> None:
        """Stop counting: a call of this body waits for time or people."""
        self._paused += 1
        self._changed.set()

    def resume(self) -> None:
        """Count again."""
        self._paused -= 1
        self._changed.set()

    def kill(self) -> None:
        """End the body; its late calls are refused."""
        self.dead = True
        if self._task is not None:
            self._task.cancel()


def _copied(call: Call[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Give the body its own copies, so that what it changes is not what gates and later attempts see."""
    contract = call.definition.contract
    codecs = {p.name: p.codec for p in contract.parameters}
    copied: dict[str, Any] = {}
    for name, value in values.items():
        codec = codecs[name]
        copied[name] = value if codec.scalar else codec.from_json(codec.to_json(value))
    return copied


def feedback_for(driver: RunDriver, state: AgentState, path: str, clauses: tuple[str, ...]) -> Feedback | None:
    """Return what the next incarnation is told, None when there is nothing to tell."""
    done = [
        {"tool": effect.tool.rpartition(".")[2], "arguments": effect.arguments, "result": effect.result}
        for effect in reversed(driver.history.effects(path))
        if effect.stage == "done"
    ]
    if state.attempt == 1 and not done and not state.answers and not state.rejections:
        return None
    verdicts = tuple(_verdicts(state))
    last = state.rejections[-1] if state.rejections else {}
    reasons = [reason for form in last.get("verdicts", ()) for reason in form.get("reasons", ())]
    if not reasons and state.last_error is not None:
        reasons = [str(state.last_error.get("e", {}).get("message", ""))]
    return Feedback(state.attempt, tuple(reasons), verdicts, last.get("output"), tuple(done), tuple(state.answers), clauses)


def _verdicts(state: AgentState) -> Generator[Any, None, None]:
    for rejection in state.rejections:
        for form in rejection.get("verdicts", ()):
            yield Verdict.from_record(form)
