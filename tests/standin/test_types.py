"""The stand-in against the types of the vendor's published client: what it takes and what it gives."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Required, get_args, get_origin

import httpx
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params
from openai.types.chat.chat_completion_assistant_message_param import ChatCompletionAssistantMessageParam
from openai.types.chat.chat_completion_function_tool_param import ChatCompletionFunctionToolParam
from openai.types.chat.chat_completion_message_function_tool_call_param import ChatCompletionMessageFunctionToolCallParam
from openai.types.chat.chat_completion_system_message_param import ChatCompletionSystemMessageParam
from openai.types.chat.chat_completion_tool_message_param import ChatCompletionToolMessageParam
from openai.types.chat.chat_completion_user_message_param import ChatCompletionUserMessageParam
from openai.types.model import Model
from openai.types.responses import (
    EasyInputMessageParam,
    FunctionToolParam,
    Response,
    ResponseFunctionToolCallParam,
    ResponseReasoningItemParam,
    ResponseStreamEvent,
    response_create_params,
)
from openai.types.responses.response_format_text_json_schema_config_param import ResponseFormatTextJSONSchemaConfigParam
from openai.types.responses.response_input_param import FunctionCallOutput
from openai.types.shared_params.function_definition import FunctionDefinition
from openai.types.shared_params.response_format_json_schema import JSONSchema
from pydantic import BaseModel, TypeAdapter

from chargehand.testing.standin import ModelScript, ModelStandIn, Reply, ToolUse, chat, gives, refuses, responses, says, shapes

from .conftest import HI
from .test_chat import ADD
from .test_responses import TOOL

PAIRS = [
    (chat.ChatRequest, completion_create_params.CompletionCreateParamsNonStreaming, chat.BEYOND),
    (responses.ResponseRequest, response_create_params.ResponseCreateParamsNonStreaming, responses.BEYOND),
    (chat.SystemMessage, ChatCompletionSystemMessageParam, {}),
    (chat.UserMessage, ChatCompletionUserMessageParam, {}),
    (chat.AssistantMessage, ChatCompletionAssistantMessageParam, {}),
    (chat.ToolMessage, ChatCompletionToolMessageParam, {}),
    (chat.ToolCall, ChatCompletionMessageFunctionToolCallParam, {}),
    (chat.Tool, ChatCompletionFunctionToolParam, {}),
    (shapes.Function, FunctionDefinition, {}),
    (shapes.JsonSchema, JSONSchema, {}),
    (responses.SchemaFormat, ResponseFormatTextJSONSchemaConfigParam, {}),
    (responses.Message, EasyInputMessageParam, {}),
    (responses.FunctionCall, ResponseFunctionToolCallParam, {"caller": "", "namespace": "", "async": ""}),
    (responses.FunctionOutput, FunctionCallOutput, {"caller": "", "namespace": ""}),
    (responses.Reasoning, ResponseReasoningItemParam, {}),
    (responses.Tool, FunctionToolParam, {"allowed_callers": "", "defer_loading": "", "output_schema": "", "async": ""}),
]
"""Our shapes, the vendor's, and what of the vendor's is beyond the stand-in."""

MORE = {chat.AssistantMessage: {"annotations"}, responses.Message: {"id", "status"}}
"""What clients send back of a message that they were given: the API takes it, the vendor's input type does not name it."""
OPTIONAL_HERE = {responses.ResponseRequest: {"model"}, responses.Tool: {"parameters", "strict"}, responses.FunctionOutput: {"call_id"}}
"""Required by one of the two only. The vendor's types leave `model` to stored prompts and `call_id` to the provider's own tools,
and ask for what the API fills in."""


def _keys(shape: Any) -> dict[str, bool]:
    """Return the names that a shape takes, and whether each is required."""
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        return {field.alias or name: field.is_required() for name, field in shape.model_fields.items()}
    hints = typing.get_type_hints(shape, include_extras=True)
    return {name: get_origin(hint) is Required for name, hint in hints.items()}


@pytest.mark.parametrize(("ours", "theirs", "beyond"), PAIRS, ids=lambda one: getattr(one, "__name__", ""))
def test_requests_have_the_vendors_names(ours: Any, theirs: Any, beyond: dict[str, str]) -> None:
    """Each name of the vendor's is taken or listed as beyond the stand-in, no other is taken, and the same ones are required."""
    mine, published = _keys(ours), _keys(theirs)
    assert set(published) - set(mine) - set(beyond) == set(), "the vendor takes it; the stand-in neither takes nor refuses it by name"
    assert set(mine) - set(published) - MORE.get(ours, set()) == set(), "the vendor does not know it"
    assert set(beyond) & set(mine) == set()
    optional = OPTIONAL_HERE.get(ours, set()) | {"type", "input"}
    required = {name for name, needed in published.items() if needed} - set(beyond)
    assert required - optional == {name for name, needed in mine.items() if needed} - optional


