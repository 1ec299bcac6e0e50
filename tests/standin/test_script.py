"""Scripts as data: which reply fits which request, what a script may not say, and how content is made wrong."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chargehand.testing import ScriptEnded
from chargehand.testing.standin import (
    FaultPlan,
    ModelScript,
    ModelStandIn,
    Reply,
    ScriptUnfit,
    ToolUse,
    When,
    calls,
    fails,
    gives,
    refuses,
    says,
)
from chargehand.testing.standin.mangling import can_mangle, mangled
from chargehand.testing.standin.schemas import strict_fault, violation
from chargehand.testing.standin.script import Asked, Playing

from .conftest import HI
from .test_chat import ADD

Schema = dict[str, Any]


def _asked(user: str = "hi", results: tuple[tuple[str, str], ...] = (), model: str = "stand-in", digest: str = "d") -> Asked:
    return Asked(model, ("be brief", user), user, results, digest)


def _told(playing: Playing, **asked: Any) -> str | None:
    return playing.answer(_asked(**asked)).text


def test_replies_are_given_in_order_and_once() -> None:
    """Without conditions the n-th request gets the n-th reply, and one more than there are ends the script."""
    playing = Playing(ModelScript(replies=(says("one"), says("two", times=2))))
    assert [_told(playing) for _ in range(3)] == ["one", "two", "two"]
    with pytest.raises(ScriptEnded, match="No reply of the stand-in's script fits request 4 to 'stand-in', which ends with 'hi'"):
        _told(playing)


def test_the_first_reply_that_fits_is_given() -> None:
    """A reply is for requests by their number, model, user message, tool, tool result, or any text of them."""
    script = ModelScript(
        models=("stand-in", "stand-in-2"),
        replies=(
            says("third", nth=3),
            says("other model", model="stand-in-2", times=None),
            says("greeting", user="hello", times=None),
            says("added 7", tool="add", result="7", times=None),
            says("added", tool="add", times=None),
            says("brief", anywhere="brief", times=None),
        ),
    )
    playing = Playing(script)
    assert _told(playing, user="oh, hello there") == "greeting"
    assert _told(playing, model="stand-in-2", user="hello") == "other model"
    assert _told(playing, user="hello") == "third"
    assert _told(playing, user="hello", results=(("look", "x"),)) == "greeting"
    assert _told(playing, results=(("look", "7"), ("add", "8"))) == "added"
    assert _told(playing, results=(("add", "7"), ("look", "8"))) == "added 7"
    assert _told(playing) == "brief"


def test_equal_requests_have_equal_ids() -> None:
    """The ids of an answer come from the request and the seed, so that two plays of a conversation are alike."""
    script = ModelScript(replies=(says("x", times=None),))
    first, second = Playing(script), Playing(script)
    second.answer(_asked(digest="another"))
    assert first.answer(_asked()).tag == second.answer(_asked()).tag
    assert first.answer(_asked()).tag != Playing(script).answer(_asked()).tag, "the second time it is another answer"


def test_a_seed_plays_the_same_faults_in_any_order() -> None:
    """What a request meets depends on the seed and on the request, not on when it comes; another seed plays others."""

    def played(seed: int, requests: Iterable[str]) -> dict[str, str | None]:
        shares: Any = {"rate_limit": 0.3, "server_error": 0.2, "refusal": 0.1}
        playing = Playing(ModelScript(replies=(says("fine", times=None),), faults=FaultPlan(seed=seed, shares=shares)))
        answers = {request: playing.answer(_asked(digest=request)) for request in requests}
        return {request: None if answer.fault is None else answer.fault.kind for request, answer in answers.items()}

    requests = [f"request {number}" for number in range(400)]
    forward = played(7, requests)
    assert forward == played(7, reversed(requests))
    assert forward != played(8, requests)
    counts = Counter(forward.values())
    assert set(counts) == {None, "rate_limit", "server_error", "refusal"}
    assert 80 < counts["rate_limit"] < 160
    assert 130 < counts[None] < 190


def test_a_script_is_data() -> None:
    """What is written as JSON is read as the same script, short names of faults included."""
    script = ModelScript(
        replies=(
            says("hi", user="x"),
            gives([1, None], fault="truncated"),
            calls(("add", {"a": 1}), times=None),
            refuses("No."),
            fails("slow", seconds=2),
            Reply(text="hm", tools=(ToolUse(name="add", arguments="no json"),), when=When(nth=2)),
        ),
        faults=FaultPlan(seed=3, shares={"cut": 0.5}, at={2: fails("hang").fault or pytest.fail("no fault")}),
    )
    assert ModelScript.model_validate_json(script.model_dump_json()) == script
    short = '{"replies": [{"text": "x", "fault": "cut"}], "faults": {"at": {"1": "hang"}}}'
    assert ModelScript.model_validate_json(short).replies[0] == says("x", fault="cut")


@pytest.mark.parametrize(
    "wrong",
    [
        {"replies": [{}]},
        {"replies": [{"text": "x", "value": 1}]},
        {"replies": [{"text": "x", "refusal": "y"}]},
        {"replies": [{"text": "x", "times": 0}]},
        {"replies": [{"text": "x", "fault": "fire"}]},
        {"replies": [{"text": "x", "whne": {}}]},
        {"replies": [], "models": ["gpt-5"]},
        {"replies": [], "models": []},
        {"replies": [], "faults": {"shares": {"cut": 0.6, "hang": 0.6}}},
        {"replies": [], "faults": {"shares": {"cut": -0.1}}},
    ],
)
def test_a_script_that_means_nothing_is_refused(wrong: Any) -> None:
    """Empty and contradictory replies, unknown names, shares above the whole, and names of real models are refused when it is read."""
    with pytest.raises(ValidationError):
        ModelScript.model_validate(wrong)


# -- what a script may not say ----------

SUB: Any = {"type": "function", "function": {"name": "sub"}}
UNFIT: list[tuple[Reply, dict[str, Any]]] = [
    (calls(("subtract", {})), {"tools": [ADD]}),
    (calls(("add", {"a": 1, "b": 2})), {}),
    (calls(("add", {"a": 1, "b": 2})), {"tools": [ADD], "tool_choice": "none"}),
    (says("3"), {"tools": [ADD], "tool_choice": "required"}),
    (says("3"), {"tools": [ADD], "tool_choice": {"type": "function", "function": {"name": "add"}}}),
    (calls(("sub", {})), {"tools": [ADD, SUB], "tool_choice": {"type": "function", "function": {"name": "add"}}}),
    (calls(("sub", {}), ("sub", {})), {"tools": [SUB], "parallel_tool_calls": False}),
    (calls(("add", {"a": "one", "b": 2})), {"tools": [ADD]}),
    (calls(("add", "{")), {"tools": [ADD]}),
    (
        gives({"a": 1}),
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "strict": True} | {"schema": ADD["function"]["parameters"]},
            }
        },
    ),
    (says("x", fault="wrong_schema"), {}),
    (says("?!", fault="wrong_content"), {}),
]


@pytest.mark.parametrize(("reply", "more"), UNFIT)
def test_a_script_says_nothing_that_no_endpoint_could(vendor: openai.OpenAI, reply: Reply, more: dict[str, Any]) -> None:
    """A tool that is not offered, a value against a strict schema, a fault with nothing to change: the stand-in raises when it ends."""
    server = ModelStandIn(reply)
    with pytest.raises(ScriptUnfit), server:
        with pytest.raises(openai.BadRequestError) as told:
            vendor.with_options(base_url=server.base_url).chat.completions.create(model="stand-in", messages=HI, **more)
        assert (told.value.type, told.value.code) == ("stand_in_error", "script_unfit")


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "sub"}}])
def test_a_choice_of_tools_is_kept(vendor: openai.OpenAI, choice: Any) -> None:
    """What was chosen is called, and a refusal or a filtered answer is possible whatever was chosen."""
    with ModelStandIn(calls(("sub", {})), refuses("No."), says("x", fault="content_filter")) as server:
        client = vendor.with_options(base_url=server.base_url)
        asked: Any = {"model": "stand-in", "messages": HI, "tools": [SUB, ADD], "tool_choice": choice}
        ends = [client.chat.completions.create(**asked).choices[0].finish_reason for _ in range(3)]
    assert ends == ["tool_calls", "stop", "content_filter"]


def test_a_script_that_is_over_fails_the_test(vendor: openai.OpenAI) -> None:
    """One request too many is told at once, not to be tried again, and raised when the stand-in ends."""
    server = ModelStandIn(says("only one"))
    with pytest.raises(ScriptEnded, match="request 2"), server:
        client = vendor.with_options(base_url=server.base_url, max_retries=3)
        client.chat.completions.create(model="stand-in", messages=HI)
        with pytest.raises(openai.BadRequestError, match="Add a reply"):
            client.chat.completions.create(model="stand-in", messages=HI)
        assert len(server.requests) == 2


def test_an_error_in_the_test_comes_before_the_scripts(vendor: openai.OpenAI) -> None:
    """A test that fails by itself is told its own error."""
    with pytest.raises(ZeroDivisionError), ModelStandIn() as server:
        with pytest.raises(openai.BadRequestError):
            vendor.with_options(base_url=server.base_url).chat.completions.create(model="stand-in", messages=HI)
        raise ZeroDivisionError


async def test_the_fixture_hands_on_what_was_wrong(model_stand_in: Callable[..., ModelStandIn]) -> None:
    """Several stand-ins may listen at once, each on a port of its own."""
    one, two = model_stand_in(says("x")), model_stand_in(says("y"))
    assert one.base_url != two.base_url


# -- wrong content ----------

_JSON = st.recursive(
    st.integers(-1000, 1000) | st.booleans() | st.text("abc xyz019", min_size=2, max_size=9),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=3),
    max_leaves=8,
)


def _shape(value: Any) -> Any:
    """Return the types of a value, with its names and lengths."""
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    return [_shape(one) for one in value] if isinstance(value, list) else type(value)


@given(value=_JSON, seed=st.integers(0, 5))
def test_wrong_content_keeps_its_shape(value: Any, seed: int) -> None:
    """Whatever the value: it is another one, of the same names and types."""
    text = json.dumps(value)
    if isinstance(value, (dict, list)) and can_mangle("wrong_content", text):
        wrong = json.loads(mangled("wrong_content", text, random.Random(seed)))
        assert wrong != value
        assert _shape(wrong) == _shape(value)


@given(value=_JSON, seed=st.integers(0, 5))
def test_a_wrong_schema_changes_the_shape(value: Any, seed: int) -> None:
    """Whatever the value: a field is missing or has another type."""
    text = json.dumps(value)
    if can_mangle("wrong_schema", text):
        assert _shape(json.loads(mangled("wrong_schema", text, random.Random(seed)))) != _shape(value)


@pytest.mark.parametrize(
    ("text", "wrong"), [("It costs 12 CHF", "It costs 121 CHF"), ("yes", "sey"), ("level", "not level"), ("17", "171")]
)
def test_wrong_words(text: str, wrong: str) -> None:
    """A text has another figure, or another first word."""
    assert mangled("wrong_content", text, random.Random(0)) == wrong


# -- schemas ----------

STRICT: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": ["string", "null"]},
        "kind": {"enum": ["a", "b"]},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        "either": {"anyOf": [{"type": "integer"}, {"const": "none"}]},
    },
    "required": ["name", "kind", "parts", "either"],
    "additionalProperties": False,
    "$defs": {"Part": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"], "additionalProperties": False}},
}
RIGHT: Schema = {"name": None, "kind": "a", "parts": [{"n": 1}, {"n": 1.5}], "either": "none"}


def test_a_value_that_keeps_to_its_schema() -> None:
    """Types in lists, values to choose from, references and alternatives are understood."""
    assert strict_fault(STRICT) is None
    assert violation(RIGHT, STRICT) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": 3}, "value.name is not of type"),
        ({"kind": "c"}, "value.kind is not one of"),
        ({"parts": [{"n": 1}, {"n": True}]}, "value.parts[1].n is not of type number"),
        ({"parts": [{}]}, "value.parts[0] lacks 'n'"),
        ({"parts": [{"n": 1, "m": 2}]}, "value.parts[0] has 'm'"),
        ({"either": 1.5}, "value.either fits none of anyOf"),
        ({"more": 1}, "value has 'more'"),
    ],
)
def test_a_value_that_does_not(wrong: Schema, said: str) -> None:
    """What breaks the schema is named with its place."""
    assert said in (violation(RIGHT | wrong, STRICT) or "")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"type": "array", "items": {"type": "string"}}, "schema must be a JSON Schema of 'type: \"object\"'"),
        ({"anyOf": [STRICT]}, "schema must be a JSON Schema"),
        ({"additionalProperties": True}, "In context=(), 'additionalProperties' is required to be supplied and to be false."),
        ({"required": ["name"]}, "Missing 'kind'"),
        ({"required": [*STRICT["required"], "more"]}, "'more', which is not among the properties"),
        ({"properties": STRICT["properties"] | {"kind": {"oneOf": []}}}, "In context=('properties', 'kind'), 'oneOf' is not permitted."),
        ({"properties": STRICT["properties"] | {"kind": {}}}, "schema must have a 'type' key"),
        ({"properties": STRICT["properties"] | {"kind": {"type": "text"}}}, "'text' is not valid"),
        ({"properties": STRICT["properties"] | {"kind": 7}}, "schema must be an object"),
        ({"properties": STRICT["properties"] | {"parts": {"type": "array"}}}, "array schema missing items"),
        ({"$defs": {"Part": {"type": "object", "properties": {}}}}, "In context=('$defs', 'Part'), 'additionalProperties'"),
    ],
)
def test_a_schema_that_strict_mode_refuses(wrong: Schema, said: str) -> None:
    """Each rule of the strict subset names the place where it is broken."""
    assert said in (strict_fault(STRICT | wrong) or "")


def test_a_schema_that_is_too_deep() -> None:
    """More than ten levels are refused."""
    schema: Schema = {"type": "string"}
    for _ in range(12):
        schema = {"type": "object", "properties": {"in": schema}, "required": ["in"], "additionalProperties": False}
    assert "nested deeper" in (strict_fault(schema) or "")
