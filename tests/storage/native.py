"""Between SQLite and its own file layer: every call of the shipped build's ``unix`` VFS, seen and answered where a test says so.

A VFS written in Python through `apsw.VFS` cannot answer as a disk does: what it raises reaches the program even where
SQLite goes on (a checkpoint that fails after a commit), and it has no shared memory. So the tables of C functions
themselves are changed (``sqlite3_vfs`` and ``sqlite3_io_methods``, both public and stable): an answer from here is a plain
result code, and the whole of the driver and of SQLite above it is what users run.

Only files below a folder that is being watched are touched; the table of the VFS is put back when nobody watches.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass
from typing import Any, Protocol

import apsw

OK = apsw.SQLITE_OK
FCNTL_VFS_POINTER = 27
O_CREAT, O_JOURNAL, O_WAL = 0x00000004, 0x00000800, 0x00080000
"""What SQLite asks for when it opens a file: to create it; a rollback journal; a write-ahead log."""


class _Vfs(ctypes.Structure):
    """The head of ``sqlite3_vfs``."""

    _fields_ = (
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", c_void_p),
        ("xDelete", c_void_p),
        ("xAccess", c_void_p),
    )


METHODS = """
xClose xRead xWrite xTruncate xSync xFileSize xLock xUnlock xCheckReservedLock xFileControl xSectorSize
xDeviceCharacteristics xShmMap xShmLock xShmBarrier xShmUnmap xFetch xUnfetch
"""


class _IoMethods(ctypes.Structure):
    """``sqlite3_io_methods``, version 3."""

    _fields_ = (("iVersion", c_int), *((name, c_void_p) for name in METHODS.split()))


def _prototype(*arguments: Any) -> Any:
    return CFUNCTYPE(c_int, c_void_p, *arguments, use_errno=True)


OPEN = _prototype(c_void_p, c_void_p, c_int, POINTER(c_int))
DELETE = _prototype(c_char_p, c_int)
ACCESS = _prototype(c_char_p, c_int, POINTER(c_int))
PROTOTYPES = {
    "xClose": _prototype(),
    "xRead": _prototype(c_void_p, c_int, c_int64),
    "xWrite": _prototype(c_void_p, c_int, c_int64),
    "xTruncate": _prototype(c_int64),
    "xSync": _prototype(c_int),
    "xFileSize": _prototype(POINTER(c_int64)),
    "xLock": _prototype(c_int),
    "xShmMap": _prototype(c_int, c_int, c_int, POINTER(c_void_p)),
    "xShmLock": _prototype(c_int, c_int, c_int),
}
"""What can be seen and answered. Letting go (unlock, unmap) cannot fail, and the rest says nothing about the disk."""


@dataclass(slots=True)
class Call:
    """One call of SQLite to its file layer. `go` does what was asked (of a write, as much as it is told) and gives the code."""

    what: str
    path: str
    flags: int = 0
    offset: int = 0
    content: bytes = b""
    size: int = 0
    go: Callable[..., int] = lambda: OK


class Watcher(Protocol):
    """Who sees the calls below one folder."""

    def answer(self, call: Call) -> int:
        """Carry the call out, or not, and return SQLite's result code."""


_watched: dict[str, Watcher] = {}
_paths: dict[int, str] = {}
_tables: dict[int, _IoMethods] = {}
_kept: list[Any] = []
"""C functions that SQLite may still call. They are never freed: a file may be closed long after nobody watches."""


def fail(code: int, number: int) -> int:
    """Return a result code, with what the operating system would have left in ``errno``."""
    ctypes.set_errno(number)
    return code


def _watcher(path: str) -> Watcher | None:
    return next((watcher for folder, watcher in _watched.items() if path.startswith(folder + os.sep)), None)


def _seen(file: int, call: Call) -> int:
    call.path = _paths.get(file, "")
    watcher = _watcher(call.path)
    return call.go() if watcher is None else watcher.answer(call)


def _close(original: Any) -> Any:
    def close(file: int) -> int:
        path = _paths.pop(file, "")
        code: int = original(file)
        watcher = _watcher(path)
        if watcher is not None:
            watcher.answer(Call("close", path, go=lambda: code))
        return code

    return close


