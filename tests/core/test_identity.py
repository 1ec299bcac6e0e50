"""Paths, keys and digests: what makes two calls the same."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from chargehand import DefinitionError, InvalidInput
from chargehand.contracts import Contract, canonical, digest_of
from chargehand.core.identity import Scope, base_key, checked_segment, content_segment, draw, fraction, join, key_of, undo_key
from chargehand.errors import MissingAnnotation, SecretArgument, Unserialisable


def test_calls_of_one_name_are_numbered_in_their_scope() -> None:
    """analyst, analyst#2; another scope counts by itself."""
    scope, branch = Scope(""), Scope("gather.1")
    assert [scope.next("analyst"), scope.next("analyst"), scope.next("buyer")] == ["analyst", "analyst#2", "buyer"]
    assert branch.next("analyst") == "gather.1/analyst"
    assert branch.covers("gather.1/analyst")
    assert not branch.covers("gather.10/analyst")
    assert (join("", "analyst"), join("gather.1", "analyst")) == ("analyst", "gather.1/analyst")


@pytest.mark.parametrize("name", ["", "a/b", "a#2", "a~b", "a@b", "a!b", "a\0b", "a\nb"])
def test_names_cannot_break_out_of_a_path(name: str) -> None:
    """What has a meaning in a path cannot be in a name."""
    with pytest.raises(DefinitionError):
        checked_segment(name)


def test_keys_of_different_doings_differ() -> None:
    """Over runs, paths, tools, generations and undos no key is handed out twice."""
    keys = set()
    runs, paths = ["seed-1", "seed-2"], ["pay", "pay#2", "gather.1/pay", "agent/" + content_segment("pay", "0" * 32, 1)]
    for run, path, generation in itertools.product(runs, paths, (1, 2, 3)):
        key = key_of(base_key(run, path, None), generation)
        keys |= {key, undo_key(key)}
    assert len(keys) == len(runs) * len(paths) * 3 * 2


def test_a_business_key_is_its_own_base() -> None:
    """The key that the world sees is the one the author wrote, with the generation when there are more."""
    assert key_of(base_key("seed", "pay", "order-7"), 1) == "order-7"
    assert key_of(base_key("seed", "pay", "order-7"), 2) == "order-7~2"


def test_fields_of_a_key_cannot_run_into_each_other() -> None:
    """The seed and the path are separated by what neither can hold."""
    assert base_key("ab", "c", None) != base_key("a", "bc", None)


def test_dice_depend_on_run_path_and_number_only() -> None:
    """Drawn again they are the same, and lie in [0, 1)."""
    assert draw("s", "p", 1) == draw("s", "p", 1) != draw("s", "p", 2)
    assert all(0 <= fraction("s", "p", n) < 1 for n in range(200))


class Line(BaseModel):
    sku: str
    number: int = 1
    price: Decimal = Decimal(0)


async def orders(line: Line, urgent: bool = False, note: str = "") -> str:
    return line.sku


CONTRACT = Contract(orders, "orders")


def digest(*args: Any, **kwargs: Any) -> str:
    """Return the identity digest of one call."""
    return CONTRACT.bind(args, kwargs).digest


def test_equal_calls_have_equal_digests() -> None:
    """Defaults, keyword order, model or dict, and how a number is spelled make no difference."""
    base = digest(Line(sku="a"))
    assert digest(line={"sku": "a"}) == base
    assert digest(Line(sku="a", number=1), urgent=False) == base
    assert digest(Line(sku="a"), note="") == base
    assert digest(Line(sku="a", price=Decimal("0.50"))) == digest(Line(sku="a", price=Decimal("0.5")))
    assert digest(note="x", line=Line(sku="a")) == digest(Line(sku="a"), note="x")


