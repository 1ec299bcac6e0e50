"""One incident as it happened, and a writer who is careless with it: what `python -m examples.incident` reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from examples.incident.crew import Deploy, Incident, Observation, Report, Site, Ticket

AT = datetime(2026, 11, 3, 5, 11, tzinfo=UTC)
INCIDENT = Incident(
    id="INC-80691",
    service="checkout",
    region="eu-west-1",
    severity="SEV2",
    opened_at=AT,
    reported="checkout fails in eu-west-1",
)
SITE = Site(
    observations=[
        Observation(id="obs-317", at=AT, kind="alert", text="HTTP 503 rate above 2 % on checkout"),
        Observation(
            id="obs-318",
            at=AT + timedelta(minutes=5),
            kind="metric",
            text="error rate peak 28.5 %",
            value=28.5,
            unit="%",
        ),
        Observation(id="obs-319", at=AT + timedelta(minutes=6), kind="metric", text="p99 latency peak 22557 ms", value=22557.0, unit="ms"),
        Observation(
            id="obs-320",
            at=AT + timedelta(minutes=9),
            kind="metric",
            text="customers affected 42858",
            value=42858.0,
            unit="customers",
        ),
        Observation(id="obs-321", at=AT + timedelta(minutes=25), kind="chat", text="amara: back to normal"),
    ],
    deploys=[
        Deploy(id="dep-2209", service="checkout", at=AT - timedelta(minutes=6), author="chen"),
        Deploy(id="dep-2188", service="checkout", at=AT - timedelta(minutes=71), author="farid"),
    ],
    tickets=[
        Ticket(id="OPS-6830", owner="amara", title="Alert on queue depth"),
        Ticket(id="OPS-7217", owner="chen", title="Cap retries of the client"),
    ],
    cause="dep-2209",
)


def careless(report: Report) -> Report:
    """Drop an action and add a number from nowhere."""
    summary = f"{report.summary} Revenue loss is estimated at $35,102."
    return report.model_copy(update={"actions": report.actions[:1], "summary": summary})
