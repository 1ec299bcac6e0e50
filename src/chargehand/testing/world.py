"""The world of a test: one journal, one clock, the simulated processes, and the turns in which they all come to rest."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from chargehand.carriers.embedded import Pace
from chargehand.durable import FINAL_STATUSES, Waiting
from chargehand.errors import ChargehandError
from chargehand.events import Event, Record
from chargehand.journals.memory import MemoryJournal
from chargehand.supervise.definitions import WorkflowDefinition, registry_of
from chargehand.supervise.discover import effects_of
from chargehand.supervise.log import loaded
from chargehand.supervise.threads import Threads
from chargehand.supervisor import Supervisor
from chargehand.testing.clock import JumpingClock
from chargehand.testing.faults import Crashed, CrashPlan, MortalJournal
from chargehand.testing.plays import Play
from chargehand.testing.scripts import Script

_CALM_TURNS = 10
"""So many turns of the event loop without any news, and what could run has run: no wait of the engine nests deeper."""
_LIMIT_REAL_SECONDS = 30.0
_PATIENCE_WITH_IO = 1.0


class Stuck(AssertionError):
    """Nothing is due, nobody decides, and what the test waits for has not come."""


class WholeJournal(MemoryJournal):
    """The test's own view of the journal."""

    def has_ended(self, id: str) -> bool:
        """Say whether a run has ended."""
        number = self._store.numbers.get(id)
        return number is not None and self._store.runs[number].row.status in FINAL_STATUSES

    async def events(self, id: str) -> list[Event]:
        """Return a run's events."""
        row = await self.run(id)
        return [] if row is None else await loaded(self, row.number)

    @property
    def version(self) -> int:
        """A number that grows with every write."""
        return self._store.version

    @property
    def unclaimed_due(self) -> list[tuple[float, str, str]]:
        """Due time, workflow and environment of the runs that nobody holds and that wait for a time."""
        rows = [run.row for run in self._store.runs.values()]
        return [(row.due, row.workflow, row.environment) for row in rows if row.owner is None and row.due is not None]

    def undelivered(self) -> set[str]:
        """Return the workers for whose runs mail lies in the box."""
        found = [self._store.runs[mail.run] for mail in self._store.mail.values()]
        return {run.row.owner for run in found if run.row.owner in self._store.workers and not run.finished}


