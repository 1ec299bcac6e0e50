"""No engine at all: asyncio, one writer thread, group commit. A ceiling to compare with, not a thing to use.

It writes one row for each step and waits until the row is on the disk. It has no identity of calls, no checks of arguments, no
chain, no claims, no timers, no retries, no fences: what an engine costs is the distance to this.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import stopwatch


class Nothing:
    """Rows and fsyncs as the stopwatch wants them."""

    store = "nothing.db"

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[None]:
        """Open the file and start the writer."""
        self._loop = asyncio.get_running_loop()
        self._queue: list[tuple[tuple[str, int, str], asyncio.Future[None]]] = []
        self._ready = threading.Condition()
        self._connection = sqlite3.connect(folder / self.store, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS steps(run TEXT, seq INTEGER, value TEXT)")
        threading.Thread(target=self._write, daemon=True).start()
        yield

    def _write(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._queue)
                group, self._queue = self._queue, []
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO steps VALUES (?, ?, ?)", [row for row, _ in group])
            self._connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._answer, group)

    @staticmethod
    def _answer(group: list[tuple[tuple[str, int, str], asyncio.Future[None]]]) -> None:
        for _, waiting in group:
            waiting.set_result(None)

    async def run(self, id: str, steps: int) -> int:
        """Make n rows, one after the other."""
        x = 0
        while x < steps:
            x = stopwatch.step(x)
            waiting = self._loop.create_future()
            with self._ready:
                self._queue.append(((id, x, json.dumps(x)), waiting))
                self._ready.notify()
            await waiting
        return x

    async def runs(self, ids: list[str], steps: int) -> None:
        """Make many at the same time."""
        await asyncio.gather(*(self.run(id, steps) for id in ids))


if __name__ == "__main__":
    stopwatch.main(Nothing())  # type: ignore[arg-type]
