"""A clock that tests own: time passes only when a test says so."""

from __future__ import annotations

import asyncio

START = 1_700_000_000.0


class FakeClock:
    """Wall clock and monotonic clock in one. Whoever waits is woken by `jump`."""

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._booted = now - 1000.0
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        """Return the wall clock."""
        return self._now

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        return self._now - self._booted

    async def wait(self, until: float) -> None:
        """Return when `now()` has reached `until`."""
        if until > self._now:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((until, future))
            await future

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await self.wait(self._now + seconds)

    def jump(self, to: float) -> None:
        """Let time pass until `to`."""
        self._now = max(self._now, to)
        for until, future in self._waiting:
            if until <= self._now and not future.done():
                future.set_result(None)
        self._waiting = [(until, future) for until, future in self._waiting if not future.done()]

    def next_wait(self) -> float | None:
        """Return the earliest time that somebody waits for."""
        return min((until for until, future in self._waiting if not future.done()), default=None)
