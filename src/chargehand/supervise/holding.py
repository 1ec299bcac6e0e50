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
        self._holding: dict[str, int] = {}
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
        owner = self._owner(path)
        self._holding[owner] = self._holding.get(owner, 0) + 1
        if owner != path:
            self._holding[path] = self._holding.get(path, 0) + 1
        if due is not None:
            self.dues[path] = due
        body = self.bodies.get(owner)
        if body is not None:
            body.pause()
        self._wake()

    def release(self, path: str) -> None:
        """End to hold."""
        self.dues.pop(path, None)
        owner = self._owner(path)
        for name in {owner, path}:
            left = self._holding.get(name, 0) - 1
            if left > 0:
                self._holding[name] = left
            else:
                self._holding.pop(name, None)
        body = self.bodies.get(owner)
        if body is not None:
            body.resume()

    def _owner(self, path: str) -> str:
        """Return the operation that a call belongs to: the agent whose body made it, or itself."""
        for name in self.bodies:
            if path.startswith(name + "/"):
                return name
        return path

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
