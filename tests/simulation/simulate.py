"""One seed from its beginning to its end: the processes, the people, the faults, the models beside, and what must hold."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chargehand import starting
from chargehand.durable import Census, Claimed, Commit, Created, NewMail, NewRun
from chargehand.errors import ChargehandError, JournalError
from chargehand.events import Record
from chargehand.journals import workers
from chargehand.supervise import gates

from .faults import Death, Faults, faults_of
from .limited import Limits
from .loop import Place, SeededLoop
from .model_effects import EffectRules
from .model_journal import JournalModel
from .model_runs import RunModel
from .on_file import FileStage
from .people import People, now_and_then
from .processes import Process, Stage, Watcher, supervisor_of
from .programs import Author, simulated, simulated_thrifty, simulated_undoing
from .services import Request, Services
from .settling import check_end
from .tools import KINDS

CALM_SECONDS = 6 * 3600.0
"""So long after the last fault every run must have ended."""


class Violated(AssertionError):
    """Something that must hold did not."""


@dataclass
class Outcome:
    """What became of a seed. `journal` is the digest of every byte in it; `wrong` what was found, none when all is well."""

    seed: int
    faults: Faults
    wrong: list[str] = field(default_factory=list)
    journal: str = ""
    story: list[str] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    events: int = 0
    how: str = ""


class Models(Watcher):
    """The reference models, told of everything."""

    def __init__(self, seed: _Seed) -> None:
        self.seed = seed
        stage = seed.stage
        self.journal = JournalModel(seed.complain, self._alive, stage.row)
        self.rules = EffectRules(seed.complain, seed.services, self._entries, lambda: stage.clock.set_back)
        self.runs = RunModel(
            seed.complain,
            self.rules,
            lambda number: stage.row(number).owner,
            lambda due: stage.clock.now() - max(due, seed.calm_since),
        )
        seed.services.sent = self.sent

    def _alive(self, worker: str) -> bool:
        return any(process.supervisor.site.worker == worker for process in self.seed.stage.living)

    def _entries(self, ref: str) -> int:
        tables = self.seed.stage.tables()
        try:
            return len(list(tables.execute("SELECT 1 FROM entries WHERE ref = ?", (ref,))))
        except Exception:  # nobody has made the table yet
            return 0

    def created(self, runs: Sequence[NewRun], owner: str | None, made: Sequence[Created]) -> None:
        """Take new runs."""
        self.journal.created(runs, owner, made)
        for new, one in zip(runs, made, strict=True):
            if not one.existed:
                self.seed.wrote(new.id, [new.first])
                self.runs.started(new.id, one.row.number, new.first)

    def posted(self, mail: Sequence[NewMail], ids: Sequence[int]) -> None:
        """Take mail."""
        self.journal.posted(mail, ids)

    def claimed(self, owner: str, claims: Sequence[Claimed], now: float, census: Census) -> None:
        """Check take-overs."""
        for claim in claims:
            self.seed.told(f"{owner} claims {claim.row.id} ({claim.after}, epoch {claim.row.epoch}, crashes {claim.row.crashes})")
        self.journal.claimed(owner, claims, now, census)

    def appending(self, commit: Commit) -> None:
        """Say what must come of a commit."""
        self.journal.appending(commit)

    def refused(self, commit: Commit, error: BaseException) -> None:
        """Check a refusal."""
        self.seed.told(f"refused: a commit of {commit.run_id} ({error})")
        self.journal.refused(commit, error)

    def appended(self, commit: Commit, records: Sequence[Record]) -> None:
        """Take a commit."""
        self.seed.wrote(commit.run_id, records)
        self.journal.appended(commit)
        letters = [self.journal.letters[id] for id in commit.mail]
        try:
            self.runs.committed(commit, records, letters)
        except Exception as error:  # the engine must not take it for its own
            self.seed.complain(f"the model does not know what to make of {[record.type for record in records]}: {error!r}")

    def answered(self, place: Place, commit: Commit, records: Sequence[Record]) -> None:
        """A process knows."""
        self.runs.answered(place.name, commit, records)

    def dismissed(self, owner: str) -> None:
        """A worker left."""
        self.seed.told(f"{owner} has left")
        self.journal.dismissed(owner)

    def sent(self, request: Request) -> None:
        """Something is sent."""
        place = request.place
        self.seed.told(f"{place.name if place else ''} sends {request.what} {request.tool} {request.ref} {request.key[-8:]}")
        worker = next((process.supervisor.site.worker for process in self.seed.stage.processes if process.place is place), "")
        self.runs.sent(request, worker)


class _Seed:
    """The parts of one seed."""

    def __init__(self, number: int, kind: type[Stage], limited: bool) -> None:
        self.limited = limited
        self.dice = Random(f"simulation {number}")
        self.faults = faults_of(self.dice)
        self.outcome = Outcome(number, self.faults)
        self.loop = SeededLoop(Random(f"order {number}"))
        faults = self.faults
        self.services = Services(self.loop, f"services {number}", faults.trouble, faults.lies)
        self.services.forgets_after = lambda tool: KINDS[tool].remembers + self.stage.clock.set_back
        self.services.complain = self.complain
        self.stage = kind(self.loop, Random(f"latency {number}"), faults, self.services)
        self.stage.told = self.told
        self.models = Models(self)
        self.services.limits = Limits(self.complain, self.loop.time, self.models.runs.runs.get)
        self.stage.watcher = self.models
        self.hired = 0
        self.calm_since = math.inf
        self.ids = [f"r{index}" for index in range(faults.runs)]

    def complain(self, what: str) -> None:
        """Note something that must not be."""
        self.told(f"WRONG: {what}")
        self.outcome.wrong.append(what)
        if len(self.outcome.wrong) > 20:
            self.loop.failure = Violated("enough is wrong")

    def told(self, line: str) -> None:
        """Note a line of the story."""
        self.outcome.story.append(f"{self.loop.time() - 1000:10.3f}  {line}")

    def wrote(self, run: str, records: Sequence[Record]) -> None:
        """Note what was written."""
        for record in records:
            self.told(f"    {run} {record.seq:3} {record.type:22} {record.path:30} {record.payload.decode()[:200]}")

    # -- the course of events ----------

    async def live(self) -> None:
        """Live from the first run to the last end."""
        await self.stage.journal.open()
        self.office = supervisor_of(self.stage, self.stage.view(None), self.stage.clock)
        await self.office.journal.open()
        self.people = People(self.stage, self.office, Random(f"people {self.outcome.seed}"))
        for _ in range(self.faults.workers):
            self.hire()
        world = self.loop.world
        for index, id in enumerate(self.ids):
            world.spawn(self._start(index, id))
        world.spawn(now_and_then(self.people, self.ids))
        world.spawn(self._keep_hiring())
        for at, by in self.faults.steps:
            world.spawn(self._step(at, by))
        for at in self.faults.leaves:
            world.spawn(self._leave(at))
        for at, index in self.faults.cancels:
            world.spawn(self._cancel(at, self.ids[index]))
        await self._until_calm()
        await self._calm()

    def hire(self) -> None:
        """Start a worker."""
        self.hired += 1
        process = Process(self.stage, self.hired)
        self.told(f"{process.place.name} begins")
        process.start()

    async def _start(self, index: int, id: str) -> None:
        """Start a run, at a worker or at the office; who does not hear of it asks again."""
        dice = Random(f"start {self.outcome.seed} {index}")
        author = Author(dice, id, size=dice.randint(6, 14) if self.limited else dice.randint(2, 7), limited=0.6 if self.limited else 0.0)
        program = author.program()
        definition = simulated_undoing if dice.random() < 0.2 else simulated
        definition = simulated_thrifty if self.limited else definition
        await asyncio.sleep(dice.choice([0.0, 0.0, 5.0, 90.0]))
        options: dict[str, Any] = {"deadline": self.faults.deadline, "by": "p0"}
        living = [process for process in self.stage.living if process.supervisor.site.worker and not process.place.frozen]
        if living and dice.random() < 0.5:
            process = dice.choice(living)
            starting = process.place.spawn(process.supervisor.start(definition(program), id=id, **options))
            await asyncio.wait({starting}, timeout=30.0)
        await self.office.start(definition(program), id=id, **options)

    async def _keep_hiring(self) -> None:
        dice = Random(f"hiring {self.outcome.seed}")
        while not self.stage.healed:
            await asyncio.sleep(dice.choice([0.1, 1.0, 10.0, 80.0]))
            if len(self.stage.living) < self.faults.workers:
                self.hire()

    async def _step(self, at: float, by: float) -> None:
        await asyncio.sleep(at)
        if not self.stage.healed:
            self.told(f"the wall clock is set by {by:g} s")
            self.stage.clock.step(by)

    async def _leave(self, at: float) -> None:
        await asyncio.sleep(at)
        living = [process for process in self.stage.living if not process.place.frozen]
        if living and not self.stage.healed:
            self.told(f"{living[0].place.name} is told to leave")
            living[0].left = True
            living[0].place.spawn(living[0].leave())

    async def _cancel(self, at: float, id: str) -> None:
        await asyncio.sleep(at)
        if id in self.models.runs.runs and not self.stage.healed:
            await self.people.cancel(id)

    async def _until_calm(self) -> None:
        end = self.loop.time() + self.faults.calm_after
        while self.loop.time() < end and not self._all_ended():
            await asyncio.sleep(5.0)

    async def _calm(self) -> None:
        """No more faults: all that waits is decided, and every run must end."""
        self.told("---- calm ----")
        self.stage.healed = self.services.healed = True
        self.calm_since = self.stage.clock.now()
        await asyncio.sleep(10.0)
        if not self.stage.living:
            self.hire()
        end = self.loop.time() + CALM_SECONDS
        while not self._all_ended():
            await asyncio.sleep(30.0)
            await self.people.look_at_inbox(1.0)
            await self._answer_signals()
            if not self.stage.living:
                self.hire()
            self._check_drivers()
            if self.loop.time() > end:
                left = [run.id for run in self.models.runs.runs.values() if run.ended is None]
                rows = [await self.office.row(id) for id in left]
                waiting = await self.office.waiting()
                self.complain(f"these do not end: {rows}; what waits: {[(entry.id, entry.kind, entry.title) for entry in waiting]}")
                return

    def _all_ended(self) -> bool:
        runs = self.models.runs.runs
        self._check_drivers()
        return all(id in runs for id in self.ids) and all(run.ended for run in runs.values())

    async def _answer_signals(self) -> None:
        for run in list(self.models.runs.runs.values()):
            for name in list(run.wanted.values()):
                if run.ended is None:
                    await self.people.signal(run.id, name)

    def _check_drivers(self) -> None:
        """No driver may be ended by anything but the journal."""
        for process in self.stage.processes:
            for run, error in list(process.carrier.failed.items()):
                if type(error) is not JournalError:
                    del process.carrier.failed[run]
                    self.complain(f"{process.place.name} could not drive {run}: {type(error).__name__}: {error}")
        if len(self.loop.kept) > 2_000:
            self.check_tasks()

    def check_tasks(self) -> None:
        """No task may end by a mistake that nobody looks at. What a process did not live to look at does not count."""
        for task, place in self.loop.kept:
            if task.done() and not task.cancelled() and task._log_traceback and not place.ready and not place.dead:
                error = task.exception()
                if not isinstance(error, (Death, JournalError)):
                    self.complain(f"a task ended with {type(error).__name__}: {error}")
        self.loop.kept = [(task, place) for task, place in self.loop.kept if not task.done() or place.ready]

    def digest(self) -> str:
        """Return the SHA-256 of every byte in the journal."""
        found = hashlib.sha256()
        for part in self.stage.contents():
            found.update(part.encode())
        return found.hexdigest()


class _Drawn:
    """Seeds of runs, drawn from the simulation's seed."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice

    def token_hex(self, size: int) -> str:
        """Return hexadecimal digits."""
        return f"{self._dice.getrandbits(8 * size):0{2 * size}x}"


