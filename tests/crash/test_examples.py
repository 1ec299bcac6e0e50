"""The examples that come with Chargehand go on from any instant as well, with the same output and the same world.

Each is played as it is, and as a part of something that fails afterwards, so that all it did is undone.
"""

from __future__ import annotations

import asyncio
import copy
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import pytest

from chargehand import Decision, Resource, Supervisor, Waiting, fail, workflow
from chargehand.supervise.call import Call

from .clock import FakeClock
from .comparing import check_life
from .dying import Life, Mortal, buried, hushed
from .example import Example
from .instants import InMemory, Recorder
from .outside import Outside
from .playing import PACE
from .world import Book, World

T = TypeVar("T")
ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from examples.incident import case as incident  # noqa: E402
from examples.incident.workflow import Rehearsal as IncidentRehearsal  # noqa: E402
from examples.incident.workflow import StatusPage, report_incident  # noqa: E402
from examples.invoices import case as invoices  # noqa: E402
from examples.invoices.workflow import Archive, Ledger, Rehearsal, reconcile_batch  # noqa: E402

from examples import procurement  # noqa: E402


@dataclass(frozen=True)
class Shown:
    """One example: its call, the resource that it changes, and the resources that it only reads.

    `part` is the example inside of a call that fails afterwards; `undone` says whether nothing of it stands in its world.
    """

    call: Callable[[], Call[Any]]
    world: Callable[[], Any]
    others: Sequence[Any] = ()
    part: Callable[[], Call[Any]] | None = None
    undone: Callable[[Any], bool] | None = None


DOCUMENTS = [invoices.document(one) for one in invoices.INVOICES]

EXAMPLES = {
    "procurement": Shown(lambda: procurement.procure({"sku": "M8-BOLT", "quantity": 4000}), procurement.Catalogue),  # type: ignore[arg-type]
    "incident": Shown(
        lambda: report_incident(incident.INCIDENT), StatusPage, (incident.SITE, IncidentRehearsal(slips={"writer": incident.careless}))
    ),
    "invoices": Shown(
        lambda: reconcile_batch(DOCUMENTS, invoices.CLOSING),
        lambda: Ledger({}),
        (Archive({one.file: one for one in DOCUMENTS}, invoices.INVOICES), Rehearsal(slips={"matcher": invoices.swapped})),
    ),
}


@workflow(name="regretted")
async def regretted(name: str) -> None:
    """Have an example do all that it does, and fail."""
    await EXAMPLES[name].call()
    fail(f"{name} is regretted")


def reversed_whole(ledger: Ledger) -> bool:
    """Say whether every posting was taken back by one of the opposite sign."""
    return sum(posting.amount for posting in ledger.postings.values()) == 0 and bool(ledger.postings)


UNDONE: dict[str, Callable[[Any], bool]] = {
    "procurement": lambda catalogue: not catalogue.orders,
    "incident": lambda page: not page.reports,
    "invoices": reversed_whole,
}

REGRETTED = {
    f"{name}, regretted": replace(shown, call=partial(regretted, name), part=shown.call, undone=UNDONE[name])
    for name, shown in EXAMPLES.items()
}

PLAYED = EXAMPLES | REGRETTED


def given(one: T) -> T:
    """Return what was made beforehand."""
    return one


def supervisor_of(shown: Shown, changed: Any, journal: Any, clock: FakeClock) -> Supervisor:
    """Return a supervisor of an example."""
    made = [Resource(type(one), partial(given, one)) for one in (changed, *shown.others)]
    known = [shown.call().definition, *([shown.part().definition] if shown.part is not None else [])]
    return Supervisor("memory:", known, journal=journal, clock=clock, pace=PACE, resources=made)


