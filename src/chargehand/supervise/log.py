"""The run's log: the only way events get into the journal, in order, chained and folded.

The order is a contract. What is *committed* is on disk when the await returns; only then is it folded into the history, and
only what is folded may be acted on. What is *noted* can be found out again after a crash (the time has come, a letter lies
in the mailbox, the clock was read): it is folded at once and rides on the next commit, ahead of it, so that nothing that was
built on it is ever on disk without it. The driver's loop is the one that
flushes, so the events of many branches share one transaction and one fsync.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError, to_json

from chargehand.contracts import VALUE_BYTES_MAX
from chargehand.core.history import History
from chargehand.core.lifecycle import EFFECT_MOVES, Stage
from chargehand.core.states import CallState, EffectState
from chargehand.durable import (
    BLOB_BYTES,
    FINAL_STATUSES,
    Clock,
    Commit,
    Journal,
    KeyChange,
    KeySet,
    KeyShare,
    KeyTake,
    ParkReason,
    RunRow,
    RunStatus,
    Waiting,
)
from chargehand.errors import JournalCorrupt, JournalError, KeyHeld, Overtaken, TooLarge, Unserialisable
from chargehand.events import Event, Record, chain_hash

logger = logging.getLogger("chargehand")

Draft = tuple[str, str, dict[str, Any]]
"""An event to be: type, path, payload."""

PAYLOAD_BYTES_MAX = 3 * VALUE_BYTES_MAX
_REFERENCE = b'"$blob"'
_DIGEST_CHARS = 32
_BLOB_FIELDS = ("v", "args", "output", "input", "evidence", "tools", "shows", "e")


@dataclass(slots=True, eq=False)
class Part:
    """What one caller wants committed together."""

    drafts: Sequence[Draft]
    opened: Sequence[Waiting] = ()
    closed: Collection[str] = ()
    keys: Sequence[KeyChange] = ()
    mail: Sequence[int] = ()
    progress: bool = False
    work: Callable[[Any], Sequence[Draft]] | None = None
    raw: Sequence[bytes] = ()
    done: asyncio.Future[Sequence[Event]] | None = None
    events: Sequence[Event] = ()

    @property
    def alone(self) -> bool:
        """Say whether the part may be refused by itself and so needs a transaction step of its own."""
        return self.work is not None or any(_refusable(change) for change in self.keys)


def _refusable(change: KeyChange) -> bool:
    return change.unshared if isinstance(change, KeySet) else isinstance(change, (KeyTake, KeyShare))


class Standing(NamedTuple):
    """What the run's row says after a commit."""

    status: RunStatus
    reason: ParkReason | None
    due: float | None


@dataclass(slots=True)
class _Batch:
    """What one transaction appends, all at one time."""

    time: float
    records: list[Record]
    blobs: list[tuple[str, bytes]]
    rolls_back: bool = False


