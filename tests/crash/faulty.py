"""A journal that at times cannot be written, as on a full disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chargehand.durable import Commit
from chargehand.errors import JournalError, JournalFull
from chargehand.events import Record


class Faulty:
    """A journal around another one whose appends fail from the n-th on, so many times.

    `lost` says that the failing append had reached the disk all the same, and only its answer was lost.
    """

    def __init__(self, journal: Any, first: int, times: int = 1, *, lost: bool = False, error: type[JournalError] = JournalFull) -> None:
        self._journal, self.lost, self.error = journal, lost, error
        self.left = range(first, first + times)
        self.appends = 0
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Make a commit durable, or fail."""
        self.appends += 1
        if self.appends not in self.left:
            records: Sequence[Record] = await self._journal.append(commit)
            return records
        self.failed += 1
        if self.lost:
            await self._journal.append(commit)
        raise self.error("No room for the journal.")


def no_pause(carrier: Any) -> Callable[[], None]:
    """Have a carrier drive a refused run again after a blink; return a function that takes this back."""
    original = carrier._again_later

    def again(row: Any) -> None:
        carrier._backoff[row.number] = 0.0005
        original(row)

    carrier._again_later = again
    return lambda: setattr(carrier, "_again_later", original)
