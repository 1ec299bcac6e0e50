"""Chat completions: what a request may be, what is refused, and how an answer goes out, whole or in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from chargehand.testing.standin.refusals import NAME, invalid
from chargehand.testing.standin.script import Answer, Asked, ModelScript, tokens_in
from chargehand.testing.standin.shapes import (
    Allowed,
    Function,
    JsonSchema,
    Metadata,
    Name,
    Penalty,
    Shape,
    Temperature,
    Unit,
    by,
    check_answer,
    check_choice,
    check_format,
    check_function,
    check_json_word,
    check_length,
    check_model,
    digest_of,
    shaped,
    text_or_list,
)

BEYOND = {
    "audio": "Audio",
    "modalities": "A choice of modalities",
    "prediction": "A predicted output",
    "web_search_options": "Web search",
    "functions": "The old form of tools",
    "function_call": "The old form of tool_choice",
    "moderation": "Moderation",
    "logprobs": "Log probabilities",
    "top_logprobs": "Log probabilities",
}
"""What the real API takes and the stand-in does not."""


class TextPart(Shape):
    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: dict[str, Any] | None = None


class RefusalPart(Shape):
    type: Literal["refusal"]
    refusal: str


class ImageUrl(Shape):
    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Shape):
    type: Literal["image_url"]
    image_url: ImageUrl
    prompt_cache_breakpoint: dict[str, Any] | None = None


Said = Annotated[Annotated[TextPart, Tag("<text>")] | Annotated[ImagePart, Tag("<image_url>")], Discriminator(by("type"))]
Answered = Annotated[Annotated[TextPart, Tag("<text>")] | Annotated[RefusalPart, Tag("<refusal>")], Discriminator(by("type"))]
Text = Annotated[str, Tag("<str>")]
Texts = Annotated[Text | Annotated[list[TextPart], Tag("<list>")], Discriminator(text_or_list)]


class CalledFunction(Shape):
    name: str
    arguments: str


class ToolCall(Shape):
    id: str
    type: Literal["function"]
    function: CalledFunction


class SystemMessage(Shape):
    role: Literal["system", "developer"]
    content: Texts
    name: str | None = None


class UserMessage(Shape):
    role: Literal["user"]
    content: Annotated[Text | Annotated[list[Said], Tag("<list>")], Discriminator(text_or_list)]
    name: str | None = None


class AssistantMessage(Shape):
    role: Literal["assistant"]
    content: Annotated[Text | Annotated[list[Answered], Tag("<list>")], Discriminator(text_or_list)] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall] | None, Field(min_length=1)] = None
    audio: None = None
    function_call: None = None
    annotations: list[dict[str, Any]] | None = None


class ToolMessage(Shape):
    role: Literal["tool"]
    content: Texts
    tool_call_id: str


Message = Annotated[
    Annotated[SystemMessage, Tag("<system>")]
    | Annotated[SystemMessage, Tag("<developer>")]
    | Annotated[UserMessage, Tag("<user>")]
    | Annotated[AssistantMessage, Tag("<assistant>")]
    | Annotated[ToolMessage, Tag("<tool>")],
    Discriminator(by("role")),
]


class Tool(Shape):
    type: Literal["function"]
    function: Function


class Named(Shape):
    name: Name


class NamedChoice(Shape):
    type: Literal["function"]
    function: Named


class Format(Shape):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Shape):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Shape):
    """A request for a chat completion. What does not change what is answered is checked and left alone."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    tools: Annotated[list[Tool] | None, Field(min_length=1, max_length=128)] = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int | None, Field(ge=1, le=1)] = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None


# -- reading a request ----------


def read(body: Mapping[str, Any], script: ModelScript) -> tuple[ChatRequest, Asked]:
    """Return a request and what it asks. Raises `Refused`."""
    if not body.get("model"):
        raise invalid("you must provide a model parameter")
    request = shaped(ChatRequest, body, BEYOND)
    check_model(request.model, script)
    _check_options(request)
    _check_conversation(request.messages)
    asked = _asked(request, digest_of(body))
    if request.response_format is not None and request.response_format.type == "json_object":
        check_json_word(asked.texts, "messages", "response_format")
    check_length(asked, script, "messages")
    return request, asked


def _check_options(request: ChatRequest) -> None:
    tools = [tool.function for tool in request.tools or ()]
    for number, function in enumerate(tools):
        check_function(function, f"tools[{number}].function.parameters")
    choice = request.tool_choice
    named = choice.function.name if isinstance(choice, NamedChoice) else None
    check_choice(choice if isinstance(choice, str) else None, named, tools)
    if request.parallel_tool_calls is not None and not tools:
        raise invalid(
            "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified.",
            "parallel_tool_calls",
        )
    if request.stream_options is not None and not request.stream:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
        )
    form = request.response_format
    if form is not None and form.type == "json_schema":
        if form.json_schema is None:
            raise invalid(
                "Missing required parameter: 'response_format.json_schema'.",
                "response_format.json_schema",
                "missing_required_parameter",
            )
        check_format(form.json_schema, "response_format", None)


