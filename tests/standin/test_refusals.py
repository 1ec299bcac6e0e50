"""What the stand-in refuses: status, type, param and code of the real API, for each thing that is wrong with a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from openai.types.shared import ErrorObject
from pydantic import TypeAdapter, ValidationError

from chargehand.testing.standin import ModelScript, ModelStandIn, says

from .conftest import HI
from .test_chat import ADD
from .test_responses import TOOL

Body = dict[str, Any]
OPEN: Body = {"type": "object", "properties": {"a": {"type": "integer"}}}
CALL: Body = {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]}
RESULT: Body = {"role": "tool", "tool_call_id": "c1", "content": "3"}
ITEM: Body = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"}
OUTPUT: Body = {"type": "function_call_output", "call_id": "c1", "output": "3"}


def _chat(**changes: Any) -> Body:
    return {"model": "stand-in", "messages": HI} | changes


def _response(**changes: Any) -> Body:
    return {"model": "stand-in", "input": "hi"} | changes


def _function(**changes: Any) -> list[Body]:
    return [{"type": "function", "function": ADD["function"] | changes}]


def _format(**changes: Any) -> Body:
    return {"type": "json_schema", "json_schema": {"name": "quote", "strict": True, "schema": ADD["function"]["parameters"]} | changes}


def _text(**changes: Any) -> Body:
    return {"format": {"type": "json_schema", "name": "quote", "strict": True, "schema": ADD["function"]["parameters"]} | changes}


SHAPES = [
    ("chat/completions", {"model": "stand-in"}, "messages", "missing_required_parameter"),
    ("chat/completions", _chat(messages="hi"), "messages", "invalid_type"),
    ("chat/completions", _chat(messages=[{"content": "hi"}]), "messages[0].role", "missing_required_parameter"),
    ("chat/completions", _chat(messages=[{"role": "robot", "content": "hi"}]), "messages[0].role", "invalid_value"),
    ("chat/completions", _chat(messages=[{"role": "user"}]), "messages[0].content", "missing_required_parameter"),
    ("chat/completions", _chat(messages=[{"role": "user", "content": 7}]), "messages[0].content", "invalid_type"),
    (
        "chat/completions",
        _chat(messages=[{"role": "user", "content": [{"text": "x"}]}]),
        "messages[0].content[0].type",
        "missing_required_parameter",
    ),
    (
        "chat/completions",
        _chat(messages=[{"role": "user", "content": [{"type": "video"}]}]),
        "messages[0].content[0].type",
        "invalid_value",
    ),
    ("chat/completions", _chat(messages=[*HI, {"role": "tool", "content": "3"}]), "messages[1].tool_call_id", "missing_required_parameter"),
    (
        "chat/completions",
        _chat(messages=[{"role": "assistant", "tool_calls": [{"id": "c"}]}]),
        "messages[0].tool_calls[0].type",
        "missing_required_parameter",
    ),
    ("chat/completions", _chat(temperature="warm"), "temperature", "invalid_type"),
    ("chat/completions", _chat(seed=1.5), "seed", "invalid_type"),
    ("chat/completions", _chat(stream="yes"), "stream", "invalid_type"),
    ("chat/completions", _chat(tools=[{"function": {"name": "add"}}]), "tools[0].type", "missing_required_parameter"),
    ("chat/completions", _chat(tools=[{"type": "function", "function": {}}]), "tools[0].function.name", "missing_required_parameter"),
    ("chat/completions", _chat(response_format={"type": "xml"}), "response_format.type", "invalid_value"),
    ("responses", _response(input=7), "input", "invalid_type"),
    ("responses", _response(input=[{"role": "robot", "content": "x"}]), "input[0].role", "invalid_value"),
    ("responses", _response(input=[{"role": "user"}]), "input[0].content", "missing_required_parameter"),
    (
        "responses",
        _response(input=[{"type": "function_call", "call_id": "c", "name": "n"}]),
        "input[0].arguments",
        "missing_required_parameter",
    ),
    ("responses", _response(tools=[{"type": "function", "parameters": OPEN}]), "tools[0].name", "missing_required_parameter"),
    ("responses", _response(text={"format": {"type": "json_schema", "schema": OPEN}}), "text.format.name", "missing_required_parameter"),
    ("responses", _response(truncation="some"), "truncation", "invalid_value"),
]
"""Requests whose shape is wrong: the vendor's own types refuse them too."""

