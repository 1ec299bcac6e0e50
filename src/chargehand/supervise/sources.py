"""What an agent could have known: an index of its inputs and of what its tools returned in this attempt.

Sources are read generously (see ``mentions``): every way to read a figure counts, every list counts its items, and the
digits inside an identifier ground the bare number too ("ticket 4812" for ``OPS-4812``).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

from chargehand.supervise.mentions import Leaf, Mention, fields_of, items_of, leaves, mentions_in, mentions_of, skeleton_of
from chargehand.supervise.units import DRIFT, factors_of, number_of, unit_of
from chargehand.verdicts import Feedback, GateContext

_WORD = re.compile(r"[^\W_]+(?:[-_/.:][^\W_]+)*")
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"\d{3,}")
_ROUNDED_FACTOR = Decimal("1e-4")
"""The relative deviation that is allowed after a conversion: people convert with rounded factors (2.2 lb to the kg)."""
_LONG = 500
"""Characters from which a source's text is remembered with what it mentions."""
_PAIRS_AT_MOST = 20_000
"""Pairs of numbers that are combined at most when derived figures are allowed."""


class Sources:
    """Index values so that identifiers, numbers, dates and times can be looked up. What is not asked costs nothing."""

    def __init__(self, values: Iterable[tuple[str, Any]]) -> None:
        self.values = list(values)
        self.leaves = [leaf for name, value in self.values for leaf in leaves(value, name)]
        self.text = "\n".join(str(leaf.value) for leaf in self.leaves).casefold()

    @cached_property
    def skeletons(self) -> frozenset[str]:
        """The tokens that have digits, with these taken out."""
        return frozenset(skeleton_of(word) for word in _WORD.findall(self.text) if not word.isalpha() and _DIGIT.search(word))

    @cached_property
    def mentions(self) -> list[Mention]:
        found: list[Mention] = []
        for leaf in self.leaves:
            if isinstance(leaf.value, str) and len(leaf.value) > _LONG:
                found.extend(_mentions_in_long(leaf.value, leaf.path))
            else:
                found.extend(mentions_of(leaf, self.skeletons))
        return found

    @cached_property
    def dates(self) -> frozenset[tuple[int, int, int]]:
        return frozenset(reading for one in self.mentions if one.kind == "date" for reading in one.readings)

    @cached_property
    def times(self) -> frozenset[tuple[int, int]]:
        return frozenset(reading for one in self.mentions if one.kind == "time" for reading in one.readings)

    @cached_property
    def numbers(self) -> list[float]:
        return sorted(_numbers(self.mentions) | _counts(self.values))

    def has_identifier(self, identifier: str) -> bool:
        """Say whether an identifier occurs as a whole, in any case of letters."""
        return occurs(identifier, self.text)

    def has_date(self, date: tuple[int, int, int]) -> bool:
        """Say whether a day occurs; where one side gives no year, the day and month are enough."""
        year, month, day = date
        return any(day == d and month == m and (not year or not y or year == y) for y, m, d in self.dates)

    def has_year(self, year: Decimal) -> bool:
        """Say whether a number is the year of a day that occurs."""
        return any(year == known for known, _, _ in self.dates)

    def has_number(self, mention: Mention, *, tolerance: Decimal, derived: bool) -> bool:
        """Say whether a number occurs: as it is, rounded to the digits it shows, or in another unit.

        Of the ways to read a figure only the first counts here: an output is read strictly.
        """
        unit = unit_of(mention.unit)
        ratios = (Decimal(1),) if unit is None else tuple(unit.factor / factor for factor in factors_of(unit.dimension))
        for ratio in ratios:
            number, last_digit = abs(mention.readings[0] * ratio), mention.last_digit * ratio
            slack = tolerance if ratio == 1 else max(tolerance, _ROUNDED_FACTOR)
            if near(self.numbers, number, last_digit, slack):
                return True
            if derived and near(self.derived, number, last_digit, slack):
                return True
        return False

    def nearest(self, mention: Mention) -> str | None:
        """Say which of the sources' mentions is most like one that has no source, and where it stands."""
        alike = [one for one in self.mentions if one.kind == mention.kind]
        if mention.kind == "number":
            said = abs(mention.readings[0])
            alike = [one for one in alike if _is_slip(said, abs(one.readings[0]))]
            found = min(alike, key=lambda one: abs(abs(one.readings[0]) - said), default=None)
        elif mention.kind == "identifier":
            names = get_close_matches(mention.text, [one.text for one in alike], n=1, cutoff=0.6)
            found = next((one for one in alike if one.text in names), None)
        else:
            return None
        return None if found is None else f"The nearest is {found.text!r} at {found.where}"

    @cached_property
    def derived(self) -> list[float]:
        """Sums, means, differences and shares of numbers that belong together, and the time between two dates."""
        return sorted(set(islice(_derived_from(self.values), _PAIRS_AT_MOST)))


