"""A disk that is remembered: what was written, what was synced, and what may be left of it when the power goes.

The model, from what disks and file systems promise and no more:

* What was written to a file before a sync of it that succeeded is there.
* Of what was written since, each sector has the content of some moment: none, some or all of the writes to it, whatever
  became of its neighbours. A file that grew may have its new size without its new content, with anything in its place.
* A sync that fails leaves each sector so, and forgets what it did not write: the next sync does not try again.
* A file's name, new or deleted, is as lasting as the last sync of its folder. SQLite syncs the folder with the first sync
  of a log that it has opened (seen with ``strace``), so the model does the same.

A rewritten part of a sector leaves its other bytes alone: SQLite assumes that of every disk (``SQLITE_IOCAP_POWERSAFE_OVERWRITE``).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import native
from .native import OK, Call

SECTORS = (512, 4096)
LASTING = (0.0, 0.3, 0.7, 1.0)
"""How likely it is that a write which was not synced is there all the same: one of these for each file and power cut."""


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that was done to the disk. `inode` is a file, whatever its name is by now."""

    what: str
    inode: int = 0
    offset: int = 0
    content: bytes = b""
    name: str = ""
    size: int = 0


Fault = Callable[[Call], int | None]
"""What goes wrong: given a call, SQLite's code for what happened instead, or None to have it carried out."""


@dataclass
class Disk:
    """A folder whose every change is written down, and whose calls may be answered with a fault.

    `calls` are all calls so far by kind and file. `fault` is asked first, with each call. `before` is how many of the
    changes were made before anybody watched.
    """

    folder: str
    done: list[Done] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    fault: Fault | None = None
    asleep: bool = False
    before: int = 0
    _names: dict[str, int] = field(default_factory=dict)
    _unsynced: set[str] = field(default_factory=set)
    _inodes: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @contextmanager
    def watched(self) -> Iterator[Disk]:
        """Watch the folder."""
        with native.watching(self.folder, self):
            yield self

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """Have whoever looks at the files from outside not be seen, nor meet a fault."""
        self.asleep = True
        try:
            yield
        finally:
            self.asleep = False

    def begin_with(self, files: Mapping[str, bytes]) -> None:
        """Know files that were there before: they are on the disk for good."""
        for name, content in files.items():
            inode = self._inode(f"{self.folder}/{name}")
            self.done += [Done("write", inode, 0, content), Done("sync", inode)]
        self.done.append(Done("sync folder"))
        self.before = len(self.done)

    def answer(self, call: Call) -> int:
        """Carry a call out and write it down, or answer with the fault."""
        if self.asleep:
            return call.go()
        self.calls.append((call.what, call.path.removeprefix(self.folder)))
        if self.fault is not None:
            code = self.fault(call)
            if code is not None:
                if call.what == "sync":
                    self.done.append(Done("lost", self._inode(call.path)))
                return code
        code = OK if call.what == "sync" else call.go()  # the real disk need not be waited for
        if code == OK:
            self._note(call)
        return code

    def wrote(self, call: Call, so_much: int) -> int:
        """Carry out a part of a write."""
        code = call.go(so_much)
        if code == OK:
            self.done.append(Done("write", self._inode(call.path), call.offset, call.content[:so_much]))
        return code

    def _inode(self, path: str) -> int:
        if path not in self._names:
            self._names[path] = next(self._inodes)
            self.done.append(Done("create", self._names[path], name=path.removeprefix(self.folder + "/")))
        return self._names[path]

    def _note(self, call: Call) -> None:
        match call.what:
            case "open":
                self._inode(call.path)
                if call.flags & native.O_CREAT and call.flags & (native.O_JOURNAL | native.O_WAL):
                    self._unsynced.add(call.path)
            case "write":
                self.done.append(Done("write", self._inode(call.path), call.offset, call.content))
            case "truncate":
                self.done.append(Done("truncate", self._inode(call.path), size=call.size))
            case "sync":
                self.done.append(Done("sync", self._inode(call.path)))
                if call.path in self._unsynced:
                    self._unsynced.discard(call.path)
                    self.done.append(Done("sync folder"))
            case "delete":
                self._names.pop(call.path, None)
                self.done.append(Done("delete", name=call.path.removeprefix(self.folder + "/")))
                if call.flags:
                    self.done.append(Done("sync folder"))


