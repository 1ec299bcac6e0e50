"""Whose turn it is to write: processes (and journals of one process) queue for a file lock, so none polls for another.

SQLite lets one connection write at a time and makes the others poll. A lock on ``<file>-turn``, taken before each
transaction, puts the waiting into the kernel. It only orders those who ask for it: a foreign program is still kept out
by SQLite's own locks. The lock belongs to the open file, so it goes when the process dies, wherever it dies.
"""

from __future__ import annotations

import os
import threading
from typing import Literal

try:
    import fcntl
except ImportError:  # pragma: no cover - no such lock there: SQLite's own polling orders the writers
    fcntl = None  # type: ignore[assignment]


class Turn:
    """The right to begin a transaction. One thread at a time uses it."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)  # somebody else's link is not ours
        self._changed = threading.Condition()
        self._waiter: Literal["none", "waiting", "holding"] = "none"
        self._wanted = False

    def take_now(self) -> bool:
        """Take the turn if it is free, without waiting."""
        if self._waiter != "none":
            return False
        if fcntl is None:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def take(self, seconds: float) -> bool:
        """Take the turn, waiting in the kernel; `False` when it did not come in time.

        A wait that was given up leaves a thread in the kernel's queue; the next `take` joins it.
        """
        with self._changed:
            if self.take_now():
                return True
            if self._waiter == "none":
                self._waiter = "waiting"
                threading.Thread(target=self._wait, name="chargehand-turn", daemon=True).start()
            self._wanted = True
            came = self._changed.wait_for(lambda: self._waiter == "holding", seconds)
            self._wanted = False
            if came:
                self._waiter = "none"
            return came

    def give(self) -> None:
        """Let the next one write."""
        if fcntl is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave the queue."""
        if self._waiter == "none":
            os.close(self._file)

    def _wait(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError:  # the next `take` joins the queue anew
            with self._changed:
                self._waiter = "none"
            return
        with self._changed:
            if self._wanted:
                self._waiter = "holding"
                self._changed.notify()
            else:
                fcntl.flock(self._file, fcntl.LOCK_UN)
                self._waiter = "none"
