"""A command line in an empty directory, as the tests of the command line have it, and ways to reach behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Command, Said, Started, cli, elsewhere, shop, start

KEY = "a key of more than sixteen characters"

__all__ = ["KEY", "Command", "Said", "Started", "change", "cli", "elsewhere", "names_in", "shop", "start"]


def change(*statements: str, journal: str = "chargehand.db") -> None:
    """Change a journal behind its back, as somebody with access to its file can."""
    connection = sqlite3.connect(journal)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def asked(statement: str, journal: str = "chargehand.db") -> list[Any]:
    """Return what a statement finds in a journal's file."""
    connection = sqlite3.connect(journal)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def names_in(folder: Path) -> set[str]:
    """Return the names of the files in a directory."""
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def flows(tmp_path: Path) -> Callable[[str], str]:
    """Write a module of workflows and return the path by which commands name it; a fresh module each time."""
    count = 0

    def written(text: str) -> str:
        nonlocal count
        count += 1
        file = tmp_path / f"flows_{tmp_path.name.replace('-', '_')}_{count}.py"
        file.write_text(text)
        return str(file)

    return written
