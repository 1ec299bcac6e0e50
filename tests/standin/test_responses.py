"""Responses: text, tools, structured output, events, and what is remembered, with the vendor's client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from chargehand.testing.standin import calls, fails, gives, refuses, says

from .test_chat import ADD, Quote

Ask = Callable[..., openai.OpenAI]
TOOL: Any = {"type": "function"} | ADD["function"]


def test_text_and_usage_come_back(ask: Ask) -> None:
    """A reply that is text is the output text; usage is estimated."""
    said = ask(says("y" * 9)).responses.create(model="stand-in", input="x" * 40, instructions="z" * 4)
    assert (said.output_text, said.status, said.model) == ("y" * 9, "completed", "stand-in")
    assert said.usage is not None
    assert (said.usage.input_tokens, said.usage.output_tokens, said.usage.total_tokens) == (11, 3, 14)


def test_a_conversation_goes_on_by_id(ask: Ask) -> None:
    """A tool's output is sent with the id of the response that called it; the call is found there."""
    client = ask(calls(("add", {"a": 1, "b": 2})), says("3", tool="add", result="3"))
    first = client.responses.create(model="stand-in", input="1 + 2?", tools=[TOOL])
    (call,) = first.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"a": 1, "b": 2}
    output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "3"}]
    second = client.responses.create(model="stand-in", input=output, previous_response_id=first.id, tools=[TOOL])
    assert (second.output_text, second.previous_response_id) == ("3", first.id)


def test_a_conversation_goes_on_by_its_items(ask: Ask) -> None:
    """What a response gave can be sent back as it came, by itself or as a reference."""
    client = ask(calls(("add", {"a": 1, "b": 2})), says("3", tool="add"), says("again", anywhere="1 + 2?"))
    first = client.responses.create(model="stand-in", input="1 + 2?", tools=[TOOL])
    (call,) = first.output
    assert call.type == "function_call"
    asked: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "1 + 2?"}]}, call.model_dump(exclude_none=True)]
    asked.append({"type": "function_call_output", "call_id": call.call_id, "output": "3"})
    second = client.responses.create(model="stand-in", input=asked, tools=[TOOL], store=False)
    assert second.output_text == "3"
    asked[1] = {"type": "item_reference", "id": call.id}
    asked += [item.model_dump(exclude_none=True) for item in second.output] + [{"role": "user", "content": "sure?"}]
    assert client.responses.create(model="stand-in", input=asked).output_text == "again"


def test_a_structured_answer_is_parsed(ask: Ask) -> None:
    """The vendor's `parse` sends a strict schema and reads the scripted value as its model; a refusal is left unread."""
    client = ask(gives({"supplier": "Bolt AG", "price": 12}), refuses("No."))
    assert client.responses.parse(model="stand-in", input="quote", text_format=Quote).output_parsed == Quote(supplier="Bolt AG", price=12)
    refused = client.responses.parse(model="stand-in", input="quote", text_format=Quote)
    assert refused.output_parsed is None
    assert [part.type for item in refused.output if item.type == "message" for part in item.content] == ["refusal"]


def test_a_limit_of_tokens_leaves_the_response_incomplete(ask: Ask) -> None:
    """What is longer than `max_output_tokens` is cut, and the response says why."""
    said = ask(says("x" * 100)).responses.create(model="stand-in", input="hi", max_output_tokens=16)
    assert said.incomplete_details is not None
    assert (said.status, said.incomplete_details.reason, len(said.output_text)) == ("incomplete", "max_output_tokens", 64)


def test_events_come_in_order_and_add_up(ask: Ask) -> None:
    """The events are numbered, the deltas are the text, and the last event has the whole response."""
    text = "A sentence that is longer than one piece of a stream."
    events = list(ask(says(text)).responses.create(model="stand-in", input="hi", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events if "delta" not in event.type] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == text
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == text


def test_calls_refusals_and_values_come_by_stream(ask: Ask) -> None:
    """The vendor's stream helper reads calls with their arguments, a refusal and a value."""
    client = ask(calls(("add", {"a": 1, "b": 2})), refuses("No."), gives({"supplier": "Bolt AG", "price": 12}))
    with client.responses.stream(model="stand-in", input="hi", tools=[TOOL]) as stream:
        (call,) = stream.get_final_response().output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"a": 1, "b": 2}
    with client.responses.stream(model="stand-in", input="hi", text_format=Quote) as stream2:
        kinds = [event.type for event in stream2]
    assert "response.refusal.delta" in kinds
    assert "response.refusal.done" in kinds
    with client.responses.stream(model="stand-in", input="hi", text_format=Quote) as stream3:
        assert stream3.get_final_response().output_parsed == Quote(supplier="Bolt AG", price=12)


def test_what_is_stored_can_be_read_and_deleted(ask: Ask) -> None:
    """A stored response is there until it is deleted; one that was not to be stored, or was never given, is not."""
    client = ask(says("kept"), says("not kept"), fails("server_error"))
    kept = client.responses.create(model="stand-in", input="hi")
    assert client.responses.retrieve(kept.id).output_text == "kept"
    dropped = client.responses.create(model="stand-in", input="hi", store=False)
    client.responses.delete(kept.id)
    for name in (kept.id, dropped.id):
        with pytest.raises(openai.NotFoundError, match="not found"):
            client.responses.retrieve(name)
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="stand-in", input="more", previous_response_id=name)
        assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="stand-in", input="hi")
