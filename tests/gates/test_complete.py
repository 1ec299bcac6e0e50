"""`complete`: what the input has and the output must not lose."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from chargehand.supervise.checks import complete
from chargehand.verdicts import Feedback, ToolResult


class Part(BaseModel):
    """A part."""

    sku: str
    quantity: int


PARTS = {"need": {"id": "N-1", "parts": [Part(sku="M8-BOLT", quantity=400), Part(sku="M6-NUT", quantity=20)]}}
CATALOGUE = [ToolResult("search", {"sku": "M8-BOLT"}, [{"id": "Q-101"}, {"id": "Q-102"}])]


@pytest.mark.parametrize(
    ("options", "output", "missing"),
    [
        ({}, [{"sku": "M8-BOLT"}, {"sku": "M6-NUT"}], []),
        ({}, [{"sku": "M8-BOLT"}], ["M6-NUT"]),
        ({}, {"text": "We order m8-bolt and M6-NUT today."}, []),
        ({}, {"text": "We order M8-BOLTS today."}, ["M8-BOLT", "M6-NUT"]),
        ({"required": "need.parts.sku", "carried": "lines.sku"}, {"lines": [{"sku": "M8-BOLT"}], "text": "M6-NUT"}, ["M6-NUT"]),
        ({"required": "need.parts.quantity"}, {"text": "400 and 20 pieces"}, []),
        ({"required": "need.parts.quantity"}, {"text": "4,000 and 20.0 pieces"}, [400]),
        ({"required": "need.id"}, [], ["N-1"]),
        ({"required": "tools.search.id"}, [{"quote": "Q-102"}], ["Q-101"]),
        ({"required": ["need.parts.sku", "tools.search.id"]}, ["M8-BOLT", "Q-101", "Q-102"], ["M6-NUT"]),
        ({"required": lambda context: ["x", "y"]}, ["y"], ["x"]),
        ({"required": lambda context: ["x"], "carried": lambda output: output["in"]}, {"in": [], "out": ["x"]}, ["x"]),
    ],
)
def test_what_is_missing_is_named(ask: Any, options: dict[str, Any], output: Any, missing: list[Any]) -> None:
    """Each required item that the output has lost is named, wherever both are looked for."""
    verdict = ask(complete(**options), output, inputs=PARTS, tools=CATALOGUE)
    assert verdict.outcome == ("fail" if missing else "pass"), verdict.reasons
    if missing:
        assert verdict.mode == "FM-2.4"
        assert verdict.evidence["missing"] == missing
        assert repr(missing[0]) in verdict.reasons[0]


def test_default_takes_the_items_of_lists_by_their_identifying_field(ask: Any) -> None:
    """By default records of lists are known by their identifier, plain items by themselves; paragraphs are no items."""
    inputs = {"orders": [{"order_id": 7, "name": "first"}], "colours": ["red"], "notes": ["x" * 200]}
    verdict = ask(complete(), [], inputs=inputs)
    assert verdict.evidence["missing"] == [7, "red"]


@pytest.mark.parametrize(
    ("options", "inputs", "outcome"),
    [
        ({}, {"text": "no list"}, "abstain"),
        ({}, {"items": []}, "pass"),
        ({"required": "order.lines.sku"}, {"order": {"lines": []}}, "pass"),
        ({"required": "order.lines.sku"}, {"order": {"rows": []}}, "abstain"),
        ({"required": "tools.search.id"}, {}, "abstain"),
        ({"required": lambda context: []}, {}, "pass"),
    ],
)
def test_nothing_required(ask: Any, options: dict[str, Any], inputs: dict[str, Any], outcome: str) -> None:
    """An empty list asks for nothing and passes; a path that leads nowhere is a mistake, and the gate abstains."""
    assert ask(complete(**options), ["a"], inputs=inputs).outcome == outcome


def test_feedback_is_not_to_be_carried_over(ask: Any) -> None:
    """What the supervisor tells an agent about its last attempt is no input to be complete about."""
    feedback = Feedback(2, ("too short",), done_when=("prices",))
    assert ask(complete(), ["red"], inputs={"colours": ["red"], "feedback": feedback}).outcome == "pass"


def test_long_lists_of_findings_are_counted(ask: Any) -> None:
    """A rejection names some findings and counts the rest."""
    verdict = ask(complete(), [], inputs={"ids": [f"id-{n}" for n in range(100, 130)]})
    assert len(verdict.reasons) == 9
    assert "22 more" in verdict.reasons[-1]
    assert len(verdict.evidence["missing"]) == 30
