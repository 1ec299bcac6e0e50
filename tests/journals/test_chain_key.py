"""A keyed chain: only who has the key can rewrite history unnoticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apsw
import pytest

from chargehand import Supervisor, step, workflow
from chargehand.errors import JournalCorrupt, WrongChainKey
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


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM events; DELETE FROM runs",
        "DELETE FROM chain",
        "UPDATE runs SET status = 'running', finished = NULL",
    ],
    ids=["run taken out", "chain cut off", "run opened again"],
)
async def test_a_run_that_is_missing_on_one_side_is_found(tmp_path: Path, tampering: str) -> None:
    """A finished run that was taken out whole, or a chain that was cut off, is found by comparing the two."""
    path = tmp_path / "j.db"
    await _run(path, b"secret")
    async with Supervisor(str(path), [keyed], work=False, chain_key=b"secret") as supervisor:
        await supervisor.journal.verify_chain()
    connection = apsw.Connection(str(path))
    for statement in tampering.split("; "):
        connection.execute(statement)
    connection.close()
    async with Supervisor(str(path), [keyed], work=False, chain_key=b"secret") as supervisor:
        with pytest.raises(JournalCorrupt, match="'r'"):
            await supervisor.journal.verify_chain()


async def test_a_pruned_run_is_not_missing(tmp_path: Path) -> None:
    """What `prune` took away is in the chain as pruned, and the chain holds."""
    path = tmp_path / "j.db"
    await _run(path, b"secret")
    async with Supervisor(str(path), [keyed], work=False, chain_key=b"secret") as supervisor:
        assert await supervisor.journal.prune(before=float("inf"), limit=10) == 1
        await supervisor.journal.verify_chain()


@pytest.mark.parametrize(
    ("begun", "given", "told"),
    [
        (b"one", b"two", "another chain key"),
        (b"one", b"", "written with a chain key, and none is given"),
        (b"", b"one", "begun without a chain key, and one is given"),
    ],
)
async def test_nothing_is_signed_with_another_key(tmp_path: Path, begun: bytes, given: bytes, told: str) -> None:
    """A supervisor with another key than the journal was begun with neither drives nor starts; it may look."""
    path = tmp_path / "j.db"
    await _run(path, begun)
    with pytest.raises(WrongChainKey, match=told):
        async with Supervisor(str(path), [keyed], chain_key=given):
            pass
    async with Supervisor(str(path), [keyed], work=False, chain_key=given) as supervisor:
        assert (await supervisor.row("r")).status == "completed"
        with pytest.raises(WrongChainKey, match=told):
            await supervisor.start(keyed(1), "new")
        assert await supervisor.journal.run("new") is None
    async with Supervisor(str(path), [keyed], chain_key=begun) as supervisor:
        await (await supervisor.start(keyed(1), "new")).result()
        await supervisor.journal.verify_chain()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE chain SET head = zeroblob(32) WHERE id = 1",
        "UPDATE events SET payload = '{}' WHERE seq = 1",
        "UPDATE events SET payload = NULL, digest = zeroblob(32) WHERE seq = 1",
        "DELETE FROM chain",
    ],
)
async def test_damage_is_not_taken_for_another_key(tmp_path: Path, damage: str) -> None:
    """One beginning that still holds is enough to know the key; what does not hold is for verify to name."""
    path = tmp_path / "j.db"
    await _run(path, b"secret")
    connection = apsw.Connection(str(path))
    connection.execute(damage)
    connection.close()
    async with Supervisor(str(path), [keyed], chain_key=b"secret") as supervisor:
        await (await supervisor.start(keyed(1), "new")).result()
