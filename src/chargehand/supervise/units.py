"""A small table of units, and when two quantities are the same.

The table holds what agents hand over in practice: shares, times, masses, lengths, volumes of data. It leaves out what
would need more than a factor (temperatures) or a date (money: currencies are known, and never converted). A unit that
is not in the table is compared by its name, without a plural s.

Two figures are the same when one is the other, rounded to the digits it shows (37 % and 37.4 %; 1.9333 h and 116 min),
or when they differ by no more than a declared tolerance. Rounding excuses a deviation of at most 5 %: beyond that it is
numerical drift (Kim et al., "Towards a Science of Scaling Agent Systems", arXiv 2512.08296).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from types import MappingProxyType

DRIFT = Decimal("0.05")
"""The relative deviation above which a rounded figure counts as another one."""

_TABLE: dict[str, tuple[tuple[str, str], ...]] = {
    "share": (
        ("% percent pct per_cent percentage", "0.01"),
        ("fraction ratio share", "1"),
        ("permille ‰", "0.001"),
        ("bp bps basis_points basis_point", "0.0001"),
    ),
    "time": (
        ("ns nanosecond nanoseconds", "0.000000001"),
        ("us µs μs microsecond microseconds", "0.000001"),
        ("ms msec millisecond milliseconds", "0.001"),
        ("s sec secs second seconds", "1"),
        ("min mins minute minutes", "60"),
        ("h hr hrs hour hours", "3600"),
        ("d day days", "86400"),
        ("wk week weeks", "604800"),
    ),
    "mass": (
        ("mg milligram milligrams", "0.000001"),
        ("g gram grams", "0.001"),
        ("kg kgs kilo kilos kilogram kilograms", "1"),
        ("t tonne tonnes", "1000"),
        ("oz ounce ounces", "0.028349523125"),
        ("lb lbs pound pounds", "0.45359237"),
    ),
    "length": (
        ("mm millimetre millimetres millimeter millimeters", "0.001"),
        ("cm centimetre centimetres centimeter centimeters", "0.01"),
        ("m metre metres meter meters", "1"),
        ("km kilometre kilometres kilometer kilometers", "1000"),
        ("in inch inches", "0.0254"),
        ("ft foot feet", "0.3048"),
        ("yd yard yards", "0.9144"),
        ("mi mile miles", "1609.344"),
    ),
    "data": (
        ("B byte bytes", "1"),
        ("kB KB kilobyte kilobytes", "1000"),
        ("MB megabyte megabytes", "1000000"),
        ("GB gigabyte gigabytes", "1000000000"),
        ("TB terabyte terabytes", "1000000000000"),
        ("KiB", "1024"),
        ("MiB", "1048576"),
        ("GiB", "1073741824"),
        ("TiB", "1099511627776"),
    ),
}

_CODES = "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF IDR ILS INR JPY KRW MXN NOK NZD PHP PLN RON RUB SEK SGD THB TRY UAH USD VND ZAR"
_SIGNS = "€=EUR euro=EUR euros=EUR $=USD dollar=USD dollars=USD £=GBP ¥=JPY ₹=INR"

CURRENCIES: Mapping[str, str] = MappingProxyType(
    {code: code for code in _CODES.split(" ")} | dict(pair.split("=") for pair in _SIGNS.split(" "))
)
"""Signs and codes of currencies. ``$`` and ``¥`` are read as the US dollar and the yen."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a quantity measures, and how many of the dimension's base unit one of it is."""

    dimension: str
    factor: Decimal


def _units() -> dict[str, Unit]:
    found: dict[str, Unit] = {}
    for dimension, rows in _TABLE.items():
        for names, factor in rows:
            for name in names.split():
                found[name.replace("_", " ")] = Unit(dimension, Decimal(factor))
    return found


_UNITS = _units()
_UNITS_FOLDED = {name.casefold(): unit for name, unit in reversed(_UNITS.items())}
_SAFE_FOLDED = frozenset(name for name in _UNITS_FOLDED if len(name) > 2 or name in ("%", "kg", "ms", "km", "lb", "oz"))


@lru_cache(maxsize=1024)
def unit_of(name: str | None) -> Unit | None:
    """Return the unit of this name; a currency and an unknown name are dimensions of their own. None stays None."""
    if name is None or not name.strip():
        return None
    name = " ".join(name.replace("_", " ").split())
    known = _UNITS.get(name)
    if known is None and name.casefold() in _SAFE_FOLDED:
        known = _UNITS_FOLDED[name.casefold()]
    if known is not None:
        return known
    money = CURRENCIES.get(name) or CURRENCIES.get(name.upper()) or CURRENCIES.get(name.casefold())
    if money is not None:
        return Unit(f"money:{money}", Decimal(1))
    return Unit(f"named:{name.casefold().removesuffix('s')}", Decimal(1))


def factors_of(dimension: str) -> tuple[Decimal, ...]:
    """Return the factors of all units of a dimension; only 1 for money and for unknown units."""
    rows = _TABLE.get(dimension)
    return (Decimal(1),) if rows is None else tuple(Decimal(factor) for _, factor in rows)


@lru_cache(maxsize=1024)
def is_known(name: str) -> bool:
    """Say whether the table has this unit or currency."""
    unit = unit_of(name)
    return unit is not None and not unit.dimension.startswith("named:")


def number_of(value: object) -> Decimal | None:
    """Return a finite number as the digits it shows, or None: truth values and texts are not numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() else None


def last_digit_of(number: Decimal) -> Decimal:
    """Return the size of one in the last digit that a number shows: 0.1 for 37.4, 1 for 37, 37.0 and 370."""
    exponent = number.normalize().as_tuple().exponent
    return Decimal(1).scaleb(exponent) if isinstance(exponent, int) and exponent < 0 else Decimal(1)


def same_figure(one: Decimal, other: Decimal, *, tolerance: Decimal, last_digit: Decimal | None) -> bool:
    """Say whether two figures in the same unit are the same.

    Args:
        one: A figure.
        other: The figure it is held against.
        tolerance: The relative deviation that is allowed.
        last_digit: The size of the coarser figure's last digit, in the figures' unit; None when rounding is no excuse.
    """
    deviation = abs(one - other)
    if deviation == 0:
        return True
    larger = max(abs(one), abs(other))
    if deviation <= tolerance * larger:
        return True
    return last_digit is not None and deviation <= DRIFT * larger and deviation <= last_digit / 2 * Decimal("1.000001")
