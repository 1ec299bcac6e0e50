"""Which workers of a journal are alive: one lock file each, and a counter in it that ticks.

The rules:

1. A worker holds a POSIX record lock on ``<journal>-worker-<id>`` for life. The kernel lets go of it when the process
   dies, however it dies; so *the lock is free* means *surely gone*.
2. Record locks belong to the process, and go when **any** descriptor of the file is closed in it. So a process opens
   the file of its own worker once, and never again: a table of this process says which files those are. It is the only
   mutable state of a module in this package, because the locks it describes are the process's, not an object's.
3. A child made by ``fork`` inherits the table and the descriptors but not the locks: entries of another pid are
   ignored.
4. A heartbeat is a counter written to the same file, without fsync and without a transaction. A worker whose counter
   has stood still for some seconds of *the reader's* monotonic clock is *silent*. No wall clock is compared with
   another's.
5. After the counter stands, as JSON, what the worker said of itself: it is written once, before the worker is counted.
6. A file is removed by its worker when it is dismissed, or by whoever finds its lock free and no run owned by it. A new
   worker that lost its file to such a one in the instant between creating and locking it, starts again with a new id.

Where there are no record locks (`fcntl` is missing), nobody is ever surely gone and the heartbeat alone decides.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chargehand.durable import Census
from chargehand.errors import JournalError

try:
    import fcntl
except ImportError:  # pragma: no cover - rule at the end of the essay
    fcntl = None  # type: ignore[assignment]

COUNTER_BYTES = 8
_NO_WAIT_NO_LINK = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
"""A pipe or a link that somebody left in a worker's place must not hold the loop, nor lead elsewhere."""

ABOUT_BYTES_MAX = 1 << 20


@dataclass(slots=True)
class _Own:
    """A worker of this process: its descriptor, the only one, and its counter."""

    pid: int
    descriptor: int
    about: Mapping[str, Any]
    counter: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


_OWN: dict[str, _Own] = {}
"""The workers of this process by the real path of their file (rule 2)."""

_OPENING = threading.Lock()
"""Held while a file is opened: between creating a worker's file and noting it in the table nobody may probe it."""


def _own(path: str) -> _Own | None:
    own = _OWN.get(path)
    return own if own is not None and own.pid == os.getpid() else None


@dataclass(slots=True)
class _Seen:
    counter: int
    since: float