class Process:
    """One simulated process: a supervisor that can die and be followed by another."""

    def __init__(self, world: World, workflows: list[WorkflowDefinition[..., Any]], options: dict[str, Any]) -> None:
        self.world, self.workflows, self.options = world, workflows, options
        self.replaced: dict[Any, Callable[..., Any]] = {}
        self.resources: dict[type, Any] = {}
        self.plays: list[Play] = []
        self.plans: list[CrashPlan] = []
        self.crashes = 0
        self._away = 0.0
        self.dead: Supervisor | None = None
        self._supervisor: Supervisor | None = None
        self._journal: MortalJournal | None = None
        self.threads = Threads()
        world.processes.append(self)

    @property
    def supervisor(self) -> Supervisor:
        """The living supervisor. Raises `RuntimeError` before it is started."""
        if self._supervisor is None:
            raise RuntimeError("Nothing runs yet. Use `async with Supervised(…)`, or start a run first.")
        return self._supervisor

    @property
    def alive(self) -> Supervisor | None:
        """The living supervisor, None when there is none."""
        return self._supervisor

    async def started(self) -> None:
        """Make the supervisor if there is none; bury a dead one first, so that its runs are taken over at once."""
        if self._supervisor is not None:
            return
        await self._bury()
        journal = MortalJournal(self.world.clock, beside=self.world.journal, passing=self._passing, written=self.world.written)
        options = {"pace": Pace(poll=0.05)} | self.options
        supervisor = Supervisor("memory:", self.workflows, clock=self.world.clock, journal=journal, **options)
        supervisor.site.crash_point = self._at_point
        self.threads = Threads()
        supervisor.site.threads = self.threads
        self._supervisor, self._journal = supervisor, journal
        self.put_stand_ins()
        await supervisor.__aenter__()

    def learn(self, workflow: WorkflowDefinition[..., Any]) -> None:
        """Have the supervisor know one more workflow."""
        if any(known is workflow for known in self.workflows):
            return
        self.workflows = [known for known in self.workflows if known.full_name != workflow.full_name] + [workflow]
        site = self.supervisor.site
        self.supervisor.workflows.update(registry_of(self.workflows))
        site.workflows, site.effects = self.supervisor.workflows, effects_of(self.workflows)

    def put_stand_ins(self) -> None:
        """Put the test's stand-ins in their places."""
        if self._supervisor is None:
            return
        self._supervisor.site.replaced.update(self.replaced)
        for kind, value in self.resources.items():
            self._supervisor.site.resources.replace(kind, value)

    # -- dying ----------

    def _at_point(self, point: str, path: str) -> None:
        self._passing(point, (path,))

    def _passing(self, point: str, names: Sequence[str]) -> None:
        if self.dead is not None:
            raise Crashed(f"dead at {point!r}")
        hits = [plan for plan in self.plans if plan.hits(point, names)]
        if hits:
            self.die(max(plan.away for plan in hits))
            raise Crashed(f"at {point!r}, {names}")

    def die(self, away: float = 0.0) -> None:
        """Let the process die in this very moment; the next one comes with the next turn, `away` seconds later."""
        supervisor, journal = self._supervisor, self._journal
        if supervisor is None or journal is None or self.dead is not None:
            return
        journal.dead = True
        self.crashes += 1
        self._away = away
        self.dead, self._supervisor = supervisor, None
        if supervisor.carrier is not None:
            supervisor.carrier.drop()

    async def _bury(self) -> None:
        dead, self.dead = self.dead, None
        if dead is None:
            return
        if dead.carrier is not None:
            await dead.carrier.dropped()
        if dead.site.worker:
            self.world.journal.vanish(dead.site.worker)
        dead.site.threads.shutdown(wait=False)
        self.world.clock.advance(self._away)

    async def kill(self) -> None:
        """End the process for good."""
        self.die()
        await self._bury()
        if self in self.world.processes:
            self.world.processes.remove(self)

    async def restart(self, workflows: Sequence[WorkflowDefinition[..., Any]] | None, options: dict[str, Any]) -> None:
        """Stop in good order, then start with what is given."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            await supervisor.close()
        if workflows is not None:
            self.workflows = list(workflows)
        self.options = self.options | options
        await self.started()

    # -- standing still ----------

    @property
    def frozen(self) -> bool:
        """Say whether the process stands still."""
        return self._journal is not None and not self._journal.thawed.is_set()

    def freeze(self, frozen: bool) -> None:
        """Have the process stand still (SIGSTOP), or go on."""
        if self._journal is not None:
            (self._journal.thawed.clear if frozen else self._journal.thawed.set)()

    # -- being looked at ----------

    @property
    def worker(self) -> str:
        """The id of the living supervisor as a worker, empty when it does not work."""
        return "" if self._supervisor is None else self._supervisor.site.worker

    @property
    def quiet(self) -> bool:
        """Say whether all its runs wait for time or people."""
        if self.frozen:
            return True
        carrier = None if self._supervisor is None else self._supervisor.carrier
        return carrier is None or carrier.quiet

    def unload(self) -> None:
        """Have the runs that rest leave memory."""
        if self._supervisor is not None and self._supervisor.carrier is not None:
            self._supervisor.carrier.unload()

    def nudge(self) -> None:
        """Have the carrier look around."""
        if self._supervisor is not None and self._journal is not None and self._supervisor.carrier is not None:
            self._journal.beat(self._supervisor.site.worker)
            self._supervisor.carrier.mail_for()

    def due_unclaimed(self) -> float | None:
        """Return when the next run falls due that nobody holds and that this process may claim."""
        supervisor = self._supervisor
        if supervisor is None or supervisor.carrier is None or self.frozen:
            return None
        found = self.world.journal.unclaimed_due
        known, carrier = supervisor.workflows, supervisor.carrier
        own = [due for due, flow, where in found if flow in known and where == supervisor.environment and carrier.might_take(flow)]
        return min(own, default=None)

    def check(self) -> None:
        """Raise what went wrong in the engine or in a script; a test must not wait for what will never come."""
        if self._supervisor is not None and self._supervisor.carrier is not None:
            for error in self._supervisor.carrier.failed.values():
                raise error
        for function in self.replaced.values():
            script = function.__dict__.get("script")
            if isinstance(script, Script) and script.ended is not None:
                raise script.ended


class World:
    """One journal and one clock, shared by the simulated processes of a test."""

    def __init__(self, patience: float = 0.02) -> None:
        self.clock = JumpingClock()
        self.journal = WholeJournal(self.clock)
        self.patience = patience
        self.processes: list[Process] = []
        self.listeners: list[Callable[[str, Sequence[Event]], None]] = []
        """Each is called with a run's id and its new events after each commit."""
        self._turn = asyncio.Lock()

    def written(self, run: str, records: Sequence[Record]) -> None:
        """Tell the listeners what was committed."""
        if self.listeners and records:
            events = [record.event() for record in records]
            for listener in self.listeners:
                listener(run, events)

    async def rest(self) -> None:
        """Let everything run until all runs wait for time or people, and play the people. No time passes."""
        while True:
            async with self._turn:
                await self._settle()
                if not await self._play():
                    return

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass, one due time after the other."""
        end = self.clock.monotonic() + seconds
        await self.rest()
        while True:
            left = end - self.clock.monotonic()
            step = self._next_in()
            if step is None or step >= left:
                self._jump(max(left, 0.0))
                await self.rest()
                return
            self._jump(max(step, 0.0))
            await self.rest()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Let things happen until the condition holds. Raises `Stuck` when nothing can happen any more."""
        while not condition():
            async with self._turn:
                if condition():
                    return
                await self._settle(condition)
                if condition() or await self._play():
                    continue
                step = self._next_in()
                if step is None:
                    raise Stuck(await self._story(what))
                self._jump(max(step, 0.0))

    # -- one turn ----------

    async def _settle(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Let everything run that can, or until it is enough."""
        calm, idle_since = 0, None
        seen: tuple[int, int] | None = None
        loop = asyncio.get_running_loop()
        limit = loop.time() + _LIMIT_REAL_SECONDS
        for turn in itertools.count():
            await asyncio.sleep(0)
            await self._bring_back_the_dead()
            quiet = all(process.quiet for process in self.processes)
            if self._has_work():
                quiet = False
                for process in self.processes:
                    process.nudge()
            news = (self.journal.version, self._busy_threads())
            calm, seen = (calm + 1 if news == seen else 0), news
            if calm == 0 or turn < 3 * _CALM_TURNS:
                idle_since = None
            if (quiet and calm >= _CALM_TURNS) or enough():
                break
            if not quiet and calm > 3 * _CALM_TURNS:
                idle_since = loop.time() if idle_since is None else idle_since
                if loop.time() - idle_since > self._patience_now() and self._next_in() is not None:
                    break  # a call is under way and does not end: let its timeout come
                await asyncio.sleep(0.001)
            if loop.time() > limit:
                raise Stuck(await self._story("the runs to come to rest"))
        for process in self.processes:
            process.check()

    async def _bring_back_the_dead(self) -> None:
        for process in list(self.processes):
            if process.dead is not None:
                await process.started()

    def _has_work(self) -> bool:
        """Say whether a process would find something to do if it looked around: a due run, or mail."""
        workers = {process.worker for process in self.processes if not process.frozen}
        if self.journal.undelivered() & workers:
            return True
        now = self.clock.now()
        dues = [process.due_unclaimed() for process in self.processes]
        return any(due is not None and due <= now for due in dues)

    def _busy_threads(self) -> int:
        return sum(process.threads.busy for process in self.processes)

    def _patience_now(self) -> float:
        """Return how long the loop may be idle before time overtakes a call: long when the call really sleeps or talks."""
        if self._busy_threads():
            return _LIMIT_REAL_SECONDS
        selector = getattr(asyncio.get_running_loop(), "_selector", None)
        sockets = len(selector.get_map()) - 1 if selector is not None else 1
        return _PATIENCE_WITH_IO if sockets > 0 or _really_sleeping() else self.patience

    async def _play(self) -> bool:
        """Let people decide what they were told to; say whether anything was decided."""
        played = False
        for process in self.processes:
            if process.alive is None:
                continue
            process.plays = [play for play in process.plays if not play.done]
            for entry in await process.supervisor.waiting() if process.plays else ():
                play = next((play for play in process.plays if play.fits(entry)), None)
                if play is not None:
                    played = True
                    await self._decide(process, play, entry)
        return played

    async def _decide(self, process: Process, play: Play, entry: Waiting) -> None:
        play.decided.append(entry)
        try:
            await process.supervisor.decide(entry, play.decision, by=play.person_for(entry), shown=play.shown)
        except ChargehandError as error:
            play.refused = error

    def _next_in(self) -> float | None:
        """Return in how many seconds the next thing is due."""
        dues = [process.due_unclaimed() for process in self.processes]
        waits = [due - self.clock.now() for due in dues if due is not None]
        waited = self.clock.next_in()
        return min(waits if waited is None else [*waits, waited], default=None)

    def _jump(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for process in self.processes:
            process.nudge()

    async def _story(self, what: str) -> str:
        """Tell what waits, for whoever reads the failed test."""
        lines = [f"Waited for {what}, but nothing is due and nobody decides."]
        for entry in await self.journal.waiting():
            shown = {
                key: value for key, value in entry.shows.items() if key in ("tool", "arguments", "error", "why", "question", "verdicts")
            }
            lines.append(f"  {entry.kind} of the run {entry.run_id!r} at {entry.path!r}: {entry.title} {shown}")
        for process in self.processes:
            lines += [f"  not played: {play!r}" for play in process.plays if not play.done]
        return "\n".join(lines)


def _really_sleeping() -> bool:
    """Say whether something waits for a timer of the event loop; the timeouts of waits for something else do not count."""
    timers = getattr(asyncio.get_running_loop(), "_scheduled", ())
    waits = [getattr(timer, "_callback", None) for timer in timers if not timer.cancelled()]
    return any(getattr(wait, "__name__", "") not in ("_release_waiter", "_on_timeout") for wait in waits)
