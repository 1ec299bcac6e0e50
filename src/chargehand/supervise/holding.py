"""Holding: which operations of a run wait for time or people, until when, and how they are woken.

A run whose operations all hold is idle and may leave memory. What an agent's body waits for holds the agent too, and its
timeout stands still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from chargehand.durable import Clock
from chargehand.supervise.bodies import Body


class Holding:
    """The waits of one run's operations."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.dues: dict[str, float] = {}
        self.bodies: dict[str, Body] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._holding: dict[str, int] = {}
        self._marks: dict[str, list[set[str]]] = {}
        self._awaited: dict[str, dict[object, str]] = {}
        self._held_up: set[str] = set()
        self._watchers: dict[str, asyncio.Future[None]] = {}
        self._woken = False
        self._sleeper: asyncio.Future[None] | None = None

    def _wake(self) -> None:
        """Have the driver look again at what there is to do."""
        self._woken = True
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None and not sleeper.done():
            sleeper.set_result(None)

    async def _until_woken(self) -> None:
        """Wait for the next thing to happen. One waiter at a time."""
        if not self._woken:
            self._sleeper = asyncio.get_running_loop().create_future()
            await self._sleeper

    @asynccontextmanager
    async def holding(self, path: str, due: float | None = None) -> AsyncIterator[None]:
        """Mark an operation as waiting for time or people; a run whose operations all hold is idle."""
        self.hold(path, due)
        try:
            yield
        finally:
            self.release(path)

    def hold(self, path: str, due: float | None = None) -> None:
        """Begin to hold."""
        names = {path, self._operation_now() or path}
        if (asker := path.removesuffix("!budget")) in self.tasks:
            names.add(asker)  # a body that waits for a person to raise its budget
        self._marks.setdefault(path, []).append(names)
        for name in names:
            self._count(name, 1)
        if due is not None:
            self.dues[path] = due
        self._wake()

    def release(self, path: str) -> None:
        """End to hold."""
        self.dues.pop(path, None)
        marks = self._marks.get(path)
        if marks:
            for name in marks.pop():
                self._count(name, -1)

    def body_ended(self, path: str) -> None:
        """Note that an agent's body is no more: whatever it asked for may go on waiting, the agent does not wait for it."""
        self.bodies.pop(path, None)
        self._awaited.pop(path, None)
        self._weigh(path)

    def holds(self, path: str) -> bool:
        """Say whether an operation waits for time or people."""
        return path in self._holding

    # -- who waits with whom ----------

    async def outcome(
        self, owner: str, path: str, begin: Callable[[], Coroutine[Any, Any, None]] | None, *, until: Callable[[], bool] | None = None
    ) -> None:
        """Wait for the operation at a path, begun if there is none. The operation outlives who waits for it here."""
        token = object()
        self._awaited.setdefault(owner, {})[token] = path
        task = self.tasks.get(path)
        if task is None:
            assert begin is not None
            task = self.spawn(path, begin())
        self._weigh(owner)
        try:
            while until is not None and not task.done():
                await asyncio.wait({task, self._watcher(path)}, return_when=asyncio.FIRST_COMPLETED)
                if until():
                    return
            await asyncio.shield(task)
        finally:
            self._awaited.get(owner, {}).pop(token, None)
            self._weigh(owner)

    def spawn(self, path: str, operation: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start an operation."""
        raise NotImplementedError

    def _count(self, name: str, change: int) -> None:
        """Count a reason for an operation to hold; tell its body and who waits for it when the first comes or the last goes."""
        before = self._holding.get(name, 0)
        left = max(before + change, 0)
        if left:
            self._holding[name] = left
        else:
            self._holding.pop(name, None)
        if bool(before) == bool(left):
            return
        body = self.bodies.get(name)
        if body is not None:
            (body.pause if left else body.resume)()
        for owner in [owner for owner, children in self._awaited.items() if name in children.values()]:
            self._weigh(owner)

    def _weigh(self, owner: str) -> None:
        """An operation that waits for others holds when all of them hold; while one goes on, so does it."""
        children = self._awaited.get(owner)
        holds = bool(children) and all(child in self._holding for child in (children or {}).values())
        if holds == (owner in self._held_up):
            return
        (self._held_up.add if holds else self._held_up.discard)(owner)
        self._count(owner, 1 if holds else -1)
        self._wake()

    def _ended(self, path: str) -> None:
        """Note that an operation has ended: it holds no more, whatever for."""
        if self._awaited:
            self._awaited.pop(path, None)
            self._held_up.discard(path)
        if self._marks:
            self._marks.pop(path, None)
        if path in self._holding:
            self._count(path, -self._holding[path])

    def _operation_now(self) -> str | None:
        """Return the path of the operation whose task runs now."""
        task = asyncio.current_task()
        path = None if task is None else task.get_name().partition("/")[2]
        return path if path and self.tasks.get(path) is task else None

    def asked_in(self, path: str) -> dict[str, int]:
        """Return which attempt of an agent asks for a call, as its first event keeps it; nothing outside agents."""
        owners = [name for name in self.bodies if path.startswith(name + "/")]
        return {"attempt": self.bodies[max(owners, key=len)].attempt} if owners else {}

    async def until(self, due: float, path: str) -> None:
        """Wait until a time."""
        async with self.holding(path, due):
            await self.clock.wait(due)

    async def event_at(self, path: str, due: float | None = None) -> bool:
        """Wait until an event at this path is folded (True), or until `due` (False)."""
        watcher = self._watcher(path)
        async with self.holding(path, due):
            if due is None:
                await asyncio.shield(watcher)
                return True
            alarm = asyncio.ensure_future(self.clock.wait(due))
            try:
                await asyncio.wait({watcher, alarm}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
            return watcher.done()

    def _watcher(self, path: str) -> asyncio.Future[None]:
        watcher = self._watchers.get(path)
        if watcher is None or watcher.done():
            watcher = self._watchers[path] = asyncio.get_running_loop().create_future()
        return watcher

    def _tell(self, path: str) -> None:
        """Wake what waits for an event at this path."""
        watcher = self._watchers.pop(path, None)
        if watcher is not None and not watcher.done():
            watcher.set_result(None)
