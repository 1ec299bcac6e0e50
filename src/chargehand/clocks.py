"""The machine's clock."""

from __future__ import annotations

import asyncio
import time

_LONGEST_NAP = 60.0


class SystemClock:
    """The wall clock for due times, the monotonic clock for everything that measures."""

    now = staticmethod(time.time)
    """Return seconds since the epoch, UTC."""

    monotonic = staticmethod(time.monotonic)
    """Return seconds that never step."""

    async def wait(self, until: float) -> None:
        """Return when the wall clock has reached `until`; a clock that is set is noticed within a minute."""
        while (left := until - time.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _LONGEST_NAP))  # no event tells that a wall clock was set

    async def sleep(self, seconds: float) -> None:
        """Return after so many monotonic seconds."""
        await asyncio.sleep(seconds)
