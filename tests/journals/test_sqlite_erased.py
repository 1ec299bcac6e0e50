"""What was erased is not in the file any more."""

from __future__ import annotations

import json
from pathlib import Path

from chargehand import Supervisor, step, workflow


@step
async def told(letters: int) -> str:
    """Give a long text that can be found again."""
    return "geheim" * letters


@workflow(name="erased.tell")
async def tell(letters: int) -> str:
    """Tell it."""
    return await told(letters)


async def test_what_was_erased_is_not_in_the_file(tmp_path: Path) -> None:
    """Erasing overwrites: neither a short nor a long value is found in the closed file."""
    path = tmp_path / "j.db"
    async with Supervisor(str(path), [tell]) as supervisor:
        for letters in (3, 20_000):
            run = await supervisor.start(tell(letters), f"r-{letters}")
            await run.result()
    assert b"geheim" in path.read_bytes()
    async with Supervisor(str(path), [tell], work=False) as supervisor:
        for letters in (3, 20_000):
            row = await supervisor.row(f"r-{letters}")
            blobs = {
                value["$blob"]
                for record in await supervisor.journal.load(row.number)
                for value in json.loads(record.payload).values()
                if isinstance(value, dict) and "$blob" in value
            }
            await supervisor.journal.erase(row.number, range(1, row.seq + 1), blobs)
    assert b"geheim" not in path.read_bytes()
