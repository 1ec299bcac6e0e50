"""Rows that are not what was written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from chargehand import Supervisor, ask_human, workflow
from chargehand.errors import JournalCorrupt


@workflow(name="rows.asks")
async def asks() -> str:
    """Ask."""
    return await ask_human("What?", str)


@pytest.mark.parametrize("value", ["nonsense", "null", "7", "[" * 100_000, b"\xff"], ids=["word", "null", "number", "deep", "bytes"])
@pytest.mark.parametrize("column", ["runs.tags", "waiting.shows", "waiting.decisions"])
async def test_a_row_that_is_not_what_was_written_is_damage(tmp_path: Path, column: str, value: object) -> None:
    """Columns of JSON that hold something else give the error of a damaged journal, not one of Python's."""
    path = tmp_path / "j.db"
    async with Supervisor(str(path), [asks]) as supervisor:
        await supervisor.start(asks(), "r")
        while not await supervisor.waiting():
            await asyncio.sleep(0.01)
    table, name = column.split(".")
    connection = apsw.Connection(str(path))
    connection.execute(f"UPDATE {table} SET {name} = CAST(? AS TEXT)", (value,))
    connection.close()
    async with Supervisor(str(path), work=False) as supervisor:
        with pytest.raises(JournalCorrupt):
            await supervisor.runs()
            await supervisor.waiting()
