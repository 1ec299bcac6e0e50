"""What a text mentions is found, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from chargehand.supervise.mentions import leaves, mentions_in, mentions_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("42,858 customers", [("number", "42,858")]),
        ("net 14.919,43 GBP", [("number", "14.919,43 GBP")]),
        ("$35,102 lost", [("number", "$35,102")]),
        ("GBP -7702.88", [("number", "GBP 7702.88")]),
        ("28.5 % or 28.5% or 28.5 percent", [("number", "28.5 %")] * 2 + [("number", "28.5 percent")]),
        ("1 h 56 min", [("number", "1 h 56 min")]),
        ("a 25-minute outage", [("number", "25 minute")]),
        ("20k messages, 1.2 million users", [("number", "20k"), ("number", "1.2 million")]),
        ("INC-80691 and dep-2209", [("identifier", "INC-80691"), ("identifier", "dep-2209")]),
        ("RE-2026-6283, KS/197/26, INV98623", [("identifier", "RE-2026-6283"), ("identifier", "KS/197/26"), ("identifier", "INV98623")]),
        ("event 00000256", [("identifier", "00000256")]),
        ("write to nia.johnson@atlas.com.", [("identifier", "nia.johnson@atlas.com")]),
        ("see https://example.org/a/12?b=c.", [("identifier", "https://example.org/a/12?b=c")]),
        ("plots/2023-09-04_visits.png", [("identifier", "plots/2023-09-04_visits.png")]),
        ("on 2026-11-23", [("date", "2026-11-23")]),
        ("on October 28, 2026: late", [("date", "October 28, 2026")]),
        ("on 28 October", [("date", "28 October")]),
        ("due 28.10.2026", [("date", "28.10.2026")]),
        ("sent 11/26", [("date", "11/26")]),
        ("at 5:11 AM", [("time", "5:11 AM")]),
        ("at 05:36 UTC, or 3pm", [("time", "05:36"), ("time", "3pm")]),
        ("p99 rose, GPT-4, COVID-19, v2, 24/7", []),
        ("1. First\n2) Second\nStep 3", []),
        ("the 3rd and 4th try", []),
        ("no digits at all", []),
    ],
)
def test_mentions_of_a_text(text: str, found: list[tuple[str, str]]) -> None:
    """Numbers, identifiers, dates and times are found in running text; list marks, ordinals and names are not."""
    assert sorted((one.kind, one.text) for one in mentions_in(text)) == sorted(found)


def test_short_tokens_count_where_the_sources_have_their_like() -> None:
    """A token of few digits is an identifier when a source has one that differs only in its digits."""
    assert mentions_in("SEV2") == []
    assert [one.kind for one in mentions_in("SEV2", skeletons={"sev#"})] == ["identifier"]


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("1,200", (1200, Decimal("1.2"))),
        ("1.200", (Decimal("1.2"), 1200)),
        ("1.234,56", (Decimal("1234.56"),)),
        ("1,234.56", (Decimal("1234.56"),)),
        ("12,5", (Decimal("12.5"),)),
        ("1'200'000", (1200000,)),
        ("20k", (20000,)),
    ],
)
def test_figures_are_read_the_english_way_first(text: str, readings: tuple[Any, ...]) -> None:
    """A figure that can be read in two ways has both readings, the English one first."""
    (mention,) = mentions_in(text)
    assert mention.readings == readings


class Mood(Enum):
    """An enumeration."""

    GOOD = "good-1234"


@dataclass
class Parcel:
    """A record with a unit beside a number."""

    weight: float
    weight_unit: str


class Report(BaseModel):
    """A model of everything that holds something."""

    duration_minutes: float
    parcels: list[Parcel]
    mood: Mood
    at: datetime
    flags: dict[str, bool]
    nothing: None = None


def test_leaves_of_any_value() -> None:
    """Models, dataclasses, mappings, lists and enumerations are walked through; units stand beside or in the name."""
    at = datetime(2026, 11, 23, 5, 11, tzinfo=UTC)
    report = Report(duration_minutes=25, parcels=[Parcel(3.5, "kg")], mood=Mood.GOOD, at=at, flags={"a1": True})
    found = [(leaf.path, leaf.value, leaf.unit) for leaf in leaves(report)]
    assert found == [
        ("duration_minutes", 25.0, "minutes"),
        ("parcels[0].weight", 3.5, "kg"),
        ("parcels[0].weight_unit", "kg", None),
        ("mood", "good-1234", None),
        ("at", at, None),
        ("flags.a1", "a1", None),
    ]
    assert [one.kind for leaf in leaves(report) for one in mentions_of(leaf)] == ["number", "number", "identifier", "date", "time"]