def _check_conversation(messages: Sequence[Any]) -> None:
    """Refuse tool results that nobody asked for, tool calls without results, and assistants who say nothing."""
    open_calls: list[str] = []
    for number, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            _check_result(message, number, messages, open_calls)
            open_calls.remove(message.tool_call_id)
            continue
        _check_answered(open_calls, number)
        if isinstance(message, AssistantMessage):
            open_calls = [call.id for call in message.tool_calls or ()]
            if not open_calls and message.content is None and message.refusal is None:
                raise invalid(
                    f"Invalid value for 'content': expected a string, got null. (messages[{number}])",
                    f"messages.[{number}].content",
                )
    _check_answered(open_calls, len(messages))


def _check_result(message: ToolMessage, number: int, messages: Sequence[Any], open_calls: Sequence[str]) -> None:
    if message.tool_call_id in open_calls:
        return
    before = next((one for one in reversed(messages[:number]) if not isinstance(one, ToolMessage)), None)
    if not (isinstance(before, AssistantMessage) and before.tool_calls):
        raise invalid(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
            f"messages.[{number}].role",
        )
    raise invalid(
        f"Invalid parameter: 'tool_call_id' of '{message.tool_call_id}' not found in 'tool_calls' of previous message.",
        f"messages.[{number}].tool_call_id",
    )


def _check_answered(open_calls: Sequence[str], number: int) -> None:
    if open_calls:
        raise invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
            f"The following tool_call_ids did not have response messages: {', '.join(open_calls)}",
            f"messages.[{number}].role",
        )


def _asked(request: ChatRequest, digest: str) -> Asked:
    names = {
        call.id: call.function.name
        for message in request.messages
        if isinstance(message, AssistantMessage)
        for call in message.tool_calls or ()
    }
    texts = tuple(text for message in request.messages for text in _texts_of(message))
    user = next((" ".join(_texts_of(one)) for one in reversed(request.messages) if isinstance(one, UserMessage)), "")
    results: list[tuple[str, str]] = []
    for message in reversed(request.messages):
        if not isinstance(message, ToolMessage):
            break
        results.insert(0, (names[message.tool_call_id], " ".join(_texts_of(message))))
    return Asked(request.model, texts, user, tuple(results), digest)


def _texts_of(message: Any) -> list[str]:
    content = message.content
    texts = [content] if isinstance(content, str) else [part.text for part in content or () if isinstance(part, TextPart)]
    return texts + [call.function.arguments for call in getattr(message, "tool_calls", None) or ()]


# -- answering ----------


def check(request: ChatRequest, answer: Answer) -> None:
    """Hold the script to what the request allows. Raises `ScriptUnfit`."""
    form, choice = request.response_format, request.tool_choice
    check_answer(
        answer,
        Allowed(
            tools=[tool.function for tool in request.tools or ()],
            choice=choice.function.name if isinstance(choice, NamedChoice) else choice or "auto",
            parallel=request.parallel_tool_calls is not False,
            format=form.json_schema if form is not None else None,
        ),
    )


def whole(request: ChatRequest, asked: Asked, answer: Answer, created: int) -> dict[str, Any]:
    """Return the answer as one completion."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": answer.refusal, "annotations": []}
    if answer.tools:
        message["tool_calls"] = _tool_calls(answer)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return _head(request, answer, created, "chat.completion") | {"choices": [choice], "usage": usage(asked, answer)}


def chunks(request: ChatRequest, asked: Asked, answer: Answer, created: int) -> Iterator[dict[str, Any]]:
    """Yield the answer piece by piece."""
    head = _head(request, answer, created, "chat.completion.chunk")
    counted = request.stream_options is not None and bool(request.stream_options.include_usage)
    if counted:
        head |= {"usage": None}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    first = {"role": "assistant", "content": None if answer.tools and answer.text is None else "", "refusal": None}
    yield chunk(first)
    yield from (chunk({"content": piece}) for piece in pieces(answer.text))
    yield from (chunk({"refusal": piece}) for piece in pieces(answer.refusal))
    for index, call in enumerate(_tool_calls(answer)):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield chunk({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": function}]})
        for piece in pieces(call["function"]["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, answer.finish)
    if counted:
        yield head | {"choices": [], "usage": usage(asked, answer)}


def pieces(text: str | None, size: int = 12) -> Iterator[str]:
    """Yield a text in pieces of some characters."""
    for start in range(0, len(text or ""), size):
        yield (text or "")[start : start + size]


def usage(asked: Asked, answer: Answer) -> dict[str, Any]:
    """Return the estimated tokens."""
    given = answered_tokens(answer)
    return {
        "prompt_tokens": asked.tokens,
        "completion_tokens": given,
        "total_tokens": asked.tokens + given,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def answered_tokens(answer: Answer) -> int:
    """Return the estimated tokens of an answer."""
    said = [answer.text or "", answer.refusal or "", *(part for tool in answer.tools for part in (tool.name, tool.text()))]
    return sum(tokens_in(text) for text in said)


def _tool_calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{answer.tag}{number}",
            "type": "function",
            "function": {"name": tool.name, "arguments": tool.text()},
        }
        for number, tool in enumerate(answer.tools)
    ]


def _head(request: ChatRequest, answer: Answer, created: int, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.tag}",
        "object": kind,
        "created": created,
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": NAME,
    }
