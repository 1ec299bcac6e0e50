"""What a memory journal keeps, and the rules that need nothing else: plain values and functions on them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import apsw

from chargehand.durable import (
    FINAL_STATUSES,
    PARK_REASONS,
    RUN_STATUSES,
    Commit,
    KeyRow,
    KeyTake,
    LinkKind,
    Mail,
    RunFilter,
    RunRow,
    Waiting,
)
from chargehand.errors import JournalCorrupt, JournalError
from chargehand.events import Record, chain_hash

ERASED = b'{"$erased": true}'
NO_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    record: Record
    digest: bytes
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    kind: LinkKind
    run: int
    run_id: str
    seq: int
    head: bytes
    time: float
    hash: bytes


@dataclass(slots=True)
class Run:
    row: RunRow
    events: list[StoredEvent]
    blobs: dict[str, bytes]

    @property
    def finished(self) -> bool:
        return self.row.status in FINAL_STATUSES


@dataclass(slots=True)
class Beats:
    about: dict[str, Any] = field(default_factory=dict)
    counter: int = 0


@dataclass(slots=True, eq=False)
class Store:
    """What a file is to SQLite: several journals may lie over one."""

    runs: dict[int, Run] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    keys: dict[tuple[str, str, str], KeyRow] = field(default_factory=dict)
    mail: dict[int, Mail] = field(default_factory=dict)
    chain: list[Link] = field(default_factory=list)
    workers: dict[str, Beats] = field(default_factory=dict)
    numbers_given: int = 0
    mail_given: int = 0
    workers_given: int = 0
    version: int = 0
    tables: apsw.Connection = field(default_factory=lambda: apsw.Connection(":memory:"))


def plain(value: Any) -> Any:
    """Return what is left of a value after a journey through JSON."""
    return json.loads(json.dumps(value))


def stored(record: Record) -> StoredEvent:
    return StoredEvent(record, sha256(record.payload).digest())


def broken(run_id: str, seq: int, what: str) -> JournalCorrupt:
    return JournalCorrupt(f"The chain of run {run_id!r} does not hold at seq {seq}: {what}.")


def refuse_nonsense(row: RunRow) -> None:
    if row.status not in RUN_STATUSES or (row.status == "parked" and row.reason not in PARK_REASONS):
        raise JournalError(f"The journal refused a batch that does not fit its tables: {row.status}, {row.reason}")


def taken(commit: Commit, take: KeyTake, row: KeyRow | None) -> KeyRow:
    again = row is not None and (row.run_id, row.path, row.generation) == (commit.run_id, take.path, take.generation)
    return KeyRow(
        environment=commit.environment,
        tool=take.tool,
        key=take.key,
        run_id=commit.run_id,
        path=take.path,
        generation=take.generation,
        digest=take.digest,
        state="held",
        result=None,
        shared=row.shared if row is not None and again else 0,
    )


def fits(row: RunRow, which: RunFilter) -> bool:
    return (
        (which.workflow is None or row.workflow == which.workflow)
        and (which.environment is None or row.environment == which.environment)
        and (not which.status or row.status in which.status)
        and (not which.ids or row.id in which.ids)
        and (which.since is None or row.created >= which.since)
        and (which.until is None or row.created < which.until)
        and (which.before is None or row.number < which.before)
        and all(row.tags.get(name) == value for name, value in which.tags.items())
    )


def verify_run(run: Run, key: bytes) -> None:
    """Raise `JournalCorrupt` where a run's chain does not hold."""
    row, previous = run.row, NO_HASH
    for event in run.events:
        one = event.record
        digest = event.digest if event.erased else sha256(one.payload).digest()
        previous = chain_hash(previous, row.id, one.seq, one.time, one.type, one.path, digest, key)
        if previous != one.hash:
            raise broken(row.id, one.seq, "the event's content does not give its hash")
    if previous != row.head:
        raise broken(row.id, row.seq, "the run's head is not the hash of its last event")


def verify_links(chain: list[Link], key: bytes) -> None:
    """Raise `JournalCorrupt` where the journal-wide chain does not hold."""
    previous = NO_HASH
    for number, link in enumerate(chain, 1):
        previous = chain_hash(previous, link.run_id, link.seq, link.time, link.kind, "", link.head, key)
        if previous != link.hash:
            raise JournalCorrupt(f"The journal's chain does not hold at link {number} ({link.kind}).")