async def play(shown: Shown, changed: Any, journal: Any, clock: FakeClock, life: Life | None = None) -> tuple[Any, Any]:
    """Play an example to its end; return its outcome and what it changed in the world."""
    supervisor = supervisor_of(shown, changed, journal, clock)
    if life is not None:
        supervisor.site.crash_point = life.at
    assert supervisor.carrier is not None
    try:
        await supervisor.journal.open()
        await supervisor.carrier.start()
        with patch("chargehand.starting.secrets.token_hex", lambda count: "7" * 2 * count):
            view = await supervisor.start(shown.call(), id="run-1")
        outside = Outside(supervisor, World(Book()), clock, Example(shown.call, people=lambda entry, world: looking(shown, changed, entry)))
        await outside.play(["run-1"])
        row, events = await view.row(), await view.events()
        check_life(events)
        await supervisor.journal.verify(row.number)
        await supervisor.close()  # a process that dies does not come here
        return (row.status, row.standing, events[-1].payload), vars(changed)
    finally:
        supervisor.carrier._stop_beating.set()
        supervisor.site.threads.shutdown(wait=False)


def looking(shown: Shown, changed: Any, entry: Waiting) -> Decision | None:
    """Decide about an undo in doubt by what the world shows; the rest as usual."""
    if entry.kind != "letter" or shown.undone is None:
        return None
    return Decision("done") if shown.undone(changed) else Decision("redrive")


def check_end(name: str, end: tuple[Any, Any], changed: Any) -> None:
    """Check that an example came to the end that it should."""
    undone = PLAYED[name].undone
    assert end[0][0] == ("completed" if undone is None else "failed")
    assert undone is None or undone(changed), "something stands"


def test_every_example_is_here() -> None:
    """No example is forgotten."""
    found = {path.stem for path in Path(ROOT, "examples").iterdir() if path.suffix == ".py" or (path / "workflow.py").exists()}
    assert found == set(EXAMPLES) == set(UNDONE)


@pytest.mark.parametrize("name", PLAYED)
async def test_every_instant(name: str) -> None:
    """From each instant of an example a fresh supervisor reaches the same output and leaves the same world."""
    shown, clock, kind = PLAYED[name], FakeClock(), InMemory()
    changed = shown.world()
    recorder = Recorder(kind.open(None, clock, ""), kind, Book(), clock)
    recorder.world = lambda: copy.deepcopy(changed)
    expected = copy.deepcopy(await play(shown, changed, recorder, clock))
    check_end(name, expected, changed)
    assert len(recorder.instants) > 10
    for instant in recorder.instants:
        clock = FakeClock(instant.now)
        found = await play(shown, copy.deepcopy(instant.world), kind.open(instant.journal, clock, ""), clock)
        assert found == expected, f"{name}, instant {instant.number} ({instant.what})"


async def lived(shown: Shown, deaths: Sequence[int]) -> tuple[Any, Any, Life]:
    """Die after so many points of each life, then live to the end; return the end, the world and the last life."""
    hushed()
    kind, content, changed, now = InMemory(), None, shown.world(), FakeClock().now()
    for count in [*deaths, None]:
        clock, life = FakeClock(now), Life(left=count)
        inner = kind.open(content, clock, "")
        before = asyncio.all_tasks()
        playing = asyncio.ensure_future(play(shown, changed, Mortal(inner, life), clock, life))
        dying = asyncio.ensure_future(life.died.wait())
        await asyncio.wait({playing, dying}, return_when=asyncio.FIRST_COMPLETED)
        if not life.died.is_set():
            dying.cancel()
            break
        content, changed, now = kind.copy(inner), copy.deepcopy(changed), clock.now()
        await buried(before)
    return copy.deepcopy(await playing), changed, life


async def check_deaths(name: str, choose: Callable[[int], Sequence[int]]) -> None:
    """Die at each of the points that are chosen, given how many there are, and compare the ends."""
    expected, changed, life = await lived(PLAYED[name], [])
    check_end(name, expected, changed)
    for number in choose(len(life.passed)):
        found, _, _ = await lived(PLAYED[name], [number])
        assert found == expected, f"{name}, dead at point {number} ({life.passed[number]})"


@pytest.mark.parametrize("name", PLAYED)
async def test_some_points(name: str) -> None:
    """Dead at a few points of an example, the next process reaches the same output and leaves the same world."""
    await check_deaths(name, lambda count: random.Random(name).sample(range(count), 5))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAYED)
async def test_every_point(name: str) -> None:
    """Dead at every point of an example: before and after every commit, every point that the engine names."""
    await check_deaths(name, range)
