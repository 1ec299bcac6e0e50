"""Responses: what a request may be, what is refused, and what earlier responses are remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from chargehand.testing.standin.refusals import Refused, beyond, invalid
from chargehand.testing.standin.script import Answer, Asked, ModelScript
from chargehand.testing.standin.shapes import (
    Allowed,
    Function,
    JsonSchema,
    Metadata,
    Name,
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
    "background": "A response in the background",
    "background_options": "A response in the background",
    "conversation": "A stored conversation",
    "prompt": "A stored prompt",
    "context_management": "Compaction",
    "moderation": "Moderation",
    "top_logprobs": "Log probabilities",
    "image": "Compression of images",
    "access_programs": "An access program",
    "max_tool_calls": "A limit on the provider's own tools",
}
"""What the real API takes and the stand-in does not."""


class TextPart(Shape):
    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[dict[str, Any]] | None = None
    logprobs: list[dict[str, Any]] | None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class RefusalPart(Shape):
    type: Literal["refusal"]
    refusal: str


class ImagePart(Shape):
    type: Literal["input_image"]
    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None


Part = Annotated[
    Annotated[TextPart, Tag("<input_text>")]
    | Annotated[TextPart, Tag("<output_text>")]
    | Annotated[RefusalPart, Tag("<refusal>")]
    | Annotated[ImagePart, Tag("<input_image>")],
    Discriminator(by("type")),
]
Parts = Annotated[Annotated[str, Tag("<str>")] | Annotated[list[Part], Tag("<list>")], Discriminator(text_or_list)]
Status = Literal["in_progress", "completed", "incomplete"]


class Message(Shape):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Parts
    id: str | None = None
    status: Status | None = None
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCall(Shape):
    type: Literal["function_call"]
    call_id: Annotated[str, Field(min_length=1, max_length=64)]
    name: str
    arguments: str
    id: str | None = None
    status: Status | None = None


class FunctionOutput(Shape):
    type: Literal["function_call_output"]
    call_id: Annotated[str, Field(min_length=1, max_length=64)]
    output: Parts
    name: str | None = None
    id: str | None = None
    status: Status | None = None


class Reasoning(Shape):
    type: Literal["reasoning"]
    id: str
    summary: list[dict[str, Any]]
    content: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None
    status: Status | None = None


class Reference(Shape):
    type: Literal["item_reference"]
    id: str


Item = Annotated[
    Annotated[Message, Tag("<message>")]
    | Annotated[FunctionCall, Tag("<function_call>")]
    | Annotated[FunctionOutput, Tag("<function_call_output>")]
    | Annotated[Reasoning, Tag("<reasoning>")]
    | Annotated[Reference, Tag("<item_reference>")],
    Discriminator(by("type", "message")),
]
PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fc", "reasoning": "rs"}


class Tool(Function):
    type: Literal["function"]


class NamedChoice(Shape):
    type: Literal["function"]
    name: Name


class PlainFormat(Shape):
    type: Literal["text", "json_object"]


class SchemaFormat(JsonSchema):
    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


Format = Annotated[
    Annotated[PlainFormat, Tag("<text>")] | Annotated[PlainFormat, Tag("<json_object>")] | Annotated[SchemaFormat, Tag("<json_schema>")],
    Discriminator(by("type")),
]


class TextOptions(Shape):
    format: Format | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class StreamOptions(Shape):
    include_obfuscation: bool | None = None


class ResponseRequest(Shape):
    """A request for a response. What does not change what is answered is checked and left alone."""

    model: str
    input: Annotated[Annotated[str, Tag("<str>")] | Annotated[list[Item], Tag("<list>")], Discriminator(text_or_list)]
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    max_output_tokens: Annotated[int | None, Field(ge=16)] = None
    temperature: Temperature | None = None
    top_p: Unit | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = None
    reasoning: dict[str, Any] | None = None
    metadata: Metadata | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None


class Memory:
    """The responses that were stored: what was asked and answered under each id."""

    def __init__(self) -> None:
        self._responses: dict[str, dict[str, Any]] = {}
        self._conversations: dict[str, list[Any]] = {}
        self._items: dict[str, Any] = {}

    def keep(self, response: dict[str, Any], conversation: Sequence[Any]) -> None:
        """Keep a response and the conversation that it ends."""
        items = [_item_of(form) for form in response["output"]]
        self._responses[response["id"]] = response
        self._conversations[response["id"]] = [*conversation, *items]
        self._items |= {item.id: item for item in items if item.id is not None}

    def response(self, name: str) -> dict[str, Any]:
        """Return a stored response. Raises `Refused`."""
        if name not in self._responses:
            raise Refused(404, f"Response with id '{name}' not found.")
        return self._responses[name]

    def forget(self, name: str) -> dict[str, Any]:
        """Delete a stored response. Raises `Refused`."""
        self.response(name)
        del self._responses[name], self._conversations[name]
        return {"id": name, "object": "response", "deleted": True}

    def before(self, name: str | None) -> list[Any]:
        """Return the conversation that a response ends. Raises `Refused`."""
        if name is None:
            return []
        if name not in self._conversations:
            raise invalid(f"Previous response with id '{name}' not found.", "previous_response_id", "previous_response_not_found")
        return self._conversations[name]

    def item(self, name: str) -> Any:
        """Return a stored item. Raises `Refused`."""
        if name not in self._items:
            raise Refused(404, f"Item with id '{name}' not found.", param="input")
        return self._items[name]


_SHAPES: dict[str, type[Shape]] = {"message": Message, "function_call": FunctionCall, "reasoning": Reasoning}


def _item_of(form: Mapping[str, Any]) -> Any:
    return _SHAPES[form["type"]].model_validate(form)


# -- reading a request ----------


def read(body: Mapping[str, Any], script: ModelScript, memory: Memory) -> tuple[ResponseRequest, Asked, list[Any]]:
    """Return a request, what it asks, and the whole conversation. Raises `Refused`."""
    if not body.get("model"):
        raise invalid("Missing required parameter: 'model'.", "model", "missing_required_parameter")
    if body.get("input") in (None, []) and not body.get("previous_response_id"):
        raise invalid(
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
            "input",
            "missing_required_parameter",
        )
    for number, tool in enumerate(body["tools"] if isinstance(body.get("tools"), list) else ()):
        if isinstance(tool, dict) and tool.get("type") not in (None, "function"):
            raise beyond(f"The tool {tool['type']!r}", f"tools[{number}].type")
    request = shaped(ResponseRequest, {"input": []} | dict(body), BEYOND)
    check_model(request.model, script)
    _check_options(request)
    conversation = [*memory.before(request.previous_response_id), *_items(request, memory)]
    _check_conversation(conversation)
    asked = _asked(request, conversation, digest_of(body))
    if request.text is not None and request.text.format is not None and request.text.format.type == "json_object":
        check_json_word(asked.texts, "input", "text.format")
    if request.truncation != "auto":
        check_length(asked, script, "input")
    return request, asked, conversation


def _items(request: ResponseRequest, memory: Memory) -> Iterator[Any]:
    if isinstance(request.input, str):
        yield Message(role="user", content=request.input)
        return
    for number, item in enumerate(request.input):
        if isinstance(item, Reference):
            yield memory.item(item.id)
            continue
        prefix = PREFIXES[item.type]
        if item.id is not None and not item.id.startswith(prefix):
            raise invalid(
                f"Invalid 'input[{number}].id': '{item.id}'. Expected an ID that begins with '{prefix}'.",
                f"input[{number}].id",
                "invalid_value",
            )
        yield item


def _check_options(request: ResponseRequest) -> None:
    for number, tool in enumerate(request.tools or ()):
        check_function(tool, f"tools[{number}].parameters")
    choice = request.tool_choice
    named = choice.name if isinstance(choice, NamedChoice) else None
    wanted = choice if isinstance(choice, str) and choice != "auto" else None  # "auto" without tools is taken
    check_choice(wanted, named, request.tools or ())
    if request.stream_options is not None and not request.stream:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    form = request.text.format if request.text is not None else None
    if isinstance(form, SchemaFormat):
        check_format(form, "text.format.schema", "invalid_json_schema")


def _check_conversation(items: Sequence[Any]) -> None:
    """Refuse outputs of tools that nobody called, and calls whose output is missing."""
    called: list[str] = []
    answered: set[str] = set()
    for item in items:
        if isinstance(item, FunctionCall):
            called.append(item.call_id)
        elif isinstance(item, FunctionOutput):
            if item.call_id not in called:
                raise invalid(f"No tool call found for function call output with call_id {item.call_id}.", "input")
            answered.add(item.call_id)
    missing = [call for call in called if call not in answered]
    if missing:
        raise invalid(f"No tool output found for function call {missing[0]}.", "input")


def _asked(request: ResponseRequest, items: Sequence[Any], digest: str) -> Asked:
    names = {item.call_id: item.name for item in items if isinstance(item, FunctionCall)}
    texts = tuple(text for item in items for text in _texts_of(item))
    spoken = [item for item in items if isinstance(item, Message) and item.role == "user"]
    results: list[tuple[str, str]] = []
    for item in reversed(items):
        if not isinstance(item, FunctionOutput):
            break
        results.insert(0, (names[item.call_id], " ".join(_texts_of(item))))
    head = () if request.instructions is None else (request.instructions,)
    return Asked(request.model, head + texts, " ".join(_texts_of(spoken[-1])) if spoken else "", tuple(results), digest)


def _texts_of(item: Any) -> list[str]:
    if isinstance(item, FunctionCall):
        return [item.arguments]
    content = item.content if isinstance(item, Message) else item.output if isinstance(item, FunctionOutput) else ()
    return [content] if isinstance(content, str) else [part.text for part in content or () if isinstance(part, TextPart)]


def check(request: ResponseRequest, answer: Answer) -> None:
    """Hold the script to what the request allows. Raises `ScriptUnfit`."""
    form, choice = request.text.format if request.text is not None else None, request.tool_choice
    check_answer(
        answer,
        Allowed(
            tools=request.tools or (),
            choice=choice.name if isinstance(choice, NamedChoice) else choice or "auto",
            parallel=request.parallel_tool_calls is not False,
            format=form if isinstance(form, SchemaFormat) else None,
        ),
    )
