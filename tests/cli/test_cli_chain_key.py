"""The chain key: who signs, verifies or decides uses it, whoever only looks needs none, and a wrong one is refused before anything is written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from .conftest import SHOP, Command

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def keyed(shop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a journal that was begun with a key: one run that is done, one that waits."""
    monkeypatch.setenv("CHARGEHAND_CHAIN_KEY", KEY)
    shop("add", {"a": 1}, id="s-1")
    shop("pay", 500, id="p-1")


SIGNING = [
    f"run {SHOP}:pay --input 500 --id p-1", f'run {SHOP}:add --input {{"a":1}} --id new', f"worker {SHOP}:pay", "verify", "verify s-1",
    "prune --before 1d", "erase s-1 --all --yes", "approve p-1", "reject p-1 --reason no", "signal p-1 go", "cancel p-1",
]  # fmt: skip


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize("command", SIGNING)
def test_without_the_key_nothing_is_signed_verified_or_decided(cli: Command, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """What signs, verifies or decides says that the key is missing, or another; nothing is written."""
    monkeypatch.delenv("CHARGEHAND_CHAIN_KEY")
    before = cli("export").out
    said = cli(*command.split())
    assert (said.status, said.out) == (5, "")
    assert "was written with a chain key, and none is given" in said.err
    assert "CHARGEHAND_CHAIN_KEY" in said.err
    assert "[wrong-chain-key]" in said.err
    monkeypatch.setenv("CHARGEHAND_CHAIN_KEY", OTHER)
    said = cli(*command.split())
    assert (said.status, "another chain key" in said.err) == (5, True)
    assert cli("export").out == before
    with contextlib.closing(sqlite3.connect("chargehand.db")) as connection:
        assert connection.execute("SELECT count(*) FROM mailbox").fetchone() == (0,)


@pytest.mark.usefixtures("keyed")
def test_with_the_key_everything_holds(cli: Command, shop: Command) -> None:
    """With its key a journal verifies, goes on and is pruned, and holds afterwards."""
    assert cli("verify").out == "2 runs verified: all hold\n"
    cli("approve", "p-1")
    assert shop("pay", 500, id="p-1").status == 0
    assert cli("prune", "--before", "2100-01-01", "--yes").status == 0
    shop("add", {"a": 1}, id="s-2")
    assert cli("verify").status == 0
    assert "from CHARGEHAND_CHAIN_KEY" in cli("doctor").out


@pytest.mark.usefixtures("keyed")
def test_who_only_looks_needs_no_key(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking works without the key and with a key that cannot be read; nothing else does."""
    monkeypatch.delenv("CHARGEHAND_CHAIN_KEY")
    Path("chargehand.toml").write_text('chain_key_file = "not-for-you.key"\n')
    for words in (("runs",), ("show", "s-1"), ("watch", "s-1"), ("inbox",), ("export",), ("export", "--heads")):
        assert cli(*words).status == 0, words
    for words in (("verify",), ("approve", "p-1")):
        said = cli(*words)
        assert (said.status, "not-for-you.key" in said.err) == (2, True)


def test_a_journal_without_a_key_goes_on_without_one(cli: Command, shop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that comes later does not fit what was begun without: it is refused before half the chain needs it."""
    shop("pay", 500, id="p-1")
    monkeypatch.setenv("CHARGEHAND_CHAIN_KEY", KEY)
    said = shop("pay", 500, id="p-1")
    assert (said.status, "was begun without a chain key" in said.err) == (5, True)
    assert "was begun without a chain key" in cli("verify").err
    monkeypatch.delenv("CHARGEHAND_CHAIN_KEY")
    assert cli("verify").status == 0


@pytest.mark.usefixtures("keyed")
def test_doctor_says_what_is_wrong_with_the_key(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """doctor names where the key comes from, whether others can read it, that it cannot be read, and that it is not the journal's."""

    def says() -> str:
        found = cli("doctor", "--json").json["findings"]
        return " ".join(f"{one['level']} {one['about']}: {one['says']}" for one in found if one["about"] in ("chain key", "chain"))

    monkeypatch.delenv("CHARGEHAND_CHAIN_KEY")
    assert "ok chain key: none is configured" in says()
    assert "bad chain: The journal was written with a chain key" in says()
    Path("chargehand.toml").write_text('chain_key_file = "chain.key"\n')
    assert "bad chain key: The chain key cannot be read" in says()
    Path("chain.key").write_text(KEY)
    os.chmod("chain.key", 0o644)
    assert "look chain key: others than its owner have access" in says()
    assert "ok chain: " in says()
    os.chmod("chain.key", 0o600)
    assert "look chain key" not in says()
    assert KEY not in says()
