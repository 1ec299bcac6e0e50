"""The reconciliation crew under supervision: wrong figures are sent back, right ones are posted once."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import pytest
from benchmarks.handoffs import Handoff
from benchmarks.handoffs.invoices import right, wrong
from examples.invoices.crew import Booking, Document, Memo
from examples.invoices.workflow import Archive, Ledger, Rehearsal, reconcile_batch

from chargehand import Event, Resource, Supervisor

STEPS = ("extractor", "matcher", "reconciler", "writer")
MODES = {
    "contradiction": {"FM-2.5"},
    "numerical drift": {"FM-2.5", "FM-3.2"},
    "context omission": {"FM-2.4"},
    "ungrounded identifier": {"FM-2.4", "FM-3.2"},
    "ungrounded number": {"FM-3.2"},
}


class Batch:
    """One drawn batch: its documents, its ledger, and the right hand-offs by step."""

    def __init__(self, seed: int) -> None:
        self.handoffs = {one.path: one for one in right(Random(seed))}
        self.documents: list[Document] = self.handoffs["extractor"].inputs["documents"]
        self.closing: date = self.handoffs["reconciler"].inputs["closing"]
        self.archive = Archive({one.file: one for one in self.documents}, self.handoffs["extractor"].output)
        results = [one.result for one in self.handoffs["matcher"].tools if one.result is not None]
        self.bookings = {one["reference"]: Booking(**one) for one in results}

    def slip(self, seed: int, fault: str, step: str) -> Callable[[Any], Any] | None:
        """Return a function that makes this fault in the step's output, or None where it cannot be made."""
        if wrong(Random(seed), self.handoffs[step], fault) is None:
            return None

        def make(output: Any) -> Any:
            handoff: Handoff = replace(self.handoffs[step], output=output)
            broken = wrong(Random(seed), handoff, fault)
            assert broken is not None
            return broken.output

        return make

    async def supervised(self, rehearsal: Rehearsal) -> tuple[Memo, list[Event], Ledger]:
        """Run the example and return its memo, its events and the ledger."""
        ledger = Ledger(self.bookings)
        made: list[Resource[Any]] = [
            Resource(Archive, lambda: self.archive),
            Resource(Ledger, lambda: ledger),
            Resource(Rehearsal, lambda: rehearsal),
        ]
        async with Supervisor("memory:", workflows=[reconcile_batch], resources=made) as supervisor:
            run = await supervisor.start(reconcile_batch(self.documents, self.closing), id="batch")
            return await run.result(timeout=20), await run.events(), ledger


CASES = [(fault, step, seed) for fault in MODES for step in STEPS for seed in (2, 5, 8) if Batch(seed).slip(seed, fault, step) is not None]


async def test_a_right_crew_is_not_held_up() -> None:
    """Right outputs pass every gate at the first attempt, and each open item is posted once."""
    memo, events, ledger = await Batch(5).supervised(Rehearsal())
    assert [event.path for event in events if event.type == "agent.rejected"] == []
    assert sorted(one.reference for one in ledger.postings.values()) == sorted(one.reference for one in memo.postings)


@pytest.mark.parametrize(("fault", "step", "seed"), CASES)
async def test_a_seeded_fault_is_stopped_where_it_is_made(fault: str, step: str, seed: int) -> None:
    """A fault is rejected at its own step, sent back with feedback, and is gone from what is released and posted."""
    batch = Batch(seed)
    faultless, _, booked = await batch.supervised(Rehearsal())
    make = batch.slip(seed, fault, step)
    assert make is not None
    memo, events, ledger = await batch.supervised(Rehearsal(slips={step: make}))
    rejected = [event for event in events if event.type == "agent.rejected"]
    assert [event.path for event in rejected] == [step]
    assert {verdict["mode"] for event in rejected for verdict in event.payload["verdicts"]} <= MODES[fault]
    assert memo == faultless
    assert list(ledger.postings.values()) == list(booked.postings.values())


async def test_a_fault_that_is_never_mended_goes_to_a_person() -> None:
    """An agent that makes the same mistake in every attempt is escalated; nothing is posted meanwhile."""
    batch = Batch(5)
    make = batch.slip(5, "numerical drift", "matcher")
    assert make is not None

    class Stubborn(Rehearsal):
        def play(self, agent: str, output: Any, feedback: Any) -> Any:
            return self.slips[agent](output) if agent in self.slips else output

    ledger = Ledger(batch.bookings)
    made: list[Resource[Any]] = [
        Resource(Archive, lambda: batch.archive),
        Resource(Ledger, lambda: ledger),
        Resource(Rehearsal, lambda: Stubborn(slips={"matcher": make})),
    ]
    waiting: list[Any] = []
    async with Supervisor("memory:", workflows=[reconcile_batch], resources=made) as supervisor:
        run = await supervisor.start(reconcile_batch(batch.documents, batch.closing), id="batch")
        while not waiting:
            waiting = await supervisor.waiting(run_id="batch")
            await asyncio.sleep(0.01)
        events = await run.events()
    assert [entry.kind for entry in waiting] == ["escalation"]
    assert len([event for event in events if event.type == "agent.rejected"]) == 3
    assert ledger.postings == {}


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m examples.invoices`` shows a rejection and what was posted."""
    runpy.run_module("examples.invoices", run_name="__main__")
    shown = capsys.readouterr().out
    assert "consistent (FM-2.5): Numerical drift in gross of RE-2026-6283" in shown
    assert "Posted: 17754.12, 1166.32" in shown
