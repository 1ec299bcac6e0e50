"""A clock for real processes: the wall clock runs fifty times as fast, the monotonic one as it is.

All processes agree on it, because it depends on the machine's time only. Durable waits of seconds take milliseconds;
leases and timeouts, which are monotonic, are real.
"""

from __future__ import annotations

import asyncio
import time

from .clock import START

SPEED = 50.0


class HurriedClock:
    """Durable time in a hurry."""

    def now(self) -> float:
        """Return the hurried wall clock."""
        return START + (time.time() - START) * SPEED

    def monotonic(self) -> float:
        """Return the machine's monotonic clock."""
        return time.monotonic()

    async def wait(self, until: float) -> None:
        """Return when `now()` has reached `until`."""
        while (left := until - self.now()) > 0:
            await asyncio.sleep(left / SPEED)

    async def sleep(self, seconds: float) -> None:
        """Return after so many monotonic seconds."""
        await asyncio.sleep(seconds)