def _write(original: Any) -> Any:
    def write(file: int, buffer: int, amount: int, offset: int) -> int:
        def go(so_much: int = amount) -> int:
            return int(original(file, buffer, so_much, offset))

        return _seen(file, Call("write", "", offset=offset, content=ctypes.string_at(buffer, amount), size=amount, go=go))

    return write


def _other(what: str, original: Any) -> Any:
    def other(file: int, *arguments: Any) -> int:
        given = [argument for argument in arguments if isinstance(argument, int)]
        call = Call(what, "", go=lambda: int(original(file, *arguments)))
        if what == "truncate":
            call.size = given[0]
        elif what == "read":
            call.size, call.offset = given[-2:]
        elif what == "shmlock" and given[-1] & apsw.SQLITE_SHM_UNLOCK:
            call.what = "shmunlock"
        return _seen(file, call)

    return other


def _table(address: int) -> _IoMethods:
    """Return the table of a file with our functions in it, made once for each of the VFS's own tables."""
    if address not in _tables:
        own = _IoMethods.from_address(address)
        changed = _IoMethods.from_buffer_copy(own)
        for name, prototype in PROTOTYPES.items():
            pointer = getattr(own, name)
            if not pointer:
                continue
            original = prototype(pointer)
            what = name[1:].lower()
            ours = _close(original) if name == "xClose" else _write(original) if name == "xWrite" else _other(what, original)
            function = prototype(ours)
            _kept.append((original, function))
            setattr(changed, name, ctypes.cast(function, c_void_p).value)
        _tables[address] = changed
    return _tables[address]


def _install(vfs: _Vfs) -> None:
    open_file, delete_file, access_file = OPEN(vfs.xOpen), DELETE(vfs.xDelete), ACCESS(vfs.xAccess)

    def opened(address: int, name: int | None, file: int, flags: int, out: Any) -> int:
        path = "" if not name else ctypes.string_at(name).decode()
        watcher = _watcher(path)
        if watcher is None:
            return int(open_file(address, name, file, flags, out))

        def go() -> int:
            code = int(open_file(address, name, file, flags, out))
            methods = c_void_p.from_address(file)
            if code == OK and methods.value:
                _paths[file] = path
                methods.value = ctypes.addressof(_table(methods.value))
            return code

        code = watcher.answer(Call("open", path, flags=flags, go=go))
        if code != OK:
            c_void_p.from_address(file).value = None  # nothing to close
        return code

    def deleted(address: int, name: bytes, sync: int) -> int:
        watcher, call = _watcher(name.decode()), Call("delete", name.decode(), flags=sync, go=lambda: int(delete_file(address, name, sync)))
        return call.go() if watcher is None else watcher.answer(call)

    def accessed(address: int, name: bytes, flags: int, out: Any) -> int:
        watcher, call = _watcher(name.decode()), Call("access", name.decode(), go=lambda: int(access_file(address, name, flags, out)))
        return call.go() if watcher is None else watcher.answer(call)

    for field, prototype, ours in (("xOpen", OPEN, opened), ("xDelete", DELETE, deleted), ("xAccess", ACCESS, accessed)):
        function = prototype(ours)
        _kept.append(function)
        setattr(vfs, field, ctypes.cast(function, c_void_p).value)


def _unix() -> _Vfs:
    with tempfile.NamedTemporaryFile() as file:
        connection = apsw.Connection(file.name, vfs="unix")
        pointer = c_void_p()
        assert connection.file_control("main", FCNTL_VFS_POINTER, ctypes.addressof(pointer))
        connection.close()
    assert pointer.value is not None
    return _Vfs.from_address(pointer.value)


@contextmanager
def watching(folder: str, watcher: Watcher) -> Iterator[None]:
    """Have a watcher see every call to files below a folder. One at a time."""
    assert not _watched, "somebody watches already"
    vfs = _unix()
    before = vfs.xOpen, vfs.xDelete, vfs.xAccess
    _install(vfs)
    _watched[folder] = watcher
    try:
        yield
    finally:
        _watched.clear()
        vfs.xOpen, vfs.xDelete, vfs.xAccess = before
