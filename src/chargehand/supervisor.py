"""The supervisor: the one place where journal, carrier, clock and definitions are put together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from chargehand.carriers.embedded import EmbeddedCarrier, End, Pace
from chargehand.clocks import SystemClock
from chargehand.contracts import Codec
from chargehand.core.ladder import Rung, checked_ladder
from chargehand.durable import (
    FINAL_STATUSES,
    Clock,
    Created,
    Journal,
    Mail,
    NewMail,
    NewRun,
    RunFilter,
    RunRow,
    RunStatus,
    Waiting,
    WaitingKind,
)
from chargehand.errors import (
    BadConfiguration,
    DecisionRefused,
    Erased,
    UnknownEntry,
    UnknownRun,
    WrongEnvironment,
)
from chargehand.events import Event
from chargehand.journals.chain_keys import check_chain_key
from chargehand.limits import Seconds, seconds
from chargehand.starting import (
    Started,
    check_json,
    check_value,
    given_back,
    journal_at,
    last_of,
    new_run,
    refuse_another,
    refuse_another_input,
    refuse_main,
    refuse_second,
    refuse_second_resume,
)
from chargehand.supervise.approvals import HostKey, Person
from chargehand.supervise.call import Call
from chargehand.supervise.decisions import Decision
from chargehand.supervise.definitions import WorkflowDefinition, registry_of
from chargehand.supervise.discover import effects_of
from chargehand.supervise.failing import failure_of
from chargehand.supervise.gauges import Gauges
from chargehand.supervise.log import loaded
from chargehand.supervise.mail import Unfit, check_decision
from chargehand.supervise.resources import Resource, Resources
from chargehand.supervise.seals import is_sealed, sealed
from chargehand.supervise.site import Site, logger
from chargehand.supervise.telemetry import spans_of

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

T = TypeVar("T")

_START_BATCH = 1000
_POLL_SECONDS = 0.25
_LOCAL_POLL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RunView(Generic[T]):
    """A run as seen from outside its driver: from any process, whoever drives it."""

    id: str
    _supervisor: Supervisor
    _result: Codec | None = None

    async def row(self) -> RunRow:
        """Return the run's row. Raises `UnknownRun`."""
        return await self._supervisor.row(self.id)

    async def status(self) -> RunStatus:
        """Return how the run stands."""
        return (await self.row()).status

    async def result(self, timeout: Seconds | None = None) -> T:
        """Wait for the run's value. Raises what the run failed with, `TimeoutError` after `timeout` seconds.

        Closing the waiting client leaves the run alone.
        """
        waiting = self._supervisor.end_of(self.id)
        bound = None if timeout is None else seconds(timeout)
        try:
            workflow, end = await asyncio.wait_for(waiting, bound)
        except TimeoutError:
            if bound is None:
                raise
            raise TimeoutError(
                f"Run {self.id!r} has not ended within {bound:g} s: it is {await self.status()}. It goes on all the same."
            ) from None
        return self._supervisor.value_of(self.id, workflow, end, self._result)  # type: ignore[no-any-return]

    async def events(self) -> list[Event]:
        """Return the run's events so far."""
        return await loaded(self._supervisor.journal, (await self.row()).number)


