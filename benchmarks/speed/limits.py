"""What the machine itself can do, so that figures of different machines and minutes can be compared."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from pathlib import Path
from typing import Any

import apsw

ROW = b"x" * 200
ADDITIONS = 5_000_000


class RawRows:
    """A SQLite file without an engine: WAL, synchronous=FULL, so that each commit is one fsync."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x BLOB)")

    def seconds(self, commits: int, rows: int = 1) -> float:
        """Make so many commits of so many rows and return how long they took."""
        started = time.perf_counter()
        for _ in range(commits):
            self._connection.execute("BEGIN IMMEDIATE")
            for _ in range(rows):
                self._connection.execute("INSERT INTO t(x) VALUES (?)", (ROW,))
            self._connection.execute("COMMIT")
        return time.perf_counter() - started

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def raw_rows_per_second(folder: Path, commits: int, rows: int = 1) -> float:
    """Return rows per second in a fresh file."""
    raw = RawRows(folder / f"raw-{time.perf_counter_ns()}.db")
    try:
        return commits * rows / raw.seconds(commits, rows)
    finally:
        raw.close()


def yardstick_ms() -> float:
    """Return the milliseconds of CPU that `ADDITIONS` take: a yardstick of the processor, not of the disk."""
    started = time.process_time()
    x = 0
    while x < ADDITIONS:
        x += 1
    return (time.process_time() - started) * 1e3


def moment() -> dict[str, float]:
    """Return how busy the machine is, and how fast its processor is just now."""
    return {"load": os.getloadavg()[0], "yardstick_ms": yardstick_ms(), "stolen_percent": stolen_percent()}


def stolen_percent() -> float:
    """Return which part of the processor time since the machine's start was taken by other guests of its host."""
    try:
        times = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    except OSError:
        return 0.0
    return 100 * times[7] / sum(times[:8])


def machine(folder: Path) -> dict[str, Any]:
    """Return what figures depend on; no names and no dates."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "raw_rows_per_s": {str(rows): raw_rows_per_second(folder, 200, rows) for rows in (1, 10, 100)},
    }