@lru_cache(maxsize=64)
def _mentions_in_long(text: str, path: str) -> tuple[Mention, ...]:
    """Read a long text once: the same policy or document is a source of every attempt."""
    return tuple(mentions_in(text, path))


def occurs(identifier: str, text: str) -> bool:
    """Say whether a casefolded text has an identifier as a whole."""
    wanted, start = identifier.casefold(), 0
    while (at := text.find(wanted, start)) >= 0:
        before, after = text[at - 1 : at], text[at + len(wanted) : at + len(wanted) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        start = at + 1
    return False


def ungrounded_arguments(context: GateContext, skeletons: Set[str]) -> Iterator[tuple[str, Mention]]:
    """Yield the identifiers that a tool was given before an input or a result had them, with the tool.

    What was passed once is not reported again.
    """
    known = Sources(_inputs_of(context)).text
    for call in context.tools:
        for leaf in leaves(call.arguments):
            for mention in mentions_of(leaf, skeletons):
                if mention.kind == "identifier" and not occurs(mention.text, known):
                    yield call.tool, mention
        for value in (call.arguments, call.result):
            known += "\n" + "\n".join(str(leaf.value) for leaf in leaves(value)).casefold()


def sources_of(context: GateContext, *, released: bool, arguments: bool) -> list[tuple[str, Any]]:
    """Return the named values that an agent could have known.

    Of the feedback only answers and earlier effects are sources: its reasons quote what was wrong.
    """
    values = _inputs_of(context)
    for call in context.tools:
        values.append((f"tools.{call.tool}", call.result))
        if arguments:
            values.append((f"tools.{call.tool}", call.arguments))
    if released:
        values.extend((f"released.{path}", value) for path, value in context.released.items())
    return values


def _is_slip(said: Decimal, known: Decimal) -> bool:
    """Say whether a number looks like another one mistyped: nearly the same, or of the same digits."""
    digits = [sorted(f"{number.normalize():f}".replace(".", "").strip("0")) for number in (said, known)]
    return abs(known - said) <= said / 10 or digits[0] == digits[1]


def _inputs_of(context: GateContext) -> list[tuple[str, Any]]:
    values: list[tuple[str, Any]] = []
    for name, value in context.inputs.items():
        if isinstance(value, Feedback):
            values.append((name, [answer for _, answer in value.answers]))
            values.append((name, [effect.get("result") for effect in value.already_done]))
        else:
            values.append((name, value))
    return values


def near(numbers: Sequence[float], wanted: Decimal, last_digit: Decimal, tolerance: Decimal) -> bool:
    """Say whether sorted numbers have one that `wanted` is, rounded to its last digit or within the tolerance."""
    exact = float(wanted)
    slack = max(float(min(last_digit / 2, wanted * DRIFT)), float(tolerance) * exact, exact * 1e-9)
    at = bisect_left(numbers, exact - slack * 1.000001)
    return at < len(numbers) and numbers[at] <= exact + slack * 1.000001


def _numbers(mentions: Iterable[Mention]) -> set[float]:
    found: set[float] = set()
    for one in mentions:
        if one.kind == "number":
            found.update(abs(float(reading)) for reading in one.readings)
        elif one.kind == "identifier":
            found.update(float(run) for run in _DIGITS.findall(one.text) if len(run) < 16)
    return found


def _counts(values: Iterable[tuple[str, Any]]) -> set[float]:
    """Return how many items each list has."""
    return {float(len(items)) for _, value in values for items in lists_in(value)}


def lists_in(value: Any) -> Iterator[list[Any]]:
    """Yield every list in a value, outer ones first."""
    fields, items = fields_of(value), items_of(value)
    if fields is not None:
        for inner in fields.values():
            yield from lists_in(inner)
    elif items is not None:
        yield items
        for inner in items:
            yield from lists_in(inner)


# -- derived figures ----------


def _derived_from(values: Iterable[tuple[str, Any]]) -> Iterator[float]:
    """Yield sums, differences and shares of numbers that belong together: in one column or in one record."""
    columns: dict[str, list[float]] = {}
    days: list[datetime] = []
    for name, value in values:
        for leaf in leaves(value, name):
            for number in _numbers_of(leaf):
                columns.setdefault(re.sub(r"\[\d+\]", "[]", leaf.path), []).append(number)
            days.extend(_moments_of(leaf))
    for _, value in values:
        for items in lists_in(value):
            yield from _subtotals([record for item in items if (record := fields_of(item)) is not None])
    for column in columns.values():
        yield abs(sum(column))
        yield abs(sum(column)) / len(column)
        yield from _pairs(column, combined)
    yield from _pairs([number for column in columns.values() for number in column[:1]], combined)
    yield from _pairs(days, _apart)


def _subtotals(records: Sequence[Mapping[Any, Any]]) -> Iterator[float]:
    """Yield the sums of each number of the records by each of their labels: the amounts by currency, by vendor."""
    sums: dict[tuple[Any, Any, str], float] = {}
    for record in records:
        labels = [(name, value) for name, value in record.items() if isinstance(value, str)]
        for name, value in record.items():
            number = number_of(value)
            for label, text in labels if number is not None else ():
                key = (name, label, text)
                sums[key] = sums.get(key, 0.0) + float(number or 0)
    yield from map(abs, sums.values())


def _numbers_of(leaf: Leaf) -> list[float]:
    plain = number_of(leaf.value)
    if plain is not None:
        return [float(plain)]
    return [float(one.readings[0]) for one in mentions_of(leaf) if one.kind == "number"]


def _moments_of(leaf: Leaf) -> list[datetime]:
    if isinstance(leaf.value, datetime):
        return [leaf.value.replace(tzinfo=None)]
    days = [reading for one in mentions_of(leaf) if one.kind == "date" for reading in one.readings if reading[0]]
    clocks = [reading for one in mentions_of(leaf) if one.kind == "time" for reading in one.readings]
    try:
        return [datetime(*day, *(clocks[0] if clocks else (0, 0))) for day in days]
    except ValueError:
        return []


def _pairs(members: Sequence[Any], combine: Callable[[Any, Any], Iterator[float]]) -> Iterator[float]:
    for index, one in enumerate(members):
        for other in members[index + 1 :]:
            yield from combine(one, other)


def combined(one: float, other: float) -> Iterator[float]:
    """Yield what is commonly made of two numbers: difference, sum, share and growth in percent."""
    yield abs(one - other)
    yield abs(one + other)
    for part, whole in ((one, other), (other, one)):
        if whole:
            yield abs(100 * part / whole)
            yield abs(100 * (part - whole) / whole)


def _apart(one: datetime, other: datetime) -> Iterator[float]:
    gap = abs(one - other)
    for length in (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)):
        yield gap / length


__all__ = ["Sources", "combined", "lists_in", "near", "sources_of", "ungrounded_arguments"]