class Workers:
    """The workers of one journal, as one of its users sees them."""

    def __init__(self, journal_path: str, monotonic: Callable[[], float]) -> None:
        self._prefix = os.path.realpath(journal_path) + "-worker-"
        self._monotonic = monotonic
        self._seen: dict[str, _Seen] = {}
        self._enlisted: set[str] = set()

    def enlist(self, about: Mapping[str, Any]) -> str:
        """Start a worker of this process and return its id. If the process dies at any point, the worker is gone."""
        while True:
            id = f"{os.getpid()}-{secrets.token_hex(6)}"
            with _OPENING:
                locked = self._lock(self._prefix + id, about)
            if locked:
                self._enlisted.add(id)
                return id

    def beat(self, id: str) -> None:
        """Count one tick of a worker of this process. From any thread."""
        own = _own(self._prefix + id)
        if own is None:
            raise JournalError(f"Worker {id!r} was not enlisted by this process, or was dismissed.")
        with own.lock:
            if own.descriptor < 0:
                return
            own.counter += 1
            os.lseek(own.descriptor, 0, os.SEEK_SET)
            os.write(own.descriptor, own.counter.to_bytes(COUNTER_BYTES, "little"))

    def dismiss(self, id: str) -> None:
        """End a worker of this process and remove its file. Its runs must be free by now."""
        path = self._prefix + id
        self._enlisted.discard(id)
        if _own(path) is not None:
            _unlink(path)
            _let_go(path)

    def close(self) -> None:
        """Let go of workers that were not dismissed: they count as gone, and what they own is taken over."""
        for id in self._enlisted:
            if _own(self._prefix + id) is not None:
                _let_go(self._prefix + id)
        self._enlisted.clear()

    def census(self, owners: Iterable[str], owns_runs: Callable[[str], bool], silent_after: float) -> Census:
        """Say which workers are gone and which are silent.

        `owners` are the owners of runs, read before this is called: a worker's file is there before it claims anything,
        so an owner without a file is gone.
        """
        gone, silent = set(), set()
        files = {path[len(self._prefix) :] for path in glob.glob(glob.escape(self._prefix) + "*")}
        self._seen = {id: seen for id, seen in self._seen.items() if id in files}
        for id in sorted(files.union(owners)):
            counter = self._counter(id)
            if counter is None:
                gone.add(id)
                if not owns_runs(id):
                    _unlink(self._prefix + id)
            elif self._still(id, counter, silent_after):
                silent.add(id)
        return Census(frozenset(gone), frozenset(silent))

    def living(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the workers whose lock is held, and what they said of themselves."""
        found: list[tuple[str, Mapping[str, Any]]] = []
        for path in sorted(glob.glob(glob.escape(self._prefix) + "*")):
            seen = self._read(path)
            if seen is not None:
                found.append((path[len(self._prefix) :], seen[1]))
        return found

    def _still(self, id: str, counter: int, silent_after: float) -> bool:
        now = self._monotonic()
        seen = self._seen.get(id)
        if seen is None or seen.counter != counter:
            self._seen[id] = _Seen(counter, now)
            return False
        return now - seen.since >= silent_after

    def _counter(self, id: str) -> int | None:
        """Return a living worker's counter, or `None` if it is gone."""
        seen = self._read(self._prefix + id)
        return None if seen is None else seen[0]

    def _read(self, path: str) -> tuple[int, Mapping[str, Any]] | None:
        """Return a living worker's counter and what it said of itself, or `None` if it is gone."""
        with _OPENING:
            own = _own(path)
            if own is not None:
                return own.counter, own.about
            try:
                descriptor = os.open(path, os.O_RDONLY | _NO_WAIT_NO_LINK)
            except OSError as error:
                if isinstance(error, FileNotFoundError) or error.errno in (errno.ELOOP, errno.ENXIO):
                    return None
                raise
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode) or _lock_is_free(descriptor):
                    return None
                raw = os.read(descriptor, COUNTER_BYTES + ABOUT_BYTES_MAX)
                return int.from_bytes(raw[:COUNTER_BYTES], "little"), _about(raw[COUNTER_BYTES:])
            finally:
                os.close(descriptor)

    def _lock(self, path: str, about: Mapping[str, Any]) -> bool:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        try:
            if fcntl is not None:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, bytes(COUNTER_BYTES) + json.dumps(dict(about)).encode()[:ABOUT_BYTES_MAX])
            if os.stat(path).st_ino != os.fstat(descriptor).st_ino:
                raise FileNotFoundError(path)
        except (BlockingIOError, PermissionError, FileNotFoundError):  # somebody took the new file for a dead one's
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            _unlink(path)
            raise
        _OWN[path] = _Own(os.getpid(), descriptor, dict(about))
        return True


def _let_go(path: str) -> None:
    own = _OWN.pop(path)
    with own.lock:  # a heartbeat in another thread must not write to a descriptor that now means another file
        os.close(own.descriptor)
        own.descriptor = -1


def _lock_is_free(descriptor: int) -> bool:
    """Try a shared lock, which two who ask at the same time may both get; closing the descriptor gives it back."""
    if fcntl is None:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _about(raw: bytes) -> Mapping[str, Any]:
    try:
        about = json.loads(raw or b"{}")
    except ValueError:  # cut off at the limit: a worker with a megabyte of workflow names
        return {}
    return about if isinstance(about, dict) else {}


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
        os.unlink(path)
