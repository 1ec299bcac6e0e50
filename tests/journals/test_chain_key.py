"""A keyed chain: only who has the key can rewrite history unnoticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apsw
import pytest

from chargehand import Supervisor, step, workflow
from chargehand.errors import JournalCorrupt
from chargehand.events import chain_hash


@step
async def double(x: int) -> int:
    """Double."""
    return 2 * x


@workflow(name="chain.keyed")
async def keyed(x: int) -> int:
    """Make one step."""
    return await double(x)


async def _run(path: Path, key: bytes) -> int:
    async with Supervisor(str(path), [keyed], chain_key=key) as supervisor:
        await (await supervisor.start(keyed(21), "r")).result()
        return (await supervisor.row("r")).number


def _forge(path: Path) -> None:
    """Change a recorded value and compute every hash anew, as an intruder without the key would."""
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE events SET payload = replace(payload, '\"v\":42', '\"v\":43')")
    previous = bytes(32)
    rows = list(connection.execute("SELECT id, seq, time, type, path, payload FROM events ORDER BY seq"))
    for id, seq, time, type, path_in_run, payload in rows:
        previous = chain_hash(previous, "r", seq, time, type, path_in_run, hashlib.sha256(payload.encode()).digest())
        connection.execute("UPDATE events SET hash = ? WHERE id = ?", (previous, id))
    connection.execute("UPDATE runs SET head = ?", (previous,))
    connection.close()


async def test_a_keyed_chain_finds_a_careful_forger(tmp_path: Path) -> None:
    """With a key, history rewritten with all hashes computed anew is found."""
    path = tmp_path / "j.db"
    number = await _run(path, b"secret")
    _forge(path)
    async with Supervisor(str(path), [keyed], work=False, chain_key=b"secret") as supervisor:
        with pytest.raises(JournalCorrupt, match="seq 1"):
            await supervisor.journal.verify(number)


async def test_without_a_key_only_accidents_are_found(tmp_path: Path) -> None:
    """Without a key a careful forger is not found, which the promise says."""
    path = tmp_path / "j.db"
    number = await _run(path, b"")
    _forge(path)
    async with Supervisor(str(path), [keyed], work=False) as supervisor:
        await supervisor.journal.verify(number)


async def test_another_key_does_not_verify(tmp_path: Path) -> None:
    """A chain signed with one key does not verify with another."""
    path = tmp_path / "j.db"
    number = await _run(path, b"one")
    async with Supervisor(str(path), [keyed], work=False, chain_key=b"two") as supervisor:
        with pytest.raises(JournalCorrupt):
            await supervisor.journal.verify(number)
