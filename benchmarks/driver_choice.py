"""Which SQLite driver should the journal use? Measures the journal's own commit pattern with both.

The pattern of one batch: a guarded UPDATE of the run's row, then one small event row. Variants: one batch per
transaction, 200 batches per transaction, with and without a savepoint around each batch; payloads as TEXT or BLOB.
Rounds alternate between the drivers, because disks are noisy: trust ratios within one round, CPU per row and bytes per
row.

    python benchmarks/driver_choice.py [--directory DIR] [--rounds 5]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

RUNS = 200
SCHEMA = """
CREATE TABLE runs(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, epoch INTEGER NOT NULL,
  seq INTEGER NOT NULL, head BLOB NOT NULL, due REAL, updated REAL NOT NULL) STRICT;
CREATE TABLE events(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, seq INTEGER NOT NULL, time REAL NOT NULL,
  type TEXT NOT NULL, path TEXT NOT NULL, payload {kind} NOT NULL, hash BLOB NOT NULL, UNIQUE (run, seq)) STRICT;
"""
GUARD = "UPDATE runs SET seq = ?, head = ?, status = ?, due = ?, updated = ? WHERE number = ? AND epoch = ? AND seq = ?"
EVENT = "INSERT INTO events(run, seq, time, type, path, payload, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
PAYLOAD = '{"value":{"supplier":"Acme","sku":"M8-BOLT","unit_price":"0.12"},"digest":"9f86d081884c7d65"}'
HEAD = hashlib.sha256(b"head").digest()

Execute = Callable[[str, Sequence[Any]], Any]


@dataclass(frozen=True)
class Driver:
    """One way to reach SQLite: `execute` runs a statement, `changes` tells how many rows the last one touched."""

    name: str
    version: str
    execute: Execute
    changes: Callable[[], int]
    close: Callable[[], None]


def stdlib(path: Path) -> Driver:
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=64)
    cursor = connection.cursor()
    return Driver("sqlite3", sqlite3.sqlite_version, cursor.execute, lambda: cursor.rowcount, connection.close)


def with_apsw(path: Path) -> Driver:
    connection = apsw.Connection(str(path), statementcachesize=64)
    cursor = connection.cursor()
    return Driver("apsw", apsw.sqlite_lib_version(), cursor.execute, connection.changes, connection.close)


def prepare(driver: Driver, *, text: bool) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        driver.execute(f"PRAGMA {pragma}", ())
    for statement in SCHEMA.format(kind="TEXT" if text else "BLOB").split(";")[:-1]:
        driver.execute(statement, ())
    driver.execute("BEGIN IMMEDIATE", ())
    for number in range(1, RUNS + 1):
        row = (number, f"po-{number}", "running", 1, 0, HEAD, None, 1.7e9)
        driver.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    driver.execute("COMMIT", ())


def batch(driver: Driver, run: int, seq: int, payload: str | bytes, *, savepoint: bool) -> None:
    execute = driver.execute
    if savepoint:
        execute("SAVEPOINT batch", ())
    execute(GUARD, (seq, HEAD, "running", None, 1.7e9 + seq, run, 1, seq - 1))
    if driver.changes() != 1:
        raise RuntimeError("the guard did not hold")
    execute(EVENT, (run, seq, 1.7e9 + seq, "call.done", "researcher#2", payload, HEAD))
    if savepoint:
        execute("RELEASE batch", ())


@dataclass(frozen=True)
class Figure:
    """Rows per second, CPU microseconds per row, and bytes of database file per row."""

    rows_per_second: float
    cpu_microseconds: float
    file_bytes: float


def measure(make: Callable[[Path], Driver], directory: Path, *, group: int, rows: int, savepoint: bool, text: bool) -> Figure:
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        path = Path(folder) / "choice.db"
        driver = make(path)
        prepare(driver, text=text)
        payload: str | bytes = PAYLOAD if text else PAYLOAD.encode()
        before = path.stat().st_size
        started, cpu = time.perf_counter(), time.process_time()
        for first in range(0, rows, group):
            driver.execute("BEGIN IMMEDIATE", ())
            for index in range(first, first + group):
                batch(driver, index % RUNS + 1, index // RUNS + 1, payload, savepoint=savepoint)
            driver.execute("COMMIT", ())
        seconds, spent = time.perf_counter() - started, time.process_time() - cpu
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)", ())
        size = os.stat(path).st_size - before
        driver.close()
    return Figure(rows / seconds, spent / rows * 1e6, size / rows)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    makers = {"sqlite3": stdlib, "apsw": with_apsw}
    cases = [
        ("1 batch per commit", 1, 1_000, False, True),
        ("200 batches per commit", 200, 40_000, False, True),
        ("200, a savepoint each", 200, 40_000, True, True),
        ("200, payload as BLOB", 200, 40_000, False, False),
    ]
    print(f"stdlib SQLite {sqlite3.sqlite_version}, APSW SQLite {apsw.sqlite_lib_version()}")
    print(f"{'':26}{'driver':9}{'rows/s (median)':>16}{'CPU µs/row':>12}{'file B/row':>12}")
    for title, group, rows, savepoint, text in cases:
        figures: dict[str, list[Figure]] = {name: [] for name in makers}
        for _ in range(options.rounds):
            for name, maker in makers.items():
                figure = measure(maker, options.directory, group=group, rows=rows, savepoint=savepoint, text=text)
                figures[name].append(figure)
        for name, of in figures.items():
            speed = statistics.median(figure.rows_per_second for figure in of)
            cpu = statistics.median(figure.cpu_microseconds for figure in of)
            print(f"{title:26}{name:9}{speed:16,.0f}{cpu:12.1f}{of[0].file_bytes:12.0f}")


if __name__ == "__main__":
    main()
