"""The site: what all runs of one supervisor share, and how a user's function is called there.

One environment, one clock, one journal, one set of resources. Nothing here is global.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from chargehand.contracts import Contract
from chargehand.core.ladder import Ladder
from chargehand.core.leaving import failure_in
from chargehand.durable import Clock, Journal
from chargehand.errors import CallFailed, TimedOut
from chargehand.supervise.definitions import Definition, EffectDefinition, Helper, WorkflowDefinition
from chargehand.supervise.gates import Gate, verdict_of
from chargehand.supervise.gauges import Gauges, Hold
from chargehand.supervise.resources import Resources
from chargehand.supervise.telemetry import Spans
from chargehand.supervise.threads import Threads
from chargehand.verdicts import Feedback, GateContext, Verdict

logger = logging.getLogger("chargehand")


@dataclass(slots=True)
class Site:
    """What the runs of one supervisor share."""

    journal: Journal
    clock: Clock
    environment: str
    workflows: Mapping[str, WorkflowDefinition[..., Any]]
    effects: Mapping[str, EffectDefinition[..., Any]]
    resources: Resources
    gauges: Gauges
    worker: str = ""
    approve: str = "declared"
    ladder: Ladder | None = None
    silent_after: float = 60.0
    threads: Threads = field(default_factory=Threads)
    replaced: dict[Any, Callable[..., Any]] = field(default_factory=dict)
    crash_point: Callable[[str, str], None] | None = None
    start: Callable[..., Coroutine[Any, Any, Any]] | None = None
    entered: Callable[[str, Any], None] | None = None
    spans: Spans | None = None
    _dispatches: dict[asyncio.Future[Any], str] = field(default_factory=dict)

    def at(self, point: str, path: str) -> None:
        """Pass a named crash point; tests may raise or kill the process here."""
        if self.crash_point is not None:
            self.crash_point(point, path)

    @property
    def bare(self) -> bool:
        """Say whether functions are called as they are: no test put another in its place, nobody wants spans."""
        return not self.replaced and self.spans is None

    def function_of(self, thing: Definition[..., Any] | Helper) -> Callable[..., Any]:
        """Return the plain function of a definition, undo or look-up, or what a test put in its place."""
        if not self.replaced:
            return thing.function
        name = thing.full_name if isinstance(thing, Definition) else thing.function
        return self.replaced.get(name, thing.function)

    async def filled(self, contract: Contract, *, key: str | None = None, feedback: Feedback | None = None) -> dict[str, Any]:
        """Return the arguments that the supervisor fills."""
        values: dict[str, Any] = {}
        stand_in = self.replaced.get(contract.function) if self.replaced else None
        for parameter in contract.filled:
            match parameter.what:
                case "key":
                    values[parameter.name] = key
                case "feedback":
                    values[parameter.name] = feedback
                case "resource" if stand_in is None or parameter.name in getattr(stand_in, "takes", ()):
                    values[parameter.name] = await self.resources.get(parameter.annotation, contract.name)
        return values

    def verdict(self, gate: Gate, output: Any, context: GateContext, hold: Hold | None = None) -> Coroutine[Any, Any, Verdict]:
        """Ask a gate, with the resources it declares. `hold` marks who waits for a place of one."""
        work = self._verdict(gate, output, context, hold)
        return work if self.spans is None else self.spans.gate(gate.name, context, work)

    async def _verdict(self, gate: Gate, output: Any, context: GateContext, hold: Hold | None) -> Verdict:
        if not gate.resources:
            return await verdict_of(gate, output, context, threads=self.threads)
        async with self.gauges.of_resources(gate.resources.values(), context.inputs, hold):
            found = {name: await self.resources.get(annotation, gate.name) for name, annotation in gate.resources.items()}
            return await verdict_of(gate, output, context, found, threads=self.threads)

    def run(
        self,
        function: Callable[..., Any],
        values: Mapping[str, Any],
        timeout: float | None = None,
        *,
        dispatch: str | None = None,
        unless: Callable[[], bool] | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Call a user's function as `_run` says, inside a span when spans are wanted.

        `unless` is asked at the very moment at which the function would begin: when it says True, nothing is called and `Withheld`
        is raised.
        """
        work = self._run(function if unless is None else _withheld(function, unless), values, timeout, dispatch=dispatch)
        return work if self.spans is None else self.spans.call(self, function, work)

    async def _run(
        self,
        function: Callable[..., Any],
        values: Mapping[str, Any],
        timeout: float | None = None,
        *,
        dispatch: str | None = None,
    ) -> Any:
        """Call a user's function: async on the loop, sync in a thread. Raises `TimedOut` after `timeout` seconds.

        `dispatch` is the id of the run that something is sent for: a function that overruns, or whose caller has gone, is
        waited for all the same (`dispatched`), because its dispatch ends when its thread or its task ends.
        """
        if _is_async(function):
            if timeout is None:
                work = function(**values)
                return await contained(work if dispatch is None else self._dispatch_here(work, dispatch))
            work = contained(function(**values))
            if dispatch is not None:
                return await self._dispatch_within(work, timeout, function.__name__, dispatch)
            return await self.within(work, timeout, function.__name__)
        context, name = contextvars.copy_context(), getattr(function, "__name__", "a function")
        job = self.threads.begin(name, lambda: context.run(_contained_call, function, values))
        future = asyncio.wrap_future(job)
        if dispatch is not None:
            value = await self._dispatch(job, future, dispatch)
        elif timeout is None:
            value = await future
        else:
            value = await self.within(future, timeout, name)
        if inspect.isawaitable(value):
            return await contained(value)
        return value

    async def _dispatch(self, job: Future[Any], future: asyncio.Future[Any], run_id: str) -> Any:
        self._dispatches[future] = run_id
        future.add_done_callback(lambda done: self._dispatches.pop(done, None))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            job.cancel()  # it may not have begun
            raise

    async def _dispatch_here(self, work: Coroutine[Any, Any, Any], run_id: str) -> Any:
        """Send something by an async function in the task that runs now. It may hide from the task's cancellation."""
        ended = asyncio.get_running_loop().create_future()
        self._dispatches[ended] = run_id
        try:
            return await work
        finally:
            del self._dispatches[ended]
            if not ended.done():
                ended.set_result(None)

    async def _dispatch_within(self, work: Coroutine[Any, Any, Any], timeout: float, name: str, run_id: str) -> Any:
        """Send something by an async function. After the timeout it is cancelled, and has surely ended when this returns or raises."""
        task = asyncio.ensure_future(work)
        self._dispatches[task] = run_id
        task.add_done_callback(lambda done: self._dispatches.pop(done, None))
        alarm = asyncio.ensure_future(self.clock.sleep(timeout))
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                if task.cancelled() or task.exception() is not None:
                    raise TimedOut(f"{name} did not end within {timeout:g} s.")
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            alarm.cancel()
        if task.cancelled():
            raise CallFailed("CancelledError", "the function cancelled itself")
        return task.result()

    async def dispatched(self, run_id: str | None = None) -> None:
        """Return when no thread and no task sends anything any more, for a run or at all. Until then others may not find out about it."""
        while left := [future for future, owner in self._dispatches.items() if run_id in (None, owner)]:
            await asyncio.wait(left)

    async def within(self, work: Any, timeout: float, name: str) -> Any:
        """Await `work`, at most so many seconds of this site's clock. Raises `TimedOut`."""
        task = asyncio.ensure_future(work)
        alarm = asyncio.ensure_future(self.clock.sleep(timeout))
        try:
            await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            alarm.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)
        raise TimedOut(f"{name} did not end within {timeout:g} s.")


