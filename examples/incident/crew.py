"""The incident crew as it is without supervision: what it hands over, its tools, and its agents as plain functions.

The agents stand in for language models: they do what one does with these inputs, in one of many wordings, and need no
key and no network. `Phrasing` decides the wording; the plain one is always the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from pydantic import BaseModel


class Incident(BaseModel):
    id: str
    service: str
    region: str
    severity: str
    opened_at: datetime
    reported: str


class Observation(BaseModel):
    id: str
    at: datetime
    kind: str
    text: str
    value: float | None = None
    unit: str | None = None


class Deploy(BaseModel):
    id: str
    service: str
    at: datetime
    author: str


class Ticket(BaseModel):
    id: str
    owner: str
    title: str


class Site(BaseModel):
    """What the monitoring, deployment and ticket systems know."""

    observations: list[Observation]
    deploys: list[Deploy]
    tickets: list[Ticket]
    cause: str

    def alerts(self, service: str) -> list[Observation]:
        return [one for one in self.observations if one.kind == "alert"]

    def metrics(self, service: str) -> list[Observation]:
        return [one for one in self.observations if one.kind == "metric"]

    def chat(self, service: str) -> list[Observation]:
        return [one for one in self.observations if one.kind == "chat"]


class Evidence(BaseModel):
    incident: str
    observations: list[Observation]
    deploys: list[Deploy]


class Entry(BaseModel):
    at: datetime
    what: str
    evidence: str


class Timeline(BaseModel):
    incident: str
    entries: list[Entry]
    started_at: datetime
    mitigated_at: datetime
    duration: float
    duration_unit: str


class Cause(BaseModel):
    incident: str
    change: str
    explanation: str
    error_rate: float
    error_rate_unit: str
    latency: float
    latency_unit: str
    customers: int
    region: str


class Action(BaseModel):
    ticket: str
    owner: str
    what: str


class Report(BaseModel):
    incident: str
    severity: str
    title: str
    summary: str
    duration_minutes: float
    error_rate_percent: float
    customers: int
    change: str
    region: str
    actions: list[Action]


class Phrasing:
    """How an agent words the same content: units, number formats, order, derived figures, rounding."""

    def __init__(self, dice: Random | None = None) -> None:
        self.dice = dice

    def chance(self, probability: float) -> bool:
        return self.dice is not None and self.dice.random() < probability

    def one_of(self, *choices: str) -> str:
        return choices[0] if self.dice is None else self.dice.choice(choices)

    def count(self, number: int) -> str:
        return self.one_of(f"{number:,}", str(number), f"{number:,}", f"{number}")

    def clock(self, at: datetime) -> str:
        return self.one_of(
            at.strftime("%H:%M"), at.strftime("%H:%M UTC"), at.strftime("%Y-%m-%d %H:%M"), f"{at.hour % 12 or 12}:{at:%M %p}"
        )

    def minutes(self, number: float) -> str:
        long = f"{int(number // 60)} h {int(number % 60)} min" if number >= 60 else f"{number:g} min"
        return self.one_of(f"{number:g} minutes", f"{number:g}-minute", long)

    def percent(self, number: float) -> str:
        return self.one_of(f"{number:g} %", f"{number:g}%", f"{number:g} percent")


def _value(evidence: Evidence, name: str) -> Observation:
    return next(one for one in evidence.observations if one.kind == "metric" and one.text.startswith(name))


def collect(
    incident: Incident,
    alerts: list[Observation],
    metrics: list[Observation],
    chat: list[Observation],
    deploys: list[Deploy],
) -> Evidence:
    """Put together what the systems know about the incident."""
    return Evidence(incident=incident.id, observations=sorted([*alerts, *metrics, *chat], key=lambda one: one.at), deploys=deploys)


def order_events(incident: Incident, evidence: Evidence, phrasing: Phrasing) -> Timeline:
    """Write the timeline: when it started, when it ended, and each observation in its place."""
    alerts = [one for one in evidence.observations if one.kind == "alert"]
    started, ended = alerts[0].at, evidence.observations[-1].at
    entries = [
        Entry(at=one.at, what=phrasing.one_of(one.text, f"{phrasing.clock(one.at)} {one.text}"), evidence=one.id)
        for one in evidence.observations
    ]
    if phrasing.chance(0.3):
        entries.append(
            Entry(
                at=evidence.deploys[0].at,
                what=f"Deploy {evidence.deploys[0].id} by {evidence.deploys[0].author}",
                evidence=evidence.deploys[0].id,
            )
        )
        entries.sort(key=lambda entry: entry.at)
    minutes = (ended - started) / timedelta(minutes=1)
    hours = phrasing.chance(0.25)
    return Timeline(
        incident=incident.id,
        entries=entries,
        started_at=started,
        mitigated_at=ended,
        duration=round(minutes / 60, 4) if hours else minutes,
        duration_unit="h" if hours else "min",
    )


def find_cause(incident: Incident, timeline: Timeline, evidence: Evidence, cause: str, phrasing: Phrasing) -> Cause:
    """Name the change that caused the incident, and how bad it was."""
    rate, latency, customers = _value(evidence, "error rate"), _value(evidence, "p99"), _value(evidence, "customers")
    deploy = next(one for one in evidence.deploys if one.id == cause)
    as_fraction, in_seconds = phrasing.chance(0.2), phrasing.chance(0.3)
    milliseconds = latency.value or 0.0
    explanation = phrasing.one_of(
        f"{deploy.id} by {deploy.author} went out at {phrasing.clock(deploy.at)}; errors began at {phrasing.clock(timeline.started_at)}.",
        f"Errors started {phrasing.clock(timeline.started_at)}, shortly after {deploy.id} ({deploy.author}). Rolling it back ended them.",
        f"The change {deploy.id} is the only one before the first alert; p99 rose to {milliseconds:,.0f} ms.",
    )
    if phrasing.chance(0.15):
        gap = (timeline.started_at - deploy.at) / timedelta(minutes=1)
        explanation += f" The first alert came {gap:g} minutes after it."
    return Cause(
        incident=incident.id,
        change=deploy.id,
        explanation=explanation,
        error_rate=round((rate.value or 0) / 100, 6) if as_fraction else rate.value or 0,
        error_rate_unit="fraction" if as_fraction else "%",
        latency=milliseconds / 1000 if in_seconds else milliseconds,
        latency_unit="s" if in_seconds else "ms",
        customers=int(customers.value or 0),
        region=incident.region,
    )


def write_report(incident: Incident, timeline: Timeline, cause: Cause, tickets: Sequence[Ticket], phrasing: Phrasing) -> Report:
    """Write the report that goes to the customers' side of the company."""
    minutes = timeline.duration * 60 if timeline.duration_unit == "h" else timeline.duration
    minutes = float(round(minutes))
    percent = cause.error_rate * 100 if cause.error_rate_unit == "fraction" else cause.error_rate
    percent = round(percent, 4)
    about = round(percent) if phrasing.chance(0.15) else percent
    summary = phrasing.one_of(
        f"From {phrasing.clock(timeline.started_at)} to {phrasing.clock(timeline.mitigated_at)} "
        f"{incident.service} in {cause.region} failed for "
        f"{phrasing.count(cause.customers)} customers ({phrasing.percent(about)} of requests). Cause: {cause.change}.",
        f"A {phrasing.minutes(minutes)} outage of {incident.service}: {phrasing.count(cause.customers)} customers saw errors, "
        f"at the peak {phrasing.percent(about)} of all requests. We rolled back {cause.change}.",
        f"{incident.id}: {incident.service} ({cause.region}) returned errors between "
        f"{phrasing.clock(timeline.started_at)} and {phrasing.clock(timeline.mitigated_at)}. "
        f"{phrasing.count(cause.customers)} customers, {phrasing.percent(about)} of requests; p99 "
        f"{cause.latency:g} {cause.latency_unit}.",
    )
    if phrasing.chance(0.3):
        summary += f" {len(tickets)} follow-up tickets are open."
    if phrasing.chance(0.1):
        summary += f" The success rate fell to {100 - percent:.4g} %."
    actions = [Action(ticket=one.id, owner=one.owner, what=one.title) for one in tickets]
    return Report(
        incident=incident.id,
        severity=incident.severity,
        title=phrasing.one_of(f"{incident.service} outage in {cause.region}", f"{incident.severity}: errors in {incident.service}"),
        summary=summary,
        duration_minutes=minutes,
        error_rate_percent=percent,
        customers=cause.customers,
        change=cause.change,
        region=cause.region,
        actions=actions,
    )
