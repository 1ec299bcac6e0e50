"""Files that commands write: whole or not at all, readable by their owner alone, and never through somebody else's link."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from chargehand.cli.safe import as_json
from chargehand.errors import InvalidInput


@contextmanager
def written_whole(name: str, option: str = "--out") -> Iterator[TextIO]:
    """Open a file beside the one that is wanted, and put it in its place when all is written. Raises `InvalidInput`.

    What journals hold is private, so the file is made for its owner alone, whatever the umask. Its name before it is whole
    cannot be foreseen and must be new: in a directory that others write to, nobody can have put a link there.
    """
    path = Path(name)
    if path.is_dir():
        raise InvalidInput(f"{option} cannot be written: {name!r} is a directory. Name a file.")
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise InvalidInput(f"{option} cannot be written: {name!r}: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)


def write_line(file: TextIO, form: Mapping[str, Any]) -> None:
    """Write a line of JSON that a terminal may print, too: who looks into the file looks at foreign text."""
    file.write(as_json(form) + "\n")
