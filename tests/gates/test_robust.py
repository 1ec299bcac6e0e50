"""Outputs are foreign text: whatever they hold, a gate answers, and soon."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargehand.supervise.checks import complete, consistent, grounded, no_repeat
from chargehand.supervise.gates import verdict_of
from chargehand.supervise.mentions import mentions_in
from chargehand.supervise.threads import Threads
from chargehand.verdicts import Fact, GateContext, ToolResult

GATES = [consistent(inputs=True), complete(), grounded(derived="any"), grounded(arguments="ignore"), no_repeat()]
FIGURES = st.text(alphabet="0123456789.,:/-% $€aphkmM@'\n", max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=40) | FIGURES | st.datetimes()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(output=VALUES, given_input=VALUES, result=VALUES, unit=st.none() | st.sampled_from(["EUR", "kg", "%", "odd"]))
def test_any_output_gets_a_verdict_that_is_no_crash(output: Any, given_input: Any, result: Any, unit: str | None) -> None:
    """Whatever values come, the built-in gates pass, fail, or abstain for a reason of their own."""
    context = GateContext(
        "run",
        "writer",
        1,
        {"given": given_input},
        tools=[ToolResult("look", {"at": given_input}, result)],
        released={"writer#2": result},
        facts_of=lambda value: [Fact("it", "is", value, unit)],
    )
    for gate in GATES:
        verdict = asyncio.run(verdict_of(gate, output, context, threads=Threads()))
        assert not any("It raised" in reason for reason in verdict.reasons), verdict


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 20000,
        " " * 20000,
        "1," * 10000,
        "a-" * 10000,
        "1" * 20000,
        "a.b" * 10000,
        "about " * 5000,
        "1." * 10000,
        "EUR " * 5000,
        "a" * 10000 + "." * 10000,
        "1:1" * 7000,
        "http://" + "a" * 20000,
        "1" + " " * 10000 + "a@",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """No text, however made, takes more than linear time to read."""
    began = perf_counter()
    mentions_in(f"{text}1@x")
    assert perf_counter() - began < 1