class Supervisor:
    """Starts, drives, reads and decides runs.

    Args:
        url: a SQLite file, ``sqlite:///path``, or ``memory:`` for tests.
        workflows: the workflows this process knows; it claims only runs of these.
        work: drive runs in this event loop. False only starts, reads and decides.
        environment: the one environment this process serves.
        resources: what calls may ask for.
        approve: "declared", "final" or "every": how much asks a person.
        ladder: the ladder of agents that declare none, where their workflow has none either.
        pace: how often it looks for work and how much it takes on.
        clock: where time comes from; the machine's own if none is given. Tests give one that jumps.
        journal: a journal that is there already, in place of the one that `url` names.
        chain_key: keys the journal's hash chains and seals mail, so that only who has it can rewrite history unnoticed, or
            decide. The same for every process of a journal.
        host_key: with what right this application vouches for the persons it names (`Settings.host_key`): a role beyond the key is
            refused, and the events say which application vouched. Without one its word is taken as it is.
        on_waiting: called with "entered" or "left" and the entry when what waits for a person changes in a run driven here, after
            the commit. It must not block; what it raises is logged and changes nothing.
        tracer_provider: where OpenTelemetry spans go (extra ``telemetry``); the application's own provider if none is given.

    It never installs signal handlers, owns the loop or configures logging.
    """

    def __init__(
        self,
        url: str,
        workflows: Sequence[WorkflowDefinition[..., Any]] = (),
        *,
        work: bool = True,
        environment: str = "development",
        resources: Sequence[Resource[Any]] = (),
        approve: str = "declared",
        ladder: Sequence[Rung] | None = None,
        pace: Pace = Pace(),
        clock: Clock | None = None,
        journal: Journal | None = None,
        chain_key: bytes = b"",
        host_key: HostKey | None = None,
        on_waiting: Callable[[str, Waiting], None] | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        if approve not in ("declared", "final", "every"):
            raise BadConfiguration(f"approve is 'declared', 'final' or 'every', not {approve!r}.")
        self.environment, self._host_key = environment, host_key
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.journal: Journal = journal if journal is not None else journal_at(url, self.clock, chain_key)
        self.workflows = registry_of(workflows)
        refuse_main(self.workflows, self.journal)
        kept = {resource.kind: factory for resource in resources if (factory := resource.factory_for(environment)) is not None}
        self.site = Site(
            journal=self.journal,
            clock=self.clock,
            environment=environment,
            workflows=self.workflows,
            effects=effects_of(list(workflows)),
            resources=Resources(kept, environment),
            gauges=Gauges(self.clock, {resource.kind: resource.limits for resource in resources}),
            approve=approve,
            ladder=None if ladder is None else checked_ladder(ladder),
            silent_after=pace.silent_after - pace.lease,  # the last beat may be so much older than the last commit
            entered=on_waiting,
        )
        self._tracer_provider = tracer_provider
        self.carrier = EmbeddedCarrier(self.site, pace, self._left) if work else None
        self.site.start = self.start
        self._ends: dict[str, list[asyncio.Future[End | None]]] = {}
        self._key_fits = False

    async def __aenter__(self) -> Supervisor:
        self.site.spans = spans_of(self._tracer_provider)
        if self.site.spans is not None:
            self.site.entered = self.site.spans.telling(self.site.entered)
        await self.journal.open()
        try:
            if self.carrier is not None:
                await self.check_chain_key()
                await self.carrier.start()
        except BaseException:
            await self.journal.close()
            raise
        return self

    async def check_chain_key(self) -> None:
        """Raise `WrongChainKey` when the journal was begun with another key. Done before anything is signed or sealed; reading needs no key."""
        if not self._key_fits:
            await check_chain_key(self.journal)
            self._key_fits = True

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def close(self, grace: Seconds = 30.0) -> None:
        """Let calls in flight settle, leave every run to others, close the journal."""
        try:
            if self.carrier is not None:
                await self.carrier.drain(seconds(grace))
        finally:  # whatever the disk says: a journal that stays open keeps its worker alive in the eyes of the others
            try:
                await self.site.resources.close()
            finally:
                self._leave_threads()
                await self.journal.close()

    def _leave_threads(self) -> None:
        self.site.threads.shutdown()
        if self.site.threads.busy:
            logger.warning(
                "left while these were still running in threads: %s; they end with the process, and what they did not finish is made good as after a crash",
                ", ".join(self.site.threads.names),
            )

    # -- starting ----------

    async def start(
        self,
        call: Call[T],
        id: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        deadline: Seconds | None = None,
        by: str | None = None,
    ) -> RunView[T]:
        """Start a run, or return the run of this id. Raises `RunConflict` when it has another workflow or input.

        `tags` are what `runs(tags=…)` finds it by; `deadline` seconds from now take the place of the workflow's; `by` says who
        started it, who may be barred from approving what it asks.

        If the process dies inside: the run exists or it does not; calling again with the same id is safe.
        """
        (view,) = await self.start_many([(call, id if id is not None else uuid.uuid4().hex)], tags=tags, deadline=deadline, by=by)
        return view

    async def start_many(
        self,
        calls: Sequence[tuple[Call[T], str]],
        *,
        tags: Mapping[str, str] | None = None,
        deadline: Seconds | None = None,
        by: str | None = None,
    ) -> list[RunView[T]]:
        """Start many runs, a thousand per transaction; options as those of `start`."""
        views: list[RunView[T]] = []
        for start in range(0, len(calls), _START_BATCH):
            views += await self._start_batch(calls[start : start + _START_BATCH], tags or {}, deadline, by)
        return views

    async def _start_batch(
        self, calls: Sequence[tuple[Call[T], str]], tags: Mapping[str, str], deadline: Seconds | None, by: str | None
    ) -> list[RunView[T]]:
        started = Started(self.workflows, self.environment, self.clock.now(), self.journal.chain_key, tags, deadline, by)
        drafts = [new_run(call, id, started) for call, id in calls]
        await self.check_chain_key()
        created = await self._create(drafts)
        views: list[RunView[T]] = []
        for (call, id), (new, event), made in zip(calls, drafts, created, strict=True):
            if made.existed:
                await self._check_same(made.row, new, event)
            views.append(RunView(id, self, call.definition.contract.result))
        return views

    async def _create(self, drafts: Sequence[tuple[NewRun, Event]]) -> list[Created]:
        """Create runs. This process drives them at once, but those of a workflow with places or a rate: these it claims like any other."""
        new = [draft for draft, _ in drafts]
        if self.carrier is None:
            return await self.journal.create(new, None)
        bounded = [bool(self.workflows[draft.workflow].limits) for draft in new]
        made: dict[int, Created] = {}
        for bound in sorted(set(bounded)):
            which = [number for number, other in enumerate(bounded) if other == bound]
            created = await self.journal.create([new[number] for number in which], None if bound else self.site.worker)
            for number, one in zip(which, created, strict=True):
                made[number] = one
                if one.existed:
                    continue
                if bound:
                    self.carrier.wants_place(one.row)
                else:
                    self.carrier.drive(one.row, [drafts[number][1]])
        return [made[number] for number in range(len(new))]

    async def _check_same(self, row: RunRow, new: NewRun, event: Event) -> None:
        refuse_another(row, new)
        if row.input_digest != new.input_digest:
            first = (await self.journal.load(row.number, limit=1))[0].event()
            refuse_another_input(row, first.payload.get("input"), event.payload["input"])

    # -- reading ----------

    def run(self, id: str) -> RunView[Any]:
        """Return a view of a run."""
        return RunView(id, self)

    async def row(self, id: str) -> RunRow:
        """Return a run's row. Raises `UnknownRun`."""
        row = await self.journal.run(id)
        if row is None:
            raise UnknownRun(f"There is no run {id!r} in this journal. `chargehand runs` lists them.")
        return row

    async def runs(
        self,
        *,
        workflow: str | None = None,
        status: RunStatus | Collection[RunStatus] = (),
        tags: Mapping[str, str] | None = None,
        since: float | None = None,
        until: float | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[RunRow]:
        """Return rows of this environment, newest first. `since` and `until` in seconds since the epoch."""
        statuses = (status,) if isinstance(status, str) else tuple(status)
        which = RunFilter(workflow, statuses, dict(tags or {}), since, until, self.environment, (), before, limit)
        return await self.journal.runs(which)

    async def waiting(self, *, run_id: str | None = None, kinds: Collection[WaitingKind] = (), limit: int = 1000) -> list[Waiting]:
        """Return whatever waits for a person in this environment, oldest first."""
        return await self.journal.waiting(run_id=run_id, kinds=kinds, environment=self.environment, limit=limit)

    async def watch(self, run_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Yield a run's events after a seq, as they come, from whichever process; ends when the run has ended."""
        seen = after
        while True:
            row = await self.row(run_id)
            for event in await loaded(self.journal, row.number, after=seen):
                seen = event.seq
                yield event
            if row.status in FINAL_STATUSES and seen >= row.seq:
                return
            await asyncio.sleep(_POLL_SECONDS / 5)

    async def wait_ended(self, id: str) -> RunRow:
        """Return the run's row once the run has ended."""
        while True:
            with self._end_noticed(id) as left:
                row = await self.row(id)
                if row.status in FINAL_STATUSES:
                    return row
                local = self.carrier is not None and row.owner == self.site.worker
                await asyncio.wait({left}, timeout=_LOCAL_POLL_SECONDS if local else _POLL_SECONDS)

    async def end_of(self, id: str) -> End:
        """Return the name of a run's workflow and the event that ended it, once it has ended. Reads nothing of a run that this process drives."""
        while self.carrier is not None and self.carrier.drives(id):
            with self._end_noticed(id) as left:
                end = await left
                if end is not None:
                    return end
        row = await self.wait_ended(id)
        return row.workflow, last_of(row, await loaded(self.journal, row.number, after=row.seq - 1))

    @contextmanager
    def _end_noticed(self, id: str) -> Iterator[asyncio.Future[End | None]]:
        """Give what is done when a driver of this process leaves the run: with its end, or None when it goes on elsewhere."""
        future: asyncio.Future[End | None] = asyncio.get_running_loop().create_future()
        self._ends.setdefault(id, []).append(future)
        try:
            yield future
        finally:
            self._ends[id].remove(future)
            if not self._ends[id]:
                del self._ends[id]

    def _left(self, id: str, end: End | None) -> None:
        for future in self._ends.get(id, ()):
            if not future.done():
                future.set_result(end)

    async def outcome(self, row: RunRow, codec: Codec | None = None) -> Any:
        """Return an ended run's value, or raise its failure."""
        return self.value_of(row.id, row.workflow, last_of(row, await loaded(self.journal, row.number, after=row.seq - 1)), codec)

    def value_of(self, id: str, workflow: str, end: Event, codec: Codec | None = None) -> Any:
        """Return the value in the event that ended a run, or raise the failure in it."""
        if end.payload.get("$erased"):
            raise Erased("What came of this run was erased.")
        if end.type == "run.completed":
            definition = self.workflows.get(workflow)
            codec = codec or (definition.contract.result if definition is not None else None)
            return end.payload["v"] if codec is None else given_back(id, codec, end.payload["v"])
        raise failure_of(None, end.payload["e"], "")

    # -- deciding ----------

    async def decide(self, entry: str | Waiting, decision: Decision, *, by: Person | None, shown: str | None = None) -> None:
        """Decide about what waits. Returns when the decision is on disk. Raises `UnknownEntry` or `DecisionRefused`.

        `shown` is the digest of the entry that the person saw; a differing one is refused. The run's driver checks
        everything again.
        """
        found = await self.journal.entry(entry if isinstance(entry, str) else entry.id)
        if found is None:
            id = entry if isinstance(entry, str) else entry.id
            raise UnknownEntry(
                f"Nothing of the id {id!r} waits: it was decided, has expired, or never was. `chargehand inbox` lists what waits."
            )
        if found.environment != self.environment:
            raise WrongEnvironment(
                f"{found.id!r} belongs to the environment {found.environment!r}; this process serves {self.environment!r}."
            )
        if not isinstance(by, Person) or not by.id:
            raise DecisionRefused("A decision needs a person with an id: by=Person('ann', roles=['buyer']).")
        by = self._vouched(by)
        if not isinstance(decision, Decision):
            raise DecisionRefused(f"A decision is Approve(), Reject('why') or their like, not {decision!r}.")
        person = {"id": by.id, "roles": sorted(by.roles)} | ({"vouched_by": by.vouched_by} if by.vouched_by else {})
        body = {
            "entry": found.id,
            "decision": decision.name,
            "value": decision.value,
            "reason": decision.reason,
            "by": person,
            "shown": shown,
        }
        try:
            check_decision(found, body, self.clock.now())
        except Unfit as reason:
            raise DecisionRefused(f"{decision.name!r} on {found.id!r} is refused: {reason}.") from None
        check_json(body)
        check_value(self.site.effects, found, decision)
        await self._refuse_second(found)
        if found.kind in ("diverged", "broken", "poison") and decision.name == "resume":
            await self.resume(found.run_id, by=by)
            return
        await self._post(found.run_id, "decision", body)

    def _id_of(self, by: Person | None) -> str | None:
        return self._vouched(by).id if by else None

    def _vouched(self, by: Person) -> Person:
        return by if self._host_key is None else self._host_key.vouched(by)

    async def _refuse_second(self, entry: Waiting) -> None:
        """Refuse a decision on what was decided already and is not carried out yet; several votes are no second decision."""
        if int(entry.shows.get("votes") or 1) > 1:
            return
        row = await self.row(entry.run_id)
        refuse_second(entry, await self._letters(row))

    async def signal(self, run_id: str, name: str, value: Any = None, *, by: Person | None = None) -> None:
        """Send a signal to a run; returns when it is on disk. It is kept when nothing waits for it yet."""
        form = Codec(Any, f"the signal {name!r}").to_json(value)
        await self._post(run_id, "signal", {"name": name, "value": form, "by": self._id_of(by)})

    async def cancel(self, run_id: str, reason: str = "cancelled", *, by: Person | None = None) -> None:
        """Cancel a run: its effects are undone. A second cancel changes nothing."""
        await self._post(run_id, "cancel", {"reason": reason, "by": self._id_of(by)})

    async def resume(self, run_id: str, *, accept: Sequence[str] = (), by: Person | None = None) -> None:
        """Let a run that is parked as a whole go on; `accept` names paths where the code as it is now is right: what has an answer
        there keeps it, what was begun is carried to its end as recorded, what was only asked for is asked for anew.

        Raises `DecisionRefused` when it was told so already and no worker has seen it yet: the second word would be lost.
        """
        refuse_second_resume(run_id, await self._letters(await self.row(run_id)))
        await self._post(run_id, "resume", {"accept": list(accept), "by": self._id_of(by)})

    async def _letters(self, row: RunRow) -> list[Mail]:
        """Return what lies in a run's mailbox, without what a driver will ignore because it bears no seal."""
        letters = await self.journal.mail([row.number])
        return [one for one in letters if is_sealed(self.journal.chain_key, row.id, one.kind, one.time, one.body)]

    async def _post(self, run_id: str, kind: Any, body: dict[str, Any]) -> None:
        row = await self.row(run_id)
        if row.environment != self.environment:
            raise WrongEnvironment(
                f"Run {run_id!r} belongs to the environment {row.environment!r}; this process serves {self.environment!r}."
            )
        await self.check_chain_key()
        now = self.clock.now()
        await self.journal.post([NewMail(run_id, kind, sealed(self.journal.chain_key, run_id, kind, now, body), now)])
        if self.carrier is not None:
            self.carrier.mail_for(row.number)
