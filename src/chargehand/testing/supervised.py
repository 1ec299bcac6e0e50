"""`Supervised`: a supervisor for tests, with a journal in memory, a clock that jumps, and people who are played.

    async with Supervised() as supervised:
        supervised.replace(researcher, scripted(thin, good))
        supervised.decide("approval", Approve())
        order = await supervised.run(procure(part))

Time passes only inside the kit's own awaits (`run`, `result`, `decide`, `rest`, `advance`), and only when every run waits:
first the people who are played decide what they can, then the clock jumps to the next due time. When nothing is due and
nobody decides, the test fails with a list of what waits (`Stuck`) instead of hanging.

A call that is really under way (a thread, a socket) is waited for. One that never ends is overtaken by its timeout when
the event loop has been idle for `patience` real seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chargehand.durable import RunRow, RunStatus, Waiting
from chargehand.errors import UnknownRun
from chargehand.events import Event
from chargehand.limits import Seconds, seconds
from chargehand.supervise.approvals import Person
from chargehand.supervise.call import Call
from chargehand.supervise.decisions import Decision
from chargehand.supervise.definitions import Definition, EffectDefinition, WorkflowDefinition
from chargehand.supervisor import Supervisor
from chargehand.testing.faults import POINTS, CrashPlan
from chargehand.testing.ledger import Line, lines_of, same
from chargehand.testing.plays import Play
from chargehand.testing.scripts import stand_in
from chargehand.testing.world import Process, Stuck, World

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SupervisedRun(Generic[T]):
    """A run under test. It stays valid across crashes and restarts."""

    id: str
    supervised: Supervised

    async def result(self) -> T:
        """Let time pass until the run has ended; return its value or raise what it failed with."""
        await self.ended()
        supervisor = self.supervised.supervisor
        return await supervisor.outcome(await supervisor.row(self.id))  # type: ignore[no-any-return]

    async def ended(self) -> RunStatus:
        """Let time pass until the run has ended; return how."""
        journal = self.supervised.world.journal
        await self.supervised.world.until(lambda: journal.has_ended(self.id), f"the end of the run {self.id!r}")
        return await self.status()

    async def row(self) -> RunRow:
        """Return the run's row as it is now."""
        row = await self.supervised.world.journal.run(self.id)
        if row is None:
            raise UnknownRun(f"There is no run {self.id!r} in this journal.")
        return row

    async def status(self) -> RunStatus:
        """Return how the run stands now."""
        return (await self.row()).status

    async def reason(self) -> str | None:
        """Return why the run is parked, None when it is not."""
        return (await self.row()).reason

    async def events(self, path: str | None = None) -> list[Event]:
        """Return the run's events so far, of one call or of all."""
        found = await self.supervised.world.journal.events(self.id)
        return found if path is None else [event for event in found if event.path == path]

    async def history(self, path: str | None = None) -> list[str]:
        """Return the events as ``type path``, of one call or of all."""
        return [f"{event.type} {event.path}".strip() for event in await self.events(path)]

    async def waiting(self) -> list[Waiting]:
        """Return what of this run waits for a person."""
        return await self.supervised.world.journal.waiting(run_id=self.id)


