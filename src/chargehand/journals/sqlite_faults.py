"""What SQLite's errors mean to the user, and on which file systems a journal may lie."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import apsw

from chargehand.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked, JournalOnNetwork

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
    }
)
"""Types in ``/proc/mounts`` whose file locks are not known to hold between machines."""

FAULTS = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.PermissionsError,
    apsw.ProtocolError,
    apsw.NoMemError,
)
"""Errors of the world: they concern everybody in a transaction. Every other error is one batch's own."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def journal_error(error: apsw.Error, path: str, system_errno: int) -> JournalError:
    """Return what an error of SQLite is called in Chargehand."""
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and system_errno in _NO_ROOM):
        return JournalFull(f"No room for the journal: {path}. What was acknowledged is kept; make room and go on.")
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return JournalLocked(f"Another program holds the journal: {path}. Close it and go on.")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return JournalCorrupt(f"The journal's file is damaged: {path} ({error}). Restore it from a backup.")
    if isinstance(error, apsw.IOError) and system_errno:
        return JournalError(f"The journal could not be read or written: {path} ({os.strerror(system_errno)}).")
    return JournalError(f"The journal could not be read or written: {path} ({type(error).__name__}: {error}).")


def system_error(error: OSError, path: str, what: str) -> JournalError:
    """Return what an error of the operating system is called, when `what` could not be done to the journal's files."""
    if error.errno in _NO_ROOM:
        return JournalFull(f"No room for the journal: {path}. What was acknowledged is kept; make room and go on.")
    return JournalError(f"The journal cannot be {what}: {path} ({error.strerror}).")


def file_system_of(path: Path, mounts: str) -> str:
    """Return the type of the file system a path lies on, given the text of ``/proc/mounts``; ``""`` if none fits."""
    best, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].encode().decode("unicode_escape"))  # spaces are written \040
        if (point == path or point in path.parents) and len(point.parts) >= best:
            best, found = len(point.parts), fields[2]
    return found


def refuse_network(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise `JournalOnNetwork` where file locks cannot be trusted. Where mounts are not listed, nothing is refused."""
    try:
        text = mounts.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = file_system_of(path.resolve(), text)
    if kind in NETWORK_FILE_SYSTEMS:
        raise JournalOnNetwork(f"The journal lies on a network file system ({kind}): {path}. Use a local disk, or PostgreSQL.")
