"""Below SQLite's file layer: the system calls that read and write, of which the kernel may do a part, or none and ask again.

POSIX lets ``pread`` and ``pwrite`` do less than they were asked, and a signal interrupt them. SQLite lets its system calls be
replaced (``xSetSystemCall``), so what it makes of that can be seen with the shipped build.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, c_int, c_int64, c_size_t, c_ssize_t, c_void_p

import apsw

Answer = Callable[[str, int], int]
"""Given "read" or "write" and how many bytes are asked for: how many are done, or what is in ``errno``, as a negative number."""

_PROTOTYPE = CFUNCTYPE(c_ssize_t, c_int, c_void_p, c_size_t, c_int64, use_errno=True)
_NAMES = {"read": "pread64", "write": "pwrite64"}


@contextmanager
def answering(answer: Answer) -> Iterator[None]:
    """Have all reads and writes of SQLite in this process answered so."""
    unix = apsw.VFS("chargehand-short", "unix")
    originals = {what: unix.xGetSystemCall(name) for what, name in _NAMES.items()}
    assert all(originals.values()), "this build reads and writes by other calls"
    functions = {what: _PROTOTYPE(_answered(what, _PROTOTYPE(original), answer)) for what, original in originals.items()}
    try:
        for what, name in _NAMES.items():
            assert unix.xSetSystemCall(name, ctypes.cast(functions[what], c_void_p).value or 0)
        yield
    finally:
        for what, name in _NAMES.items():
            unix.xSetSystemCall(name, originals[what] or 0)
        unix.unregister()


def _answered(what: str, original: Callable[[int, int, int, int], int], answer: Answer) -> Callable[[int, int, int, int], int]:
    def answered(file: int, buffer: int, amount: int, offset: int) -> int:
        so_much = answer(what, amount)
        if so_much < 0:
            ctypes.set_errno(-so_much)
            return -1
        return original(file, buffer, so_much, offset)

    return answered


INTERRUPTED, NO_ROOM = -errno.EINTR, -errno.ENOSPC
