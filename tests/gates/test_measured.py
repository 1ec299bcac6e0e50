"""What the built-in gates catch, on hand-offs that were fixed before the gates were tuned. ``benchmarks/gates.py`` has it all."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.gates import RECORDED_GATES, Tally, measure  # noqa: E402
from benchmarks.handoffs import Handoff, incident, invoices, workbench  # noqa: E402
from examples.incident import gates as incident_gates  # noqa: E402
from examples.invoices import gates as invoices_gates  # noqa: E402

CREWS: dict[str, tuple[Callable[..., Iterable[Handoff]], Any]] = {
    "incident": (incident.handoffs, incident_gates),
    "invoices": (invoices.handoffs, invoices_gates),
}
FROZEN = {
    "incident": "f23ab0b8f344c9cce1dec37096210cd65ac6222ef0fff8a3c1acceeded729f1c",
    "invoices": "b698b23ad587500af9d32d7c2835d20cd73fcb7d106756eed625a654b92a184c",
}
FLOORS = {
    ("consistent", "contradiction"): 0.75,
    ("consistent", "numerical drift"): 0.75,
    ("complete", "context omission"): 0.99,
    ("grounded", "ungrounded identifier"): 0.99,
    ("grounded", "ungrounded number"): 0.9,
    ("no_repeat", "step repetition"): 0.9,
    ("any of them", "numerical drift"): 0.95,
}
FALSE_ALARMS_AT_MOST = 0.05


def shares(tally: Tally) -> dict[tuple[str, str], float]:
    """Return the share of rejected hand-offs by gate and fault."""
    return {(row["gate"], row["hand-off"]): row["share"] for row in tally.rows()}


@pytest.mark.parametrize("crew", CREWS)
def test_the_handoffs_are_those_that_were_fixed(crew: str) -> None:
    """The generators have not been changed since the gates were tuned on them: a changed one needs a fresh look at the gates."""
    digest = hashlib.sha256()
    for handoff in CREWS[crew][0](1, 3):
        digest.update(repr(handoff).encode())
    assert digest.hexdigest() == FROZEN[crew]


@pytest.mark.slow
@pytest.mark.parametrize("crew", CREWS)
async def test_recall_and_false_alarms_keep_their_floors(crew: str) -> None:
    """Each gate finds its own class of faults and leaves right hand-offs alone, on a seed it was not tuned with."""
    handoffs, gates = CREWS[crew]
    found = shares(await measure(crew, handoffs(77, 40), gates.GATES, gates.facts_of, ""))
    for key, floor in FLOORS.items():
        assert found[key] >= floor, key
    assert found["any of them", "right"] <= FALSE_ALARMS_AT_MOST


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not workbench.folder().is_dir(), reason="the recorded WorkBench runs are not beside the checkout")
async def test_recorded_agents() -> None:
    """On recorded runs of real agents, ungrounded arguments mark half of the harmful runs and few of the right ones."""
    runs = [run for run in workbench.handoffs() if run.fault in (None, "harmful run")][::4]
    found = shares(await measure("workbench", runs, {"*": [RECORDED_GATES[0]]}, None, ""))
    assert found["grounded", "harmful run"] > 0.45
    assert found["grounded", "right"] < 0.25
