"""Requests that no client sends: whatever comes is answered or refused, and never breaks the stand-in."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargehand.testing.standin import ModelScript, chat, responses, says
from chargehand.testing.standin.refusals import Refused
from chargehand.testing.standin.schemas import strict_fault, violation

from .test_chat import ADD
from .test_refusals import CALL, ITEM, OUTPUT, RESULT
from .test_responses import TOOL
from .test_script import RIGHT, STRICT

SCRIPT = ModelScript(replies=(says("x", times=None),))
CHAT: dict[str, Any] = {
    "model": "stand-in",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "json"}]}, CALL, RESULT, {"role": "assistant", "content": "3"}],
    "tools": [ADD],
    "tool_choice": {"type": "function", "function": {"name": "add"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": STRICT}},
    "stream": True,
    "stream_options": {"include_usage": True},
    "temperature": 1,
    "logit_bias": {"1": 2},
}
RESPONSE: dict[str, Any] = {
    "model": "stand-in",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "json"}]},
        ITEM,
        OUTPUT | {"output": [{"type": "input_text", "text": "3"}]},
    ],
    "tools": [TOOL],
    "tool_choice": "auto",
    "text": {"format": {"type": "json_schema", "name": "s", "strict": True, "schema": STRICT}},
    "metadata": {"a": "b"},
}
ODD: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "type", "object", "function", "message", "user", "tool", "#/$defs/Part", "#", "add", "c1"]),
    st.lists(st.sampled_from([1, "x", None, {}]), max_size=2),
    st.dictionaries(
        st.sampled_from(["type", "role", "content", "$ref", "anyOf", "name"]), st.sampled_from([1, "x", None, [], {}, "object"]), max_size=2
    ),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _changed(value: Any, odd: Any, dice: random.Random) -> Any:
    """Return the value with one place changed: another value, or nothing, or something beside it."""
    value = copy.deepcopy(value)
    *way, last = dice.choice([place for place in _places(value) if place])
    inner = value
    for key in way:
        inner = inner[key]
    if dice.random() < 0.2:
        del inner[last]
    elif isinstance(inner, dict) and dice.random() < 0.2:
        inner["odd"] = odd
    else:
        inner[last] = odd
    return value


def _status(reading: Callable[[], object]) -> int:
    """Return the status that a request is answered with, as far as reading it says."""
    try:
        reading()
    except Refused as refused:
        return refused.status
    return 200


@given(odd=ODD, seed=st.integers(0, 100_000), twice=ODD)
def test_an_odd_chat_request_is_read_or_refused(odd: Any, seed: int, twice: Any) -> None:
    """A request with one or two things out of place is taken or refused with a status of the API; nothing else comes out."""
    dice = random.Random(seed)
    body = _changed(CHAT, odd, dice)
    body = _changed(body, twice, dice) if seed % 2 else body
    assert _status(lambda: chat.read(body, SCRIPT)) in (200, 400, 404)


@given(odd=ODD, seed=st.integers(0, 100_000), twice=ODD)
def test_an_odd_request_for_a_response_is_read_or_refused(odd: Any, seed: int, twice: Any) -> None:
    """The same for the other API."""
    dice = random.Random(seed)
    body = _changed(RESPONSE, odd, dice)
    body = _changed(body, twice, dice) if seed % 2 else body
    assert _status(lambda: responses.read(body, SCRIPT, responses.Memory())) in (200, 400, 404)


@given(odd=ODD, seed=st.integers(0, 100_000))
def test_an_odd_schema_is_judged(odd: Any, seed: int) -> None:
    """A schema with something out of place has a fault or none; a value is held against it whenever it has none."""
    schema = _changed(STRICT, odd, random.Random(seed))
    fault = strict_fault(schema)
    if fault is None:
        violation(RIGHT, schema)


def test_the_requests_are_right_before_they_are_changed() -> None:
    """What is changed in these tests would be taken as it stands."""
    chat.read(CHAT, SCRIPT)
    responses.read(RESPONSE, SCRIPT, responses.Memory())


def test_a_schema_that_refers_to_itself_ends() -> None:
    """A reference that leads nowhere, or to itself alone, is a fault; one that goes deeper with the value is none."""
    assert strict_fault(STRICT | {"properties": STRICT["properties"] | {"name": {"$ref": "#/$defs/Gone"}}})
    assert strict_fault(STRICT | {"$defs": {"Part": {"$ref": "#/$defs/Part"}}})
    circle = STRICT | {"$defs": {"Part": {"anyOf": [{"$ref": "#/$defs/Part"}]}}}
    assert violation(RIGHT, circle)
    tree = STRICT["$defs"]["Part"] | {"properties": {"n": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Part"}]}}}
    schema = STRICT | {"$defs": {"Part": tree}}
    assert strict_fault(schema) is None
    assert violation(RIGHT | {"parts": [{"n": {"n": {"n": None}}}]}, schema) is None
    assert violation(RIGHT | {"parts": [{"n": {"n": {"n": 1}}}]}, schema)


@pytest.mark.parametrize("depth", [50, 900])
def test_what_is_nested_without_end_is_refused(depth: int) -> None:
    """A schema of any depth is refused, not followed to the end."""
    schema: Any = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    body = CHAT | {
        "tools": [
            {
                "type": "function",
                "function": {"name": "add", "strict": True, "parameters": STRICT | {"properties": {"a": schema}, "required": ["a"]}},
            }
        ]
    }
    with pytest.raises(Refused, match="deeper"):
        chat.read(body, SCRIPT)
