"""Tampered journals: what `verify` finds, how it names it, and what it cannot find."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from chargehand import Supervisor, step, wait_signal, workflow
from chargehand.events import chain_hash

from .conftest import KEY, Command, Said, asked, change


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every command the journal's key."""
    monkeypatch.setenv("CHARGEHAND_CHAIN_KEY", KEY)


@pytest.fixture(params=["without a key", "with a key"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Try it with and without a key."""
    if request.param == "with a key":
        monkeypatch.setenv("CHARGEHAND_CHAIN_KEY", KEY)
    return bool(request.param == "with a key")


@pytest.fixture
def runs(shop: Command) -> None:
    """Leave a run that has ended and one that waits."""
    assert shop("pay", 50, id="done").status == 0
    assert shop("pay", 500, id="open").status == 3


def found(said: Said) -> list[str]:
    """Return what `verify` found; none of it without the status that says so."""
    broken: list[str] = said.json["broken"]
    assert said.status == (5 if broken else 0)
    return broken


RUN = "(SELECT number FROM runs WHERE id = 'done')"


@pytest.mark.parametrize(
    ("tampering", "seq"),
    [
        (f"UPDATE events SET payload = replace(payload, '50', '51') WHERE run = {RUN} AND seq = 2", 2),
        (f"UPDATE events SET payload = payload || ' ' WHERE run = {RUN} AND seq = 3", 3),
        (f"UPDATE events SET time = time + 1 WHERE run = {RUN} AND seq = 3", 3),
        (f"UPDATE events SET type = 'call.failed' WHERE run = {RUN} AND seq = 3", 3),
        (f"UPDATE events SET path = 'charge#2' WHERE run = {RUN} AND seq = 3", 3),
        (f"UPDATE events SET hash = zeroblob(32) WHERE run = {RUN} AND seq = 2", 2),
        (f"UPDATE events SET seq = 99 - seq WHERE run = {RUN} AND seq IN (2, 3)", 2),
        (f"DELETE FROM events WHERE run = {RUN} AND seq = 2", 2),
        (f"DELETE FROM events WHERE run = {RUN} AND seq = 4", 4),
        (f"DELETE FROM events WHERE run = {RUN} AND seq >= 3", 3),
        (f"UPDATE events SET payload = NULL, digest = zeroblob(32) WHERE run = {RUN} AND seq = 3", 3),
        ("UPDATE runs SET head = zeroblob(32) WHERE id = 'done'", 4),
        ("UPDATE runs SET id = 'other' WHERE id = 'done'", 1),
    ],
)
@pytest.mark.usefixtures("runs")
def test_what_was_changed_or_lost_is_named(cli: Command, tampering: str, seq: int) -> None:
    """Content, time, type, place, order, and what is missing in the middle or at the end: found, with run and sequence number."""
    change(tampering)
    broken = found(cli("verify", "--json"))
    assert any(f"'{'other' if 'other' in tampering else 'done'}' does not hold at seq {seq}" in message for message in broken), broken
    assert f"seq {seq}" in cli("verify").out


@pytest.mark.usefixtures("runs")
def test_events_that_changed_places_are_found(cli: Command) -> None:
    """Two events with each other's numbers are not the same history."""
    change(
        f"UPDATE events SET seq = -1 WHERE run = {RUN} AND seq = 2",
        f"UPDATE events SET seq = 2 WHERE run = {RUN} AND seq = 3",
        f"UPDATE events SET seq = 3 WHERE run = {RUN} AND seq = -1",
    )
    assert any("'done' does not hold at seq 2" in message for message in found(cli("verify", "--json")))


def remade(id: str, key: bytes = b"") -> None:
    """Compute a run's hashes anew, as a careful forger does, and its link in the journal's chain."""
    connection = apsw.Connection("chargehand.db")
    (number,) = next(iter(connection.execute("SELECT number FROM runs WHERE id = ?", (id,))))
    previous, seq = bytes(32), 0
    for row, seq, time, type, path, payload in list(
        connection.execute("SELECT id, seq, time, type, path, payload FROM events WHERE run = ? ORDER BY seq", (number,))
    ):
        previous = chain_hash(previous, id, seq, time, type, path, _sha(payload), key)
        connection.execute("UPDATE events SET hash = ? WHERE id = ?", (previous, row))
    connection.execute("UPDATE runs SET head = ?, seq = ? WHERE number = ?", (previous, seq, number))
    connection.execute("UPDATE chain SET head = ?, seq = ? WHERE run = ? AND kind = 'finished'", (previous, seq, number))
    link = bytes(32)
    for row, kind, run_id, at, head, time in list(connection.execute("SELECT id, kind, run_id, seq, head, time FROM chain ORDER BY id")):
        link = chain_hash(link, run_id, at, time, kind, "", head, key)
        connection.execute("UPDATE chain SET hash = ? WHERE id = ?", (link, row))
    connection.close()


def _sha(payload: str) -> bytes:
    return hashlib.sha256(payload.encode()).digest()


def test_a_long_value_that_was_changed_is_found(cli: Command, flows: Callable[[str], str]) -> None:
    """Values that lie beside their events are held against the digest in the event, which the chain covers."""
    text = "from chargehand import step, workflow\n\n@step\nasync def long(n: int) -> str:\n    return 'x' * n\n"
    module = flows(text + "\n@workflow\nasync def flow(n: int) -> str:\n    return await long(n)\n")
    assert cli("run", f"{module}:flow", "--input", "100000", "--id", "long").status == 0
    assert found(cli("verify", "--json")) == []
    change("UPDATE blobs SET content = CAST(replace(content, 'xxx', 'xyx') AS BLOB)")
    assert any("'long' does not hold at seq 2: a long value" in message for message in found(cli("verify", "--json")))
    assert (cli("show", "long").status, "A long value of event 2" in cli("show", "long").err) == (5, True)
    change("DELETE FROM blobs")
    assert found(cli("verify", "--json")) != []


@step
async def says(size: int) -> str:
    """Give back a long text."""
    return "x" * size


TAKEN: list[str] = []


@workflow(name="tampering.takes")
async def takes(size: int) -> None:
    """Take a long value over a wait."""
    said = await says(size)
    await wait_signal("go", int)
    TAKEN.append(said[:9])


async def test_nobody_goes_on_with_a_long_value_that_was_changed(tmp_path: Path) -> None:
    """A run whose long value is not what its event says is left as it is, and another run goes on."""
    TAKEN.clear()
    path = str(tmp_path / "chargehand.db")
    async with Supervisor(path, [takes], chain_key=KEY.encode()) as supervisor:
        for id in ("r", "whole"):
            await supervisor.start(takes(100_000), id)
            while (await supervisor.row(id)).status != "waiting":
                await asyncio.sleep(0.005)
    connection = apsw.Connection(path)
    connection.execute("UPDATE blobs SET content = CAST(replace(content, 'xxx', 'xyx') AS BLOB) WHERE run = 1")
    connection.close()
    async with Supervisor(path, [takes], chain_key=KEY.encode()) as supervisor:
        for id in ("r", "whole"):
            await supervisor.signal(id, "go", 1)
        await supervisor.run("whole").result()
        assert supervisor.carrier is not None
        while "r" not in supervisor.carrier.failed and len(TAKEN) < 2:
            await asyncio.sleep(0.005)
        assert TAKEN == ["x" * 9]
        assert "is not what was written" in str(supervisor.carrier.failed["r"])


FORGED = """INSERT INTO events(run, seq, time, type, path, payload, hash)
            SELECT number, seq + 1, updated, 'effect.approved', 'charge', '{"by": {"id": "nobody"}}', zeroblob(32) FROM runs WHERE id = 'open'"""


@pytest.mark.usefixtures("either", "runs")
def test_an_event_that_was_put_in_is_found(cli: Command) -> None:
    """An event that somebody appended by hand does not fit the run's head, with a key as without."""
    change(FORGED)
    assert any("'open' does not hold at seq 3" in message for message in found(cli("verify", "--json")))


def test_a_careful_forger_needs_the_key(cli: Command, either: bool, runs: None) -> None:
    """All hashes computed anew: without a key `verify` is satisfied, with one it names the run and where it begins to be false."""
    change(FORGED)
    remade("open")
    broken = found(cli("verify", "--json"))
    assert bool(broken) is either
    assert not either or "'open' does not hold at seq 1" in broken[0]


def test_the_wrong_key_verifies_nothing(cli: Command, keyed: None, runs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key, and none, are refused before anything is said to hold, and a key that can be guessed is not taken."""
    assert found(cli("verify", "--json")) == []
    monkeypatch.setenv("CHARGEHAND_CHAIN_KEY", KEY[::-1])
    assert cli("verify", "--json").error["code"] == "wrong-chain-key"
    monkeypatch.delenv("CHARGEHAND_CHAIN_KEY")
    assert cli("verify", "--json").error["code"] == "wrong-chain-key"
    monkeypatch.setenv("CHARGEHAND_CHAIN_KEY", "short")
    said = cli("verify")
    assert (said.status, "short" in said.err.replace("CHARGEHAND", "")) == (2, False)


def test_an_ended_run_that_was_taken_out_whole_is_found(cli: Command, either: bool, runs: None) -> None:
    """The journal's chain still says that it ended; a run that ended is not gone without a trace."""
    change(f"DELETE FROM events WHERE run = {RUN}", "DELETE FROM runs WHERE id = 'done'")
    assert any("'done'" in message and "no longer" in message for message in found(cli("verify", "--json")))


def test_heads_kept_elsewhere_find_what_the_chains_cannot(cli: Command, either: bool, runs: None) -> None:
    """A run that had not ended and was taken out or cut short is in no chain: only heads kept elsewhere know, with a key as without."""
    cli("export", "--heads", "--out", "heads.jsonl")
    run = "(SELECT number FROM runs WHERE id = 'open')"
    change(f"DELETE FROM events WHERE run = {run} AND seq = 2", f"DELETE FROM waiting WHERE run = {run}")
    (hash,) = asked(f"SELECT hash FROM events WHERE run = {run} AND seq = 1")[0]
    change(f"UPDATE runs SET seq = 1, head = x'{hash.hex()}' WHERE id = 'open'")
    assert found(cli("verify", "--json")) == []
    assert found(cli("verify", "--against", "heads.jsonl", "--json")) == ["Run 'open' had 2 events and now has 1."]
    change(f"DELETE FROM events WHERE run = {run}", "DELETE FROM runs WHERE id = 'open'")
    assert found(cli("verify", "--json")) == []
    assert "'open' had 2 events and is gone" in found(cli("verify", "--against", "heads.jsonl", "--json"))[0]


@pytest.mark.usefixtures("runs")
def test_an_entry_of_the_list_is_no_part_of_history(cli: Command, shop: Command) -> None:
    """The list of what waits is a projection: changing it is not found by `verify`, and approves nothing else than was proposed."""
    change("UPDATE waiting SET shows = replace(shows, '500', '1')")
    assert found(cli("verify", "--json")) == []
    assert json.loads(cli("approvals", "--json").out)["waiting"][0]["shows"]["arguments"]["amount"] == 1
    cli("approve", "open")
    assert shop("pay", 500, id="open").status == 3
    assert not Path("ledger.txt").exists() or "charge 500" not in Path("ledger.txt").read_text()
    assert "somebody has changed it" in cli("show", "open").out