class Hasty:
    """A disk that is not waited for, where nothing but its content matters."""

    def answer(self, call: Call) -> int:
        """Carry out what is no sync."""
        return OK if call.what == "sync" else call.go()


class Platter:
    """What is surely on the disk and what may be, as one change after the other is made."""

    def __init__(self) -> None:
        self._lasting: dict[int, bytearray] = {}
        self._pending: dict[int, list[Done]] = {}
        self._names: dict[str, int | None] = {}
        self._renamed: dict[str, list[int | None]] = {}

    def turn(self, done: Done, seed: object = 0) -> None:
        """Go on by one change. `seed` decides what a failed sync has written."""
        match done.what:
            case "write" | "truncate":
                self._pending.setdefault(done.inode, []).append(done)
            case "sync":
                _apply(self._lasting.setdefault(done.inode, bytearray()), self._pending.pop(done.inode, []))
            case "lost":
                pending = self._pending.pop(done.inode, [])
                self._lasting[done.inode] = _survivors(self._lasting.get(done.inode, bytearray()), pending, random.Random(f"{seed}"))
            case "create":
                self._renamed.setdefault(done.name, []).append(done.inode)
            case "delete":
                self._renamed.setdefault(done.name, []).append(None)
            case "sync folder":
                for name, inodes in self._renamed.items():
                    self._names[name] = inodes[-1]
                self._renamed.clear()

    def left(self, dice: random.Random) -> dict[str, bytes]:
        """Return files as a power cut now may leave them, by name."""
        names = dict(self._names)
        for name, inodes in self._renamed.items():
            names[name] = dice.choice([names.get(name), *inodes, inodes[-1]])
        found: dict[str, bytes] = {}
        for name, inode in names.items():
            if inode is not None:
                lasting = self._lasting.get(inode, bytearray())
                found[name] = bytes(_survivors(lasting, self._pending.get(inode, []), dice))
        return found


def _apply(content: bytearray, changes: Sequence[Done]) -> bytearray:
    for change in changes:
        if change.what == "truncate":
            del content[change.size :]
            content.extend(bytes(change.size - len(content)))
        else:
            content.extend(bytes(max(0, change.offset - len(content))))
            content[change.offset : change.offset + len(change.content)] = change.content
    return content


def _survivors(lasting: bytearray, pending: Sequence[Done], dice: random.Random) -> bytearray:
    """Return a file's content after a power cut: for each sector, as after some of the writes to it."""
    sector, keep = dice.choice(SECTORS), dice.choice(LASTING)
    pieces: dict[int, list[tuple[int, Done]]] = {}
    chosen: list[tuple[int, Done]] = []
    for order, change in enumerate(pending):
        if change.what == "truncate":
            if dice.random() < keep:
                chosen.append((order, change))
            continue
        end = change.offset + len(change.content)
        for number in range(change.offset // sector, (end - 1) // sector + 1):
            first, last = max(change.offset, number * sector), min(end, (number + 1) * sector)
            piece = Done("write", change.inode, first, change.content[first - change.offset : last - change.offset])
            pieces.setdefault(number, []).append((order, piece))
    for writes in pieces.values():
        chosen += writes if dice.random() < keep else writes[: dice.randrange(len(writes))]
    content = _apply(bytearray(lasting), [change for _, change in sorted(chosen, key=lambda one: one[0])])
    missing = len(_apply(bytearray(lasting), pending)) - len(content)
    if missing > 0 and dice.random() < 0.5:
        content += bytes(missing) if dice.random() < 0.5 else dice.randbytes(missing)
    return content