async def contained(work: Awaitable[Any]) -> Any:
    """Await a user's coroutine. A CancelledError that nobody sent to this task, and a SystemExit, are its own doing: failures, not ends."""
    try:
        return await work
    except SystemExit as leaving:
        raise failure_in(leaving) from leaving
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling() == 0:
            raise CallFailed("CancelledError", "the function cancelled itself") from None
        raise


def _contained_call(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    try:
        return function(**values)
    except SystemExit as leaving:
        raise failure_in(leaving) from leaving


class Withheld(Exception):
    """A function was not called after all."""


def _withheld(function: Callable[..., Any], unless: Callable[[], bool]) -> Callable[..., Any]:
    """Return the function with a last question before it: a task or a thread begins later than it is asked for."""

    async def begun(**values: Any) -> Any:
        if unless():
            raise Withheld
        return await function(**values)

    def begun_in_thread(**values: Any) -> Any:
        if unless():
            raise Withheld
        return function(**values)

    return functools.wraps(function)(begun if _is_async(function) else begun_in_thread)


def _is_async(function: Callable[..., Any]) -> bool:
    """Say whether a function is async. Its code object says so at once; only wrappers need the long look."""
    code = getattr(function, "__code__", None)
    return bool(code.co_flags & inspect.CO_COROUTINE) if code is not None else inspect.iscoroutinefunction(function)
