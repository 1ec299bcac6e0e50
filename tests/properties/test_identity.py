"""What makes two calls the same: digests depend on what is meant, and on nothing else."""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from chargehand.contracts import Codec, Contract, canonical, digest_of
from chargehand.errors import Unserialisable

from .conftest import FEW, MANY

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)


class Part(BaseModel):
    """A model with defaults of each kind."""

    sku: str
    number: int = 1
    price: Decimal = Decimal(0)
    tags: list[str] = []
    marks: dict[str, int] = Field(default_factory=dict)
    total: int = Field(default_factory=lambda data: data["number"] * 2)


class Open(BaseModel):
    """A model that takes more than it declares."""

    model_config = ConfigDict(extra="allow")
    sku: str = ""


@dataclass
class Place:
    """A dataclass."""

    name: str
    floor: int = 0


async def takes(value: Any, part: Part | None = None, amount: Decimal = Decimal(1), place: Place | None = None, note: str = "") -> None: ...


async def takes_open(value: Open) -> None: ...


CONTRACT, OPEN = Contract(takes, "takes"), Contract(takes_open, "takes_open")
PARTS = st.builds(Part, sku=TEXT, number=st.integers(), price=DECIMALS, tags=st.lists(TEXT, max_size=3))


def digest(*args: Any, **kwargs: Any) -> str:
    """Return the identity digest of one call; a value that cannot be recorded is none."""
    try:
        return CONTRACT.bind(args, kwargs).digest
    except Unserialisable:
        assume(False)
        raise


def respelled(value: Any) -> Any:
    """Return the same value with keys in the other order, and whole numbers as floats where they are exactly the same."""
    if isinstance(value, dict):
        return {key: respelled(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [respelled(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**15:
        return float(value)
    return value


def _plainly(value: Any) -> Any:
    """Return a value as equality of JSON sees it: true is not 1, and 1 is 1.0 up to where floats are exact."""
    if isinstance(value, dict):
        return {key: _plainly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plainly(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return ("number", int(value))
    return (
        type(value).__name__ if not isinstance(value, (int, float)) or isinstance(value, bool) else "number",
        value if not isinstance(value, float) else repr(value),
    )


def order_and_spelling(value: Any) -> None:
    """Neither the order of keys nor 1, 1.0 and 1e0 make another call."""
    assert digest(value) == digest(respelled(value))
    assert digest(value) == digest(json.loads(json.dumps(value)))


def other_values_are_other_calls(one: Any, other: Any) -> None:
    """Different values at the same place never have one digest."""
    assert (digest(one) == digest(other)) == (_plainly(one) == _plainly(other))


def defaults_do_not_count(part: Part) -> None:
    """A field that is written out with its default's value is as if it were not written."""
    written = Part(**{**part.model_dump(), "tags": list(part.tags), "marks": {}})
    shorter = Part(
        **{
            name: value
            for name, value in part.model_dump().items()
            if value != getattr(Part(sku="", total=0), name) or name in ("sku", "total")
        }
    )
    assert digest(1, written) == digest(1, part) == digest(1, shorter)
    assert digest(1, part, Decimal("1.0"), note="") == digest(1, part)


def decimals_are_exact(number: Decimal, other: Decimal, precision: int, zeros: int) -> None:
    """Equal decimals have one digest whatever zeros they carry and whatever the context rounds to; others have another."""
    sign, digits, exponent = number.as_tuple()
    padded = Decimal((sign, (*digits, *([0] * zeros)), int(exponent) - zeros))
    with decimal.localcontext() as context:
        context.prec = precision
        context.traps[decimal.Inexact] = context.traps[decimal.Rounded] = True
        assert digest(1, amount=number) == digest(1, amount=padded)
        assert (digest(1, amount=number) == digest(1, amount=other)) == (number.compare(other) == 0 if precision > 60 else number == other)


def extras_count(one: dict[str, Any], other: dict[str, Any]) -> None:
    """What a model holds beside its fields is part of the call."""
    try:
        digests = [OPEN.bind((Open(**extra),), {}).digest for extra in (one, other)]
    except Unserialisable:
        assume(False)
        raise
    assert (digests[0] == digests[1]) == (_plainly(one) == _plainly(other))


def records_keep_identity(value: Any, part: Part, amount: Decimal, name: str) -> None:
    """Written to JSON and read again, arguments are the same call: a replay finds what was recorded."""
    try:
        arguments = CONTRACT.bind((value, part), {"amount": amount, "place": Place(name)})
        record = json.loads(json.dumps(CONTRACT.to_record(arguments)))
    except Unserialisable:
        assume(False)
        raise
    again = CONTRACT.from_record(record)
    assert again.digest == arguments.digest
    assert CONTRACT.to_record(again) == record


def values_come_back(value: Any) -> None:
    """A value that the journal takes is given back as it was."""
    codec = Codec(Any, "it")
    form = json.loads(json.dumps(codec.to_json(value)))
    assert _plainly(codec.from_json(form)) == _plainly(value)


def canonical_is_one_text(value: Any) -> None:
    """Canonical JSON says the same and does not depend on order; other values give other digests."""
    text = canonical(value)
    assert json.loads(text) == value
    assert digest_of(value) == digest_of({key: value[key] for key in reversed(value)} if isinstance(value, dict) else value)


EXTRAS = st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON, max_size=2)
PROPERTIES: dict[Callable[..., None], dict[str, st.SearchStrategy[Any]]] = {
    order_and_spelling: {"value": JSON},
    other_values_are_other_calls: {"one": JSON, "other": JSON},
    defaults_do_not_count: {"part": PARTS},
    decimals_are_exact: {"number": DECIMALS, "other": DECIMALS, "precision": st.integers(1, 100), "zeros": st.integers(0, 40)},
    extras_count: {"one": EXTRAS, "other": EXTRAS},
    records_keep_identity: {"value": JSON, "part": PARTS, "amount": DECIMALS, "name": TEXT},
    values_come_back: {"value": JSON},
    canonical_is_one_text: {"value": JSON},
}


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_identity(holds: Callable[..., None]) -> None:
    """Each property holds for a few values, always the same."""
    FEW(given(**PROPERTIES[holds])(holds))()


@pytest.mark.slow
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_identity_of_many_values(holds: Callable[..., None]) -> None:
    """Each property holds for many values."""
    MANY(given(**PROPERTIES[holds])(holds))()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Decimal("1.00000000000000000000000000000000001"), Decimal(1)),
        (Decimal("123456789012345678901234567890.1"), Decimal("123456789012345678901234567890.2")),
        (Decimal("1E+999999"), Decimal("1E+999998")),
        (Decimal("1E-999999"), Decimal(0)),
    ],
)
def test_decimals_that_a_context_would_round_are_different_calls(one: Decimal, other: Decimal) -> None:
    """The context's precision, 28 digits unless somebody says otherwise, is no part of identity."""
    assert digest(1, amount=one) != digest(1, amount=other)


@pytest.mark.parametrize("spelling", ["0.5", "0.50", "5E-1", "0.500000", "50E-2", "00.5"])
def test_one_decimal_has_one_spelling(spelling: str) -> None:
    """A literal digest: what goes into an identity never changes."""
    assert digest(1, amount=Decimal(spelling)) == digest(1, amount=Decimal("0.5"))
    assert digest(1, amount=Decimal("-0")) == digest(1, amount=Decimal("0E+3")) == digest(1, amount=Decimal(0))
