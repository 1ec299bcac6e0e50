"""Lives on a bad disk find an engine that does wrong: each sabotage here breaks a promise, and must be noticed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from chargehand.carriers import embedded
from chargehand.core import effect_life
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.writer import Job, Writer
from chargehand.supervise import saga

from .faults import KINDS, Failing
from .lives import Life, check_life
from .test_lives import check_cuts

pytestmark = pytest.mark.slow


def hasty(patch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk."""
    connect = SqliteJournal._connect

    def without(self: SqliteJournal) -> apsw.Connection:
        connection = connect(self)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    patch.setattr(SqliteJournal, "_connect", without)


def blind_retry(patch: pytest.MonkeyPatch) -> None:
    """Send again whatever was in flight."""
    patch.setattr(effect_life, "_recover", lambda effect, policy, now: "send again")


def blind_undo(patch: pytest.MonkeyPatch) -> None:
    """Take every undo for one that may be repeated."""
    patch.setattr(saga, "_undo_is_keyed", lambda definition: True)


@pytest.mark.parametrize(
    ("name", "sabotage"),
    [("every effect", hasty), ("every effect", blind_retry), ("rolling back", blind_undo)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_a_power_cut_finds_it(name: str, sabotage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some power cut a sabotaged engine comes to another end."""
    sabotage(monkeypatch)
    monkeypatch.setattr("crash.outside.PATIENCE", 0.5)
    with pytest.raises(AssertionError):
        await check_cuts(name, tmp_path, 100)


async def test_who_takes_a_refused_commit_for_a_commit_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that goes on when the disk is full, as if it had written, is found out within a few lives."""

    def told(self: Writer, jobs: Sequence[Job], fault: apsw.Error) -> None:
        for job in jobs:
            job.result = job.result or []
        self._roll_back()

    monkeypatch.setattr(embedded, "READ_AGAIN_SECONDS", 0.002)
    monkeypatch.setattr("crash.outside.PATIENCE", 0.5)
    expected = await Life("every effect", tmp_path / "undisturbed").lived()
    monkeypatch.setattr(Writer, "_fail", told)
    kind = next(kind for kind in KINDS if kind.name == "no room")
    with pytest.raises(AssertionError):
        for number in random.Random(1).sample(range(60, 160), 8):
            await check_life(
                Life("every effect", tmp_path / f"{number}", fault=lambda disk, number=number: Failing(disk, kind, [number])),  # type: ignore[misc]
                expected,
            )
