"""A wall clock that steps by hours, back and forth, for all processes at once; the monotonic clock is the machine's."""

from __future__ import annotations

import asyncio
import mmap
import struct
from pathlib import Path

from .hurried import SPEED, HurriedClock

LOOK = 0.02
"""Seconds after which who waits looks at the clock again: it may have been set."""


def clock_file(path: str) -> None:
    """Make the file by which the clock is set."""
    Path(path).write_bytes(struct.pack("d", 0.0))


class SteppingClock(HurriedClock):
    """A hurried clock, plus what a file says. `step` sets it for everybody."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    @property
    def offset(self) -> float:
        """Return by how many seconds the clock is wrong."""
        seconds: float = struct.unpack("d", self._shared[:8])[0]
        return seconds

    def step(self, to: float) -> None:
        """Set the clock: so many seconds off from now on, for every process."""
        self._shared[:8] = struct.pack("d", to)

    def now(self) -> float:
        """Return the wall clock."""
        return super().now() + self.offset

    async def wait(self, until: float) -> None:
        """Return when `now()` has reached `until`."""
        while (left := until - self.now()) > 0:
            await asyncio.sleep(min(left / SPEED, LOOK))
