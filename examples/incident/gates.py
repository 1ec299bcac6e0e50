"""What the incident crew's outputs assert, and which gates they pass."""

from __future__ import annotations

from typing import Any

from examples.incident.crew import Cause, Evidence, Incident, Report, Timeline

from chargehand import Fact, complete, consistent, grounded, no_repeat

ATTRIBUTES = {"error rate": "error rate", "p99 latency": "latency", "customers": "customers"}


def facts_of(output: Any) -> list[Fact]:
    """Return what an output of this crew says about the incident."""
    match output:
        case Evidence():
            metrics = [one for one in output.observations if one.kind == "metric"]
            measured = [
                Fact("incident", attribute, one.value, one.unit)
                for one in metrics
                for start, attribute in ATTRIBUTES.items()
                if one.text.startswith(start)
            ]
            return [Fact("incident", "id", output.incident), *measured]
        case Timeline():
            return [
                Fact("incident", "id", output.incident),
                Fact("incident", "duration", output.duration, output.duration_unit),
                Fact("incident", "start", output.started_at),
            ]
        case Cause():
            return [
                Fact("incident", "id", output.incident),
                Fact("incident", "error rate", output.error_rate, output.error_rate_unit),
                Fact("incident", "latency", output.latency, output.latency_unit),
                Fact("incident", "customers", output.customers, "customers"),
                Fact("incident", "cause", output.change),
                Fact("incident", "region", output.region),
            ]
        case Report():
            return [
                Fact("incident", "id", output.incident),
                Fact("incident", "severity", output.severity),
                Fact("incident", "duration", output.duration_minutes, "min"),
                Fact("incident", "error rate", output.error_rate_percent, "%"),
                Fact("incident", "customers", output.customers, "customers"),
                Fact("incident", "cause", output.change),
                Fact("incident", "region", output.region),
            ]
        case Incident():
            return [
                Fact("incident", "id", output.id),
                Fact("incident", "severity", output.severity),
                Fact("incident", "region", output.region),
            ]
    return []


GATES = {
    "collector": [
        complete(["tools.alerts.id", "tools.metrics.id", "tools.chat.id", "tools.deploys.id"]),
        grounded(),
        no_repeat(polling=("status",)),
    ],
    "timeliner": [consistent(inputs=True), complete("evidence.observations.id", "entries.evidence"), grounded(derived="any")],
    "analyst": [consistent(inputs=True), grounded(derived="any")],
    "writer": [consistent(inputs=True), complete("tools.open_tickets.id", "actions.ticket"), grounded(), no_repeat()],
}
