"""`no_repeat`: no call and no output twice."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand.supervise.checks import no_repeat
from chargehand.verdicts import Feedback, ToolResult

LONG = {"text": "A report that is long enough to be recognised when it comes back."}


def call(tool: str, result: Any = None, **arguments: Any) -> ToolResult:
    return ToolResult(tool, arguments, result)


@pytest.mark.parametrize(
    ("options", "tools", "outcome"),
    [
        ({}, [], "pass"),
        ({}, [call("find", a=1), call("find", a=2)], "pass"),
        ({}, [call("find", a=1), call("look", a=1)], "pass"),
        ({}, [call("find", a=1, b=[2]), call("find", b=[2], a=1)], "fail"),
        ({}, [call("find", "x", a=1), call("find", "y", a=1)], "fail"),
        ({"polling": ["status"]}, [call("status"), call("status")], "pass"),
        ({"polling": ["status"]}, [call("status"), call("find"), call("find")], "fail"),
        ({"calls_at_most": None}, [call("find"), call("find")], "pass"),
        ({"calls_at_most": 2}, [call("find"), call("find")], "pass"),
    ],
)
def test_repeated_calls(ask: Any, options: dict[str, Any], tools: list[ToolResult], outcome: str) -> None:
    """The same tool with the same arguments, in whatever order, is a repetition, unless the tool is polled."""
    verdict = ask(no_repeat(**options), "fine", tools=tools)
    assert verdict.outcome == outcome
    if outcome == "fail":
        assert verdict.mode == "FM-1.3"
        assert "was called 2 times" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("options", "path", "known", "outcome"),
    [
        ({}, "writer#2", {"released": {"writer": LONG}}, "fail"),
        ({}, "saga.1/writer", {"released": {"gather.1/writer": LONG}}, "fail"),
        ({}, "editor", {"released": {"writer": LONG}}, "pass"),
        ({}, "writer", {"released": {"writer": LONG}}, "pass"),
        ({"outputs": False}, "writer#2", {"released": {"writer": LONG}}, "pass"),
        ({"shortest": 500}, "writer#2", {"released": {"writer": LONG}}, "pass"),
        ({}, "writer", {"inputs": {"feedback": Feedback(2, output=LONG)}}, "fail"),
        ({}, "writer", {"inputs": {"feedback": Feedback(2, output={"text": "other"})}}, "pass"),
    ],
)
def test_repeated_outputs(ask: Any, options: dict[str, Any], path: str, known: dict[str, Any], outcome: str) -> None:
    """An output is a repetition of the rejected one, or of a long one that the same agent released."""
    assert ask(no_repeat(**options), dict(LONG), **{"path": path, **known}).outcome == outcome


def test_short_outputs_may_come_twice(ask: Any) -> None:
    """A yes may be said twice, but not after it was rejected."""
    assert ask(no_repeat(), "yes", path="writer#2", released={"writer": "yes"}).outcome == "pass"
    assert ask(no_repeat(), "yes", inputs={"feedback": Feedback(2, output="yes")}).outcome == "fail"