@contextmanager
def determined(number: int) -> Iterator[None]:
    """Replace what is drawn and measured outside of the ports, and keep the garbage collector from ending anything early."""
    places: list[tuple[Any, str, Any]] = [
        (starting, "secrets", _Drawn(Random(f"runs {number}"))),
        (workers, "secrets", _Drawn(Random(f"workers {number}"))),
        (gates, "perf_counter", lambda: 0.0),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, value in places:
        setattr(owner, name, value)
    unraisable, sys.unraisablehook = sys.unraisablehook, lambda _: None
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()  # what was there before need not be looked at
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what a dead process had not begun is never awaited
            gc.collect()
        gc.unfreeze()
        sys.unraisablehook = unraisable
        if enabled:
            gc.enable()


def simulate(number: int, *how: str) -> Outcome:
    """Live one seed and say what was found. `how`: "file" has it lived on a SQLite file, instead of a journal in memory; "limits" has
    its runs be bounded by budgets, rates and breakers."""
    with determined(number):
        outcome = _lived(number, STAGES["file" in how], "limits" in how)
    outcome.how = f"--how {' '.join(how)} " if how else ""
    return outcome


STAGES: dict[bool, type[Stage]] = {False: Stage, True: FileStage}


def _lived(number: int, kind: type[Stage], limited: bool) -> Outcome:
    seed = _Seed(number, kind, limited)
    outcome, loop = seed.outcome, seed.loop
    try:
        loop.run_until_complete(seed.live())
        seed.check_tasks()
        check_end(seed.models, seed.services, seed.stage, seed.office, seed.complain, Random(f"end {number}"))
    except Violated:
        pass
    except (AssertionError, ChargehandError) as error:
        outcome.wrong.append(f"{type(error).__name__}: {error}")
    outcome.journal, outcome.steps = seed.digest(), loop.steps
    outcome.runs = {run.id: run.ended or "?" for run in seed.models.runs.runs.values()}
    outcome.events = sum(run.seq for run in seed.models.runs.runs.values())
    loop.kept.clear()
    seed.stage.over()
    loop.close()
    return outcome
