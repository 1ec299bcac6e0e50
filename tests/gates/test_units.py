"""Quantities are the same in whatever unit they are written, and only then."""

from __future__ import annotations

from decimal import Decimal

import pytest

from chargehand.supervise.units import number_of, same_figure, unit_of


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("h", "min", "60"),
        ("minutes", "s", "60"),
        ("%", "fraction", "0.01"),
        ("bp", "%", "0.01"),
        ("lb", "kg", "0.45359237"),
        ("t", "kg", "1000"),
        ("km", "m", "1000"),
        ("MiB", "B", "1048576"),
        ("MB", "kB", "1000"),
        ("€", "EUR", "1"),
        ("Customers", "customer", "1"),
    ],
)
def test_units_of_one_dimension_convert(one: str, other: str, ratio: str) -> None:
    """Units of one dimension have a factor between them."""
    left, right = unit_of(one), unit_of(other)
    assert left is not None
    assert right is not None
    assert left.dimension == right.dimension
    assert left.factor / right.factor == Decimal(ratio)


@pytest.mark.parametrize(("one", "other"), [("EUR", "USD"), ("kg", "m"), ("m", "min"), ("customers", "orders"), ("MB", "m")])
def test_other_dimensions_do_not(one: str, other: str) -> None:
    """Currencies, and units of other dimensions, never convert."""
    left, right = unit_of(one), unit_of(other)
    assert left is not None
    assert right is not None
    assert left.dimension != right.dimension


@pytest.mark.parametrize("name", [None, "", "  "])
def test_no_unit_is_none(name: str | None) -> None:
    """No name is no unit."""
    assert unit_of(name) is None


@pytest.mark.parametrize(("value", "number"), [(True, None), ("3", None), (float("nan"), None), (0.1, "0.1"), (3, "3")])
def test_numbers_are_what_they_show(value: object, number: str | None) -> None:
    """A float is the digits it shows; truth values, texts and what is not finite are no numbers."""
    assert number_of(value) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    ("one", "other", "last_digit", "same"),
    [
        ("37", "37.4", "1", True),
        ("37", "37.6", "1", False),
        ("2", "1.6", "1", False),
        ("0", "0.4", "1", False),
        ("37", "37.4", None, False),
        ("12840", "12480", "1", False),
    ],
)
def test_rounding_is_the_same_figure(one: str, other: str, last_digit: str | None, same: bool) -> None:
    """A figure is another one rounded to the digits it shows, but never further off than five percent."""
    digit = None if last_digit is None else Decimal(last_digit)
    assert same_figure(Decimal(one), Decimal(other), tolerance=Decimal(0), last_digit=digit) is same
