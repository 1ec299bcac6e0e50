"""What a value mentions: identifiers, numbers, dates and times, in its fields and in its free text.

The rules of this file:

1. Outputs are read strictly, sources generously. A number in an output is a claim; the same digits in a source ground
   it in whichever way they can be read ("1.234" is 1.234 here and 1,234 there).
2. A date is not three numbers and an identifier is not a number: they are taken out of a text first, so that the 23 in
   ``2026-11-23`` does not ground "23 customers".
3. A token of letters and digits is an identifier when it has at least three digits, or when a source has a token that
   differs only in the digits (SEV2, SEV3). So "p99" and "COVID-19" are left alone where nothing speaks of them.
4. Nothing is asked of names and words. What has no digit, except an e-mail address or a URL, is not a mention.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast
from uuid import UUID

from pydantic import BaseModel

from chargehand.supervise.units import is_known, last_digit_of, number_of

Kind = Literal["identifier", "number", "date", "time"]


class Leaf(NamedTuple):
    """A value that holds no others: where it stands, and its unit, if its field's name or neighbour says one."""

    path: str
    value: Any
    unit: str | None = None


class Mention(NamedTuple):
    """One identifier, number, date or time: its text, where it stands, and how it can be read.

    `readings` are numbers, ``(year, month, day)`` with year 0 when none is given, or ``(hour, minute)``. `last_digit`
    is the size of one in a number's last shown digit.
    """

    kind: Kind
    text: str
    where: str
    readings: tuple[Any, ...] = ()
    unit: str | None = None
    last_digit: Decimal = Decimal(1)


_PLAIN = frozenset({str, int, float, bool, type(None), Decimal, datetime, date})
"""Types that hold no others, for a quick answer."""

# -- values ----------


def fields_of(value: Any) -> Mapping[Any, Any] | None:
    """Return a record's fields by name, or None when the value is no record."""
    kind = type(value)
    if kind is dict:
        return cast("dict[Any, Any]", value)
    if kind in _PLAIN:
        return None
    if isinstance(value, BaseModel):
        return {**value.__dict__, **(value.__pydantic_extra__ or {})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value if isinstance(value, Mapping) else None


def items_of(value: Any) -> list[Any] | None:
    """Return the items of a list, tuple or set, or None when the value is none of them."""
    kind = type(value)
    if kind is list:
        return cast("list[Any]", value)
    if kind in _PLAIN:
        return None
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray)):
        return list(value)
    return None


def leaves(value: Any, path: str = "", unit: str | None = None) -> Iterator[Leaf]:
    """Yield the values that hold no others, in order. Keys that are no field names are leaves too."""
    fields, items = fields_of(value), items_of(value)
    if fields is not None:
        is_mapping = isinstance(value, Mapping)
        for name, inner in fields.items():
            inner_path = f"{path}.{name}" if path else str(name)
            if is_mapping and _DIGIT.search(str(name)):
                yield Leaf(inner_path, str(name))
            if type(inner) is str:
                yield Leaf(inner_path, inner)
            else:
                yield from leaves(inner, inner_path, _unit_beside(str(name), fields))
    elif items is not None:
        for index, inner in enumerate(items):
            yield from leaves(inner, f"{path}[{index}]", unit)
    elif isinstance(value, Enum):
        yield Leaf(path, value.value, unit)
    elif isinstance(value, UUID):
        yield Leaf(path, str(value))
    elif value is not None and not isinstance(value, (bool, bytes, bytearray)):
        yield Leaf(path, value, unit)


@lru_cache(maxsize=4096)
def _unit_in(name: str) -> str | None:
    last = name.rpartition("_")[2]
    return last if last != name and is_known(last) else None


def _unit_beside(name: str, fields: Mapping[Any, Any]) -> str | None:
    """Return a field's unit by a neighbour (``weight_unit``, ``unit``, ``currency``) or by the end of its own name."""
    own = _unit_in(name)
    if own is not None:
        return own
    for neighbour in (f"{name}_unit", "unit", f"{name}_currency", "currency"):
        unit = fields.get(neighbour)
        if neighbour != name and isinstance(unit, str) and is_known(unit):
            return unit
    return None


