"""Facts that outputs assert: when two are about the same thing, and whether they agree.

Numbers with a unit are quantities and are compared in one unit; everything else is compared as text, as a point in time
or as a set of items. Two kinds of disagreement are told apart, as in Kim et al. (arXiv 2512.08296): a *contradiction*
says something else, *numerical drift* says the same with another figure.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from chargehand.supervise.findings import as_text
from chargehand.supervise.mentions import Leaf, items_of, mentions_of
from chargehand.supervise.units import last_digit_of, number_of, same_figure, unit_of
from chargehand.verdicts import Fact, ReleasedFact

Disagreement = Literal["contradiction", "numerical drift", "unclear"]


def topic_of(fact: Fact) -> tuple[str, str]:
    return " ".join(str(fact.subject).casefold().split()), " ".join(fact.attribute.casefold().split())


def disagreement(fact: Fact, earlier: Fact, tolerance: Decimal, rounding: bool) -> Disagreement | None:
    """Return None when both say the same, else "contradiction", "numerical drift", or "unclear"."""
    ours, theirs = _figure_of(fact), _figure_of(earlier)
    if ours is None or theirs is None:
        return None if _same_value(fact.value, earlier.value) else "contradiction"
    our_unit, their_unit = unit_of(fact.unit), unit_of(earlier.unit)
    if our_unit is None or their_unit is None:
        ratio = Decimal(1)
    elif our_unit.dimension == their_unit.dimension:
        ratio = our_unit.factor / their_unit.factor
    elif our_unit.dimension.startswith("named:") or their_unit.dimension.startswith("named:"):
        return "unclear"
    else:
        return "contradiction"
    coarser = max(last_digit_of(ours) * ratio, last_digit_of(theirs)) if rounding else None
    return None if same_figure(ours * ratio, theirs, tolerance=tolerance, last_digit=coarser) else "numerical drift"


def _figure_of(fact: Fact) -> Decimal | None:
    """Return a fact's number; a text counts as one when the fact has a unit."""
    number = number_of(fact.value)
    if number is None and fact.unit and isinstance(fact.value, str):
        readings = [one for one in mentions_of(Leaf("", fact.value)) if one.kind == "number"]
        return readings[0].readings[0] if len(readings) == 1 else None
    return number


def _same_value(one: Any, other: Any) -> bool:
    one, other = (value.value if isinstance(value, Enum) else value for value in (one, other))
    if isinstance(one, date) or isinstance(other, date):
        return bool(_moment(one) == _moment(other))
    if isinstance(one, str) and isinstance(other, str):
        return plain(one) == plain(other)
    ours, theirs = items_of(one), items_of(other)
    if ours is not None and theirs is not None:
        return sorted(map(plain, ours)) == sorted(map(plain, theirs))
    equal: object = one == other
    return equal is True or plain(one) == plain(other)


def _moment(value: Any) -> Any:
    """Return a point in time as a day with an hour, from a date, a datetime or ISO text."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if isinstance(value, datetime):
        return value.timestamp() if value.tzinfo else value.isoformat()
    return datetime(value.year, value.month, value.day).isoformat() if isinstance(value, date) else value


def plain(value: Any) -> str:
    return " ".join(str(value).casefold().split())


def claim_of(fact: Fact) -> str:
    return f"{fact.attribute} of {fact.subject}: {as_text(fact.value, fact.unit)}"


def disagrees(kind: str, fact: Fact, earlier: ReleasedFact) -> str:
    source = f"{earlier.path!r} released" if earlier.path else "the same output also says"
    theirs = as_text(earlier.fact.value, earlier.fact.unit)
    advice = "Use that value, or say what shows that it is wrong."
    if kind == "numerical drift":
        advice = f"{_how_far(fact, earlier.fact)} {advice}"
    return f"{kind.capitalize()} in {claim_of(fact)}, but {source} {theirs}. {advice}"


def _how_far(fact: Fact, earlier: Fact) -> str:
    """Return how far two figures are apart, and the factor when it is one that units or a lost digit make."""
    ours, theirs = _figure_of(fact), _figure_of(earlier)
    our_unit, their_unit = unit_of(fact.unit), unit_of(earlier.unit)
    if ours is None or theirs is None or not ours or not theirs:
        return "They differ."
    if our_unit is not None and their_unit is not None:
        ours = ours * our_unit.factor / their_unit.factor
    ratio = ours / theirs
    for factor in (10, 60, 100, 1000, 3600, 1_000_000):
        if abs(ratio / factor - 1) < Decimal("1e-6") or abs(ratio * factor - 1) < Decimal("1e-6"):
            return f"They differ by a factor of {factor}: check the unit and the decimal point."
    return f"They differ by {abs(ratio - 1) * 100:.3g} %."


def evidence_of(findings: Iterable[tuple[str, Fact, ReleasedFact]]) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "subject": fact.subject,
            "attribute": fact.attribute,
            "here": {"value": to_jsonable_python(fact.value, fallback=str), "unit": fact.unit},
            "there": {"value": to_jsonable_python(earlier.fact.value, fallback=str), "unit": earlier.fact.unit},
            "path": earlier.path or None,
        }
        for kind, fact, earlier in findings
    ]
