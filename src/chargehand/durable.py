"""The ports: what a journal, a clock and a worker's claim are, whatever implements them.

A journal keeps runs and their events. Only the driver that claimed a run in the current *epoch* may append to it;
everybody else leaves *mail*. All methods of a journal are atomic: when they return, what they did is on disk; when the
process dies inside one, it either happened whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from chargehand.events import Record

RunStatus = Literal["running", "waiting", "parked", "rolling back", "completed", "failed", "cancelled"]
RUN_STATUSES: tuple[RunStatus, ...] = (
    "running",
    "waiting",
    "parked",
    "rolling back",
    "completed",
    "failed",
    "cancelled",
)
FINAL_STATUSES: frozenset[RunStatus] = frozenset({"completed", "failed", "cancelled"})

ParkReason = Literal["letter", "doubt", "diverged", "broken", "poison"]
PARK_REASONS: tuple[ParkReason, ...] = ("letter", "doubt", "diverged", "broken", "poison")

WaitingKind = Literal["approval", "escalation", "letter", "doubt", "question", "diverged", "broken", "poison"]
WAITING_KINDS: tuple[WaitingKind, ...] = (
    "approval",
    "escalation",
    "letter",
    "doubt",
    "question",
    "diverged",
    "broken",
    "poison",
)

MailKind = Literal["signal", "decision", "cancel", "resume"]
MAIL_KINDS: tuple[MailKind, ...] = ("signal", "decision", "cancel", "resume")

BLOB_BYTES = 64 * 1024
"""A payload value whose JSON is longer than this goes to the run's blobs."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One row of `runs`. Times in seconds since the epoch, UTC. `number` is the journal's own integer key."""

    number: int
    id: str
    workflow: str
    environment: str
    status: RunStatus
    reason: str | None
    epoch: int
    seq: int
    head: bytes
    owner: str | None
    due: float | None
    crashes: int
    standing: int
    input_digest: str
    tags: Mapping[str, str]
    created: float
    updated: float


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be created together with its first event (`first.seq == 1`)."""

    id: str
    workflow: str
    environment: str
    input_digest: str
    tags: Mapping[str, str]
    first: Record
    blobs: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` answers for each new run: the row, and whether it was there before."""

    row: RunRow
    existed: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that waits for a person. `due` is when it expires, `digest` binds what was shown."""

    id: str
    run_id: str
    path: str
    kind: WaitingKind
    title: str
    shows: Mapping[str, Any]
    decisions: tuple[str, ...]
    role: str | None
    created: float
    due: float | None
    digest: str
    environment: str = ""


SUSPECT_CRASHES = 2
"""A run whose workers died this often over it, without progress, is driven with no other beside it."""

Suspects = Literal["with the others", "left", "one alone"]
"""What a claim does with runs that it would bring to `SUSPECT_CRASHES`: take them like any other, leave them, or take one of
them and nothing beside it (and, where there is none, the others)."""

KeyState = Literal["held", "done", "open"]
"""A business key is *held* by a call in flight or in doubt, *done*, or *open* (undone or did not happen: free again)."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """Who holds a business key. `generation` is the newest one ever handed out; `digest` that of the arguments."""

    environment: str
    tool: str
    key: str
    run_id: str
    path: str
    generation: int
    digest: str
    state: KeyState
    result: bytes | None
    shared: int


@dataclass(frozen=True, slots=True)
class KeyTake:
    """Take a business key for this run, or refuse the whole commit with `KeyHeld`.

    Allowed when there is no row, or the row is *open* and the generation newer than the row's, or it is already this
    run's own row at the same path and the generation is not older. (An equal generation of somebody else's open row
    would be the same key for another doing: whoever is refused reads `holder` and takes the next.)
    """

    tool: str
    key: str
    path: str
    generation: int
    digest: str


@dataclass(frozen=True, slots=True)
class KeySet:
    """Change the state of a business key that this run holds. `unshared`: refuse it when another run shares the result."""

    tool: str
    key: str
    state: KeyState
    result: bytes | None = None
    unshared: bool = False


@dataclass(frozen=True, slots=True)
class KeyShare:
    """Count one more run that uses a *done* key's result without owning it."""

    tool: str
    key: str


KeyChange = KeyTake | KeySet | KeyShare


@dataclass(slots=True)
class Commit:
    """One atomic step of one run. Refused with `Fenced` unless the run's row has this epoch and `before` as its seq.

    `records` may be empty: then only the row is updated. `progress` resets the count of crashes. `leave` gives the claim
    up in the same transaction. `work` is a transactional effect: it is called inside the transaction with the database
    and returns the records and blobs to append (their number becomes part of this commit).
    """

    run: int
    run_id: str
    environment: str
    epoch: int
    before: int
    records: Sequence[Record]
    status: RunStatus
    reason: str | None = None
    due: float | None = None
    standing: int = 0
    opened: Sequence[Waiting] = ()
    closed: Collection[str] = ()
    close_all: bool = False
    mail: Sequence[int] = ()
    keys: Sequence[KeyChange] = ()
    blobs: Sequence[tuple[str, bytes]] = ()
    progress: bool = False
    leave: bool = False
    work: Callable[[Any], tuple[Sequence[Record], Sequence[tuple[str, bytes]]]] | None = None


@dataclass(frozen=True, slots=True)
class NewMail:
    """What others than the driver write to a run."""

    run_id: str
    kind: MailKind
    body: Mapping[str, Any]
    time: float


@dataclass(frozen=True, slots=True)
class Mail:
    """One row of the mailbox, in the order it came (`id`)."""

    id: int
    run: int
    kind: MailKind
    body: Mapping[str, Any]
    time: float


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list, newest first. `since` and `until` bound `created`; `before` pages by row number."""

    workflow: str | None = None
    status: Collection[RunStatus] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    since: float | None = None
    until: float | None = None
    environment: str | None = None
    ids: Collection[str] = ()
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Census:
    """Which workers cannot be counted on. `gone`: surely dead (their lock is free). `silent`: alive but not ticking."""

    gone: frozenset[str]
    silent: frozenset[str]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that lives (its lock is held), and what it said of itself: environment, workflows, process id."""

    id: str
    about: Mapping[str, Any]


LinkKind = Literal["finished", "erased", "pruned"]


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One link of the journal-wide chain: a finished run's head, an erasure or a prune. `hash` binds it to all before."""

    id: int
    kind: LinkKind
    run_id: str
    seq: int
    head: bytes
    time: float
    hash: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run this worker now drives. `after` says whether its last driver left it, died, or only fell silent; `before` who that was."""

    row: RunRow
    after: Literal["left", "gone", "silent"]
    before: str | None = None


class Clock(Protocol):
    """Time and waiting, so that tests own both."""

    def now(self) -> float:
        """Return the wall clock: seconds since the epoch, UTC. Due times and expiries only."""

    def monotonic(self) -> float:
        """Return seconds that never step. Liveness, timeouts, leases."""

    async def wait(self, until: float) -> None:
        """Return when `now()` has reached `until`."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many monotonic seconds. Timeouts use this, so that a stepping wall clock cannot stretch them."""


class Journal(Protocol):
    """Where runs live. Every method may raise a `JournalError`."""

    chain_key: bytes
    """What keys the hash chains of runs; empty for none. Drivers sign with it, `verify` checks with it."""

    async def open(self) -> None:
        """Open or create the database and bring its schema up to date."""

    async def close(self) -> None:
        """Finish what is queued and close."""

    # writing

    async def create(self, runs: Sequence[NewRun], owner: str | None) -> list[Created]:
        """Create runs in one transaction, claimed by `owner` (epoch 1) or by nobody. A known id changes nothing."""

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Make a commit durable and return the records appended. `Fenced`, `KeyHeld` and what `work` raises refuse it."""

    async def post(self, mail: Sequence[NewMail]) -> list[int]:
        """Leave mail and make the runs due, in one transaction. `UnknownRun` refuses all of it. Returns the mail's ids."""

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
        """Take over due runs: unowned with `due <= now`, and any unfinished run of a gone or silent owner.

        Each gets the next epoch; `crashes` grows by one when the owner was gone or silent and the run was not merely waiting.
        `only` limits it to run ids; `suspects` says what becomes of runs that may have killed their workers.
        """

    async def still_mine(self, run: int, epoch: int) -> bool:
        """Say whether the run's row still has this epoch."""

    # reading

    async def load(self, run: int, after: int = 0, limit: int | None = None) -> list[Record]:
        """Return the events with `seq > after`, in order. An erased payload reads as ``{"$erased": true}``."""

    async def blob(self, run: int, digest: str) -> bytes:
        """Return a blob of a run."""

    async def mail(self, runs: Collection[int]) -> list[Mail]:
        """Return the mail of these runs, oldest first."""

    async def mailed(self, owner: str) -> list[int]:
        """Return the numbers of this owner's runs that have mail."""

    async def run(self, id: str) -> RunRow | None:
        """Return one run's row."""

    async def runs(self, which: RunFilter) -> list[RunRow]:
        """Return rows, newest first."""

    async def waiting(
        self,
        *,
        run_id: str | None = None,
        kinds: Collection[WaitingKind] = (),
        environment: str | None = None,
        limit: int = 1000,
    ) -> list[Waiting]:
        """Return what waits for a person, oldest first."""

    async def entry(self, id: str) -> Waiting | None:
        """Return one entry."""

    async def key(self, environment: str, tool: str, key: str) -> KeyRow | None:
        """Return who holds a business key."""

    async def next_due(self, *, workflows: Collection[str], environment: str) -> float | None:
        """Return the earliest due time of the unowned, unfinished runs."""

    def changed(self) -> bool:
        """Say whether the database may have changed since the last call, by whomever. Cheap."""

    # workers

    async def enlist(self, about: Mapping[str, Any] | None = None) -> str:
        """Register this process as a worker and return the worker's id; it stays counted as alive until `dismiss`.

        `about` is what `workers` tells others of it, as JSON.
        """

    def beat(self, owner: str) -> None:
        """Say that the worker is ticking. May be called from another thread; no transaction."""

    async def dismiss(self, owner: str) -> None:
        """Withdraw the worker; runs it still owns are free for others."""

    async def census(self, silent_after: float) -> Census:
        """Say which workers are gone, and which have not beaten for `silent_after` seconds of this process's monotonic clock."""

    async def workers(self) -> list[Worker]:
        """Return the workers that live, silent ones included."""

    # keeping

    async def verify(self, run: int) -> None:
        """Raise `JournalCorrupt` naming the position where a run's chain does not hold."""

    async def verify_chain(self) -> None:
        """Raise `JournalCorrupt` where the journal-wide chain of finished heads, erasures and prunes does not hold."""

    async def chain(self, after: int = 0, limit: int = 1000) -> list[ChainLink]:
        """Return the links of the journal-wide chain with `id > after`, in order."""

    async def erase(self, run: int, seqs: Collection[int], blobs: Collection[str] = ()) -> int:
        """Take away payloads and blobs of a run; its chain still holds. Returns how many payloads there were."""

    async def prune(self, *, before: float, limit: int, environment: str | None = None) -> int:
        """Delete finished runs (of one environment) last touched before a time; business-key rows stay. Returns how many."""

    async def statistics(self) -> Mapping[str, Any]:
        """Return counts and sizes for `doctor`."""
