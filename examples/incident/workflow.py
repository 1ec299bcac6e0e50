"""The incident crew under supervision: the same agents, with contracts, gates and one effect.

    chargehand run examples.incident.workflow:report_incident --input …

What the agents need from outside comes as resources: the `Site` they look at, the `StatusPage` they publish on, and
`Rehearsal`, which stands in for the models' moods: how they word things, and which slip they make at first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from examples.incident import crew
from examples.incident.crew import (
    Cause,
    Deploy,
    Evidence,
    Incident,
    Observation,
    Phrasing,
    Report,
    Site,
    Ticket,
    Timeline,
)
from examples.incident.gates import GATES, facts_of

from chargehand import Done, Feedback, agent, effect, injected, read, workflow

T = TypeVar("T")


@dataclass
class Rehearsal:
    """How the agents word things, and what they do wrong in their first attempt.

    `slips` change an agent's output; the `forgetful` ask one of their tools twice.
    """

    phrasing: Phrasing = field(default_factory=Phrasing)
    slips: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    forgetful: Collection[str] = ()

    def play(self, agent: str, output: T, feedback: Feedback | None) -> T:
        """Return the output, with the agent's slip while nothing was objected to."""
        slip = self.slips.get(agent)
        return output if slip is None or feedback is not None else slip(output)


@dataclass
class StatusPage:
    """Where reports are published: by idempotency key, so that publishing twice is publishing once."""

    reports: dict[str, Report] = field(default_factory=dict)


# -- what the agents may use -----------------------------------------------------------------------------------------


@read
async def alerts(service: str, site: Site = injected()) -> list[Observation]:
    """Return the alerts of a service."""
    return site.alerts(service)


@read
async def metrics(service: str, site: Site = injected()) -> list[Observation]:
    """Return what was measured."""
    return site.metrics(service)


@read
async def chat(service: str, site: Site = injected()) -> list[Observation]:
    """Return what people wrote."""
    return site.chat(service)


@read
async def deploys(service: str, site: Site = injected()) -> list[Deploy]:
    """Return what was deployed lately."""
    return site.deploys


@read
async def open_tickets(service: str, site: Site = injected()) -> list[Ticket]:
    """Return the tickets that are open for a service."""
    return site.tickets


async def withdraw(key: str, page: StatusPage = injected()) -> None:
    """Take a report off the status page."""
    page.reports.pop(key, None)


@effect(undo=withdraw)
async def publish(report: Report, idempotency_key: str = injected(), page: StatusPage = injected()) -> str:
    """Put a report on the status page and return its key."""
    page.reports[idempotency_key] = report
    return idempotency_key


# -- the crew ----------------------------------------------------------------------------------------------------------


@agent(
    role="Collects what the systems know about an incident. Never judges it.",
    done=[Done("Every alert, metric, message and deploy is there.", by=GATES["collector"][0])],
    gates=GATES["collector"][1:],
    uses=[alerts, metrics, chat, deploys],
    facts=facts_of,
)
async def collector(incident: Incident, feedback: Feedback | None = None, rehearsal: Rehearsal = injected()) -> Evidence:
    service = incident.service
    if "collector" in rehearsal.forgetful and feedback is None:
        await alerts(service)
    found = crew.collect(incident, await alerts(service), await metrics(service), await chat(service), await deploys(service))
    return rehearsal.play("collector", found, feedback)


@agent(role="Puts the evidence in order. Never explains it.", gates=GATES["timeliner"], facts=facts_of)
async def timeliner(
    incident: Incident, evidence: Evidence, feedback: Feedback | None = None, rehearsal: Rehearsal = injected()
) -> Timeline:
    timeline = crew.order_events(incident, evidence, rehearsal.phrasing)
    return rehearsal.play("timeliner", timeline, feedback)


@agent(role="Finds the change that caused the incident.", gates=GATES["analyst"], facts=facts_of)
async def analyst(
    incident: Incident,
    timeline: Timeline,
    evidence: Evidence,
    feedback: Feedback | None = None,
    rehearsal: Rehearsal = injected(),
    site: Site = injected(),
) -> Cause:
    cause = crew.find_cause(incident, timeline, evidence, site.cause, rehearsal.phrasing)
    return rehearsal.play("analyst", cause, feedback)


@agent(
    role="Writes the report. Adds nothing of its own.",
    done=[Done("Every open ticket is an action.", by=GATES["writer"][1])],
    gates=[GATES["writer"][0], *GATES["writer"][2:]],
    uses=[open_tickets],
    facts=facts_of,
)
async def writer(
    incident: Incident,
    timeline: Timeline,
    cause: Cause,
    feedback: Feedback | None = None,
    rehearsal: Rehearsal = injected(),
) -> Report:
    report = crew.write_report(incident, timeline, cause, await open_tickets(incident.service), rehearsal.phrasing)
    return rehearsal.play("writer", report, feedback)


@workflow(name="report-incident")
async def report_incident(incident: Incident) -> Report:
    """Write and publish the report of an incident."""
    evidence = await collector(incident)
    timeline = await timeliner(incident, evidence)
    cause = await analyst(incident, timeline, evidence)
    report = await writer(incident, timeline, cause)
    await publish(report)
    return report
