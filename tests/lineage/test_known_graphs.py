"""On workflows whose true graph is known: which edges are found, which are wrong, which are missing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from chargehand.supervise.tracing import INPUT, trace
from chargehand.testing import Supervised

from .graphs import plan_of, planned

PLANS = 40


@dataclass
class Counts:
    """What was found of the true edges, over all plans."""

    true: int = 0
    traced: int = 0
    found: int = 0
    proven: int = 0
    wrong_proven: int = 0
    wrong_possible: int = 0


async def counted(supervised: Supervised, *, code: bool) -> Counts:
    """Run every plan and hold the lineage found against the truth."""
    counts = Counts()
    for seed in range(PLANS):
        plan, truth = plan_of(seed)
        run = await supervised.start(planned(plan), id=f"plan-{seed}")
        await run.result()
        site = supervised.supervisor.site if code else None
        lineage = trace(site, await run.row(), await run.events()).lineage
        edges = {(edge.source, edge.target): edge.strength for edge in lineage.edges if edge.source != INPUT}
        edges = {ends: strength for ends, strength in edges.items() if not ends[1].startswith("!")}
        proven = {ends for ends, strength in edges.items() if strength != "possible"}
        counts.true += len(truth.edges)
        counts.traced += len(truth.traced)
        counts.found += len(truth.traced & edges.keys())
        counts.proven += len(proven & truth.edges)
        counts.wrong_proven += len(proven - truth.edges)
        counts.wrong_possible += len(edges.keys() - proven - truth.edges)
    return counts


async def test_every_edge_that_leaves_a_trace_is_found_and_no_other_is_proven(supervised: Supervised) -> None:
    """With the code: nothing traced is missing, nothing proven is wrong. What is computed or common is missing, as documented."""
    counts = await counted(supervised, code=True)
    assert (counts.true, counts.traced) == (525, 385)  # as docs/lineage.md says
    assert counts.found == counts.proven == counts.traced
    assert counts.wrong_proven == 0
    assert counts.wrong_possible == 0


async def test_without_the_code_nothing_is_proven(supervised: Supervised) -> None:
    """Steps keep no arguments in the journal, so without the code no edge between them is claimed as proven."""
    counts = await counted(supervised, code=False)
    assert counts.proven == counts.wrong_proven == 0


@pytest.mark.parametrize("ended", ["completed", "stopped"])
async def test_a_run_is_traced_as_far_as_it_came(supervised: Supervised, ended: str) -> None:
    """A history that ends in the middle gives the lineage of what is in it, and the calls asked for last."""
    plan, truth = plan_of(3)
    run = await supervised.start(planned(plan), id="plan")
    await run.result()
    events = await run.events()
    cut = events if ended == "completed" else events[: len(events) // 2]
    traced = trace(supervised.supervisor.site, await run.row(), cut)
    assert traced.replayed
    assert traced.unfit == ""
    known = {event.path for event in cut}
    found = {(edge.source, edge.target) for edge in traced.lineage.edges}
    assert {ends for ends in truth.traced if set(ends) <= known} <= found
