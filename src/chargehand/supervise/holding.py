"""Holding: which operations of a run wait for time or people, until when, and how they are woken.

A run whose operations all hold is idle and may leave memory. What an agent's body waits for holds the agent too, and its
timeout stands still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
        self._watchers: dict[str, asyncio.Future[None]] = {}
        self._wakeup = asyncio.Event()

    def _wake(self) -> None:
        self._wakeup.set()

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
        names = self._waiting_with(path)
        self._marks.setdefault(path, []).append(names)
        for name in names:
            self._holding[name] = self._holding.get(name, 0) + 1
            body = self.bodies.get(name)
            if body is not None:
                body.pause()
        if due is not None:
            self.dues[path] = due
        self._wake()

    def release(self, path: str) -> None:
        """End to hold."""
        self.dues.pop(path, None)
        marks = self._marks.get(path)
        if not marks:
            return
        for name in marks.pop():
            left = self._holding.get(name, 0) - 1
            if left > 0:
                self._holding[name] = left
            else:
                self._holding.pop(name, None)
            body = self.bodies.get(name)
            if body is not None:
                body.resume()

    def body_ended(self, path: str) -> None:
        """Note that an agent's body is no more: whatever it asked for may go on waiting, the agent does not wait for it."""
        self.bodies.pop(path, None)
        self._holding.pop(path, None)
        for marks in self._marks.values():
            for names in marks:
                names.discard(path)

    def _waiting_with(self, path: str) -> set[str]:
        """Return who waits when the call at a path does: itself, the operation that runs now, the agents it is made for."""
        names = {path}
        now = self._operation_now()
        if now is not None:
            names.add(now)
        parts = path.split("/")
        names.update(name for length in range(1, len(parts)) if (name := "/".join(parts[:length])) in self.tasks)
        return names

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
        watcher = self._watchers.get(path)
        if watcher is None or watcher.done():
            watcher = self._watchers[path] = asyncio.get_running_loop().create_future()
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

    def _tell(self, path: str) -> None:
        """Wake what waits for an event at this path."""
        watcher = self._watchers.pop(path, None)
        if watcher is not None and not watcher.done():
            watcher.set_result(None)