# -- what it gives ----------


def _unknown(value: Any, path: str = "") -> Iterator[str]:
    """Yield the places of a vendor's object that hold what the vendor's type does not name."""
    if isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            yield f"{path}.{name}"
        for name in type(value).model_fields:
            yield from _unknown(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _unknown(one, f"{path}[{number}]")


_ADAPTERS = {kind: TypeAdapter[Any](kind) for kind in (ChatCompletion, ChatCompletionChunk, Response, Model)}
_EVENTS = TypeAdapter[Any](ResponseStreamEvent)


def _fits(kind: Any, form: Any) -> Any:
    value = _ADAPTERS.get(kind, _EVENTS).validate_python(form)
    assert list(_unknown(value)) == []
    return value


def test_the_check_of_types_finds_what_does_not_belong() -> None:
    """A name too many and a value of another type are found, in depth."""
    model = {"id": "stand-in", "object": "model", "created": 1, "owned_by": "x"}
    assert list(_unknown(Model.model_validate(model | {"colour": "red"}))) == [".colour"]
    with pytest.raises(ValueError, match="literal_error"):
        _fits(Model, model | {"object": "toy"})


REPLIES: dict[str, Reply] = {
    "text": says("Grüße"),
    "value": gives({"a": 1, "b": 2}),
    "refusal": refuses("No."),
    "tools": Reply(
        text="Let me see.", tools=(ToolUse(name="add", arguments={"a": 1, "b": 2}), ToolUse(name="add", arguments={"a": 3, "b": 4}))
    ),
    "truncated": gives({"a": 1, "b": 2}, fault="truncated"),
    "content_filter": says("x", fault="content_filter"),
    "wrong_schema": gives({"a": 1, "b": 2}, fault="wrong_schema"),
}
FORMAT = {"name": "sum", "strict": True, "schema": ADD["function"]["parameters"]}


def _bodies(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    tools: dict[str, Any] = {"tools": [ADD]} if name == "tools" else {}
    form: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": FORMAT}} if name in ("value", "wrong_schema") else {}
    text: dict[str, Any] = {"text": {"format": {"type": "json_schema"} | FORMAT}} if form else {}
    said = {"model": "stand-in", "messages": HI} | tools | form
    return said, {"model": "stand-in", "input": HI} | text | ({"tools": [TOOL]} if tools else {})


def _events(content: str) -> Iterator[Any]:
    for block in content.strip().split("\n\n"):
        data = block.partition("data: ")[2]
        if data != "[DONE]":
            yield TypeAdapter(dict[str, Any]).validate_json(data)


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_answers_are_the_vendors_types_and_nothing_more(model_stand_in: Callable[..., ModelStandIn], name: str) -> None:
    """Every answer, chunk and event is valid by the vendor's type, strictly, and has no name that the type lacks."""
    reply = REPLIES[name].model_copy(update={"times": None})
    server = model_stand_in(ModelScript(replies=(reply,)))
    headers = {"Authorization": f"Bearer {server.api_key}"}
    said, given = _bodies(name)
    with httpx.Client(base_url=server.base_url, headers=headers) as http:
        whole = http.post("/chat/completions", json=said)
        assert (whole.headers["x-stand-in"], whole.headers["server"]) == ("chargehand-stand-in", "chargehand-stand-in")
        _fits(ChatCompletion, whole.json())
        streamed = http.post("/chat/completions", json=said | {"stream": True, "stream_options": {"include_usage": True}}).text
        assert streamed.endswith("data: [DONE]\n\n")
        chunks = [_fits(ChatCompletionChunk, chunk) for chunk in _events(streamed)]
        assert chunks[-2].choices[0].finish_reason == whole.json()["choices"][0]["finish_reason"]
        response = _fits(Response, http.post("/responses", json=given).json())
        events = [_fits(ResponseStreamEvent, event) for event in _events(http.post("/responses", json=given | {"stream": True}).text)]
        assert events[-1].type == f"response.{response.status}"
        for model in http.get("/models").json()["data"]:
            _fits(Model, model)


def test_no_union_of_the_vendor_hides_a_mistake() -> None:
    """The vendor's events are told apart by their type: the adapter refuses an event of an unknown one."""
    assert get_origin(get_args(ResponseStreamEvent)[0]) in (typing.Union, types.UnionType)
    with pytest.raises(ValueError, match="validation error"):
        _fits(ResponseStreamEvent, {"type": "response.invented", "sequence_number": 0})
