"""What goes wrong with one call, as the operating system would answer it, and what the caller of the journal must be told."""

from __future__ import annotations

import errno
from collections.abc import Collection
from dataclasses import dataclass

import apsw

from chargehand.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked

from . import native
from .disk import Disk
from .native import Call


@dataclass(frozen=True)
class Kind:
    """One way in which one kind of call fails.

    `code` is SQLite's, `number` what is in ``errno``. `errors` are what may come out; that nothing does is right as well
    where SQLite tries again or does without. `half`: half of a write reaches the file.
    """

    name: str
    what: str
    code: int
    number: int
    errors: tuple[type[JournalError], ...] = (JournalError,)
    half: bool = False


FULL, ANY = (JournalFull,), (JournalError,)
KINDS = (
    Kind("no room", "write", apsw.SQLITE_FULL, errno.ENOSPC, FULL),
    Kind("no room for half of it", "write", apsw.SQLITE_FULL, errno.ENOSPC, FULL, half=True),
    Kind("quota reached", "write", apsw.SQLITE_IOERR_WRITE, errno.EDQUOT, FULL),
    Kind("not written", "write", apsw.SQLITE_IOERR_WRITE, errno.EIO),
    Kind("half written", "write", apsw.SQLITE_IOERR_WRITE, errno.EIO, half=True),
    Kind("not synced", "sync", apsw.SQLITE_IOERR_FSYNC, errno.EIO),
    Kind("no room to sync", "sync", apsw.SQLITE_IOERR_FSYNC, errno.ENOSPC, FULL),
    Kind("not cut", "truncate", apsw.SQLITE_IOERR_TRUNCATE, errno.EIO),
    Kind("not read", "read", apsw.SQLITE_IOERR_READ, errno.EINTR),
    Kind("unreadable", "read", apsw.SQLITE_IOERR_CORRUPTFS, errno.EIO, (JournalCorrupt,)),
    Kind("no descriptor", "open", apsw.SQLITE_CANTOPEN, errno.EMFILE),
    Kind("not deleted", "delete", apsw.SQLITE_IOERR_DELETE, errno.EPERM),
    Kind("not looked for", "access", apsw.SQLITE_IOERR_ACCESS, errno.EACCES),
    Kind("not measured", "filesize", apsw.SQLITE_IOERR_FSTAT, errno.EIO),
    Kind("no lock", "lock", apsw.SQLITE_IOERR_LOCK, errno.ENOLCK),
    Kind("locked", "lock", apsw.SQLITE_BUSY, errno.EAGAIN, (JournalLocked,)),
    Kind("not mapped", "shmmap", apsw.SQLITE_IOERR_SHMMAP, errno.ENOMEM),
    Kind("no memory", "shmmap", apsw.SQLITE_NOMEM, errno.ENOMEM),
    Kind("no room to share", "shmmap", apsw.SQLITE_IOERR_SHMSIZE, errno.ENOSPC, FULL),
    Kind("not shared", "shmmap", apsw.SQLITE_CANTOPEN, errno.EACCES),
    Kind("no shared lock", "shmlock", apsw.SQLITE_IOERR_SHMLOCK, errno.ENOLCK),
    Kind("shared lock held", "shmlock", apsw.SQLITE_BUSY, errno.EAGAIN, (JournalLocked,)),
)
"""Every kind of call that can fail, with each result that SQLite or we treat in a way of its own."""


@dataclass
class Failing:
    """A fault of one kind: at these numbers among the calls of its kind, counted from 0."""

    disk: Disk
    kind: Kind
    at: Collection[int]
    met: int = 0
    seen: int = 0

    def __call__(self, call: Call) -> int | None:
        """Answer a call if its turn has come."""
        if call.what != self.kind.what:
            return None
        number, self.seen = self.seen, self.seen + 1
        if number not in self.at:
            return None
        self.met += 1
        if self.kind.half:
            self.disk.wrote(call, call.size // 2)
        return native.fail(self.kind.code, self.kind.number)
