"""Gauges: what holds the calls of this process back. Places, rates and breakers, of definitions and of resources.

The rules of this file:

1. Waiting uses no attempt and writes nothing: the call has not begun. It *holds*, as a wait for time does: a rollback ends it,
   the run may leave memory, and the due time in its row brings it back.
2. Who waits for time holds no place: first the breaker and the rates have to let the call through, then it waits for its
   places, then breaker and rates are asked once more. If they refuse by then, the places go back and it begins anew. So a
   rate bounds what really begins, and a call that may not begin keeps nobody else from a resource.
3. Places are taken in one order, the definition's own before those of resources, these by name: no two calls wait for each
   other's.
4. An agent's body has its places until it ends. What it calls meanwhile goes on its own place of a resource, one call at a
   time, or it would wait for itself.
5. After its rest an open breaker lets one call through. What that one says decides about the others.
6. What is kept for one key is dropped when nobody has it or waits for it any more.

Places and rates are counted by process, and so are failures: they protect a service, they are no promise (`docs/promises.md`).
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from chargehand.durable import Clock
from chargehand.errors import ChargehandError, NotDone, TimedOut
from chargehand.failures import classify
from chargehand.limits import Breaker, BreakerState, Per, Rate, RateWindow
from chargehand.supervise.approvals import Shown
from chargehand.supervise.budgets import current_meter
from chargehand.supervise.definitions import Definition, EffectDefinition, Limits, StepDefinition

PLACE_POLL_SECONDS = 1.0
"""How long after it was last seen waiting for a place a run that left memory meanwhile comes back."""

Hold = Callable[[float], AbstractAsyncContextManager[None]]
"""Marks who waits as waiting, with the time of the clock at which it is due again."""

Key = tuple[Hashable, ...]

RESOURCE = "a resource"

_places_had: contextvars.ContextVar[Mapping[Key, Place]] = contextvars.ContextVar("chargehand_places", default=MappingProxyType({}))


class Place:
    """A place somebody has. What its owner calls may go on it, one call at a time; it is free when all have left."""

    def __init__(self, free: Callable[[], None]) -> None:
        self._free, self._users, self._turn = free, 1, asyncio.Lock()

    @property
    def had(self) -> bool:
        """Say whether anybody has it still."""
        return self._users > 0

    @property
    def lent(self) -> bool:
        """Say whether a call of its owner goes on it now."""
        return self._turn.locked()

    async def lend(self) -> Place:
        """Return the same place, for a call of its owner."""
        self._users += 1
        try:
            await self._turn.acquire()
        except BaseException:
            self.leave()
            raise
        return Place(self._given_back)

    def _given_back(self) -> None:
        self._turn.release()
        self.leave()

    def leave(self) -> None:
        """Need it no longer."""
        self._users -= 1
        if not self._users:
            self._free()


class Places:
    """The places of every limit, by key. A key is known as long as somebody has a place of it or waits for one."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[asyncio.Semaphore, list[int]]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def full(self, key: Key) -> bool:
        """Say whether one has to wait for a place of a key."""
        return key in self._known and self._known[key][0].locked()

    async def take(self, key: Key, n: int) -> Place:
        """Wait for one of the `n` places of a key; first come, first served."""
        semaphore, users = self._known.setdefault(key, (asyncio.Semaphore(n), [0]))
        users[0] += 1
        try:
            await semaphore.acquire()
        except BaseException:
            self._gone(key)
            raise
        return Place(lambda: self._free(key))

    def _free(self, key: Key) -> None:
        self._known[key][0].release()
        self._gone(key)

    def _gone(self, key: Key) -> None:
        users = self._known[key][1]
        users[0] -= 1
        if not users[0]:
            del self._known[key]


class Line:
    """Who waits for a rate waits in line, so that one alone is woken when there is room."""

    def __init__(self, rate: Rate) -> None:
        self.window = RateWindow(rate)
        self.waiting = 0
        self._order = asyncio.Lock()

    async def room(self, clock: Clock) -> None:
        """Wait in line until the rate has room."""
        self.waiting += 1
        try:
            async with self._order:
                while (pause := self.window.pause(clock.monotonic())) > 0:
                    await clock.sleep(pause)
        finally:
            self.waiting -= 1


