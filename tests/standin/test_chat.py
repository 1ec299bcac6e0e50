"""Chat completions: text, tools, structured output, streams and usage, with the vendor's client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from chargehand.testing.standin import ModelStandIn, calls, gives, refuses, says

from .conftest import HI

Ask = Callable[..., openai.OpenAI]

ADD: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
    },
}


class Quote(BaseModel):
    """What a structured answer is read as."""

    supplier: str
    price: int


def test_text_comes_back_as_it_stands_in_the_script(ask: Ask) -> None:
    """A reply that is text is the message's content, whatever its letters, and the model has the stand-in's name."""
    said = ask(says('Grüße, 日本 \u2028 "quoted"')).chat.completions.create(model="stand-in", messages=HI)
    assert said.choices[0].message.content == 'Grüße, 日本 \u2028 "quoted"'
    assert (said.choices[0].finish_reason, said.model, said.system_fingerprint) == ("stop", "stand-in", "chargehand-stand-in")


def test_tokens_are_estimated_from_the_texts(ask: Ask) -> None:
    """Usage counts four characters to the token, in and out, and adds up."""
    said = ask(says("y" * 9)).chat.completions.create(model="stand-in", messages=[{"role": "user", "content": "x" * 40}])
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens, said.usage.total_tokens) == (10, 3, 13)


def test_tools_are_called_and_their_results_are_told_apart(ask: Ask) -> None:
    """Two calls at once have ids of their own; the next reply can depend on the tool and on what it gave."""
    client = ask(
        calls(("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4}), user="sums"),
        says("wrong", result="8"),
        says("3 and 7", tool="add", result="7"),
    )
    history: list[Any] = [{"role": "user", "content": "the sums, please"}]
    first = client.chat.completions.create(model="stand-in", messages=history, tools=[ADD]).choices[0]
    assert first.finish_reason == "tool_calls"
    assert first.message.tool_calls is not None
    assert len({call.id for call in first.message.tool_calls}) == 2
    history.append(first.message.model_dump(exclude_none=True))
    for call in first.message.tool_calls:
        assert call.type == "function"
        arguments = json.loads(call.function.arguments)
        history.append({"role": "tool", "tool_call_id": call.id, "content": str(arguments["a"] + arguments["b"])})
    assert client.chat.completions.create(model="stand-in", messages=history, tools=[ADD]).choices[0].message.content == "3 and 7"


def test_a_structured_answer_is_parsed(ask: Ask) -> None:
    """The vendor's `parse` sends a strict schema, which is taken, and reads the scripted value as its model."""
    client = ask(gives({"supplier": "Bolt AG", "price": 12}))
    said = client.chat.completions.parse(model="stand-in", messages=HI, response_format=Quote)
    assert said.choices[0].message.parsed == Quote(supplier="Bolt AG", price=12)


def test_a_refusal_is_told_as_one(ask: Ask) -> None:
    """A refusal has no content; the vendor's `parse` does not try to read it."""
    said = ask(refuses("No.")).chat.completions.parse(model="stand-in", messages=HI, response_format=Quote)
    assert (said.choices[0].message.refusal, said.choices[0].message.content, said.choices[0].message.parsed) == ("No.", None, None)


def test_a_limit_of_tokens_cuts_the_answer(ask: Ask) -> None:
    """What is longer than `max_completion_tokens` ends with the finish reason "length"."""
    choice = ask(says("x" * 100)).chat.completions.create(model="stand-in", messages=HI, max_completion_tokens=5).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("length", "x" * 20)


def test_a_stream_adds_up_to_the_answer(ask: Ask) -> None:
    """The pieces of a stream are the whole text, the last has the finish reason, usage comes after it when it is asked for."""
    text = "One sentence that is longer than a single piece of a stream."
    stream = ask(says(text)).chat.completions.create(model="stand-in", messages=HI, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in deltas) == text
    assert sum(1 for choice in deltas if choice.delta.content) > 3
    assert (deltas[0].delta.role, [choice.finish_reason for choice in deltas][-2:]) == ("assistant", [None, "stop"])
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_has_no_usage_unless_it_is_asked_for(ask: Ask) -> None:
    """Without `stream_options` no chunk has usage, as with the real API."""
    stream = ask(says("hello")).chat.completions.create(model="stand-in", messages=HI, stream=True)
    assert all(chunk.usage is None and chunk.choices for chunk in stream)


def test_tool_calls_and_structured_answers_come_by_stream(ask: Ask) -> None:
    """The vendor's stream helper puts the pieces of two tool calls, a value and a refusal together again."""
    client = ask(calls(("add", {"a": 1, "b": 2}), ("add", {"a": 30, "b": 4})), gives({"supplier": "Bolt AG", "price": 12}), refuses("No."))
    with client.chat.completions.stream(model="stand-in", messages=HI, tools=[ADD]) as stream:
        final = stream.get_final_completion().choices[0].message
    assert final.tool_calls is not None
    assert [call.function.parsed_arguments for call in final.tool_calls] == [{"a": 1, "b": 2}, {"a": 30, "b": 4}]
    with client.chat.completions.stream(model="stand-in", messages=HI, response_format=Quote) as structured:
        assert structured.get_final_completion().choices[0].message.parsed == Quote(supplier="Bolt AG", price=12)
    with client.chat.completions.stream(model="stand-in", messages=HI, response_format=Quote) as refused:
        assert refused.get_final_completion().choices[0].message.refusal == "No."


async def test_the_async_client_is_served_alike(model_stand_in: Callable[..., ModelStandIn]) -> None:
    """Requests at the same time are answered each; the stand-in does not share the event loop of who asks."""
    server = model_stand_in(says("one", user="1"), says("two", user="2"))
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="stand-in", max_retries=0) as client:
        second = await client.chat.completions.create(model="stand-in", messages=[{"role": "user", "content": "2"}])
        stream = await client.chat.completions.create(model="stand-in", messages=[{"role": "user", "content": "1"}], stream=True)
        first = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert ("".join(first), second.choices[0].message.content) == ("one", "two")


def test_the_models_are_listed_as_stand_ins(ask: Ask) -> None:
    """The list of models names the stand-in, owned by a stand-in, and one that is not there is not found."""
    client = ask()
    assert [(model.id, model.owned_by) for model in client.models.list()] == [("stand-in", "chargehand-stand-in")]
    assert client.models.retrieve("stand-in").id == "stand-in"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("gpt-5")
    assert refused.value.code == "model_not_found"
