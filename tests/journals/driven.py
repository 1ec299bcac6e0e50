"""A clock that tests own, and a run as its driver sees it: the next record, the next commit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from chargehand.durable import Census, Commit, Journal, NewRun, RunRow, Waiting
from chargehand.events import Record, chain_hash

START = 1_700_000_000.0
NOBODY = Census(frozenset(), frozenset())


@dataclass
class JumpClock:
    """Time that passes when a test says so."""

    seconds: float = 0.0

    def now(self) -> float:
        return START + self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def wait(self, until: float) -> None:
        self.seconds = max(self.seconds, until - START)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def next_record(run_id: str, seq: int, head: bytes, value: Any = None, type: str = "call.done") -> Record:
    """Return a record that follows `head`."""
    payload = json.dumps({"value": value}).encode()
    time, path = START + seq, f"step#{seq}"
    return Record(seq, time, type, path, payload, chain_hash(head, run_id, seq, time, type, path, sha256(payload).digest()))


def new_run(id: str, *, workflow: str = "procure", environment: str = "test", **more: Any) -> NewRun:
    """Return a run to create."""
    first = next_record(id, 1, bytes(32), {"input": id}, "run.started")
    return NewRun(id, workflow, environment, "digest-of-input", more.pop("tags", {}), first, **more)


def entry(id: str, run_id: str, *, kind: Any = "approval", created: float = START, **more: Any) -> Waiting:
    """Return something that waits for a person."""
    given: dict[str, Any] = {
        "path": "place_order",
        "title": "Place the order?",
        "shows": {"total": "12.50", "lines": [1, 2]},
        "decisions": ("approve", "reject"),
        "role": None,
        "due": None,
        "digest": "d1",
        "environment": "test",
    }
    return Waiting(id=id, run_id=run_id, kind=kind, created=created, **{**given, **more})


@dataclass
class Driven:
    """A run that this test drives in one epoch."""

    journal: Journal
    row: RunRow
    seq: int = field(init=False)
    head: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.seq, self.head = self.row.seq, self.row.head

    def records(self, *values: Any) -> list[Record]:
        """Return the records that would come next."""
        made: list[Record] = []
        for value in values:
            last = made[-1] if made else None
            made.append(next_record(self.row.id, (last.seq if last else self.seq) + 1, last.hash if last else self.head, value))
        return made

    def commit(self, *values: Any, **more: Any) -> Commit:
        """Return the next commit, with one record for each value."""
        given = {"status": "running", "records": self.records(*values), **more}
        row = self.row
        return Commit(row.number, row.id, row.environment, row.epoch, self.seq, **given)

    async def append(self, *values: Any, **more: Any) -> Sequence[Record]:
        """Append the next commit and go on from there."""
        done = await self.journal.append(self.commit(*values, **more))
        if done:
            self.seq, self.head = done[-1].seq, done[-1].hash
        return done

    async def now(self) -> RunRow:
        """Return the run's row as it is in the journal."""
        row = await self.journal.run(self.row.id)
        assert row is not None
        return row


async def created(journal: Journal, id: str, owner: str | None = "w1", **more: Any) -> Driven:
    """Create a run and drive it."""
    [made] = await journal.create([new_run(id, **more)], owner)
    return Driven(journal, made.row)


async def claimed(journal: Journal, owner: str, *only: str, census: Census = NOBODY, **more: Any) -> list[Driven]:
    """Claim what is due, or certain runs, and drive them."""
    given = {"workflows": ["procure"], "environment": "test", "now": START + 1e6, "limit": 100, **more}
    return [Driven(journal, one.row) for one in await journal.claim(owner, census=census, only=only, **given)]
