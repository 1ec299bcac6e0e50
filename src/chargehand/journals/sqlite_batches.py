"""What the writer does inside its transactions, one function for each kind of batch.

Rules of this file:

* A batch either checks everything that may refuse it before it writes anything, or its job asks for a savepoint.
* Every commit of a run begins with its guard: the UPDATE of the run's row that names number, epoch and seq.
* No clock: every time comes in with the batch.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import apsw

from chargehand.durable import (
    FINAL_STATUSES,
    SUSPECT_CRASHES,
    Census,
    Claimed,
    Commit,
    Created,
    KeySet,
    KeyShare,
    KeyTake,
    NewMail,
    NewRun,
    Suspects,
    Waiting,
)
from chargehand.errors import Fenced, JournalError, KeyHeld, UnknownRun
from chargehand.events import Record, chain_hash
from chargehand.journals import sqlite_statements as sql
from chargehand.journals.claims import After, Claimable, chosen
from chargehand.journals.keys import may_take
from chargehand.journals.sqlite_faults import FAULTS
from chargehand.journals.sqlite_rows import Rows, fetch, key_row, run_row
from chargehand.journals.transactional import WorkFailed, transaction_for

CRASHES_MAX = 2**31
NO_HASH = bytes(32)
"""What the first link of a chain is chained to."""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# -- creating ----------


def create(cursor: apsw.Cursor, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
    """Create runs with their first events; a known id gives its row."""
    return [_create_one(cursor, new, owner) for new in runs]


def _create_one(cursor: apsw.Cursor, new: NewRun, owner: str | None) -> Created:
    known = fetch(cursor, sql.BY_ID, (new.id,))
    if known:
        return Created(run_row(known[0]), existed=True)
    first = new.first
    epoch, due = (1, None) if owner is not None else (0, 0.0)
    values = (new.id, new.workflow, new.environment, epoch, first.seq, first.hash, owner, due, new.input_digest)
    tags = dict(new.tags)
    number = fetch(cursor, sql.CREATE_RUN, (*values, _json(tags), first.time))[0][0]
    for name, value in tags.items():
        cursor.execute(sql.ADD_TAG, (name, value, number))
    _add_events(cursor, number, (first,))
    _add_blobs(cursor, number, new.blobs)
    return Created(run_row(fetch(cursor, sql.BY_NUMBER, (number,))[0]), existed=False)


def _add_events(cursor: apsw.Cursor, run: int, records: Sequence[Record]) -> None:
    for record in records:
        payload = record.payload.decode()
        cursor.execute(sql.ADD_EVENT, (run, record.seq, record.time, record.type, record.path, payload, record.hash))


def _add_blobs(cursor: apsw.Cursor, run: int, blobs: Sequence[tuple[str, bytes]]) -> None:
    for digest, content in blobs:
        cursor.execute(sql.ADD_BLOB, (run, digest, content))


# -- appending ----------


def append(cursor: apsw.Cursor, commit: Commit, work_seconds: float, key: bytes) -> Sequence[Record]:
    """Carry out one commit and return its records. With keys or work, the caller undoes a batch that is refused."""
    records, blobs = commit.records, commit.blobs
    if commit.work is not None:
        records, blobs = _work(cursor, commit, work_seconds)
    _move(cursor, commit, records)
    if commit.keys and commit.work is None:
        _change_keys(cursor, commit)
    if records:
        _add_events(cursor, commit.run, records)
    if blobs:
        _add_blobs(cursor, commit.run, blobs)
    final = commit.status in FINAL_STATUSES
    if commit.mail:
        for id in commit.mail:
            cursor.execute(sql.FOLD_MAIL, (id, commit.run))
        if not final:
            cursor.execute(sql.SETTLE_DUE, (commit.run, commit.due))
    if commit.opened or commit.closed or commit.close_all or final:
        _change_waiting(cursor, commit, final)
    if final:
        seq, head, time = fetch(cursor, sql.FINISHED_HEAD, (commit.run,))[0]
        add_to_chain(cursor, "finished", commit.run, commit.run_id, seq, head, time, key)
    return records


def _work(cursor: apsw.Cursor, commit: Commit, seconds: float) -> tuple[list[Record], list[tuple[str, bytes]]]:
    _refuse_stranger(cursor, commit)
    _change_keys(cursor, commit)
    assert commit.work is not None
    try:
        with transaction_for(cursor.connection, seconds) as tx:
            records, blobs = commit.work(tx)
    except FAULTS:
        raise
    except BaseException as error:
        raise WorkFailed(error) from error
    return [*commit.records, *records], [*commit.blobs, *blobs]


def _move(cursor: apsw.Cursor, commit: Commit, records: Sequence[Record]) -> None:
    seq, head, time = commit.before, None, None
    if records:
        seq, head, time = records[-1].seq, records[-1].hash, records[-1].time
        if seq != commit.before + len(records):
            _refuse_stranger(cursor, commit)
            raise JournalError(f"The records of run {commit.run_id!r} do not follow seq {commit.before}.")
    guard = (commit.run, commit.epoch, commit.before)
    values = (seq, head, time, commit.status, commit.reason, commit.standing, commit.progress)
    if commit.status in FINAL_STATUSES:
        cursor.execute(sql.FINISH, (*guard, *values))
    else:
        cursor.execute(sql.MOVE, (*guard, *values, commit.leave, commit.due))
    if cursor.connection.changes() != 1:
        raise _fenced(commit)


def _refuse_stranger(cursor: apsw.Cursor, commit: Commit) -> None:
    if not fetch(cursor, sql.GUARD, (commit.run, commit.epoch, commit.before)):
        raise _fenced(commit)


def _fenced(commit: Commit) -> Fenced:
    return Fenced(
        f"Run {commit.run_id!r} is no longer at epoch {commit.epoch}, seq {commit.before}: "
        "another driver has claimed it, or it has ended. Load it again."
    )


def _change_waiting(cursor: apsw.Cursor, commit: Commit, final: bool) -> None:
    if commit.close_all or final:
        cursor.execute(sql.CLOSE_ALL_WAITING, (commit.run,))
    for id in commit.closed:
        cursor.execute(sql.CLOSE_WAITING, (id, commit.run))
    if final:
        return
    for entry in commit.opened:
        cursor.execute(sql.OPEN_WAITING, _waiting_values(commit, entry))
        if cursor.connection.changes() != 1:
            raise JournalError(f"The waiting entry {entry.id!r} belongs to another run.")


def _waiting_values(commit: Commit, entry: Waiting) -> tuple[Any, ...]:
    shown = (entry.title, _json(dict(entry.shows)), _json(list(entry.decisions)), entry.role)
    times = (entry.created, entry.due)
    return (entry.id, commit.run, entry.path, entry.kind, *shown, *times, entry.digest, commit.environment)


def _change_keys(cursor: apsw.Cursor, commit: Commit) -> None:
    for change in commit.keys:
        place = (commit.environment, change.tool, change.key)
        found = fetch(cursor, sql.KEY, place)
        row = key_row(found[0]) if found else None
        if isinstance(change, KeyTake):
            if row is not None and not may_take(change, row, commit.run_id):
                raise KeyHeld(row)
            took = (commit.run_id, change.path, change.generation, change.digest)
            cursor.execute(sql.TAKE_KEY, (*place, *took))
        elif row is None:
            raise JournalError(f"The business key {change.key!r} of {change.tool} was never taken.")
        elif isinstance(change, KeySet):
            cursor.execute(sql.SET_KEY, (change.state, change.result, *place, commit.run_id, change.unshared))
            if cursor.connection.changes() != 1:
                raise KeyHeld(row)
        elif isinstance(change, KeyShare):
            cursor.execute(sql.SHARE_KEY, place)
            if cursor.connection.changes() != 1:
                raise KeyHeld(row)


def add_to_chain(cursor: apsw.Cursor, kind: str, run: int, run_id: str, seq: int, head: bytes, time: float, key: bytes) -> None:
    """Note a finished head, an erasure or a prune in the journal-wide chain."""
    newest = fetch(cursor, sql.CHAIN_HEAD)
    link = chain_hash(newest[0][0] if newest else NO_HASH, run_id, seq, time, kind, "", head, key)
    cursor.execute(sql.ADD_TO_CHAIN, (kind, run, run_id, seq, head, time, link))


# -- mail and claims ----------


def post(cursor: apsw.Cursor, mail: Sequence[NewMail]) -> list[int]:
    """Leave mail and make its runs due. Every address is looked up before anything is written."""
    numbers: dict[str, int] = {}
    for new in mail:
        if new.run_id not in numbers:
            found = fetch(cursor, sql.RUN_NUMBER, (new.run_id,))
            if not found:
                raise UnknownRun(f"There is no run {new.run_id!r} in the journal; nothing was posted.")
            numbers[new.run_id] = found[0][0]
    ids: list[int] = []
    for new in mail:
        values = (numbers[new.run_id], new.kind, _json(dict(new.body)), new.time)
        ids.append(fetch(cursor, sql.POST, values)[0][0])
    for number in numbers.values():
        cursor.execute(sql.MAKE_DUE, (number,))
    return ids


@dataclass(frozen=True, slots=True)
class Claiming:
    """What a worker asks for when it claims."""

    owner: str
    workflows: frozenset[str]
    environment: str
    now: float
    limit: int
    census: Census
    only: tuple[str, ...] = ()
    suspects: Suspects = "with the others"

    def lost(self) -> dict[str, After]:
        """Return the owners that cannot be counted on: the gone, then the silent."""
        lost: dict[str, After] = dict.fromkeys(sorted(self.census.gone - {self.owner}), "gone")
        return lost | dict.fromkeys(sorted(self.census.silent - self.census.gone - {self.owner}), "silent")


def claimable(rows: Rows, asked: Claiming) -> list[Claimable]:
    """Return what a worker takes: of the gone, of the silent, then the unowned by due time."""
    if asked.only:
        return chosen(_claimable_by_id(rows, asked), asked.suspects, asked.limit)
    found: list[Claimable] = []
    for name, after in asked.lost().items():
        for number, workflow, crashes in rows(sql.OWNED_RUNS, (name, asked.environment)):
            if workflow in asked.workflows:
                found.append(Claimable(number, after, crashes))
    due: list[tuple[float, int, int]] = []
    for workflow in asked.workflows:
        for least, most in _crash_ranges(asked.suspects):
            due += rows(sql.DUE_RUNS, (asked.environment, workflow, asked.now, least, most, asked.limit))
    found += [Claimable(number, "left", crashes) for _, number, crashes in sorted(due)]
    return chosen(found, asked.suspects, asked.limit)


def _crash_ranges(suspects: Suspects) -> list[tuple[int, int]]:
    """Return the counts of crashes to look for; apart, so that many of one kind do not hide the other behind the limit."""
    if suspects == "with the others":
        return [(0, CRASHES_MAX)]
    unsuspected = (0, SUSPECT_CRASHES - 1)
    return [unsuspected] if suspects == "left" else [unsuspected, (SUSPECT_CRASHES, CRASHES_MAX)]


def _claimable_by_id(rows: Rows, asked: Claiming) -> list[Claimable]:
    lost = asked.lost()
    found: list[Claimable] = []
    for id in asked.only:
        for number, workflow, holder, due, crashes, at_work in rows(sql.CLAIMABLE_BY_ID, (id, asked.environment)):
            if workflow not in asked.workflows:
                continue
            if holder is None and due is not None and due <= asked.now:
                found.append(Claimable(number, "left", crashes))
            elif holder in lost:
                found.append(Claimable(number, lost[holder], crashes + at_work))
    return found


def take(cursor: apsw.Cursor, owner: str, runs: Sequence[Claimable]) -> list[Claimed]:
    """Give the runs to their new owner, each with the next epoch."""
    claimed: list[Claimed] = []
    for run in runs:
        before = fetch(cursor, sql.OWNER_OF, (run.number,))[0][0]
        cursor.execute(sql.TAKE_RUN, (owner, 0 if run.after == "left" else 1, run.number))
        claimed.append(Claimed(run_row(fetch(cursor, sql.BY_NUMBER, (run.number,))[0]), run.after, before))
    return claimed


# -- keeping ----------


def erase(cursor: apsw.Cursor, run: int, seqs: Collection[int], blobs: Collection[str], now: float, key: bytes) -> int:
    """Take payloads away, keep their digests, and note it in the chain. Returns how many payloads there were."""
    found = fetch(cursor, sql.BY_NUMBER, (run,))
    if not found:
        raise UnknownRun(f"There is no run number {run} in the journal.")
    row = run_row(found[0])
    erased = 0
    cursor.execute(sql.SECURE_DELETE_ON).fetchall()  # what is taken away is overwritten, in pages that are freed too
    try:
        for seq in sorted(set(seqs)):
            for (payload,) in fetch(cursor, sql.PAYLOAD, (run, seq)):
                cursor.execute(sql.ERASE, (sha256(payload).digest(), run, seq))
                add_to_chain(cursor, "erased", run, row.id, seq, sha256(payload).digest(), now, key)
                erased += 1
        for digest in blobs:
            cursor.execute(sql.ERASE_BLOB, (run, digest))
    finally:
        cursor.execute(sql.SECURE_DELETE_OFF).fetchall()
    return erased


def prune(cursor: apsw.Cursor, before: float, limit: int, environment: str | None, now: float, key: bytes) -> int:
    """Delete finished runs whole, except for business keys, and note each in the chain."""
    rows = fetch(cursor, sql.PRUNABLE, (before, limit, environment))
    for number, id, seq, head in rows:
        for statement in sql.PRUNE:
            cursor.execute(statement, (number,))
        add_to_chain(cursor, "pruned", number, id, seq, head, now, key)
    return len(rows)
