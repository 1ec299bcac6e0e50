"""The journal as a model: everything in dictionaries, nothing on disk, the same answers as SQLite's.

It is what the promises of the port mean without a database around them, the reference in the differential tests, and
the fast journal of tests that own their clock. Nothing in it awaits, so every method is atomic; numbers and ids are
counted, so the same calls give the same answers. The state of a run is replaced, never changed in place: a batch works
on copies and puts them in place at its end, so a batch that is refused has changed nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chargehand.durable import (
    FINAL_STATUSES,
    Census,
    ChainLink,
    Claimed,
    Clock,
    Commit,
    Created,
    KeyRow,
    KeySet,
    KeyTake,
    LinkKind,
    Mail,
    NewMail,
    NewRun,
    RunFilter,
    RunRow,
    Suspects,
    Waiting,
    WaitingKind,
    Worker,
)
from chargehand.errors import Fenced, JournalCorrupt, JournalError, KeyHeld, UnknownRun
from chargehand.events import Record, chain_hash
from chargehand.journals.claims import Claimable, chosen
from chargehand.journals.keys import may_take
from chargehand.journals.memory_store import (
    ERASED,
    NO_HASH,
    Beats,
    Link,
    Run,
    Store,
    StoredEvent,
    fits,
    plain,
    refuse_nonsense,
    stored,
    taken,
    verify_links,
    verify_run,
)
from chargehand.journals.transactional import WORK_SECONDS, transaction_for


class MemoryJournal:
    """A `chargehand.durable.Journal` that ends with the process. `beside` makes a second view of another one's runs."""

    def __init__(
        self, clock: Clock, *, beside: MemoryJournal | None = None, work_seconds: float = WORK_SECONDS, chain_key: bytes = b""
    ) -> None:
        self.chain_key = chain_key
        self._clock = clock
        self._store: Store = beside._store if beside is not None else Store()
        self._work_seconds = work_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._version: int | None = None

    async def open(self) -> None:
        """Do nothing: it is there."""

    async def close(self) -> None:
        """Do nothing: it stays as long as the object."""

    # writing

    async def create(self, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
        """Create runs, claimed by `owner` (epoch 1) or by nobody. A known id changes nothing."""
        return [self._create_one(new, owner) for new in runs]

    def _create_one(self, new: NewRun, owner: str | None) -> Created:
        store = self._store
        known = store.numbers.get(new.id)
        if known is not None:
            return Created(store.runs[known].row, existed=True)
        store.numbers_given += 1
        store.version += 1
        first = new.first
        row = RunRow(
            number=store.numbers_given,
            id=new.id,
            workflow=new.workflow,
            environment=new.environment,
            status="running",
            reason=None,
            epoch=0 if owner is None else 1,
            seq=first.seq,
            head=first.hash,
            owner=owner,
            due=0.0 if owner is None else None,
            crashes=0,
            standing=0,
            input_digest=new.input_digest,
            tags=dict(new.tags),
            created=first.time,
            updated=first.time,
        )
        store.numbers[new.id] = row.number
        store.runs[row.number] = Run(row, [stored(first)], dict(new.blobs))
        return Created(row, existed=False)

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Carry out a commit and return the records appended. `Fenced`, `KeyHeld` and what `work` raises refuse it."""
        run = self._guarded(commit)
        if commit.work is None:
            return self._apply(run, commit, commit.records, commit.blobs)
        tables = self._store.tables
        tables.execute("BEGIN IMMEDIATE")
        try:
            self._keys_after(commit)
            with transaction_for(tables, self._work_seconds) as tx:
                records, blobs = commit.work(tx)
            done = self._apply(run, commit, [*commit.records, *records], [*commit.blobs, *blobs])
            tables.execute("COMMIT")
        except BaseException:
            if tables.in_transaction:
                tables.execute("ROLLBACK")
            raise
        return done

    def _guarded(self, commit: Commit) -> Run:
        run = self._store.runs.get(commit.run)
        if run is None or run.finished or (run.row.epoch, run.row.seq) != (commit.epoch, commit.before):
            raise Fenced(
                f"Run {commit.run_id!r} is no longer at epoch {commit.epoch}, seq {commit.before}: "
                "another driver has claimed it, or it has ended. Load it again."
            )
        return run

    def _apply(self, run: Run, commit: Commit, records: Sequence[Record], blobs: Sequence[tuple[str, bytes]]) -> Sequence[Record]:
        store = self._store
        if records and records[-1].seq != commit.before + len(records):
            raise JournalError(f"The records of run {commit.run_id!r} do not follow seq {commit.before}.")
        final = commit.status in FINAL_STATUSES
        mail = {id: one for id, one in store.mail.items() if one.run != commit.run or id not in commit.mail}
        due = 0.0 if any(one.run == commit.run for one in mail.values()) else commit.due
        row = replace(
            run.row,
            status=commit.status,
            reason=commit.reason,
            standing=commit.standing,
            crashes=0 if commit.progress else run.row.crashes,
            owner=None if commit.leave or final else run.row.owner,
            due=None if final else due,
        )
        if records:
            row = replace(row, seq=records[-1].seq, head=records[-1].hash, updated=records[-1].time)
        refuse_nonsense(row)
        keys = self._keys_after(commit)
        waiting = self._waiting_after(commit, final)
        new = Run(row, run.events + [stored(one) for one in records], {**dict(blobs), **run.blobs})
        store.runs[commit.run], store.mail, store.keys, store.waiting = new, mail, keys, waiting
        store.version += 1
        if final:
            self._link("finished", row, row.head, row.updated)
        return records

    def _waiting_after(self, commit: Commit, final: bool) -> dict[str, Waiting]:
        def closed(entry: Waiting) -> bool:
            return entry.run_id == commit.run_id and (commit.close_all or final or entry.id in commit.closed)

        waiting = {id: entry for id, entry in self._store.waiting.items() if not closed(entry)}
        for entry in () if final else commit.opened:
            known = waiting.get(entry.id)
            if known is not None and known.run_id != commit.run_id:
                raise JournalError(f"The waiting entry {entry.id!r} belongs to another run.")
            waiting[entry.id] = replace(entry, run_id=commit.run_id, environment=commit.environment, shows=plain(dict(entry.shows)))
        return waiting

    def _keys_after(self, commit: Commit) -> dict[tuple[str, str, str], KeyRow]:
        keys = dict(self._store.keys) if commit.keys else self._store.keys
        for change in commit.keys:
            place = (commit.environment, change.tool, change.key)
            row = keys.get(place)
            if isinstance(change, KeyTake):
                if row is not None and not may_take(change, row, commit.run_id):
                    raise KeyHeld(row)
                keys[place] = taken(commit, change, row)
            elif row is None:
                raise JournalError(f"The business key {change.key!r} of {change.tool} was never taken.")
            elif isinstance(change, KeySet):
                if row.run_id != commit.run_id or (change.unshared and row.shared):
                    raise KeyHeld(row)
                keys[place] = replace(row, state=change.state, result=change.result)
            else:
                if row.state != "done":
                    raise KeyHeld(row)
                keys[place] = replace(row, shared=row.shared + 1)
        return keys

    def _link(self, kind: LinkKind, row: RunRow, head: bytes, time: float, seq: int | None = None) -> None:
        chain = self._store.chain
        at = row.seq if seq is None else seq
        hash = chain_hash(chain[-1].hash if chain else NO_HASH, row.id, at, time, kind, "", head, self.chain_key)
        chain.append(Link(kind, row.number, row.id, at, head, time, hash))

    async def post(self, mail: Sequence[NewMail]) -> list[int]:
        """Leave mail and make the runs due. `UnknownRun` refuses all of it."""
        store = self._store
        for new in mail:
            if new.run_id not in store.numbers:
                raise UnknownRun(f"There is no run {new.run_id!r} in the journal; nothing was posted.")
        ids: list[int] = []
        for new in mail:
            run = store.runs[store.numbers[new.run_id]]
            store.mail_given += 1
            store.version += 1
            store.mail[store.mail_given] = Mail(store.mail_given, run.row.number, new.kind, plain(dict(new.body)), new.time)
            ids.append(store.mail_given)
            if not run.finished:
                run.row = replace(run.row, due=0.0)
        return ids

    async def claim(
        self,
        owner: str,
        *,
        workflows: Collection[str],
        environment: str,
        now: float,
        limit: int,
        census: Census,
        only: Collection[str] = (),
        suspects: Suspects = "with the others",
    ) -> list[Claimed]:
        """Take over due runs: of the gone, of the silent, then the unowned by due time. Each gets the next epoch."""
        found: list[tuple[tuple[Any, ...], Claimable]] = []
        for number, run in self._store.runs.items():
            row = run.row
            if run.finished or row.environment != environment or row.workflow not in workflows or (only and row.id not in only):
                continue
            at_work = row.status in ("running", "rolling back")  # a run that only waited had no part in its worker's death
            if row.owner is None:
                if row.due is not None and row.due <= now:
                    found.append(((2, "", row.due, number), Claimable(number, "left", row.crashes)))
            elif row.owner != owner and row.owner in census.gone:
                found.append(((0, row.owner, 0.0, number), Claimable(number, "gone", row.crashes + at_work)))
            elif row.owner != owner and row.owner in census.silent:
                found.append(((1, row.owner, 0.0, number), Claimable(number, "silent", row.crashes + at_work)))
        claimed: list[Claimed] = []
        ordered = [one for _, one in sorted(found, key=lambda pair: pair[0])]
        for one in chosen(ordered, suspects, limit):
            run = self._store.runs[one.number]
            before = run.row.owner
            run.row = replace(run.row, owner=owner, epoch=run.row.epoch + 1, crashes=one.crashes)
            self._store.version += 1
            claimed.append(Claimed(run.row, one.after, before))
        return claimed

    async def still_mine(self, run: int, epoch: int) -> bool:
        """Say whether the run's row still has this epoch."""
        known = self._store.runs.get(run)
        return known is not None and known.row.epoch == epoch

    # reading

    async def load(self, run: int, after: int = 0, limit: int | None = None) -> list[Record]:
        """Return the events with `seq > after`, in order."""
        known = self._store.runs.get(run)
        events = [event.record for event in known.events if event.record.seq > after] if known else []
        return events if limit is None else events[:limit]

    async def blob(self, run: int, digest: str) -> bytes:
        """Return a blob of a run."""
        known = self._store.runs.get(run)
        if known is None or digest not in known.blobs:
            raise JournalCorrupt(f"Run number {run} has no blob {digest!r}; it was erased, or never written.")
        return known.blobs[digest]

    async def mail(self, runs: Collection[int]) -> list[Mail]:
        """Return the mail of these runs, oldest first."""
        return [mail for mail in self._store.mail.values() if mail.run in runs]

    async def mailed(self, owner: str) -> list[int]:
        """Return the numbers of this owner's runs that have mail."""
        with_mail = {mail.run for mail in self._store.mail.values()}
        return sorted(number for number in with_mail if self._store.runs[number].row.owner == owner)

    async def run(self, id: str) -> RunRow | None:
        """Return one run's row."""
        number = self._store.numbers.get(id)
        return None if number is None else self._store.runs[number].row

    async def runs(self, which: RunFilter) -> list[RunRow]:
        """Return rows, newest first."""
        rows = [run.row for _, run in sorted(self._store.runs.items(), reverse=True)]
        return [row for row in rows if fits(row, which)][: which.limit]

    async def waiting(
        self,
        *,
        run_id: str | None = None,
        kinds: Collection[WaitingKind] = (),
        environment: str | None = None,
        limit: int = 1000,
    ) -> list[Waiting]:
        """Return what waits for a person, oldest first."""
        found = [
            entry
            for entry in self._store.waiting.values()
            if (run_id is None or entry.run_id == run_id)
            and (not kinds or entry.kind in kinds)
            and (environment is None or entry.environment == environment)
        ]
        return sorted(found, key=lambda entry: entry.created)[:limit]

    async def entry(self, id: str) -> Waiting | None:
        """Return one entry."""
        return self._store.waiting.get(id)

    async def key(self, environment: str, tool: str, key: str) -> KeyRow | None:
        """Return who holds a business key."""
        return self._store.keys.get((environment, tool, key))

    async def next_due(self, *, workflows: Collection[str], environment: str) -> float | None:
        """Return the earliest due time of the unowned, unfinished runs."""
        rows = (run.row for run in self._store.runs.values())
        times = [
            row.due
            for row in rows
            if row.owner is None and row.due is not None and row.environment == environment and row.workflow in workflows
        ]
        return min(times, default=None)

    def changed(self) -> bool:
        """Say whether anything was written since the last call; `True` at the first."""
        before, self._version = self._version, self._store.version
        return before != self._version

    # workers

    async def enlist(self, about: Mapping[str, Any] | None = None) -> str:
        """Register a worker. Ids are counted."""
        self._store.workers_given += 1
        id = f"worker-{self._store.workers_given}"
        self._store.workers[id] = Beats(plain(dict(about or {})))
        return id

    def beat(self, owner: str) -> None:
        """Say that the worker is ticking."""
        if owner not in self._store.workers:
            raise JournalError(f"Worker {owner!r} was not enlisted by this process, or was dismissed.")
        self._store.workers[owner].counter += 1

    def vanish(self, owner: str) -> None:
        """For tests: let a worker die as by SIGKILL. It is gone, and its runs stay as it left them."""
        del self._store.workers[owner]

    async def dismiss(self, owner: str) -> None:
        """Withdraw the worker. Runs it still owns are free: due at once if work was under way, else as they were."""
        for run in self._store.runs.values():
            if run.row.owner == owner:
                due = 0.0 if run.row.status in ("running", "rolling back") else run.row.due
                run.row = replace(run.row, owner=None, due=due)
                self._store.version += 1
        with suppress(KeyError):
            self.vanish(owner)

    async def census(self, silent_after: float) -> Census:
        """Say which workers are gone, and which have not beaten for `silent_after` seconds of this journal's clock."""
        owners = {run.row.owner for run in self._store.runs.values() if run.row.owner is not None}
        now = self._clock.monotonic()
        silent: set[str] = set()
        for id, beats in self._store.workers.items():
            counter, since = self._seen.get(id, (-1, now))
            if counter != beats.counter:
                self._seen[id] = (beats.counter, now)
            elif now - since >= silent_after:
                silent.add(id)
        return Census(frozenset(owners - self._store.workers.keys()), frozenset(silent))

    async def workers(self) -> list[Worker]:
        """Return the workers that live, silent ones included."""
        return [Worker(id, beats.about) for id, beats in self._store.workers.items()]

    # keeping

    async def verify(self, run: int) -> None:
        """Raise `JournalCorrupt` naming run and seq where a run's chain does not hold, and what differs."""
        known = self._store.runs.get(run)
        if known is None:
            raise UnknownRun(f"There is no run number {run} in the journal.")
        verify_run(known, self.chain_key)

    async def verify_chain(self) -> None:
        """Raise `JournalCorrupt` where the journal-wide chain of finished heads, erasures and prunes does not hold."""
        verify_links(self._store.chain, self.chain_key)

    async def chain(self, after: int = 0, limit: int = 1000) -> list[ChainLink]:
        """Return the links of the journal-wide chain with `id > after`, in order."""
        part = list(enumerate(self._store.chain, 1))[after : after + limit]
        return [ChainLink(id, link.kind, link.run_id, link.seq, link.head, link.time, link.hash) for id, link in part]

    async def erase(self, run: int, seqs: Collection[int], blobs: Collection[str] = ()) -> int:
        """Take away payloads and blobs of a run; the chain still holds and notes it. Returns how many payloads."""
        known = self._store.runs.get(run)
        if known is None:
            raise UnknownRun(f"There is no run number {run} in the journal.")
        erased = 0
        for index, event in enumerate(known.events):
            if event.record.seq in seqs and not event.erased:
                known.events[index] = StoredEvent(event.record._replace(payload=ERASED), event.digest, erased=True)
                self._link("erased", known.row, event.digest, self._clock.now(), event.record.seq)
                erased += 1
        for digest in blobs:
            known.blobs.pop(digest, None)
        self._store.version += 1
        return erased

    async def prune(self, *, before: float, limit: int, environment: str | None = None) -> int:
        """Delete finished runs (of one environment) last touched before a time; business-key rows stay."""
        store = self._store
        old = [
            run.row
            for run in store.runs.values()
            if run.finished and run.row.updated < before and environment in (None, run.row.environment)
        ]
        pruned = sorted(old, key=lambda row: (row.updated, row.number))[:limit]
        for row in pruned:
            del store.runs[row.number], store.numbers[row.id]
            store.mail = {id: mail for id, mail in store.mail.items() if mail.run != row.number}
            self._link("pruned", row, row.head, self._clock.now())
            store.version += 1
        return len(pruned)

    async def statistics(self) -> Mapping[str, Any]:
        """Return counts."""
        store = self._store
        return {
            "runs": dict(Counter(run.row.status for run in store.runs.values())),
            "unfinished": [
                {"environment": environment, "workflow": workflow, "status": status, "runs": count}
                for (environment, workflow, status), count in sorted(_unfinished(store).items())
            ],
            "events": sum(run.row.seq for run in store.runs.values()),
            "waiting": dict(Counter(entry.kind for entry in store.waiting.values())),
            "mail": len(store.mail),
            "keys": len(store.keys),
            "chain": len(store.chain),
            "chain_head": (store.chain[-1].hash if store.chain else NO_HASH).hex(),
        }


def _unfinished(store: Store) -> Counter[tuple[str, str, str]]:
    return Counter((run.row.environment, run.row.workflow, run.row.status) for run in store.runs.values() if not run.finished)
