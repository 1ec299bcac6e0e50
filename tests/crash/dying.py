"""Dying in this very process: at a point of its work the process is gone, and nothing it still tries reaches anybody.

A dead process's tasks are dropped without a chance to clean up: its journal and its world never answer them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chargehand.durable import Commit
from chargehand.events import Record

from .catalogue import ALL
from .clock import FakeClock
from .comparing import End, check_equal, end_of
from .example import MENDED, Example
from .instants import Kind
from .playing import events_of, ids_of, play_all, supervisor_of
from .world import Book, Fact, World


class Death(BaseException):
    """The process is gone."""


@dataclass
class Life:
    """One process's life: how many points it passes before it dies (None: it lives), and which it passed.

    `inside`: each service that has just done as it was asked, and has not answered yet, is a point as well.
    """

    left: int | None = None
    inside: bool = False
    passed: list[tuple[str, str]] = field(default_factory=list)
    died: asyncio.Event = field(default_factory=asyncio.Event)
    world: World | None = None

    def at(self, point: str, path: str) -> None:
        """Pass a point, or die there."""
        if self.died.is_set():
            raise Death
        self.passed.append((point, path))
        if self.left is not None and len(self.passed) > self.left:
            self.died.set()
            if self.world is not None:
                self.world.dead = True
            raise Death

    def saw(self, fact: Fact) -> None:
        """Pass the point inside an outside call, or die there: it has happened, and nobody here knows."""
        self.at("inside " + fact.what, f"{fact.tool} {fact.ref}")


class Mortal:
    """A journal of a process that may die: two more points around each commit, and silence afterwards."""

    def __init__(self, journal: Any, life: Life) -> None:
        self._journal, self._life = journal, life

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._journal, name)
        if name in ("changed", "beat", "path") or not callable(known):
            return known

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._silence()
            return await known(*args, **kwargs)

        return call

    async def _silence(self) -> None:
        if self._life.died.is_set():
            await asyncio.get_running_loop().create_future()

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Make a commit durable, unless death comes first."""
        await self._silence()
        names = "+".join(record.type for record in commit.records) or "row"
        self._life.at("before commit", names)
        records: Sequence[Record] = await self._journal.append(commit)
        await self._silence()
        self._life.at("after commit", names)
        return records


@dataclass
class Left:
    """What a process leaves behind: the journal's content, the world's book, the time. `done`: it had finished."""

    content: Any
    facts: list[Fact]
    now: float
    done: bool = False


async def live(name: str, kind: Kind, folder: str, left: Left | None, life: Life) -> tuple[Left, End | None]:
    """Live a process's life on what the last one left, until the example has ended or death comes."""
    hushed()
    example, clock = ALL[name], FakeClock() if left is None else FakeClock(left.now)
    book = Book([] if left is None else left.facts)
    inner = kind.open(None if left is None else left.content, clock, folder)
    life.world = World(book, example.troubles, seen=life.saw if life.inside else None)
    journal: Any = Mortal(inner, life)
    before = asyncio.all_tasks()
    supervisor = supervisor_of(example, journal, clock, life.world)
    supervisor.site.crash_point = life.at
    await inner.open()
    recorded = await events_of(supervisor, "run-1")
    MENDED["now"] = any(event.type == "run.parked" for event in recorded)
    playing = asyncio.ensure_future(_play(supervisor, life.world, clock, example))
    dying = asyncio.ensure_future(life.died.wait())
    await asyncio.wait({playing, dying}, return_when=asyncio.FIRST_COMPLETED)
    if life.died.is_set():
        content, facts = kind.copy(inner), book.facts()
        await _bury(supervisor, before)
        await inner.close()
        return Left(content, facts, clock.now()), None
    dying.cancel()
    playing.result()
    end = await end_of(supervisor, ids_of(example), book.facts(), kind, inner)
    await supervisor.close()
    return Left(None, book.facts(), clock.now(), done=True), end


def hushed() -> None:
    """Have nobody report what became of the tasks of the dead; whatever else a task leaves unread is reported."""
    loop = asyncio.get_running_loop()

    def heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), Death):
            loop.default_exception_handler(context)

    loop.set_exception_handler(heard)


async def _play(supervisor: Any, world: World, clock: FakeClock, example: Example) -> None:
    await supervisor.carrier.start()
    await play_all(supervisor, world, clock, example)


async def _bury(supervisor: Any, before: set[asyncio.Task[Any]]) -> None:
    """Drop a dead process's tasks and threads."""
    supervisor.carrier._stop_beating.set()
    supervisor.carrier._draining = True
    await buried(before)
    supervisor.site.threads.shutdown(wait=False)


async def buried(before: set[asyncio.Task[Any]]) -> None:
    """Drop every task that was not there before."""
    for _ in range(20):
        strays = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not strays:
            break
        for task in strays:
            task.cancel()
        await asyncio.wait(strays, timeout=0.5)


async def dies_and_goes_on(name: str, kind: Kind, folder: str, expected: End, deaths: Sequence[int], *, inside: bool = False) -> list[str]:
    """Die after so many points of each life, then live on to the end, and compare. Returns the points of death."""
    left: Left | None = None
    points: list[str] = []
    for count in deaths:
        life = Life(left=count, inside=inside)
        known = left
        left, end = await live(name, kind, folder, left, life)
        if end is not None:
            await compare(name, kind, folder, expected, end, known)
            return points
        points.append(" ".join(life.passed[-1]))
    known = left
    left, end = await live(name, kind, folder, left, Life())
    assert end is not None
    await compare(name, kind, folder, expected, end, known)
    return points


async def compare(name: str, kind: Kind, folder: str, expected: End, found: End, known: Left | None) -> None:
    """Compare the end of the last life with the undisturbed run."""
    recorded: list[Any] = []
    if known is not None:
        journal = kind.open(known.content, FakeClock(known.now), folder)
        await journal.open()
        row = await journal.run("run-1")
        recorded = [] if row is None else [record.event() for record in await journal.load(row.number)]
        await journal.close()
    check_equal(ALL[name], expected, found, [] if known is None else known.facts, recorded)
