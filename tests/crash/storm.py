"""A storm: workers are killed, stopped and woken, clocks step, disks fill up, at moments drawn by a seed, while work comes in."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chargehand import Pace, Person, Supervisor, UnknownEntry
from chargehand.durable import FINAL_STATUSES
from chargehand.errors import DecisionRefused
from chargehand.journals.sqlite import SqliteJournal

from .ledger import SqliteBook, serving
from .market import MARKET, errand
from .stepping import SteppingClock, clock_file
from .town import Town, check_books, undisturbed
from .worker import Crew, kill, send
from .world import Fact, World

PACE = Pace(poll=0.01, lease=0.5, silent_after=1.5)
HOUR = 3600.0
SETTLED = 2.0
"""Seconds after which what a killed, stopped or starved worker sent, or was about to send, has arrived: nobody looks into the
books because of doubt before. (Who looks earlier may not see what is still on its way, whatever keeps the journal.)"""
NO_LIMIT = resource.RLIM_INFINITY


@dataclass(frozen=True)
class Weather:
    """What a storm does: how many kills, how many stops, whether clocks step, whether disks fill up."""

    kills: int
    stops: int
    workers: int = 4
    steps: bool = False
    full: bool = False
    at_once: int = 16


@dataclass
class Storm(Town):
    """A town in a storm. Its services answer in this process, which nobody kills, and keep their books in a file of their own."""

    weather: Weather = field(default_factory=lambda: Weather(0, 0))
    done: Counter[str] = field(default_factory=Counter)
    hired: list[Any] = field(default_factory=list)
    asleep: dict[int, float] = field(default_factory=dict)
    crowded: dict[int, float] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    woke: float = 0.0
    started: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clock = SteppingClock(self.more["steps"])
        patient = SqliteJournal(self.orders.journal, clock=self.clock, locked_seconds=60.0)  # a process may stand still as it writes
        self.office = Supervisor(self.orders.journal, MARKET, journal=patient, work=False, clock=self.clock)

    # -- people ----------

    async def decide_all(self) -> None:
        """Decide what waits. Doubt only when nothing can be on its way any more that the books do not show yet."""
        waiting, now = await self.office.waiting(), time.monotonic()
        self.seen &= {entry.id for entry in waiting}
        self.since = {entry.id: self.since.get(entry.id, now) for entry in waiting}
        for entry in waiting:
            settled = not self.asleep and now - max(self.woke, self.since[entry.id]) > SETTLED
            if entry.id in self.seen or (entry.kind in ("doubt", "letter") and not settled):
                continue
            try:
                await self.office.decide(entry, self.decision(entry), by=Person("clerk"))
            except (UnknownEntry, DecisionRefused):
                continue
            self.seen.add(entry.id)
            self.decided[entry.kind] += 1

    # -- work ----------

    async def bring_work(self) -> None:
        """Have always some runs to do."""
        counts = (await self.office.journal.statistics())["runs"]
        going = sum(count for status, count in counts.items() if status not in FINAL_STATUSES)
        if going < self.weather.at_once:
            numbers = range(self.started, self.started + self.weather.at_once // 2)
            await self.office.start_many([(errand(number), f"run-{number}") for number in numbers])
            self.started = numbers.stop

    # -- weather ----------

    async def rage(self, seed: int) -> None:
        """Do what the weather says, one thing after the other, at moments drawn by the seed."""
        async with asyncio.TaskGroup() as together:
            passing = together.create_task(self.pass_by())
            await self._rage(random.Random(seed))
            passing.cancel()
        self.calm_down()

    async def _rage(self, dice: random.Random) -> None:
        left = Counter(kill=self.weather.kills, stop=self.weather.stops)
        extra = ["step"] * self.weather.steps + ["fill"] * self.weather.full
        self.hired = [self.hire() for _ in range(self.weather.workers)]
        while left.total():
            await self.bring_work()
            what = dice.choice([*left.elements(), *extra * (1 + left.total() // 3)])
            if self.strike(what, dice):
                left -= Counter({what: 1} if what in left else {})
                self.done[what] += 1
            await self.linger(dice.uniform(0.01, 0.15))

    def strike(self, what: str, dice: random.Random) -> bool:
        """Do one thing; say whether it could be done now."""
        number = dice.randrange(len(self.hired))
        victim = self.hired[number]
        now = time.monotonic()
        match what:
            case "kill":
                kill(victim)
                self.asleep.pop(victim.pid, None)
                self.crowded.pop(victim.pid, None)
                self.hired[number] = self.hire()
            case "stop":
                if victim.pid in self.asleep or len(self.asleep) >= len(self.hired) // 2:
                    return False
                send(victim, signal.SIGSTOP)
                self.asleep[victim.pid] = now + dice.choice([0.1, 0.5, 2.0, 2.5])
            case "step":
                self.clock.step(dice.uniform(-6 * HOUR, 6 * HOUR))
            case "fill":
                if victim.pid in self.crowded:
                    return False
                _limit(victim, 4096)
                self.crowded[victim.pid] = now + dice.uniform(0.02, 0.6)
        return True

    async def pass_by(self) -> None:
        """Let the weather pass whatever else happens: who stands still while it writes keeps the people and their work waiting."""
        while True:
            self.pass_over()
            await asyncio.sleep(0.01)

    def pass_over(self) -> None:
        """Wake who has slept long enough, make room where it was full long enough."""
        now = time.monotonic()
        for worker in self.hired:
            if self.asleep.get(worker.pid, now) < now:
                del self.asleep[worker.pid]
                send(worker, signal.SIGCONT)
                self.woke = now
            if self.crowded.get(worker.pid, now) < now:
                del self.crowded[worker.pid]
                _limit(worker, NO_LIMIT)

    def calm_down(self) -> None:
        """End the storm: everybody is awake, there is room, and the clock is ahead of all that it ever was."""
        for times in (self.asleep, self.crowded):
            for pid in times:
                times[pid] = 0.0
        self.pass_over()
        self.clock.step(6 * HOUR)

    async def linger(self, seconds: float) -> None:
        """Let time pass, with people at work."""
        until = time.monotonic() + seconds
        while True:
            await self.decide_all()
            for number, worker in enumerate(self.hired):
                if not worker.is_alive():  # nobody killed it
                    self.done["fell"] += 1
                    self.hired[number] = self.hire()
            if time.monotonic() >= until:
                return
            await asyncio.sleep(0.01)


def _limit(worker: Any, bytes: int) -> None:
    """Have no file of a worker grow beyond so many bytes: its writes fail as on a full disk (``EFBIG``)."""
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (bytes, NO_LIMIT))


async def calm(runs: int) -> tuple[dict[str, Any], list[Fact]]:
    """Return how so many runs come out when nothing happens, and the world's book; a few at a time."""
    outcomes: dict[str, Any] = {}
    facts: list[Fact] = []
    for first in range(0, runs, 40):
        some, more = await undisturbed(range(first, min(runs, first + 40)))
        outcomes |= some
        facts += more
    return outcomes, facts


@asynccontextmanager
async def storm_over(folder: Path, crew: Crew, weather: Weather) -> AsyncIterator[Storm]:
    """Open a town; when the storm is over, wait until all is done and check every run and every book."""
    clock_file(str(folder / "clock"))
    ledger = SqliteBook(str(folder / "ledger.db"))
    services = World(ledger)
    async with serving(services) as address:
        more = {"pace": PACE, "ledger": address, "steps": str(folder / "clock"), "eager": True, "log": os.devnull}
        storm = Storm(folder, crew, more, weather=weather)
        storm.book, storm.world = ledger, services
        await storm.office.journal.open()
        yield storm
        await storm.until(storm.all_ended, "every run ended")
        for worker in storm.hired:
            kill(worker)
        expected, facts = await calm(storm.started)
        found = await storm.outcomes()
        assert found.keys() == expected.keys(), "runs are lost"
        assert found == expected
        check_books(facts, ledger.facts())
        assert ledger.written() == ledger.facts()
        await storm.office.close()
