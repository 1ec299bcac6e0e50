"""`consistent`: what an output asserts against what was released."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from chargehand.errors import DefinitionError
from chargehand.supervise.checks import consistent
from chargehand.verdicts import Fact, ReleasedFact

Value = tuple[Any, ...]


def fact(value: Any, unit: str | None = None, subject: str = "M8-BOLT", attribute: str = "price") -> Fact:
    return Fact(subject, attribute, value, unit)


@pytest.mark.parametrize(
    ("released", "asserted", "kind"),
    [
        (fact(37.4, "%"), fact(37.4, "%"), None),
        (fact(37.4, "%"), fact(0.374, "fraction"), None),
        (fact(37.4, "%"), fact(37, "%"), None),
        (fact(116, "min"), fact(1.9333, "h"), None),
        (fact(3223.3, "kg"), fact(7106.15, "lb"), None),
        (fact(22557, "ms"), fact(22.557, "s"), None),
        (fact(Decimal("12.50"), "EUR"), fact(12.5, "€"), None),
        (fact("1,200", "pieces"), fact(1200, "piece"), None),
        (fact(1200), fact(1200, "pieces"), None),
        (fact("Nordholz GmbH"), fact("nordholz  gmbh"), None),
        (fact(["a", "b"]), fact(("B", "A")), None),
        (fact(date(2026, 11, 3)), fact("2026-11-03"), None),
        (fact(datetime(2026, 11, 3, 5, 11, tzinfo=UTC)), fact("2026-11-03T05:11:00Z"), None),
        (fact(True), fact(True), None),
        (fact(12840, "customers"), fact(12480, "customers"), "Numerical drift"),
        (fact(37.4, "%"), fact(41.2, "%"), "Numerical drift"),
        (fact(22557, "ms"), fact(22557, "s"), "Numerical drift"),
        (fact(1.6), fact(2), "Numerical drift"),
        (fact(100, "EUR"), fact(100, "USD"), "Contradiction"),
        (fact(100, "EUR"), fact(100, "kg"), "Contradiction"),
        (fact("eu-west-1"), fact("us-east-1"), "Contradiction"),
        (fact("00123"), fact("123"), "Contradiction"),
        (fact(True), fact(False), "Contradiction"),
        (fact(date(2026, 11, 3)), fact("2026-11-04"), "Contradiction"),
        (fact(["a", "b"]), fact(["a"]), "Contradiction"),
        (fact(100, "EUR"), fact("a lot", "EUR"), "Contradiction"),
    ],
)
def test_facts_against_released_facts(ask: Any, released: Fact, asserted: Fact, kind: str | None) -> None:
    """A fact agrees in whatever unit, wording or rounding; contradiction and numerical drift are told apart."""
    verdict = ask(consistent(), 1, facts_of=lambda out: [asserted], facts=[ReleasedFact(released, "analyst")])
    assert verdict.outcome == ("fail" if kind else "pass"), verdict.reasons
    if kind:
        assert verdict.mode == "FM-2.5"
        assert verdict.reasons[0].startswith(kind)
        assert "'analyst' released" in verdict.reasons[0]
        assert verdict.evidence[0]["path"] == "analyst"


def test_a_rejection_cites_both_sides_and_the_likely_slip(ask: Any) -> None:
    """A rejection names both values and, where the factor gives it away, the unit as the likely slip."""
    known = [ReleasedFact(fact(22557, "ms"), "collector")]
    verdict = ask(consistent(), 1, facts_of=lambda out: [fact(22557, "s")], facts=known)
    assert "22557 s" in verdict.reasons[0]
    assert "22557 ms" in verdict.reasons[0]
    assert "factor of 1000" in verdict.reasons[0]


def test_same_subject_in_other_case_is_the_same(ask: Any) -> None:
    """Subjects and attributes are compared without case and extra blanks."""
    known = [ReleasedFact(fact(5), "a")]
    verdict = ask(consistent(), 1, facts_of=lambda out: [fact(9, None, "m8-bolt ", "Price")], facts=known)
    assert verdict.outcome == "fail"


def test_other_subjects_are_not_compared(ask: Any) -> None:
    """Facts about other things do not disagree."""
    known = [ReleasedFact(fact(5), "a")]
    assert ask(consistent(), 1, facts_of=lambda out: [fact(9, None, "M6-NUT")], facts=known).outcome == "pass"


def test_the_newest_released_fact_counts(ask: Any) -> None:
    """A fact that a later release changed is compared with the later one."""
    known = [ReleasedFact(fact(5), "a"), ReleasedFact(fact(6), "b")]
    assert ask(consistent(), 1, facts_of=lambda out: [fact(6)], facts=known).outcome == "pass"


def test_an_output_must_not_contradict_itself(ask: Any) -> None:
    """Two facts of one output that disagree are a contradiction too."""
    verdict = ask(consistent(), 1, facts_of=lambda out: [fact("red"), fact("blue")])
    assert "the same output also says 'red'" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("options", "value", "outcome"),
    [
        ({"tolerance": 0.05}, 104, "pass"),
        ({"tolerance": 0.05}, 110, "fail"),
        ({"tolerance": {"price": 0.2}}, 110, "pass"),
        ({"tolerance": {"weight": 0.2}}, 110, "fail"),
        ({"ignore": ["Price"]}, 999, "pass"),
        ({}, 100.4, "pass"),
        ({"rounding": False}, 100.4, "fail"),
    ],
)
def test_tolerance_rounding_and_ignored_attributes(ask: Any, options: dict[str, Any], value: float, outcome: str) -> None:
    """What may differ is declared: how far, whether by rounding, and which attributes may change."""
    known = [ReleasedFact(fact(100), "a")]
    assert ask(consistent(**options), 1, facts_of=lambda out: [fact(value)], facts=known).outcome == outcome


def test_inputs_can_assert_facts_too(ask: Any) -> None:
    """With ``inputs=True`` what the agent was given counts as established."""
    gate = consistent(inputs=True)
    verdict = ask(gate, 9, facts_of=lambda value: [fact(value)], inputs={"order": 5})
    assert "'input order' released" in verdict.reasons[0]
    assert ask(consistent(), 9, facts_of=lambda value: [fact(value)], inputs={"order": 5}).outcome == "pass"


def test_first_output_of_a_run_passes(ask: Any) -> None:
    """Who speaks first contradicts nobody."""
    assert ask(consistent(), 1, facts_of=lambda out: [fact(5)]).outcome == "pass"


def test_without_declared_facts_it_abstains(ask: Any) -> None:
    """An agent that declares no facts has given the gate nothing to do, and is told so."""
    verdict = ask(consistent(), 1)
    assert verdict.outcome == "abstain"
    assert "facts=" in verdict.reasons[0]


def test_units_it_does_not_know_are_not_guessed(ask: Any) -> None:
    """Two unknown units that differ cannot be compared: it abstains."""
    known = [ReleasedFact(fact(5, "pallets"), "a")]
    assert ask(consistent(), 1, facts_of=lambda out: [fact(120, "boxes")], facts=known).outcome == "abstain"


def test_facts_function_that_breaks_is_an_abstention(ask: Any) -> None:
    """A facts= function that raises is no pass."""
    assert ask(consistent(), 1, facts_of=lambda out: [out.missing]).outcome == "abstain"


def test_negative_tolerance_is_refused() -> None:
    """A tolerance below zero is refused at definition."""
    with pytest.raises(DefinitionError, match="cannot be negative"):
        consistent(tolerance=-0.1)