class Lines:
    """The lines of one rate, by key. One in which nobody waits and for which nothing counts is dropped when another moves."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._known: OrderedDict[Hashable, Line] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, key: Hashable, now: float) -> Line:
        """Return the line of a key."""
        line = self._known.get(key)
        if line is None:
            line = self._known[key] = Line(self._rate)
        self._known.move_to_end(key)
        while (oldest := next(iter(self._known))) != key:
            last = self._known[oldest]
            if last.waiting or not last.window.over(now):
                break
            del self._known[oldest]
        return line


class Fuse:
    """A breaker at work. `trying`: one call was let through, and what it says decides."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker, self.state, self.trying = breaker, BreakerState(), False
        self._changed = asyncio.Event()

    async def let_through(self, clock: Clock, hold: Hold) -> None:
        """Return when a call may be made."""
        while not self.ready(now := clock.monotonic()):
            rest = self.state.closed_in(self.breaker, now)
            async with hold(clock.now() + (rest or PLACE_POLL_SECONDS)):
                await (clock.sleep(rest) if rest else self._changed.wait())

    def ready(self, now: float) -> bool:
        """Say whether a call may be made now."""
        return self.state.opened is None or (not self.trying and self.state.closed_in(self.breaker, now) <= 0)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Make a call; the one that is made while the breaker is open is the trial."""
        if self.state.opened is None:
            yield
            return
        self.trying = True
        try:
            yield
        finally:
            self.trying = False
            self._tell()

    def ended(self, ok: bool, now: float) -> None:
        """Count how a call ended."""
        self.state = self.state.after(ok, self.breaker, now)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(slots=True)
class _Wanted:
    """What one call needs before it may begin: the breaker's consent, room under rates, places in their order."""

    fuse: Fuse | None = None
    lines: list[Callable[[], Line]] = field(default_factory=list)
    places: list[tuple[Key, int]] = field(default_factory=list)