# -- text ----------

_MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]
_MONTH_NAME = "(" + "|".join(f"{month}|{month[:3]}" for month in _MONTHS) + r")\b\.?"
_MONTH = re.compile(_MONTH_NAME, re.IGNORECASE)
_ORDINAL = r"(\d{1,2})(?:st|nd|rd|th)?"

_DIGIT = re.compile(r"\d")
_ADDRESS = re.compile(r"https?://[^\s<>()\"'\]]+|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_ISO_DATE = re.compile(r"(?<![\w/-])(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?(?![\w/-])")
_DAY_MONTH = re.compile(rf"(?<![\w.,/-]){_ORDINAL}\s+(?:of\s+)?{_MONTH_NAME}(?:,?\s+(\d{{4}})\b)?", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"\b{_MONTH_NAME}\s+{_ORDINAL}(?!\d|:\d)(?:,?\s+(\d{{4}})\b)?", re.IGNORECASE)
_SHORT_DATE = re.compile(r"(?<![\w./-])(?!24/7\b)(\d{1,2})/(\d{1,2})(?![\w/-]|\.\d)")
_FIGURE_DATE = re.compile(r"(?<![\w./-])(\d{1,2})([./])(\d{1,2})\2(\d{4})(?![\w/-])")
_CLOCK = re.compile(r"(?<![\w:.])(\d{1,2})(?::(\d{2})(?::\d{2})?\s?([ap]\.?m\b\.?)?|\s?([ap]\.?m\b\.?))(?![\w:])", re.IGNORECASE)
_HALF_DAY = re.compile(r"\d\s?[ap]\.?m\b", re.IGNORECASE)
_LONG_TIME = re.compile(r"(?<![\w.,])(\d+)\s?h(?:ours?|rs?)?,?\s+(?:and\s+)?(\d{1,2})\s?m(?:in(?:ute)?s?)?\b", re.IGNORECASE)
_TOKEN = re.compile(r"(?<![\w@])(?<!\d[.,'’])[#$€£]?[A-Za-z0-9]+(?:[-_/.:][A-Za-z0-9]+)*")
_FIGURE = r"\d{1,3}(?P<mark>[,.'’\u202f\u00a0])\d{3}(?:(?P=mark)\d{3})*(?:[.,]\d+)?|\d+(?:[.,]\d+)?"
_NUMBER = re.compile(
    rf"(?P<about>(?:\b(?:about|around|approximately|roughly|nearly|almost|over|circa|some)\s|[~≈])\s?)?"
    rf"(?P<sign>[$€£¥₹]|\b[A-Z]{{3}}\s)?\s?(?<![\w.,])[-−+]?(?P<figure>{_FIGURE})"
    rf"(?:(?P<scale>k|bn|M|\s?thousand|\s?million|\s?billion)\b)?"
    rf"(?:[\s-]?(?P<unit>[%‰€£]|[A-Za-zµ]+))?(?![\w]|[.,]\d)"
)
_LIST_MARK = re.compile(
    r"(?m)^[ \t]{0,40}\(?\d{1,3}[.)](?=\s)|\b\d+(?:st|nd|rd|th)\b|\b24/7\b|\b(?:[Ss]tep|[Oo]ption|[Pp]art|[Ii]tem|[Pp]hase)\s\d{1,2}\b"
)
_SCALES = {"k": 3, "thousand": 3, "M": 6, "million": 6, "bn": 9, "billion": 9}
_SHORT = 3
"""Digits from which a token of letters and digits is taken for an identifier without a like one in the sources."""


def skeleton_of(token: str) -> str:
    """Return a token with its runs of digits taken out: what SEV2 and SEV3 have in common."""
    return re.sub(r"\d+", "#", token.casefold())


def readings_of(figure: str) -> tuple[Decimal, ...]:
    """Return the numbers that a figure can be read as: ``1,200`` is 1200 and, to a German, 1.2."""
    figure = re.sub(r"['’\u202f\u00a0]", "", figure)
    commas, points = figure.count(","), figure.count(".")
    if commas and points:
        decimal = "," if figure.rfind(",") > figure.rfind(".") else "."
        other = "." if decimal == "," else ","
        return (Decimal(figure.replace(other, "").replace(decimal, ".")),)
    mark = "," if commas else "." if points else ""
    if not mark:
        return (Decimal(figure),)
    if commas + points > 1:
        return (Decimal(figure.replace(mark, "")),)
    whole, _, rest = figure.partition(mark)
    plain, grouped = Decimal(f"{whole}.{rest}"), Decimal(whole + rest)
    if len(rest) != 3 or whole == "0":
        return (plain,)
    return (grouped, plain) if mark == "," else (plain, grouped)


def _date_of(day: str, month: str, year: str | None) -> tuple[int, int, int] | None:
    number = int(month) if month.isdigit() else [name[:3] for name in _MONTHS].index(month[:3].casefold()) + 1
    return (int(year or 0), number, int(day)) if 1 <= number <= 12 and 1 <= int(day) <= 31 else None


def _take(pattern: re.Pattern[str], text: str, found: list[re.Match[str]]) -> str:
    """Collect the matches of a pattern and return the text with blanks in their place."""
    matches = list(pattern.finditer(text))
    found.extend(matches)
    return pattern.sub(lambda one: " " * len(one[0]), text) if matches else text


def _dates_in(text: str, where: str) -> tuple[list[Mention], str]:
    mentions: list[Mention] = []

    def add(one: re.Match[str], *candidates: tuple[int, int, int] | None) -> None:
        readings = tuple(candidate for candidate in candidates if candidate is not None)
        if readings:
            mentions.append(Mention("date", one[0].strip(), where, readings))

    months, slashes = _MONTH.search(text) is not None, "/" in text
    for pattern, possible in (
        (_ISO_DATE, text.count("-") > 1),
        (_DAY_MONTH, months),
        (_MONTH_DAY, months),
        (_FIGURE_DATE, slashes or text.count(".") > 1),
        (_SHORT_DATE, slashes),
    ):
        if not possible:
            continue
        found: list[re.Match[str]] = []
        text = _take(pattern, text, found)
        for one in found:
            if pattern is _ISO_DATE:
                add(one, _date_of(one[3], one[2], one[1]))
                if one[4] is not None:
                    mentions.append(Mention("time", one[0], where, ((int(one[4]), int(one[5])),)))
            elif pattern is _DAY_MONTH:
                add(one, _date_of(one[1], one[2], one[3]))
            elif pattern is _MONTH_DAY:
                add(one, _date_of(one[2], one[1], one[3]))
            elif pattern is _FIGURE_DATE:
                add(one, _date_of(one[1], one[3], one[4]), _date_of(one[3], one[1], one[4]))
            elif len(one[0]) > 3:  # 3/4 may be a share
                add(one, _date_of(one[1], one[2], None), _date_of(one[2], one[1], None))
    return mentions, text


def _clocks_in(text: str, where: str) -> tuple[list[Mention], str]:
    mentions: list[Mention] = []
    if ":" not in text and _HALF_DAY.search(text) is None:
        return [], text
    found: list[re.Match[str]] = []
    rest = _take(_CLOCK, text, found)
    for one in found:
        hour, minute, half = int(one[1]), int(one[2] or 0), (one[3] or one[4] or "")[:1].casefold()
        if hour > 23 or minute > 59:
            continue
        if half:
            readings: tuple[tuple[int, int], ...] = ((hour % 12 + (12 if half == "p" else 0), minute),)
        else:
            readings = ((hour, minute), (hour + 12, minute)) if hour < 12 else ((hour, minute),)
        mentions.append(Mention("time", one[0].strip(), where, readings))
    return mentions, rest


def _tokens_in(text: str, where: str, skeletons: Set[str]) -> tuple[list[Mention], str]:
    mentions: list[Mention] = []
    for one in _TOKEN.finditer(text):
        token = one[0].lstrip("$€£#")
        digits = len(_DIGIT.findall(token))
        letters = digits and any(sign.isalpha() for sign in token)
        if not digits or not (_is_code(one[0]) if not letters else _NUMBER.fullmatch(token) is None):
            continue
        text = text[: one.start()] + " " * len(one[0]) + text[one.end() :]
        if digits >= _SHORT or not letters or skeleton_of(token) in skeletons:
            mentions.append(Mention("identifier", token, where))
    return mentions, text


def _is_code(token: str) -> bool:
    """Say whether digits without letters are an identifier: leading zeros, or several groups (``555-0199``)."""
    groups = re.split(r"[-_/:]", token.lstrip("#"))
    if len(groups) > 1:
        return sum(map(len, groups)) > 4
    return token.startswith("#") or (len(token) > 2 and token.startswith("0") and token.isdigit())


def _numbers_in(text: str, where: str) -> list[Mention]:
    mentions: list[Mention] = []
    found: list[re.Match[str]] = []
    text = _take(_LIST_MARK, text, [])
    if "h" in text:
        text = _take(_LONG_TIME, text, found)
    for one in found:
        minutes = Decimal(one[1]) * 60 + Decimal(one[2])
        mentions.append(Mention("number", one[0].strip(), where, (minutes,), "min"))
    for one in _NUMBER.finditer(text):
        figure, scale = one["figure"], _SCALES.get((one["scale"] or "").strip(), 0)
        sign, unit = ((one[part] or "").strip() for part in ("sign", "unit"))
        sign, unit = sign if sign and is_known(sign) else "", unit if unit and is_known(unit) else ""
        readings = tuple(reading.scaleb(scale) for reading in readings_of(figure))
        last_digit = _shown(figure).scaleb(scale)
        if one["about"] and not scale:
            last_digit = _round_digit(readings[0])
        sign += " " if sign.isalpha() else ""
        said = f"{sign}{figure}{one['scale'] or ''} {unit}".strip()
        mentions.append(Mention("number", said, where, readings, unit or sign.strip() or None, last_digit))
    return mentions


def _shown(figure: str) -> Decimal:
    """Return the size of one in the last digit of a figure as it is written."""
    exponent = readings_of(figure)[0].as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(1)


def _round_digit(number: Decimal) -> Decimal:
    """Return the size of one in the last digit that is not zero: 1000 for 13,000."""
    exponent = number.normalize().as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(1)


def mentions_in(text: str, where: str = "", skeletons: Set[str] = frozenset()) -> list[Mention]:
    """Return what a text mentions. `skeletons` are those of the tokens that the sources have."""
    if _DIGIT.search(text) is None and "@" not in text and "://" not in text:
        return []
    found: list[re.Match[str]] = []
    if "@" in text or "://" in text:
        text = _take(_ADDRESS, text, found)
    mentions = [Mention("identifier", one[0].rstrip(".,;:"), where) for one in found]
    dates, text = _dates_in(text, where)
    clocks, text = _clocks_in(text, where)
    tokens, text = _tokens_in(text, where, skeletons)
    mentions += [*dates, *clocks, *tokens]
    return mentions + _numbers_in(text, where) if _DIGIT.search(text) else mentions


def mentions_of(leaf: Leaf, skeletons: Set[str] = frozenset()) -> list[Mention]:
    """Return what one leaf mentions."""
    value = leaf.value
    if isinstance(value, str):
        return mentions_in(value, leaf.path, skeletons)
    if isinstance(value, datetime):
        day = Mention("date", value.isoformat(), leaf.path, ((value.year, value.month, value.day),))
        return [day, Mention("time", value.isoformat(), leaf.path, ((value.hour, value.minute),))]
    if isinstance(value, date):
        return [Mention("date", value.isoformat(), leaf.path, ((value.year, value.month, value.day),))]
    if isinstance(value, time):
        return [Mention("time", value.isoformat(), leaf.path, ((value.hour, value.minute),))]
    if isinstance(value, timedelta):
        return [Mention("number", str(value), leaf.path, (Decimal(repr(value.total_seconds())),), "s")]
    number = number_of(value)
    if number is None:
        return []
    return [Mention("number", str(value), leaf.path, (number,), leaf.unit, last_digit_of(number))]
