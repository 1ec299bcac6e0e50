"""Worker processes on one journal, each on a disk that may fail; what all of them do to the disk and to the world goes into one log.

The log is what a power cut is made of: it says in one order what every process wrote and synced, and what the services did. An
entry is appended when the thing is done and before whoever did it hears of it, so what depends on it stands behind it.
"""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import crash.worker
from chargehand.carriers import embedded
from chargehand.errors import JournalError
from chargehand.journals.sqlite import SqliteJournal
from crash.town import Town
from crash.worker import GatedWorld, Orders
from crash.world import Fact, FileBook

from .disk import Disk, Done
from .faults import KINDS, Failing
from .playing import cuts


@dataclass(frozen=True)
class Seen:
    """What one service wrote into the world's book, in one piece, asked by which process."""

    facts: list[Fact]
    process: int


class Log(list[Done]):
    """A list in a file to which several processes append; this process's copy of it is what this process appended."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def append(self, entry: Any) -> None:
        """Append an entry in one piece."""
        os.write(self._file, pickle.dumps(entry))

    def __iadd__(self, entries: Any) -> Log:  # type: ignore[misc]
        for entry in entries:
            self.append(entry)
        return self

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        raise NotImplementedError("read it with `read`")


def read(path: str) -> list[Any]:
    """Return every entry of a log."""
    entries = []
    with open(path, "rb") as file:
        while file.peek(1):
            entries.append(pickle.load(file))
    return entries


class LoggedDisk(Disk):
    """A disk that several processes share: a file is known by the same number in each."""

    def _inode(self, path: str) -> int:
        if path not in self._names:
            self._names[path] = os.stat(path).st_ino
            self.done.append(Done("create", self._names[path], name=path.removeprefix(self.folder + "/")))
        return self._names[path]


class LoggedBook(FileBook):
    """The world's book, of which each line goes into the log as well."""

    def __init__(self, path: str, log: Log) -> None:
        super().__init__(path)
        self._log = log

    @contextmanager
    def writing(self) -> Iterator[list[Fact]]:
        """Lend the facts to one service."""
        with super().writing() as facts:
            known = len(facts)
            try:
                yield facts
            finally:
                if facts[known:]:
                    self._log.append(Seen(facts[known:], os.getpid()))


AMONG = {"write": 200, "read": 100, "shmlock": 100, "sync": 30}
"""Among how many calls of a kind some fail: every worker makes as many. Of the others it makes only a few, as it opens the journal."""


@dataclass(frozen=True)
class Trouble:
    """Which faults one worker's disk has: kinds by name, at calls that the seed draws.

    `hasty`: this worker does not wait for its disk.
    """

    seed: str = ""
    kinds: Collection[str] = ()
    hasty: bool = False


class Troubled:
    """Several faults at once."""

    def __init__(self, disk: Disk, trouble: Trouble) -> None:
        self._disk = disk
        dice = random.Random(trouble.seed)
        self.faults = [
            Failing(disk, kind, set(dice.sample(range(AMONG.get(kind.what, 4)), 6 if kind.what in AMONG else 1)))
            for kind in KINDS
            if kind.name in trouble.kinds
        ]

    def __call__(self, call: Any) -> int | None:
        """Answer a call if a fault's turn has come, and log that it has."""
        for fault in self.faults:
            answer = fault(call)
            if answer is not None:
                self._disk.done.append(Done("fault", os.getpid(), name=fault.kind.name))
                return answer
        return None


def hastily(connect: Any) -> Any:
    """Return a way to connect that does not wait for the disk."""

    def hasty(self: SqliteJournal) -> Any:
        connection = connect(self)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    return hasty


def work(orders: Orders, log_path: str, trouble: Trouble) -> None:
    """Be a worker on such a disk; one that cannot even open its journal begins again."""
    log = Log(log_path)
    crash.worker.world_of = lambda orders: GatedWorld(LoggedBook(orders.book, log), slow=orders.slow)
    embedded.READ_AGAIN_SECONDS = 0.01
    if trouble.hasty:
        SqliteJournal._connect = hastily(SqliteJournal._connect)  # type: ignore[method-assign]
    disk = LoggedDisk(os.path.dirname(orders.journal), done=log)
    disk.fault = Troubled(disk, trouble)
    with disk.watched():
        while True:
            try:
                crash.worker.work(orders)
            except JournalError:
                continue
            return


class LoggedTown(Town):
    """A town whose journal, workers and services are in one log. `log` is where."""

    log: str = ""

    def employ(self, trouble: Trouble) -> Any:
        """Start a worker on a disk of its own kind."""
        return self.crew.start(work, self.orders, self.log, trouble)


@dataclass(frozen=True)
class Remains:
    """What a power cut leaves of a town, and how much of it was acknowledged to the office."""

    files: dict[str, bytes]
    facts: list[Fact]
    cut: int


def remains(entries: list[Any], at: Collection[int], dice: random.Random) -> Iterator[Remains]:
    """Yield what is left when all processes end at once after so many entries of the log."""
    done = [Done("fact") if isinstance(entry, Seen) else entry for entry in entries]
    for cut, platter in cuts(done, sorted(at)):
        facts = [fact for entry in entries[:cut] if isinstance(entry, Seen) for fact in entry.facts]
        yield Remains(platter.left(dice), facts, cut)


def settle(left: Remains, folder: Path) -> None:
    """Put on a new disk what is left."""
    folder.mkdir()
    for name, content in left.files.items():
        (folder / name).write_bytes(content)
    with FileBook(str(folder / "book")).writing() as facts:
        facts.extend(left.facts)