RULES = [
    ("chat/completions", {"messages": HI}, None, None),
    ("chat/completions", _chat(messages=[]), "messages", "empty_array"),
    ("chat/completions", _chat(tools=[]), "tools", "empty_array"),
    ("chat/completions", _chat(temprature=1), "temprature", "unknown_parameter"),
    ("chat/completions", _chat(messages=[{"role": "user", "content": "hi", "nme": "x"}]), "messages[0].nme", "unknown_parameter"),
    ("chat/completions", _chat(temperature=3), "temperature", "integer_above_max_value"),
    ("chat/completions", _chat(top_p=-0.5), "top_p", "decimal_below_min_value"),
    ("chat/completions", _chat(max_tokens=0), "max_tokens", "integer_below_min_value"),
    ("chat/completions", _chat(max_tokens=9, max_completion_tokens=9), None, "invalid_parameter_combination"),
    ("chat/completions", _chat(stream_options={"include_usage": True}), "stream_options", None),
    ("chat/completions", _chat(messages=[*HI, RESULT]), "messages.[1].role", None),
    ("chat/completions", _chat(messages=[*HI, CALL, RESULT, RESULT]), "messages.[3].tool_call_id", None),
    ("chat/completions", _chat(messages=[*HI, CALL, RESULT | {"tool_call_id": "c2"}]), "messages.[2].tool_call_id", None),
    ("chat/completions", _chat(messages=[*HI, CALL]), "messages.[2].role", None),
    ("chat/completions", _chat(messages=[*HI, CALL, *HI]), "messages.[2].role", None),
    ("chat/completions", _chat(messages=[*HI, {"role": "assistant"}]), "messages.[1].content", None),
    ("chat/completions", _chat(tools=_function(name="add it")), "tools[0].function.name", "invalid_value"),
    ("chat/completions", _chat(tools=_function(name="a" * 65)), "tools[0].function.name", "string_above_max_length"),
    (
        "chat/completions",
        _chat(tools=_function(parameters={"type": "string"})),
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    ("chat/completions", _chat(tools=_function(parameters=OPEN)), "tools[0].function.parameters", "invalid_function_parameters"),
    ("chat/completions", _chat(tool_choice="required"), "tool_choice", None),
    ("chat/completions", _chat(parallel_tool_calls=True), "parallel_tool_calls", None),
    ("chat/completions", _chat(tools=[ADD], tool_choice={"type": "function", "function": {"name": "sub"}}), "tool_choice", None),
    ("chat/completions", _chat(response_format={"type": "json_object"}), "messages", None),
    ("chat/completions", _chat(response_format={"type": "json_schema"}), "response_format.json_schema", "missing_required_parameter"),
    ("chat/completions", _chat(response_format=_format(schema=OPEN)), "response_format", None),
    ("chat/completions", _chat(messages=[{"role": "user", "content": "x" * 500}]), "messages", "context_length_exceeded"),
    ("responses", {"input": "hi"}, "model", "missing_required_parameter"),
    ("responses", {"model": "stand-in"}, "input", "missing_required_parameter"),
    ("responses", _response(messages=HI), "messages", "unknown_parameter"),
    ("responses", _response(input=[OUTPUT]), "input", None),
    ("responses", _response(input=[*HI, ITEM]), "input", None),
    ("responses", _response(input=[{"type": "function_call_output", "output": "3"}]), "input[0].call_id", "missing_required_parameter"),
    ("responses", _response(input=[ITEM, OUTPUT | {"call_id": "c2"}]), "input", None),
    ("responses", _response(input=[ITEM | {"id": "call_1"}, OUTPUT]), "input[0].id", "invalid_value"),
    ("responses", _response(previous_response_id="resp_unknown"), "previous_response_id", "previous_response_not_found"),
    ("responses", _response(max_output_tokens=1), "max_output_tokens", "integer_below_min_value"),
    ("responses", _response(tools=[TOOL | {"parameters": OPEN}]), "tools[0].parameters", "invalid_function_parameters"),
    ("responses", _response(tools=[TOOL], tool_choice={"type": "function", "name": "sub"}), "tool_choice", None),
    ("responses", _response(text=_text(schema=OPEN)), "text.format.schema", "invalid_json_schema"),
    ("responses", _response(text={"format": {"type": "json_object"}}), "input", None),
    ("responses", _response(stream_options={"include_obfuscation": True}), "stream_options", None),
    ("responses", _response(input="x" * 500), "input", "context_length_exceeded"),
]
"""Requests that the vendor's types take and the API does not."""

BEYOND = [
    ("chat/completions", _chat(logprobs=True), "logprobs"),
    ("chat/completions", _chat(functions=[{"name": "add"}]), "functions"),
    ("chat/completions", _chat(web_search_options={"search_context_size": "low"}), "web_search_options"),
    ("responses", _response(background=True), "background"),
    ("responses", _response(conversation="conv_1"), "conversation"),
    ("responses", _response(tools=[{"type": "web_search"}]), "tools[0].type"),
]

_TYPES: dict[str, TypeAdapter[Any]] = {
    "chat/completions": TypeAdapter(CompletionCreateParamsNonStreaming),
    "responses": TypeAdapter(ResponseCreateParamsNonStreaming),
}


def _exhaust(value: Any) -> None:
    """Look at all of what a type of the vendor's took: what it declares as an iterable is checked only then."""
    for one in (
        value.values() if isinstance(value, dict) else () if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) else value
    ):
        _exhaust(one)


