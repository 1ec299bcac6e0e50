"""The examples that come with Chargehand go on from any instant as well, with the same output and the same world."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from chargehand import Resource, Supervisor
from chargehand.supervise.call import Call

from .clock import FakeClock
from .comparing import check_life
from .example import Example
from .instants import InMemory, Recorder
from .outside import Outside
from .playing import PACE
from .world import Book, World

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
    """One example: its call, the resource that it changes, and the resources that it only reads."""

    call: Callable[[], Call[Any]]
    world: Callable[[], Any]
    others: Sequence[Any] = ()


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


def supervisor_of(shown: Shown, changed: Any, journal: Any, clock: FakeClock) -> Supervisor:
    """Return a supervisor of an example."""
    made = [Resource(type(one), lambda one=one: one) for one in (changed, *shown.others)]
    return Supervisor("memory:", [shown.call().definition], journal=journal, clock=clock, pace=PACE, resources=made)


async def play(shown: Shown, changed: Any, journal: Any, clock: FakeClock) -> tuple[Any, Any]:
    """Play an example to its end; return its outcome and what it changed in the world."""
    async with supervisor_of(shown, changed, journal, clock) as supervisor:
        with patch("chargehand.supervisor.secrets.token_hex", lambda count: "7" * 2 * count):
            view = await supervisor.start(shown.call(), id="run-1")
        await Outside(supervisor, World(Book()), clock, Example(shown.call)).play(["run-1"])
        row, events = await view.row(), await view.events()
        check_life(events)
        await supervisor.journal.verify(row.number)
        return (row.status, row.standing, events[-1].payload), vars(changed)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_every_instant(name: str) -> None:
    """From each instant of an example a fresh supervisor reaches the same output and leaves the same world."""
    shown, clock, kind = EXAMPLES[name], FakeClock(), InMemory()
    changed = shown.world()
    recorder = Recorder(kind.open(None, clock, ""), kind, Book(), clock)
    recorder.world = lambda: copy.deepcopy(changed)
    expected = copy.deepcopy(await play(shown, changed, recorder, clock))
    assert expected[0][0] == "completed"
    assert len(recorder.instants) > 10
    for instant in recorder.instants:
        clock = FakeClock(instant.now)
        found = await play(shown, copy.deepcopy(instant.world), kind.open(instant.journal, clock, ""), clock)
        assert found == expected, f"{name}, instant {instant.number} ({instant.what})"
