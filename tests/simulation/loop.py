"""An event loop whose order and time come from a seed.

Every simulated process has its own queue, first in first out, as asyncio promises to the code of one process. Between
processes nothing is promised, so the seed decides whose turn it is. When nobody is ready time jumps to the next timer.
A process is known by the context in which its handles were made; a dead one's handles are never run again, a frozen
one's wait. Threads and sockets are refused: whatever needs them is not deterministic.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

WALL_START = 1_767_225_600.0
"""2026-01-01T00:00:00Z, in seconds since the epoch: where every seed begins."""

SPINS_MAX = 20_000
"""So many handles without a moment passing: something waits by looking again and again."""

current_place: contextvars.ContextVar[Place | None] = contextvars.ContextVar("simulated_place", default=None)


class Forbidden(AssertionError):
    """Something in the simulation asked for a thread, a socket or a signal."""


class Place:
    """Where handles run: a process, or the outside world. Processes die and freeze; the world does not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.dead = False
        self.frozen = False
        self.wants_freeze = False

    def enter(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function as if this place had."""
        context = contextvars.copy_context()
        context.run(current_place.set, self)
        return context.run(function, *args)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task here."""
        task: asyncio.Task[T] = self.enter(asyncio.get_running_loop().create_task, work)
        return task

    def __repr__(self) -> str:
        return f"<{self.name}>"


class SeededLoop(asyncio.BaseEventLoop):
    """Runs the handles of many places in an order that only the seed decides."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._time = 1_000.0
        self._clock_resolution = 1e-9
        self.world = Place("world")
        self._busy: list[Place] = []
        self.steps = 0
        self._spins = 0
        self.kept: list[tuple[Any, Place]] = []
        """Tasks that no one may collect before the seed is over: what a dead process leaves is never closed."""
        self.set_task_factory(self._keep)
        self.rested: Callable[[Place], None] = lambda place: None
        """Called when a place waits for the outside only."""
        self.at_once = False
        self.failure: BaseException | None = None
        """Set it to end the simulation."""
        self.set_exception_handler(lambda loop, context: None)

    def _keep(self, loop: Any, work: Any, context: Any = None) -> Any:
        task: Any = asyncio.Task(work, loop=loop, context=context)
        task._log_destroy_pending = False
        made_in: Any = context or contextvars.copy_context()
        self.kept.append((task, made_in.get(current_place) or self.world))
        return task

    # -- time ----------

    def time(self) -> float:
        """Return the seconds that have passed, all of them jumps."""
        return self._time

    # -- order ----------

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Put a handle at the end of its place's queue."""
        self._check_closed()
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Only the asyncio runner may ask for this, and it runs in this very thread."""
        return self.call_soon(callback, *args, context=context)

    def _enqueue(self, handle: asyncio.Handle) -> None:
        place = handle._context.get(current_place) or self.world  # type: ignore[attr-defined]
        if place.dead:
            return
        if not place.ready:
            self._busy.append(place)
        place.ready.append(handle)

    def _run_once(self) -> None:
        while True:
            self._due_timers()
            able = [place for place in self._busy if not place.frozen]
            if able:
                break
            if not self._jump():
                if self._stopping:  # type: ignore[attr-defined]
                    return
                raise Forbidden("nothing is ready and nothing is due: the simulation waits for ever")
        place = able[0] if len(able) == 1 else self._random.choice(able)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        handle = place.ready.popleft()
        if not place.ready:
            self._busy.remove(place)
        self.steps += 1
        self._spins += 1
        if self._spins > SPINS_MAX:
            raise Forbidden(f"{place} spins: {SPINS_MAX} handles at one moment, the last is {handle!r}")
        if not handle.cancelled():
            handle._run()
        if not place.ready and not place.dead:
            self.rested(place)

    def _due_timers(self) -> None:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self._time):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                self._enqueue(handle)

    def _jump(self) -> bool:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not scheduled:
            return False
        self._time = max(self._time, scheduled[0]._when)
        self._spins = 0
        return True

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is dropped when it comes up."""

    # -- places ----------

    def kill(self, place: Place) -> None:
        """Run nothing of a place any more."""
        place.dead = True
        place.ready.clear()
        if place in self._busy:
            self._busy.remove(place)

    # -- what is not there ----------

    def _check_closed(self) -> None:
        """Do nothing: what the dead left may still want something when it is collected, after the seed is over."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Refuse: threads have an order of their own. `at_once`: what a thread was to do is done here and now."""
        if not self.at_once:
            raise Forbidden(f"a thread was asked for, to run {func!r}")
        answer = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:
            answer.set_exception(error)
        return answer

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""


class SimulatedClock:
    """The wall clock, which may be set, and the monotonic clock, which is the loop's. Waits as the machine's clock does."""

    _LONGEST_NAP = 600.0

    def __init__(self, loop: SeededLoop) -> None:
        self._loop = loop
        self.skew = 0.0
        self.set_back = 0.0

    def now(self) -> float:
        """Return seconds since the epoch, UTC."""
        return WALL_START + self._loop.time() + self.skew

    def monotonic(self) -> float:
        """Return seconds that never step."""
        return self._loop.time()

    async def wait(self, until: float) -> None:
        """Return when the wall clock has reached `until`."""
        while (left := until - self.now()) > 0:
            await asyncio.sleep(min(max(left, 1e-6), self._LONGEST_NAP))

    async def sleep(self, seconds: float) -> None:
        """Return after so many monotonic seconds."""
        await asyncio.sleep(max(seconds, 1e-6) if seconds > 0 else 0)  # a real clock always moves

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self.skew += seconds
        if seconds < 0:
            self.set_back -= seconds
