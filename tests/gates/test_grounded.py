"""`grounded`: what an output mentions must come from somewhere."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from chargehand.errors import DefinitionError
from chargehand.supervise.checks import grounded
from chargehand.verdicts import Feedback, ToolResult

INPUTS = {
    "incident": {"id": "INC-80691", "severity": "SEV2", "opened": datetime(2026, 11, 3, 5, 11, tzinfo=UTC)},
    "peak": {"error_rate": 28.5, "error_rate_unit": "%", "latency_ms": 22557, "customers": 42858},
    "due": date(2026, 12, 8),
    "lines": ["Net 14.919,43 EUR", "weight 3223.3 kg"],
}
TOOLS = [ToolResult("tickets", {"service": "checkout"}, [{"id": "OPS-6830"}, {"id": "OPS-7217"}, {"id": "OPS-7300"}])]


@pytest.mark.parametrize(
    ("output", "ungrounded"),
    [
        ("INC-80691 was a SEV2; see ops-6830.", []),
        ("42,858 customers saw 28.5 % errors, about 28 % in the end.", []),
        ("p99 22.6 s, that is 22,557 ms", []),
        ("some 43,000 customers", []),
        ("It began at 5:11 AM on November 3, 2026 and is due December 8.", []),
        ("It began at 05:11 UTC on 2026-11-03.", []),
        ("Net 14,919.43 EUR for 7106.15 lb", []),
        ({"customers": 42858, "error_rate": 0.285, "error_rate_unit": "fraction"}, []),
        ({"amount": Decimal("14919.43"), "latency_seconds": 22.557}, []),
        ("1. Three tickets are open, 3 in all: 100 % of those in 2026.", []),
        ("ticket 6830", []),
        ("OPS-6830/OPS-7217/OPS-7300 are open", []),
        ("OPS-6830/OPS-7218 are open", ["OPS-6830/OPS-7218"]),
        ("", []),
        ("Nothing to see here", []),
        ("OPS-9999 is open", ["OPS-9999"]),
        ("It was a SEV1", ["SEV1"]),
        ("42,885 customers", ["42,885"]),
        ("Revenue loss is $35,102", ["$35,102"]),
        ("28.7 % errors", ["28.7 %"]),
        ("at 6:11 AM", ["6:11 AM"]),
        ("due December 9", ["December 9"]),
        ("ask nia@example.com", ["nia@example.com"]),
        ({"tickets": [{"id": "OPS-1111"}]}, ["OPS-1111"]),
        ("43000 customers", ["43000"]),
        ("42 858 thousand customers and 30 calls", ["42", "858 thousand", "30"]),
    ],
)
def test_mentions_against_sources(ask: Any, output: Any, ungrounded: list[str]) -> None:
    """Identifiers, numbers, dates and times of an output are found in inputs and results, however written, or named."""
    verdict = ask(grounded(), output, inputs=INPUTS, tools=TOOLS)
    assert [one["text"] for one in verdict.evidence or []] == ungrounded
    assert verdict.outcome == ("fail" if ungrounded else "pass")
    if ungrounded:
        assert verdict.mode == "FM-3.2"
        assert repr(ungrounded[0]) in verdict.reasons[0]
        assert "tools.tickets" in verdict.reasons[0] or "The nearest is" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("output", "nearest"),
    [
        ("42,885 customers", "'42858' at peak.customers"),
        ("428.58 customers", "'42858' at peak.customers"),
        ("OPS-7218", "'OPS-7217' at tools.tickets[1].id"),
        ("Revenue loss is $35,102", None),
    ],
)
def test_the_likely_source_is_named(ask: Any, output: str, nearest: str | None) -> None:
    """What looks like a slip is shown with what it was probably meant to be, and where that stands."""
    verdict = ask(grounded(), output, inputs=INPUTS, tools=TOOLS)
    assert (nearest or "Known are: incident") in verdict.reasons[0]


@pytest.mark.parametrize(
    ("options", "output", "outcome"),
    [
        ({"numbers": False}, "99,999 customers", "pass"),
        ({"dates": False}, "due December 9 at 6:12", "pass"),
        ({"tolerance": 0.01}, "43,000 customers", "pass"),
        ({"ignore": ["account"]}, {"lines": [{"account": "1600"}]}, "pass"),
        ({"small": 0}, "5 tickets", "fail"),
        ({"small": 50}, "30 calls", "pass"),
    ],
)
def test_options_say_what_is_looked_at(ask: Any, options: dict[str, Any], output: Any, outcome: str) -> None:
    """What is not to be looked at, and how exactly, is declared."""
    assert ask(grounded(**options), output, inputs=INPUTS, tools=TOOLS).outcome == outcome


LINES = [
    {"currency": "EUR", "amount": 120.5, "booked": 100.0},
    {"currency": "EUR", "amount": 79.5, "booked": 79.5},
    {"currency": "USD", "amount": 60.0, "booked": 75.0},
]


@pytest.mark.parametrize(
    "text",
    [
        "260 in all",
        "200 EUR in all",
        "86.7 on average",
        "a difference of 20.5",
        "growth of 25 %",
        "26 days",
    ],
)
def test_derived_figures_are_an_option(ask: Any, text: str) -> None:
    """Sums, subtotals, means, differences, growth and spans of days are accepted when that is asked for, and only then."""
    inputs = {"lines": LINES, "from": "2026-10-02", "to": date(2026, 10, 28)}
    assert ask(grounded(), text, inputs=inputs).outcome == "fail"
    assert ask(grounded(derived="any"), text, inputs=inputs).outcome == "pass"


@pytest.mark.parametrize(
    "output",
    [
        [{"invoiced": 17903.32, "booked": 16000.0, "difference": 1903.32}],
        {"invoiced": 17903.32, "booked": 16000.0, "sum": 33903.32},
        "17,903.32 less 16,000.00 leaves 1,903.32, that is 10.6 %.",
        "16,000 of 17,903.32 is 89.4 %, so 10.6 % is open.",
    ],
)
def test_derived_of_what_stands_beside_it(ask: Any, output: Any) -> None:
    """A figure may be made of two grounded ones in its own record or text, though they come from different sources."""
    known: dict[str, Any] = {"inputs": {"total": 17903.32}, "tools": [ToolResult("ledger", {}, {"amount": 16000.0})]}
    assert ask(grounded(), output, **known).outcome == "pass"
    assert ask(grounded(derived="none"), output, **known).outcome == "fail"


def test_an_invented_figure_does_not_ground_others(ask: Any) -> None:
    """What is made of a figure that has no source has none either."""
    output = "17,903.32 less 15,000.00 leaves 2,903.32."
    verdict = ask(grounded(), output, inputs={"total": 17903.32})
    assert [one["text"] for one in verdict.evidence] == ["15,000.00", "2,903.32"]


@pytest.mark.parametrize("options", [{"arguments": "never"}, {"derived": True}])
def test_unknown_options_are_refused(options: dict[str, Any]) -> None:
    """An option that is not one of its choices is refused at definition."""
    with pytest.raises(DefinitionError, match="is not one of"):
        grounded(**options)


@pytest.mark.parametrize(
    ("arguments", "text", "found"),
    [
        ("check", "Written to nia@example.com.", ["nia@example.com"]),
        ("trust", "Written to nia@example.com.", []),
        ("ignore", "Written to nia@example.com.", ["nia@example.com"]),
        ("check", "Written to ana@example.org on 2026-12-08.", ["nia@example.com"]),
        ("ignore", "Written to ana@example.org on 2026-12-08.", ["2026-12-08"]),
    ],
)
def test_arguments_of_tool_calls(ask: Any, arguments: Any, text: str, found: list[str]) -> None:
    """What was passed to a tool may be repeated; identifiers in it must come from an input or an earlier result."""
    tools = [
        ToolResult("find", {"name": "ana"}, "ana@example.org"),
        ToolResult("send", {"to": "ana@example.org", "on": "2026-12-08"}, "sent"),
        ToolResult("send", {"to": "nia@example.com"}, "sent"),
    ]
    verdict = ask(grounded(arguments=arguments), text, inputs={"request": "write to ana"}, tools=tools)
    assert [one["text"] for one in verdict.evidence or []] == found


def test_an_argument_is_not_grounded_by_a_later_result(ask: Any) -> None:
    """A look-up that comes after the call does not excuse it."""
    look_up = ToolResult("find", {}, "nia@example.com")
    send = ToolResult("send", {"to": "nia@example.com"}, "sent")
    assert ask(grounded(), "done", tools=[look_up, send]).outcome == "pass"
    verdict = ask(grounded(), "done", tools=[send, look_up])
    assert "was passed to send" in verdict.reasons[0]


def test_reasons_of_feedback_ground_nothing(ask: Any) -> None:
    """The rejection that quotes a wrong value does not make it right; a person's answer does."""
    feedback = Feedback(2, ("'OPS-9999' occurs in no source",), output="OPS-9999", answers=(("Which?", "OPS-4242"),))
    assert ask(grounded(), "OPS-9999", inputs={"feedback": feedback}).outcome == "fail"
    assert ask(grounded(), "OPS-4242", inputs={"feedback": feedback}).outcome == "pass"


def test_released_outputs_are_sources_by_option(ask: Any) -> None:
    """What other agents released counts when the gate is told that the agent knows it."""
    known = {"released": {"researcher": {"id": "Q-1001"}}}
    assert ask(grounded(), "Q-1001", **known).outcome == "fail"
    assert ask(grounded(released=True), "Q-1001", **known).outcome == "pass"