class RunLog:
    """Appends to one run in one epoch.

    Args:
        journal, clock: the ports.
        row: the run's row as claimed.
        history: what is folded so far.
        standing: called at each flush; says what the row shall say.
        folded: called with each event after it is on disk and folded, and with the call it concerns.
        wake: called when something waits to be flushed.
        told: called with "entered" or "left" and the entry when what waits for a person changes.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        row: RunRow,
        history: History,
        *,
        standing: Callable[[], Standing],
        folded: Callable[[Event, CallState | None], None],
        wake: Callable[[], None],
        told: Callable[[str, Waiting], None] | None = None,
    ) -> None:
        self.journal, self.clock, self.row, self.history = journal, clock, row, history
        self.head, self.seq, self.epoch = row.head, row.seq, row.epoch
        self.last: Standing = Standing(row.status, row.reason, row.due)  # type: ignore[arg-type]
        self.ending: RunStatus | None = None
        self.parking: ParkReason | None = None
        self.advanced = False
        self._chain_key = journal.chain_key
        self.committed_at = clock.monotonic()
        self._standing, self._folded, self._wake, self._host = standing, folded, wake, told
        self._noted_seq = row.seq
        self.pending: list[Part] = []
        """What waits to be flushed."""
        self._notes: list[Part] = []

    @property
    def noted(self) -> bool:
        """Say whether notes wait for a commit to ride on."""
        return bool(self._notes)

    def closing(self, entry: str) -> bool:
        """Say whether the next commit closes an entry."""
        return any(entry in note.closed for note in self._notes)

    def note(
        self,
        *drafts: Draft,
        opened: Sequence[Waiting] = (),
        closed: Collection[str] = (),
        mail: Sequence[int] = (),
        progress: bool = False,
    ) -> None:
        """Fold events now and put them at the head of the next commit. For what would be found out again after a crash."""
        self._notes.append(_with_raw(Part(drafts, opened=opened, closed=closed, mail=mail, progress=progress)))
        time = self.time()
        for kind, path, payload in drafts:
            self._noted_seq = max(self._noted_seq, self.seq) + 1
            event = Event(self._noted_seq, time, kind, path, payload)
            self._folded(event, self.history.fold(event))
        self._wake()

    def time(self) -> float:
        """Return the time of the next event: the clock's, but never before the last event's."""
        return max(self.clock.now(), self.history.time)

    def put(self, part: Part) -> None:
        """Queue a part for the next flush.

        Raises `Unserialisable` at once, to who made the part, when the journal could not hold it.
        """
        self.pending.append(_with_raw(part))
        self._wake()

    def told(self, part: Part) -> asyncio.Future[Sequence[Event]]:
        """Queue a part for the next flush and return the future of its events."""
        done = part.done = asyncio.get_running_loop().create_future()
        self.put(part)
        return done

    async def commit(
        self,
        *drafts: Draft,
        opened: Sequence[Waiting] = (),
        closed: Collection[str] = (),
        keys: Sequence[KeyChange] = (),
        mail: Sequence[int] = (),
        progress: bool = False,
        work: Callable[[Any], Sequence[Draft]] | None = None,
    ) -> Sequence[Event]:
        """Return the events when they are on disk and folded. Raises what refused them (`KeyHeld`, what `work` raised).

        If the process dies inside: all of them are recorded, or none.
        """
        return await self.told(Part(drafts, opened, closed, keys, mail, progress, work))

    async def flush(self, *, leave: bool = False, close_all: bool = False) -> None:
        """Write what is queued. `Fenced` and other journal errors end the driver; nothing of the failed batch is folded."""
        while self.pending or leave or close_all:
            parts = self._fitting(self._take())
            final = not self.pending
            try:
                await self._write(parts, leave=leave and final, close_all=close_all and final)
            except KeyHeld as refused:
                _refuse(parts, refused)
                continue
            except JournalError as error:
                _refuse(parts, error)
                raise
            except Exception as error:
                if not any(part.work for part in parts):
                    raise
                _refuse(parts, error)
            if final:
                return

    def _take(self) -> list[Part]:
        if len(self.pending) == 1:
            return [self.pending.pop()]
        if self.pending and self.pending[0].alone:
            return [self.pending.pop(0)]
        taken: list[Part] = []
        while self.pending and not self.pending[0].alone:
            taken.append(self.pending.pop(0))
        return taken

    def _fitting(self, parts: list[Part]) -> list[Part]:
        """Refuse the parts whose events about an effect no longer fit: what is on disk, or ahead of them here, came first."""
        if not self.history.has_effects:
            return parts
        stages: dict[str, Stage] = {}
        for part in list(parts):
            moves: dict[str, Stage] = {}
            for kind, path, _ in part.drafts:
                effect = self.history.calls.get(path) if kind.startswith(("effect.", "undo.")) else None
                if not isinstance(effect, EffectState):
                    continue
                stage = EFFECT_MOVES.get((moves.get(path, stages.get(path, effect.stage)), kind))
                if stage is None:
                    parts.remove(part)
                    _refuse([part], Overtaken(f"{kind} at {path!r} came too late: something else about the effect was written first."))
                    break
                moves[path] = stage
            else:
                stages |= moves
        return parts

    async def _write(self, parts: list[Part], *, leave: bool, close_all: bool) -> None:
        batch = _Batch(self.time(), [], [])
        before = (self.seq, self.head)
        notes, self._notes = self._notes, []
        together = [*notes, *parts] if notes else parts
        for part in together:
            self._append(part, batch)
        commit = self._commit(together, batch, leave=leave, close_all=close_all, before=before[0])
        if parts and parts[0].work is not None:
            commit.records, commit.blobs = tuple(batch.records), tuple(batch.blobs)  # the work adds to the batch
            commit.work = self._working(parts[0], batch)
        asked, host = self.clock.monotonic(), self._host
        leaving = await self._leaving(commit) if host is not None else ()
        try:
            await self.journal.append(commit)
        except BaseException:
            self.seq, self.head = before
            self._noted_seq = self.seq
            self._notes = notes + self._notes
            raise
        if host is not None:
            self._tell_host(host, leaving, commit.opened)
        self.committed_at = asked  # a process may stand still between the commit and its answer
        self.advanced = self.advanced or commit.progress
        fold, folded = self.history.fold, self._folded
        for part in parts:
            events, done = part.events, part.done
            for event in events:
                folded(event, fold(event))
            if done is not None and not done.done():
                done.set_result(events)

    def _append(self, part: Part, batch: _Batch) -> None:
        """Make a part's records and events."""
        events: list[Event] = []
        part.events = events
        for draft, raw in zip(part.drafts, part.raw, strict=True):
            events.append(self._record(draft, raw, batch))

    async def _leaving(self, commit: Commit) -> list[Waiting]:
        """Return the entries that a commit takes off the list of what waits."""
        if not (commit.closed or commit.close_all or commit.status in FINAL_STATUSES):
            return []
        every = commit.close_all or commit.status in FINAL_STATUSES
        return [entry for entry in await self.journal.waiting(run_id=self.row.id) if every or entry.id in commit.closed]

    def _tell_host(self, host: Callable[[str, Waiting], None], left: Sequence[Waiting], entered: Sequence[Waiting]) -> None:
        """Tell the host application what has left the list and what has entered it. Its mistakes are its own."""
        for what, entries in (("left", left), ("entered", entered)):
            for entry in entries:
                try:
                    host(what, entry)
                except Exception:
                    logger.exception("the callback on_waiting failed for %s", entry.id)

    def _working(self, part: Part, batch: _Batch) -> Callable[[Any], Any]:
        """Return the function that runs a transactional effect inside the commit and makes its events there."""
        work = part.work
        assert work is not None
        records, blobs = len(batch.records), len(batch.blobs)

        def run(transaction: Any) -> tuple[Sequence[Record], Sequence[tuple[str, bytes]]]:
            part.events = [self._record(draft, _written(draft[2], draft[1]), batch) for draft in work(transaction)]
            return batch.records[records:], batch.blobs[blobs:]

        return run

    def _commit(self, parts: list[Part], batch: _Batch, *, leave: bool, close_all: bool, before: int) -> Commit:
        standing = self._standing()
        if batch.rolls_back:
            standing = Standing("rolling back", None, standing.due)  # the row says so before the event is folded
        self.last = standing
        one = parts[0] if len(parts) == 1 else _joined(parts)
        return Commit(
            run=self.row.number,
            run_id=self.row.id,
            environment=self.row.environment,
            epoch=self.epoch,
            before=before,
            records=batch.records,
            status=standing.status,
            reason=standing.reason,
            due=standing.due,
            standing=self.history.standing(),
            opened=one.opened,
            closed=one.closed,
            close_all=close_all,
            mail=one.mail,
            keys=one.keys,
            blobs=batch.blobs,
            progress=one.progress,
            leave=leave,
        )

    def _record(self, draft: Draft, raw: bytes, batch: _Batch) -> Event:
        kind, path, payload = draft
        if len(raw) > BLOB_BYTES or _REFERENCE in raw:
            raw = _with_blobs(payload, batch)
        if kind == "run.rolling_back":
            batch.rolls_back = True
        time, seq = batch.time, self.seq + 1
        head = chain_hash(self.head, self.row.id, seq, time, kind, path, hashlib.sha256(raw).digest(), self._chain_key)
        self.seq, self.head = seq, head
        batch.records.append(Record(seq, time, kind, path, raw, head))
        return Event(seq, time, kind, path, payload)


