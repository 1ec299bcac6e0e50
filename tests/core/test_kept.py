"""Which effects of an agent its released output stands on."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand.core.states import EffectState
from chargehand.supervise.kept import kept


def done(path: str, arguments: Any = None, result: Any = None) -> EffectState:
    """Return an effect that was done."""
    return EffectState(path, stage="done", arguments=arguments, result=result)


@pytest.mark.parametrize(
    ("path", "is_kept"), [("a/order~1.1", True), ("a/order~1.1/inner", True), ("a/order~1.10", False), ("a/order~2.1", False), ("a", False)]
)
def test_what_the_released_attempt_asked_for_is_kept(path: str, is_kept: bool) -> None:
    """An effect it used, and whatever lies in a call it used; not one whose name merely begins the same."""
    assert kept([done(path)], ["x", "a/order~1.1"]) == ({path} if is_kept else set())


@pytest.mark.parametrize(
    ("result", "arguments", "built_on"),
    [
        ("R-17", {"receipt": "R-17"}, True),
        ("R-17", {"all": [{"receipt": ["R-17"]}]}, True),
        ({"id": "R-17", "n": 1}, {"receipt": "R-17"}, True),
        (["first", "R-17"], {"receipt": "R-17"}, True),
        ({"n": 1}, {"of": {"n": 1}}, True),
        ({"a": 1, "b": 2}, {"of": [{"b": 2, "a": 1}]}, True),
        ([1, 2], {"of": [1, 2]}, True),
        ([1, 2], {"of": [1, 2, 3]}, False),
        ("R-1", {"receipt": "R-1"}, False),  # too short to be an identifier
        ("R-17", {"receipt": "R-170"}, False),
        ("R-17", {"R-17": 1}, False),  # a name of an argument, not a part of one
        (1234567, {"n": 1234567}, False),
        (True, {"urgent": True}, False),
        (None, {"note": None}, False),
        ({}, {"of": {"n": 1}}, False),
    ],
)
def test_an_effect_is_built_on_what_occurs_in_its_arguments(result: Any, arguments: Any, built_on: bool) -> None:
    """The whole result as a part of them, or a text of it of at least four characters."""
    found = [done("lost", {"receipt": "none"}, "nothing"), done("base", {}, result), done("used", arguments, "x")]
    assert kept(found, ["used"]) == ({"base", "used"} if built_on else {"used"})


def test_what_it_is_built_on_is_built_on_more() -> None:
    """Kept is the whole chain, and a circle has an end."""
    chain = [done("one", {"from": "three"}, "first"), done("two", {"from": "first"}, "second"), done("three", {"from": "second"}, "three")]
    assert kept([*chain, done("other", {"from": "first"}, "loose")], ["three"]) == {"one", "two", "three"}