class Supervised:
    """One supervised process under test, and the world around it.

    Args:
        workflows: known from the start; others are learned from the calls that are started.
        world: the journal and the clock to share with another `Supervised` (see `beside`).
        patience: real seconds of an idle event loop after which a call that is still under way may be overtaken by time.
        options: what `chargehand.Supervisor` takes besides url, clock and journal.

    The supervisor is made when it is first needed, so a `Supervised` can be made outside an event loop.
    """

    def __init__(
        self,
        workflows: Sequence[WorkflowDefinition[..., Any]] = (),
        *,
        world: World | None = None,
        patience: float = 0.02,
        **options: Any,
    ) -> None:
        self.world = world if world is not None else World(patience)
        self.clock = self.world.clock
        self._process = Process(self.world, list(workflows), options)

    async def __aenter__(self) -> Supervised:
        await self._process.started()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def close(self) -> None:
        """End the simulated process and drop its tasks."""
        await self._process.kill()

    def abandon(self) -> None:
        """End the simulated process without an await: for whoever has no event loop any more."""
        with suppress(RuntimeError):
            self._process.die()

    @property
    def supervisor(self) -> Supervisor:
        """The `Supervisor` of this moment: another one after a crash or a restart."""
        return self._process.supervisor

    def beside(self, workflows: Sequence[WorkflowDefinition[..., Any]] = (), **options: Any) -> Supervised:
        """Return a second process on the same journal and the same clock."""
        return Supervised(workflows, world=self.world, **options)

    # -- runs ----------

    async def run(self, call: Call[T], id: str | None = None, **options: Any) -> T:
        """Start a run and let time pass until it has ended; return its value or raise what it failed with."""
        return await (await self.start(call, id, **options)).result()

    async def start(self, call: Call[T], id: str | None = None, **options: Any) -> SupervisedRun[T]:
        """Start a run. Options are those of `Supervisor.start`: tags, deadline, by."""
        await self._process.started()
        if isinstance(call.definition, WorkflowDefinition):
            self._process.learn(call.definition)
        view = await self.supervisor.start(call, id, **options)
        return SupervisedRun(view.id, self)

    def view(self, id: str) -> SupervisedRun[Any]:
        """Return a run of the journal."""
        return SupervisedRun(id, self)

    # -- stand-ins ----------

    def replace(self, thing: Any, by: Any) -> None:
        """Put a stand-in in the place of an agent, a tool, an undo or look-up function, or a resource's type.

        A function gets the arguments that it names; a resource is given as it is. Stand-ins stay across crashes and restarts.
        """
        if isinstance(thing, Definition):
            transactional = isinstance(thing, EffectDefinition) and thing.options.transactional
            function = by if transactional else stand_in(by)
            self._process.replaced[thing.full_name] = self._process.replaced[thing.function] = function
        elif isinstance(thing, type):
            self._process.resources[thing] = by
        elif callable(thing):
            self._process.replaced[thing] = stand_in(by)
        else:
            raise TypeError(f"Nothing can stand in for {thing!r}. Give a definition, a function or a resource's type.")
        self._process.put_stand_ins()

    # -- people ----------

    def decide(
        self,
        which: str,
        decision: Decision,
        *,
        run: SupervisedRun[Any] | str | None = None,
        by: Person | None = None,
        shown: str | None = None,
        times: int = 1,
    ) -> Play:
        """Play a person: decide an entry of this kind, path, tool or id ("*": any), now or as soon as there is one.

        Awaiting it returns when it is decided; without an await it is decided while something else is awaited. `by` is
        somebody of the wanted role unless said otherwise. A refused decision raises `DecisionRefused`.
        """
        id = run.id if isinstance(run, SupervisedRun) else run
        play = Play(which, decision, id, by, shown, times, self.world.until)
        self._process.plays.append(play)
        return play

    async def waiting(self) -> list[Waiting]:
        """Let every run come to rest, without letting time pass; return what waits for people."""
        await self.rest()
        return await self.supervisor.waiting()

    async def signal(self, run: SupervisedRun[Any] | str, name: str, value: Any = None) -> None:
        """Send a signal to a run and let it arrive."""
        await self.supervisor.signal(_id(run), name, value)
        await self.rest()

    async def cancel(self, run: SupervisedRun[Any] | str, reason: str = "cancelled") -> None:
        """Cancel a run and let it come to rest."""
        await self.supervisor.cancel(_id(run), reason)
        await self.rest()

    async def resume(self, run: SupervisedRun[Any] | str, *, accept: Sequence[str] = ()) -> None:
        """Let a run that is parked as a whole go on, until it rests."""
        await self.supervisor.resume(_id(run), accept=accept)
        await self.rest()

    # -- time ----------

    async def rest(self) -> None:
        """Let every run go on until all wait for time or people; no time passes. Plays that fit are played."""
        await self._process.started()
        await self.world.rest()

    async def advance(self, duration: Seconds) -> None:
        """Let so much time pass; whatever falls due meanwhile happens in its order."""
        await self._process.started()
        await self.world.advance(seconds(duration))

    async def until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        """Let time pass until a condition holds. Raises `Stuck` when nothing is left that could happen."""
        await self._process.started()
        await self.world.until(condition, what)

    # -- faults ----------

    def crash_at(self, point: str, path: str | None = None, nth: int = 1, *, away: Seconds = 0.0) -> CrashPlan:
        """Let the process die when it passes a point the `nth` time at a path; another one takes over. Points: `POINTS`.

        `away`: how long it takes until that other one comes. At the points "before commit" and "after commit" the path is that of any event in the commit, or an event's type.
        """
        if point not in POINTS:
            raise ValueError(f"There is no such point: {point!r}. There are: {', '.join(POINTS)}.")
        plan = CrashPlan(point, path, nth, seconds(away))
        self._process.plans.append(plan)
        return plan

    async def crash(self) -> None:
        """Let the process die now, with everything in flight; another one takes over and comes to rest."""
        await self._process.started()
        self._process.die()
        await self.rest()

    def freeze(self) -> None:
        """Have the process stand still, as SIGSTOP does: it neither beats nor writes. What it has sent goes on in the world."""
        self._process.freeze(True)

    def thaw(self) -> None:
        """Let a process that stands still go on, as if no time had passed for it."""
        self._process.freeze(False)

    async def restart(self, workflows: Sequence[WorkflowDefinition[..., Any]] | None = None, **options: Any) -> None:
        """Stop the process in good order and start another, with other workflows (mended code) or options if given."""
        await self._process.restart(workflows, options)
        await self.rest()

    async def unload(self) -> None:
        """Have every run that rests leave memory."""
        await self.rest()
        self._process.unload()
        await self.rest()

    @property
    def crashes(self) -> int:
        """How often the process has died so far."""
        return self._process.crashes

    # -- what came of it ----------

    async def effects(self, run: SupervisedRun[Any] | str) -> list[Line]:
        """Return what a run did to the world, in order, undos included, as the journal says."""
        return lines_of(await self.view(_id(run)).events())

    async def assert_effects(self, run: SupervisedRun[Any] | str, expected: Sequence[Any]) -> None:
        """Fail unless a run did exactly this to the world, in this order, as the journal says.

        Each item is a tool's name (``"charge"``), its undo (``"undo charge"``), or a pair with some of its arguments
        (``("charge", {"amount": 3})``). What was shared or dry says so: ``"charge (shared)"``, ``"charge (dry)"``; what nobody
        knows is ``"charge (in doubt)"``. The world's own books are the stand-ins': count there too.
        """
        found = await self.effects(run)
        if not same(found, expected):
            listed = "\n".join(f"  {line}" for line in found) or "  nothing"
            wanted = "\n".join(f"  {item}" for item in expected) or "  nothing"
            raise AssertionError(f"The run {_id(run)!r} did to the world:\n{listed}\nExpected:\n{wanted}")


def _id(run: SupervisedRun[Any] | str) -> str:
    return run if isinstance(run, str) else run.id


__all__ = ["Stuck", "Supervised", "SupervisedRun"]