def test_different_calls_have_different_digests() -> None:
    """Every value that counts makes one."""
    calls = [
        digest(Line(sku="a")),
        digest(Line(sku="b")),
        digest(Line(sku="a", number=2)),
        digest(Line(sku="a", price=Decimal("0.5"))),
        digest(Line(sku="a"), urgent=True),
        digest(Line(sku="a"), note="True"),
    ]
    assert len(set(calls)) == len(calls)


def test_a_true_is_not_a_one() -> None:
    """JSON knows truth values from numbers, and so do digests."""
    assert digest_of({"a": True}) != digest_of({"a": 1}) != digest_of({"a": "1"})
    assert canonical({"b": 1, "a": [1, {"d": None, "c": "ü"}]}) == '{"a":[1,{"c":"ü","d":null}],"b":1}'


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, "line"),
        ((Line(sku="a"),), {"cheap": True}, "cheap"),
        ((Line(sku="a"), "not a truth value"), {}, "urgent"),
        (({"number": 3},), {}, "sku"),
    ],
)
def test_wrong_arguments_are_named(args: tuple[Any, ...], kwargs: dict[str, Any], says: str) -> None:
    """What does not fit says which argument and why, where the call is made."""
    with pytest.raises(InvalidInput, match=says):
        CONTRACT.bind(args, kwargs)


def test_a_missing_annotation_is_refused() -> None:
    """Without a type nothing could be given back from the journal."""

    async def untyped(a): ...  # type: ignore[no-untyped-def]

    async def no_result(a: int): ...  # type: ignore[no-untyped-def]

    with pytest.raises(MissingAnnotation, match="'a'"):
        Contract(untyped, "untyped")
    with pytest.raises(MissingAnnotation, match="result"):
        Contract(no_result, "no_result")


def test_a_secret_is_refused() -> None:
    """A secret as an argument, or inside one, would be written to the journal."""

    class Account(BaseModel):
        token: SecretStr

    async def direct(token: SecretStr) -> None: ...

    async def nested(accounts: list[Account]) -> None: ...

    for function in (direct, nested):
        function.__annotations__ = {"direct": {"token": SecretStr, "return": None}, "nested": {"accounts": list[Account], "return": None}}[
            function.__name__
        ]
        with pytest.raises(SecretArgument, match="Resource"):
            Contract(function, function.__name__)


def test_what_json_cannot_hold_is_refused_at_once() -> None:
    """An argument that cannot be written fails where the call is made."""

    async def takes_anything(value: Any) -> None: ...

    contract = Contract(takes_anything, "takes_anything")
    for value in (object(), float("nan"), {1, object()}):
        with pytest.raises(Unserialisable, match="value"):
            contract.bind((value,), {})


def test_what_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    """A generator or an open file would be used up by writing it, wherever in a value of any type it lies."""

    async def takes_anything(value: Any) -> dict[str, Any]: ...

    contract = Contract(takes_anything, "takes_anything")
    with (tmp_path / "file").open("w+") as file:
        for value in (file, iter([1]), (n for n in range(3)), [map(str, [1])], {"lines": (zip([1], [2], strict=True),)}):
            with pytest.raises(Unserialisable, match="only once"):
                contract.bind((value,), {})
            with pytest.raises(Unserialisable, match="only once"):
                contract.result.check({"value": value})
    kept = iter([1, 2])
    with pytest.raises(Unserialisable):
        contract.bind((kept,), {})
    assert list(kept) == [1, 2]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_told_as_such(number: float) -> None:
    """NaN and infinity, as an argument, a result or inside one, are refused with what to give instead, not with the encoder's words."""

    async def weigh(value: Any) -> list[float]: ...

    contract = Contract(weigh, "weigh")
    with pytest.raises(Unserialisable, match=r"JSON has no NaN and no infinity\. Give None"):
        contract.result.to_json([number])
    with pytest.raises(Unserialisable, match=r"JSON has no NaN and no infinity\. Give None"):
        contract.bind((number,), {})
    with pytest.raises(Unserialisable, match="Give plain data"):
        contract.result.to_json([object()])
