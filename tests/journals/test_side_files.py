"""Side files that somebody else left in the journal's directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chargehand import Supervisor, workflow
from chargehand.errors import JournalError


@workflow(name="side.flow")
async def flow(x: int) -> int:
    """Give back the number."""
    return x


async def driven(path: Path) -> int:
    """Drive one run on a journal there."""
    async with Supervisor(str(path), [flow]) as supervisor:
        return await (await supervisor.start(flow(1))).result()


async def test_the_turn_file_is_no_link(tmp_path: Path) -> None:
    """A link in the place of the turn file neither makes nor locks a file elsewhere."""
    (tmp_path / "j.db-turn").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="cannot be opened"):
        await driven(tmp_path / "j.db")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "directory"])
async def test_a_stranger_among_the_workers_files_stops_nobody(tmp_path: Path, kind: str) -> None:
    """What is no plain file is no worker: a pipe in its place does not hold the loop for ever."""
    stranger = tmp_path / "j.db-worker-1-x"
    if kind == "pipe":
        os.mkfifo(stranger)
    elif kind == "link":
        stranger.symlink_to("/dev/zero")
    else:
        stranger.mkdir()
    assert await driven(tmp_path / "j.db") == 1
