"""The incident crew under supervision: what its agents get wrong does not travel."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from benchmarks.handoffs import Handoff
from benchmarks.handoffs.incident import right, wrong
from examples.incident import crew
from examples.incident.crew import Incident, Phrasing, Report, Site
from examples.incident.workflow import Rehearsal, StatusPage, report_incident

from chargehand import Event, Resource, Supervisor

STEPS = ("collector", "timeliner", "analyst", "writer")
MODES = {
    "contradiction": {"FM-2.5", "FM-3.2"},
    "numerical drift": {"FM-2.5", "FM-3.2"},
    "context omission": {"FM-2.4"},
    "ungrounded identifier": {"FM-2.4", "FM-3.2"},
    "ungrounded number": {"FM-3.2"},
}


def drawn(seed: int) -> tuple[dict[str, Handoff], Site]:
    """Return the right hand-offs of one incident by step, and the site they come from."""
    handoffs = {one.path: one for one in right(Random(seed))}
    tools = {tool.tool: tool.result for tool in (*handoffs["collector"].tools, *handoffs["writer"].tools)}
    observations = [*tools["alerts"], *tools["metrics"], *tools["chat"]]
    site = Site(
        observations=observations,
        deploys=tools["deploys"],
        tickets=tools["open_tickets"],
        cause=handoffs["analyst"].output.change,
    )
    return handoffs, site


def slip(seed: int, fault: str, step: str) -> Callable[[Any], Any] | None:
    """Return a function that makes this fault in the step's output, or None where it cannot be made."""
    handoffs, _ = drawn(seed)
    if wrong(Random(seed), handoffs[step], fault) is None:
        return None

    def make(output: Any) -> Any:
        broken = wrong(Random(seed), Handoff("", step, {}, output, earlier=handoffs[step].earlier), fault)
        assert broken is not None
        return broken.output

    return make


def supervisor_of(site: Site, page: StatusPage, rehearsal: Rehearsal, journal: str = "memory:") -> Supervisor:
    """Return a supervisor of the example with these resources."""
    made: list[Resource[Any]] = [Resource(Site, lambda: site), Resource(StatusPage, lambda: page), Resource(Rehearsal, lambda: rehearsal)]
    return Supervisor(journal, workflows=[report_incident], resources=made)


async def supervised(site: Site, incident: Incident, rehearsal: Rehearsal) -> tuple[Report, list[Event], StatusPage]:
    """Run the example and return its report, its events and the status page."""
    page = StatusPage()
    async with supervisor_of(site, page, rehearsal) as supervisor:
        run = await supervisor.start(report_incident(incident), id=incident.id)
        report = await run.result(timeout=20)
        return report, await run.events(), page


def rejections(events: list[Event]) -> list[Event]:
    """Return the events of rejected outputs."""
    return [event for event in events if event.type == "agent.rejected"]


CASES = [(fault, step, seed) for fault in MODES for step in STEPS for seed in (3, 11, 12) if slip(seed, fault, step) is not None]


async def test_a_right_crew_is_not_held_up() -> None:
    """Right outputs pass every gate at the first attempt, and the report is published once."""
    handoffs, site = drawn(3)
    incident = handoffs["collector"].inputs["incident"]
    report, events, page = await supervised(site, incident, Rehearsal())
    assert rejections(events) == []
    assert list(page.reports.values()) == [report]


@pytest.mark.parametrize(("fault", "step", "seed"), CASES)
async def test_a_seeded_fault_is_stopped_where_it_is_made(fault: str, step: str, seed: int) -> None:
    """A fault is rejected at its own step, sent back with feedback, and is gone from what is released and published."""
    handoffs, site = drawn(seed)
    incident = handoffs["collector"].inputs["incident"]
    faultless, _, _ = await supervised(site, incident, Rehearsal())
    make = slip(seed, fault, step)
    assert make is not None
    report, events, page = await supervised(site, incident, Rehearsal(slips={step: make}))
    assert [event.path for event in rejections(events)] == [step]
    assert {v["mode"] for event in rejections(events) for v in event.payload["verdicts"]} <= MODES[fault]
    assert report == faultless
    assert list(page.reports.values()) == [faultless]


async def test_asking_twice_is_noticed() -> None:
    """An agent that makes the same call twice in an attempt is told so (FM-1.3)."""
    handoffs, site = drawn(3)
    rehearsal = Rehearsal(forgetful={"collector"})
    _, events, _ = await supervised(site, handoffs["collector"].inputs["incident"], rehearsal)
    (rejected,) = rejections(events)
    assert [verdict["mode"] for verdict in rejected.payload["verdicts"]] == ["FM-1.3"]


def test_unsupervised_the_same_fault_reaches_the_report() -> None:
    """Without supervision the next agents build on what was wrong: the comparison that the gates are for."""
    handoffs, site = drawn(3)
    incident, evidence = handoffs["collector"].inputs["incident"], handoffs["collector"].output
    timeline = crew.order_events(incident, evidence, Phrasing())
    cause = crew.find_cause(incident, timeline, evidence, site.cause, Phrasing())
    drifted = cause.model_copy(update={"customers": cause.customers * 10})
    report = crew.write_report(incident, timeline, drifted, site.tickets, Phrasing())
    assert report.customers == cause.customers * 10


async def test_on_a_file_the_run_is_the_same(tmp_path: Any) -> None:
    """On SQLite the same run ends with the same report, and starting it again gives that one."""
    handoffs, site = drawn(3)
    incident = handoffs["collector"].inputs["incident"]
    page, url = StatusPage(), str(tmp_path / "runs.db")
    async with supervisor_of(site, page, Rehearsal(), url) as supervisor:
        first = await (await supervisor.start(report_incident(incident), id=incident.id)).result(timeout=20)
    async with supervisor_of(site, page, Rehearsal(), url) as supervisor:
        again = await (await supervisor.start(report_incident(incident), id=incident.id)).result(timeout=20)
    assert first == again
    assert len(page.reports) == 1


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m examples.incident`` shows a rejection and the published report."""
    runpy.run_module("examples.incident", run_name="__main__")
    shown = capsys.readouterr().out
    assert "complete (FM-2.4)" in shown
    assert "Published: checkout outage in eu-west-1" in shown