def _joined(parts: list[Part]) -> Part:
    """Return what several parts want beside their events."""
    return Part(
        (),
        opened=[entry for part in parts for entry in part.opened],
        closed=[entry for part in parts for entry in part.closed],
        keys=[change for part in parts for change in part.keys],
        mail=[mail for part in parts for mail in part.mail],
        progress=any(part.progress for part in parts),
    )


def _refuse(parts: list[Part], error: BaseException) -> None:
    for part in parts:
        if part.done is not None and not part.done.done():
            part.done.set_exception(error)
            part.done.exception()  # seen: the caller may be gone


def _with_raw(part: Part) -> Part:
    """Write a part's payloads. Raises `Unserialisable` or `TooLarge`."""
    part.raw = raw = []
    for _, path, payload in part.drafts:
        raw.append(_written(payload, path))
    return part


def _written(payload: dict[str, Any], path: str) -> bytes:
    """Return a payload's JSON. Raises `Unserialisable` or `TooLarge`."""
    try:
        raw = to_json(payload)
    except PydanticSerializationError as error:
        raise Unserialisable(f"What is to be recorded at {path!r} cannot be written as JSON: {error}") from error
    if len(raw) > PAYLOAD_BYTES_MAX:
        raise TooLarge(f"What is to be recorded at {path!r} has {len(raw):,} bytes; the journal takes {PAYLOAD_BYTES_MAX:,}.")
    return raw


