"""Whether a file is a journal, asked before it is opened to be read: opening it would make one of whatever it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

import apsw

from chargehand.errors import JournalError
from chargehand.journals.sqlite_faults import journal_error, system_error
from chargehand.journals.sqlite_rows import fetch
from chargehand.journals.sqlite_statements import SCHEMA_VERSION

_LOCKED_SECONDS = 5.0
_OURS = {"runs", "events", "chain"}
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
"""What tables a file has, whoseever they are: `user_version` alone is set by other programs too."""
_MAKES_ONE = "`chargehand run` makes one; --journal names another file."


def refuse_directory(path: str) -> None:
    """Raise `JournalError` when a directory is where the journal should be."""
    if os.path.isdir(path):
        raise JournalError(f"{path!r} is a directory, not a journal. Name a file, such as {os.path.join(path, 'work.db')!r}.")


def refuse_no_journal(path: str) -> None:
    """Raise `JournalError` when a file is missing or holds no journal. Changes nothing in it."""
    refuse_directory(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise JournalError(f"There is no journal: {path!r}. {_MAKES_ONE}") from None
    except OSError as error:
        raise system_error(error, path, "read") from error
    if not stat.S_ISREG(mode):
        raise JournalError(f"{path!r} is no ordinary file, so it is no journal. {_MAKES_ONE}")
    if not os.access(path, os.R_OK):
        raise JournalError(f"The journal {path!r} cannot be read by this user: its permissions are {stat.filemode(mode)}.")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.access(path, os.W_OK) or not os.access(folder, os.W_OK):
        raise JournalError(
            f"The journal {path!r} may be read by this user, but it or its directory may not be written to ({stat.filemode(mode)}). "
            "SQLite's write-ahead log needs both, also for whoever only looks."
        )
    version, tables = _looked(path)
    if tables and not _OURS.issubset(tables):
        raise JournalError(f"{path!r} holds no journal but another program's tables: {_listed(tables)}. {_MAKES_ONE}")
    if not tables and not version:
        raise JournalError(f"{path!r} is empty: no journal was made in it yet. {_MAKES_ONE}")


def refuse_foreign(path: str) -> None:
    """Raise `JournalError` when a file holds another program's tables and no journal yet: one that was named by mistake, perhaps."""
    if not os.path.isfile(path) or not os.path.getsize(path):
        return
    _, tables = _looked(path)
    if tables and not _OURS.issubset(tables):
        raise JournalError(
            f"{path!r} holds another program's tables: {_listed(tables)}. Nothing was written to it. Name another file; or, if transactional "
            "effects shall write to these tables, say so with `journal` in chargehand.toml or with CHARGEHAND_JOURNAL."
        )


def _listed(tables: Sequence[str]) -> str:
    return ", ".join(tables[:5]) + (f" and {len(tables) - 5} more" if len(tables) > 5 else "")


def _looked(path: str) -> tuple[int, list[str]]:
    """Return a database's schema version and its tables."""
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(int(_LOCKED_SECONDS * 1000))
            return int(fetch(connection, SCHEMA_VERSION)[0][0]), [name for (name,) in fetch(connection, _TABLES)]
        finally:
            connection.close()
    except apsw.Error as error:
        raise journal_error(error, path, 0) from error