def _names(case: Any) -> str:
    return f"{case[0]} {case[2]} {case[3] if len(case) > 3 else ''}"


@pytest.fixture(scope="module")
def server() -> Iterator[ModelStandIn]:
    """A stand-in with a short context that would answer anything."""
    with ModelStandIn(ModelScript(replies=(says("fine", times=None),), context_tokens=100)) as begun:
        yield begun


@pytest.fixture(scope="module")
def http(server: ModelStandIn) -> Iterator[httpx.Client]:
    """A client that sends whatever it is told."""
    with httpx.Client(base_url=server.base_url, headers={"Authorization": "Bearer stand-in"}) as client:
        yield client


def _refused(http: httpx.Client, path: str, body: Body, status: int = 400) -> ErrorObject:
    answer = http.post(f"/{path}", json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return ErrorObject.model_validate(error)


@pytest.mark.parametrize("case", SHAPES, ids=_names)
def test_a_wrong_shape_is_refused_as_the_vendors_types_do(http: httpx.Client, case: Any) -> None:
    """The parameter is named by its path, with the code for what is wrong; the vendor's published type refuses it too."""
    path, body, param, code = case
    error = _refused(http, path, body)
    assert (error.type, error.param, error.code) == ("invalid_request_error", param, code)
    assert param in error.message or code == "invalid_value"
    with pytest.raises(ValidationError):
        _exhaust(_TYPES[path].validate_python(body))


@pytest.mark.parametrize("case", RULES, ids=_names)
def test_a_broken_rule_is_refused(http: httpx.Client, case: Any) -> None:
    """What no type can say is refused with the parameter and the code of the real API."""
    path, body, param, code = case
    error = _refused(http, path, body)
    assert (error.type, error.param, error.code) == ("invalid_request_error", param, code)


@pytest.mark.parametrize("path", sorted(_TYPES))
def test_the_vendors_types_take_what_is_right(path: str) -> None:
    """The check of shapes would not refuse everything: a right request passes the vendor's type to its end."""
    _exhaust(_TYPES[path].validate_python(_chat() if path.startswith("chat") else _response(input=HI)))


@pytest.mark.parametrize("case", BEYOND, ids=_names)
def test_what_is_beyond_the_stand_in_is_told_as_such(http: httpx.Client, case: Any) -> None:
    """A feature that only the real API has is refused in the stand-in's own name, never ignored, and not to be tried again."""
    path, body, param = case
    answer = http.post(f"/{path}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"], error["param"]) == (400, "stand_in_error", "beyond_the_stand_in", param)
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", sorted(_TYPES))
def test_an_unknown_model_is_not_found(http: httpx.Client, path: str) -> None:
    """A model that the script does not name is 404 with the code of the real API."""
    error = _refused(http, path, {"model": "gpt-5", "messages" if path.startswith("chat") else "input": HI}, 404)
    assert (error.type, error.code, "gpt-5" in error.message) == ("invalid_request_error", "model_not_found", True)


def test_a_key_is_needed_and_only_its_own_is_taken(server: ModelStandIn) -> None:
    """No key and a wrong key are 401, as two different errors."""
    bare = httpx.get(f"{server.base_url}/models")
    assert (bare.status_code, bare.json()["error"]["code"]) == (401, None)
    with openai.OpenAI(base_url=server.base_url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            client.chat.completions.create(model="stand-in", messages=HI)
    assert refused.value.code == "invalid_api_key"
    assert "sk-wrong" not in str(refused.value)


def test_what_is_no_json_and_what_is_no_path_is_refused(http: httpx.Client) -> None:
    """A body that cannot be read, a list instead of an object, an unknown path, and a wrong method have their own errors."""
    for content in (b'{"model": ', b"[1]", b""):
        answer = http.post("/chat/completions", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
        assert "could not parse the JSON body" in answer.json()["error"]["message"]
    assert "Invalid URL (POST /v1/embeddings)" in _refused(http, "embeddings", {}, 404).message
    assert http.get("/chat/completions").status_code == 405


def test_an_unknown_item_is_not_found(http: httpx.Client) -> None:
    """A reference to an item that no response gave is 404."""
    error = _refused(http, "responses", _response(input=[{"type": "item_reference", "id": "msg_unknown"}]), 404)
    assert (error.param, "msg_unknown" in error.message) == ("input", True)


def test_a_refused_request_uses_nothing_of_the_script(server: ModelStandIn, http: httpx.Client) -> None:
    """After all these refusals the script is where it was, and nothing was wrong with it."""
    assert http.post("/chat/completions", json=_chat()).json()["choices"][0]["message"]["content"] == "fine"
    assert server.desk.problems == []