def _with_blobs(payload: dict[str, Any], batch: _Batch) -> bytes:
    """Return a payload's JSON with its long values moved to blobs."""
    short = dict(payload)
    for name in _BLOB_FIELDS:
        if name not in short:
            continue
        raw = to_json(short[name])
        if len(raw) > BLOB_BYTES // 8 or _is_reference(short[name]):  # a value that looks like one is moved, so that none is mistaken
            digest = hashlib.sha256(raw).hexdigest()[:_DIGEST_CHARS]
            batch.blobs.append((digest, raw))
            short[name] = {"$blob": digest, "bytes": len(raw)}
    return to_json(short)


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"$blob", "bytes"}


async def loaded(journal: Journal, run: int, after: int = 0) -> list[Event]:
    """Return the events of a run with ``seq > after``, their blobs in place."""
    events: list[Event] = []
    for record in await journal.load(run, after=after):
        event = record.event()
        if _REFERENCE in record.payload:
            for name, digest in references(event.payload).items():
                event.payload[name] = json.loads(await long_value(journal, run, event.seq, digest))
        events.append(event)
    return events


def references(payload: Mapping[str, Any]) -> dict[str, str]:
    """Return by field the digests of the long values that lie beside an event."""
    return {name: str(payload[name]["$blob"]) for name in _BLOB_FIELDS if name in payload and _is_reference(payload[name])}


async def long_value(journal: Journal, run: int, seq: int, digest: str) -> bytes:
    """Return a value that lies beside an event. Raises `JournalCorrupt` when it is not what was written: chains hold only the digest."""
    content = await journal.blob(run, digest)
    if hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS] != digest:
        raise JournalCorrupt(f"A long value of event {seq} is not what was written. `chargehand verify` tells which runs are whole.")
    return content