class Gauges:
    """The places, rates and breakers of this process.

    Args:
        clock: the site's.
        resources: what limits the resources, by the type by which calls ask for them.
    """

    def __init__(self, clock: Clock, resources: Mapping[Any, Limits] | None = None) -> None:
        self._clock = clock
        self._resources = {kind: limits for kind, limits in (resources or {}).items() if limits}
        self.places = Places()
        self._lines: dict[str, Lines] = {}
        self._fuses: dict[str, Fuse] = {}

    @asynccontextmanager
    async def place(self, definition: Definition[..., Any], values: Mapping[str, Any], hold: Hold | None = None) -> AsyncIterator[None]:
        """Wait until a call may be made; waiting uses no attempt. `hold` marks who waits; without it, the call that runs now."""
        limits = definition.limits
        if not (limits.own or self._limited(limits.resources)):
            yield
            return
        wanted = self._wanted(definition.full_name, limits, values)
        self._add_resources(wanted, limits.resources, values)
        async with AsyncExitStack() as held:
            await self._begin(wanted, held, hold if hold is not None else _of_this_call())
            yield

    @asynccontextmanager
    async def of_resources(self, kinds: Collection[Any], values: Mapping[str, Any], hold: Hold | None = None) -> AsyncIterator[None]:
        """Wait for what only the resources want that an undo, a look-up or a gate takes. Without `hold` the wait is not marked."""
        if not self._limited(kinds):
            yield
            return
        wanted = _Wanted()
        self._add_resources(wanted, kinds, values)
        async with AsyncExitStack() as held:
            await self._begin(wanted, held, hold if hold is not None else _unmarked)
            yield

    def ended(self, definition: Definition[..., Any], ok: bool) -> None:
        """Tell the breaker how a call ended. A failure is the exception that is handled now; only a transient one counts."""
        if definition.limits.breaker is None:
            return
        error = None if ok else sys.exception()
        if error is None or _says_something(error, _declared(definition)):
            self._fuse(definition.full_name, definition.limits.breaker).ended(ok, self._clock.monotonic())

    # -- what a call needs ----------

    def _limited(self, kinds: Collection[Any]) -> bool:
        return bool(self._resources) and any(kind in self._resources for kind in kinds)

    def _wanted(self, name: str, limits: Limits, values: Mapping[str, Any]) -> _Wanted:
        wanted = _Wanted()
        if limits.breaker is not None:
            wanted.fuse = self._fuse(name, limits.breaker)
        if limits.at_once is not None:
            wanted.places.append(((name, _part(limits.at_once.per, values)), limits.at_once.n))
        if limits.rate is not None:
            self._add_line(wanted, name, limits.rate, values)
        return wanted

    def _add_resources(self, wanted: _Wanted, kinds: Collection[Any], values: Mapping[str, Any]) -> None:
        for kind in sorted({kind for kind in kinds if kind in self._resources}, key=_name_of):
            limits = self._resources[kind]
            if limits.at_once is not None:
                key: Key = (RESOURCE, kind, _part(limits.at_once.per, values))
                wanted.places.append((key, limits.at_once.n))
            if limits.rate is not None:
                self._add_line(wanted, f"{RESOURCE} {_name_of(kind)}", limits.rate, values)

    def _add_line(self, wanted: _Wanted, name: str, rate: Rate, values: Mapping[str, Any]) -> None:
        lines = self._lines.get(name)
        if lines is None:
            lines = self._lines[name] = Lines(rate)
        part = _part(rate.per, values)
        wanted.lines.append(lambda: lines.of(part, self._clock.monotonic()))

    def _fuse(self, name: str, breaker: Breaker) -> Fuse:
        fuse = self._fuses.get(name)
        if fuse is None:
            fuse = self._fuses[name] = Fuse(breaker)
        return fuse

    # -- waiting for it ----------

    async def _begin(self, wanted: _Wanted, held: AsyncExitStack, hold: Hold) -> None:
        """Return when the call may begin, with what it needs."""
        while True:
            if wanted.fuse is not None:
                await wanted.fuse.let_through(self._clock, hold)
            for line_of in wanted.lines:
                line = line_of()
                pause = line.window.pause(self._clock.monotonic())
                if pause > 0 or line.waiting:
                    async with hold(self._clock.now() + max(pause, PLACE_POLL_SECONDS)):
                        await line.room(self._clock)
            for key, n in wanted.places:
                await self._take(key, n, held, hold)
            if self._begins(wanted, held):
                return
            await held.aclose()

    async def _take(self, key: Key, n: int, held: AsyncExitStack, hold: Hold) -> None:
        """Take a place, or go on the one of the agent whose body makes this call."""
        had = _places_had.get()
        own = had.get(key)
        if own is not None and own.had:
            taking, full = own.lend(), own.lent
        else:
            taking, full = self.places.take(key, n), self.places.full(key)
        if full:
            async with hold(self._clock.now() + PLACE_POLL_SECONDS):
                place = await taking
        else:
            place = await taking
        held.callback(place.leave)
        if key[0] == RESOURCE:
            held.callback(_places_had.reset, _places_had.set({**had, key: place}))

    def _begins(self, wanted: _Wanted, held: AsyncExitStack) -> bool:
        """Take what lasts only a moment: say whether breaker and rates still let the call through."""
        now = self._clock.monotonic()
        lines = [line() for line in wanted.lines]
        if (wanted.fuse is not None and not wanted.fuse.ready(now)) or any(line.window.pause(now) > 0 for line in lines):
            return False
        for line in lines:
            line.window.take(now)
        if wanted.fuse is not None:
            held.enter_context(wanted.fuse.trial())
        return True


def _part(per: Per | None, values: Mapping[str, Any]) -> Hashable:
    return None if per is None else per(Shown(dict(values)))


def _name_of(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', repr(kind))}"


def _declared(definition: Definition[..., Any]) -> Sequence[type[Exception]]:
    """Return the failures that a definition names: answers of the service."""
    if isinstance(definition, StepDefinition):
        return definition.raises
    return definition.options.raises if isinstance(definition, EffectDefinition) else ()


def _says_something(error: BaseException, raises: Sequence[type[Exception]]) -> bool:
    """Say whether a failure is one of the service: transient, and neither declared nor our own word about something else."""
    if isinstance(error, tuple(raises)):
        return False
    if isinstance(error, ChargehandError) and not isinstance(error, (NotDone, TimedOut)):
        return False
    return isinstance(error, TimedOut) or classify(error).transient


def _of_this_call() -> Hold:
    """Return what marks the call that runs now as waiting."""
    meter = current_meter.get()
    return _unmarked if meter is None else partial(meter.driver.holding, meter.path)


@asynccontextmanager
async def _unmarked(due: float) -> AsyncIterator[None]:
    yield
