"""Hand-offs of the incident crew: random incidents, varied wordings, and one seeded fault each in the wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from examples.incident.crew import (
    Action,
    Cause,
    Deploy,
    Entry,
    Evidence,
    Incident,
    Observation,
    Phrasing,
    Report,
    Site,
    Ticket,
    Timeline,
    collect,
    find_cause,
    order_events,
    write_report,
)

from benchmarks.handoffs import Handoff
from chargehand.verdicts import ToolResult

SERVICES = ("checkout", "search", "login-api", "payments", "image-proxy", "ledger-sync")
REGIONS = ("eu-west-1", "eu-central-2", "us-east-1", "ap-south-1")
PEOPLE = ("amara", "bjorn", "chen", "dolores", "emeka", "farid")
TITLES = (
    "Add a canary for config changes",
    "Alert on queue depth",
    "Write a runbook for rollback",
    "Cap retries of the client",
    "Test with 10 % of traffic",
)


def site_of(dice: Random, incident: Incident) -> Site:
    """Draw what the systems know about an incident."""
    at = incident.opened_at
    deploys = [
        Deploy(
            id=f"dep-{dice.randrange(1000, 9999)}",
            service=incident.service,
            at=at - timedelta(minutes=dice.randrange(4, 90)),
            author=dice.choice(PEOPLE),
        )
        for _ in range(dice.randrange(2, 5))
    ]
    ended = at + timedelta(minutes=dice.randrange(12, 190))
    rate, p99, customers = (
        round(dice.uniform(2, 96), dice.choice((0, 1, 1, 2))),
        dice.randrange(900, 30_000),
        dice.randrange(40, 90_000),
    )
    number = dice.randrange(100, 900)
    texts: list[tuple[str, datetime, str, float | None, str | None]] = [
        (
            "alert",
            at,
            f"HTTP {dice.choice((500, 502, 503, 504))} rate above {dice.choice((1, 2, 5))} % on {incident.service}",
            None,
            None,
        ),
        (
            "alert",
            at + timedelta(minutes=2),
            f"p99 latency of {incident.service} above {dice.choice((400, 800, 1500))} ms",
            None,
            None,
        ),
        ("metric", at + timedelta(minutes=5), f"error rate peak {rate:g} %", rate, "%"),
        ("metric", at + timedelta(minutes=6), f"p99 latency peak {p99} ms", float(p99), "ms"),
        ("metric", at + timedelta(minutes=9), f"customers affected {customers}", float(customers), "customers"),
        ("chat", at + timedelta(minutes=10), f"{dice.choice(PEOPLE)}: rolling back", None, None),
        ("chat", ended, f"{dice.choice(PEOPLE)}: back to normal", None, None),
    ]
    observations = [
        Observation(id=f"obs-{number + index}", at=when, kind=kind, text=text, value=value, unit=unit)
        for index, (kind, when, text, value, unit) in enumerate(texts)
    ]
    tickets = [
        Ticket(id=f"OPS-{dice.randrange(2000, 8000)}", owner=dice.choice(PEOPLE), title=title)
        for title in dice.sample(TITLES, dice.randrange(2, 5))
    ]
    return Site(observations=observations, deploys=deploys, tickets=tickets, cause=dice.choice(deploys).id)


def incident_of(dice: Random) -> Incident:
    """Draw an incident."""
    service = dice.choice(SERVICES)
    opened = datetime(
        2026,
        dice.randrange(1, 12),
        dice.randrange(1, 28),
        dice.randrange(0, 20),
        dice.randrange(0, 60),
        tzinfo=UTC,
    )
    region = dice.choice(REGIONS)
    return Incident(
        id=f"INC-{dice.randrange(10_000, 99_999)}",
        service=service,
        region=region,
        severity=dice.choice(("SEV1", "SEV2", "SEV3")),
        opened_at=opened,
        reported=f"{service} fails in {region}",
    )


def _json(value: Any) -> Any:
    return [one.model_dump(mode="json") for one in value]


def right(dice: Random) -> list[Handoff]:
    """Draw one incident and return its four right hand-offs, in order."""
    incident = incident_of(dice)
    site, phrasing = site_of(dice, incident), Phrasing(dice)
    asked = {"service": incident.service}
    calls = [
        ToolResult("alerts", asked, _json(site.alerts(incident.service))),
        ToolResult("metrics", asked, _json(site.metrics(incident.service))),
        ToolResult("chat", asked, _json(site.chat(incident.service))),
        ToolResult("deploys", asked, _json(site.deploys)),
    ]
    if dice.random() < 0.1:  # polling until a state changes is no repetition
        calls += [ToolResult("status", asked, {"state": "degraded"}), ToolResult("status", asked, {"state": "healthy"})]
    if dice.random() < 0.1:
        calls.append(ToolResult("alerts", {"service": f"{incident.service}-edge"}, []))
    evidence = collect(
        incident,
        site.alerts(incident.service),
        site.metrics(incident.service),
        site.chat(incident.service),
        site.deploys,
    )
    timeline = order_events(incident, evidence, phrasing)
    cause = find_cause(incident, timeline, evidence, site.cause, phrasing)
    report = write_report(incident, timeline, cause, site.tickets, phrasing)
    tickets = (ToolResult("open_tickets", asked, _json(site.tickets)),)
    earlier: dict[str, Any] = {}
    steps: list[Handoff] = []
    for step, inputs, output, tools in (
        ("collector", {"incident": incident}, evidence, tuple(calls)),
        ("timeliner", {"incident": incident, "evidence": evidence}, timeline, ()),
        ("analyst", {"incident": incident, "timeline": timeline, "evidence": evidence}, cause, ()),
        ("writer", {"incident": incident, "timeline": timeline, "cause": cause}, report, tickets),
    ):
        steps.append(Handoff("incident", step, inputs, output, tools, dict(earlier), path=step))
        earlier[step] = output
    if dice.random() < 0.2:  # a second attempt that mends the first
        last = steps[-1]
        broken = report.model_copy(update={"customers": report.customers + 1})
        steps[-1] = replace(last, rejected=broken)
    if dice.random() < 0.2:  # the writer is called again for the customers' side, and words it anew
        again = write_report(incident, timeline, cause, site.tickets, Phrasing(dice)).model_copy(
            update={"title": f"To our customers: {incident.service}"}
        )
        steps.append(Handoff("incident", "writer", steps[-1].inputs, again, tickets, dict(earlier), path="writer#2"))
    return steps


# -- faults ----------------------------------------------------------------------------------------------------------

Fault = Callable[[Random, Handoff], tuple[Any, str] | None]


def _other(dice: Random, choices: tuple[str, ...], value: str) -> str:
    return dice.choice([one for one in choices if one != value])


def _drifted(dice: Random, number: float) -> float:
    """Return the number as it comes out of a slip: rounded away, two digits swapped, or a factor of ten."""
    kind = dice.randrange(3)
    digits = list(f"{number:g}")
    swaps = [
        i
        for i in range(len(digits) - 1)
        if digits[i] != digits[i + 1] and "." not in digits[i : i + 2] and not (i == 0 and digits[1] == "0")
    ]
    if kind == 0 and swaps:
        index = dice.choice(swaps)
        digits[index], digits[index + 1] = digits[index + 1], digits[index]
        return float("".join(digits))
    if kind == 1:
        return round(number * dice.choice((0.9, 1.08, 1.12, 0.93, 1.25)) + dice.choice((1, 2)), 2)
    return number * dice.choice((10, 0.1, 1000, 0.001))


def contradiction(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if isinstance(output, Cause):
        if dice.random() < 0.5:
            return output.model_copy(update={"region": _other(dice, REGIONS, output.region)}), "region"
        return output.model_copy(update={"incident": f"INC-{dice.randrange(10_000, 99_999)}"}), "incident"
    if isinstance(output, Report):
        if dice.random() < 0.2:  # only the free text says otherwise
            return output.model_copy(
                update={"title": f"{_other(dice, SERVICES, output.title.split()[0])} outage in {output.region}"}
            ), "title"
        field = dice.choice(("severity", "change", "region"))
        if field == "severity":
            return output.model_copy(update={"severity": _other(dice, ("SEV1", "SEV2", "SEV3"), output.severity)}), field
        if field == "region":
            return output.model_copy(update={"region": _other(dice, REGIONS, output.region)}), field
        deploys = tuple(one.id for one in handoff.earlier["collector"].deploys)
        return output.model_copy(update={"change": _other(dice, deploys, output.change)}), field
    return None


def numerical_drift(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if isinstance(output, Report):
        said = next((text for text in (f"{output.customers:,}", str(output.customers)) if text in output.summary), None)
        if said is not None and dice.random() < 0.25:  # only the free text drifts
            drifted_text = f"{int(_drifted(dice, float(output.customers))):,}"
            return output.model_copy(update={"summary": output.summary.replace(said, drifted_text)}), "summary"
        field = dice.choice(("customers", "duration_minutes", "error_rate_percent"))
        number = getattr(output, field)
        drifted = _drifted(dice, float(number))
        drifted = int(drifted) if field == "customers" else drifted
        return (output.model_copy(update={field: drifted}), field) if drifted != number else None
    if isinstance(output, Cause):
        if dice.random() < 0.4:  # the unit changes, the number does not
            return output.model_copy(update={"latency_unit": "s" if output.latency_unit == "ms" else "ms"}), "latency_unit"
        field = dice.choice(("error_rate", "customers"))
        number = getattr(output, field)
        drifted = _drifted(dice, float(number))
        drifted = int(drifted) if field == "customers" else drifted
        return (output.model_copy(update={field: drifted}), field) if drifted != number else None
    return None


def context_omission(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if isinstance(output, Timeline):
        entries: list[Entry] = list(output.entries)
        gone = entries.pop(dice.randrange(1, len(entries)))
        if gone.evidence.startswith("dep-"):
            return None
        return output.model_copy(update={"entries": entries}), gone.evidence
    if isinstance(output, Report):
        actions: list[Action] = list(output.actions)
        gone_action = actions.pop(dice.randrange(len(actions)))
        return output.model_copy(update={"actions": actions}), gone_action.ticket
    if isinstance(output, Evidence):
        observations = list(output.observations)
        gone_observation = observations.pop(dice.randrange(len(observations)))
        return output.model_copy(update={"observations": observations}), gone_observation.id
    return None


def step_repetition(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    """Say which kind of repetition: a tool call, the rejected output, or an output released before."""
    if not handoff.tools:
        return None
    kinds = ("tools", "rejected", "released") if handoff.step == "writer" else ("tools",)
    return handoff.output, dice.choice(kinds)


def ungrounded_identifier(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if isinstance(output, Report):
        if dice.random() < 0.5:
            first, *others = output.actions
            invented = first.model_copy(update={"ticket": f"OPS-{dice.randrange(8000, 9999)}"})
            return output.model_copy(update={"actions": [invented, *others]}), "actions"
        return output.model_copy(update={"summary": f"{output.summary} See also INC-{dice.randrange(1000, 9999)}."}), "summary"
    if isinstance(output, Cause):
        invented_change = f"dep-{dice.randrange(10_000, 99_999)}"
        return output.model_copy(
            update={
                "change": invented_change,
                "explanation": output.explanation.replace(output.change, invented_change),
            }
        ), "change"
    if isinstance(output, Timeline):
        entries = list(output.entries)
        index = dice.randrange(len(entries))
        entries[index] = entries[index].model_copy(update={"evidence": f"obs-{dice.randrange(1000, 9999)}"})
        return output.model_copy(update={"entries": entries}), "entries"
    return None


def ungrounded_number(dice: Random, handoff: Handoff) -> tuple[Any, str] | None:
    output = handoff.output
    if isinstance(output, Report):
        sentence = dice.choice(
            (
                f" In all {dice.randrange(100, 9000):,} orders were lost.",
                f" The queue held {dice.randrange(20, 900)}k messages.",
                f" Revenue loss is estimated at ${dice.randrange(1_000, 90_000):,}.",
                f" Support answered {dice.randrange(11, 99)} calls.",
            )
        )
        return output.model_copy(update={"summary": output.summary + sentence}), "summary"
    if isinstance(output, Cause):
        sentence = f" CPU was at {round(dice.uniform(11, 99), 1)} % and {dice.randrange(100, 999)} connections were open."
        return output.model_copy(update={"explanation": output.explanation + sentence}), "explanation"
    return None


SEEDED: dict[str, Fault] = {
    "contradiction": contradiction,
    "numerical drift": numerical_drift,
    "context omission": context_omission,
    "step repetition": step_repetition,
    "ungrounded identifier": ungrounded_identifier,
    "ungrounded number": ungrounded_number,
}


def wrong(dice: Random, handoff: Handoff, name: str) -> Handoff | None:
    """Return the hand-off with this fault, or None where it cannot have it."""
    changed = SEEDED[name](dice, handoff)
    if changed is None:
        return None
    output, where = changed
    broken = replace(handoff, output=output, fault=name, where=where)
    if name != "step repetition":
        return broken
    if where == "rejected":
        return replace(broken, rejected=output)
    if where == "released":
        return replace(broken, earlier={**handoff.earlier, "writer": output}, path="writer#3")
    return replace(broken, tools=(*handoff.tools, dice.choice(handoff.tools)))


def handoffs(seed: int = 20261123, incidents: int = 400) -> Iterator[Handoff]:
    """Yield the right hand-offs of each incident, and each with each fault that it can have."""
    dice = Random(seed)
    for _ in range(incidents):
        for handoff in right(dice):
            yield handoff
            for name in SEEDED:
                broken = wrong(dice, handoff, name)
                if broken is not None:
                    yield broken
