"""A clock that jumps: nobody sleeps, and a test says when time passes."""

from __future__ import annotations

import asyncio

START = 1_767_225_600.0
"""2026-01-01T00:00:00Z, in seconds since the epoch: where every test begins."""


class JumpingClock:
    """A `chargehand.durable.Clock` that stands still until it is told to jump.

    The wall clock and the monotonic clock move together, but for `step`, which sets the wall clock alone, as an
    administrator or a time server does.
    """

    def __init__(self, start: float = START) -> None:
        self._wall, self._monotonic = start, 1_000.0
        self._wall_waits: dict[asyncio.Future[None], float] = {}
        self._monotonic_waits: dict[asyncio.Future[None], float] = {}

    def now(self) -> float:
        """Return the wall clock: seconds since the epoch, UTC."""
        return self._wall

    def monotonic(self) -> float:
        """Return seconds that never step."""
        return self._monotonic

    async def wait(self, until: float) -> None:
        """Return when the wall clock has reached `until`."""
        if until > self._wall:
            await self._waited(self._wall_waits, until)

    async def sleep(self, seconds: float) -> None:
        """Return after so many monotonic seconds."""
        if seconds > 0:
            await self._waited(self._monotonic_waits, self._monotonic + seconds)
        else:
            await asyncio.sleep(0)

    async def _waited(self, waits: dict[asyncio.Future[None], float], until: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waits[future] = until
        try:
            await future
        finally:
            waits.pop(future, None)

    def next_in(self) -> float | None:
        """Return in how many seconds the next thing waits to happen, None when nothing waits."""
        wall = [until - self._wall for until in self._wall_waits.values()]
        monotonic = [until - self._monotonic for until in self._monotonic_waits.values()]
        return min((*wall, *monotonic), default=None)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass on both clocks at once and wake what is due."""
        if seconds < 0:
            raise ValueError(f"Time does not run back: {seconds}. To set the wall clock use step().")
        wall, monotonic = self._wall + seconds, self._monotonic + seconds
        # what is waited for is reached exactly, whatever floating point makes of the sum
        self._wall = _snapped(wall, self._wall_waits)
        self._monotonic = _snapped(monotonic, self._monotonic_waits)
        self._wake()

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back; the monotonic clock does not notice."""
        self._wall += seconds
        self._wake()

    def _wake(self) -> None:
        for waits, now in ((self._wall_waits, self._wall), (self._monotonic_waits, self._monotonic)):
            for future, until in waits.items():
                if until <= now and not future.done():
                    future.set_result(None)


def _snapped(time: float, waits: dict[asyncio.Future[None], float]) -> float:
    return max((until for until in waits.values() if 0 < until - time < 1e-6), default=time)
