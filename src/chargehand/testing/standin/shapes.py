"""What the requests of both APIs have in common: strict models, texts in parts, and the checks of tools and schemas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chargehand.testing.standin.refusals import Refused, beyond, invalid, refusal_of, too_long, unknown_model
from chargehand.testing.standin.schemas import strict_fault, violation
from chargehand.testing.standin.script import Answer, Asked, ModelScript, ScriptUnfit


class Shape(BaseModel):
    """A part of a request: nothing is guessed, nothing unknown is taken."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


Name = Annotated[str, Field(pattern="^[a-zA-Z0-9_-]+$", max_length=64)]
Unit = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=0, le=2)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Metadata = dict[str, str]


def text_or_list(value: Any) -> str:
    """Say which of the two shapes of a content a value has; the tags are taken out of what a client is told."""
    return "<str>" if isinstance(value, str) else "<list>" if isinstance(value, list) else "<other>"


def by(field: str, default: str | None = None) -> Callable[[Any], str | None]:
    """Return what tells the shapes of a list apart: the value of a field, as a tag."""

    def tag(value: Any) -> str | None:
        found = value.get(field, default) if isinstance(value, dict) else getattr(value, field, default)
        return None if found is None else f"<{found}>"

    tag.__name__ = f"by_{field}"
    return tag


class Function(Shape):
    """A function that the model may call."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class JsonSchema(Shape):
    """A format of the output, as a JSON schema."""

    name: Name
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


ShapeT = TypeVar("ShapeT", bound=BaseModel)


def shaped(shape: type[ShapeT], body: Mapping[str, Any], beyond_us: Mapping[str, str]) -> ShapeT:
    """Return a request's body as its shape. Raises `Refused`, with our own words for what only the real API takes."""
    for name, what in beyond_us.items():
        if body.get(name) not in (None, False, 0, [], {}):
            raise beyond(what, name)
    try:
        return shape.model_validate({name: value for name, value in body.items() if name not in beyond_us})
    except ValidationError as error:
        raise refusal_of(error) from None


def digest_of(body: Mapping[str, Any]) -> str:
    """Return what equal requests have in common."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


# -- what both APIs check ----------


def check_model(name: str, script: ModelScript) -> None:
    """Refuse a model that the stand-in does not answer to."""
    if name not in script.models:
        raise unknown_model(name)


def check_length(asked: Asked, script: ModelScript, param: str) -> None:
    """Refuse an input that is longer than the context."""
    if asked.tokens > script.context_tokens:
        raise too_long(script.context_tokens, asked.tokens, param)


def check_function(function: Function, param: str) -> None:
    """Refuse a function whose parameters are no schema, or none that strict mode takes."""
    schema = function.parameters
    if schema is None:
        return
    if schema.get("type") != "object":
        kind = schema.get("type")
        raise _bad_function(function, f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'.", param)
    if function.strict:
        fault = strict_fault(schema)
        if fault is not None:
            raise _bad_function(function, fault, param)


def _bad_function(function: Function, why: str, param: str) -> Refused:
    return invalid(f"Invalid schema for function '{function.name}': {why}", param, "invalid_function_parameters")


def check_format(schema: JsonSchema, param: str, code: str | None) -> None:
    """Refuse a format that strict mode does not take."""
    if schema.strict and schema.schema_ is not None:
        fault = strict_fault(schema.schema_)
        if fault is not None:
            raise invalid(f"Invalid schema for response_format '{schema.name}': {fault}", param, code)


def check_choice(choice: str | None, named: str | None, tools: Sequence[Function]) -> None:
    """Refuse a choice of tools where there are none, or of one that is not there."""
    if (choice is not None or named is not None) and not tools and choice != "none":
        raise invalid("Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if named is not None and named not in {tool.name for tool in tools}:
        raise invalid(f"Tool choice '{named}' not found in 'tools' parameter.", "tool_choice")


def check_json_word(texts: Sequence[str], param: str, where: str) -> None:
    """Refuse the format "json_object" where no message speaks of JSON."""
    if not any("json" in text.lower() for text in texts):
        raise invalid(
            f"'{param}' must contain the word 'json' in some form, to use '{where}' of type 'json_object'.",
            param,
        )


# -- what the script may say ----------


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a request lets the model say: its tools, which of them it must use, how many, and the format of a text.

    `choice` is "auto", "none", "required", or the name of a tool.
    """

    tools: Sequence[Function]
    choice: str
    parallel: bool
    format: JsonSchema | None


def check_answer(answer: Answer, allowed: Allowed) -> None:
    """Hold the script to what an endpoint can say. Raises `ScriptUnfit`."""
    offered = {tool.name: tool for tool in allowed.tools}
    for use in answer.tools:
        if use.name not in offered:
            raise ScriptUnfit(f"The script calls the tool {use.name!r}; the request offers {sorted(offered) or 'none'}.")
        tool = offered[use.name]
        if tool.strict and tool.parameters is not None and not answer.loose:
            _keep_to(use.text(), tool.parameters, f"The arguments of {use.name!r}")
    _check_chosen(answer, allowed)
    schema = allowed.format
    if schema is not None and schema.strict and schema.schema_ is not None and answer.text and not answer.loose and not answer.tools:
        _keep_to(answer.text, schema.schema_, "The script's answer")


def _check_chosen(answer: Answer, allowed: Allowed) -> None:
    if answer.fault is not None and answer.text is None and not answer.tools and answer.refusal is None:
        return  # the endpoint fails; no model has said anything
    names = [use.name for use in answer.tools]
    wanted = f"the request's tool_choice is {allowed.choice!r}"
    if allowed.choice == "none" and names:
        raise ScriptUnfit(f"The script calls {names[0]!r}; {wanted}.")
    if allowed.choice not in ("none", "auto") and not names and answer.finish == "stop" and answer.refusal is None:
        raise ScriptUnfit(f"The script calls no tool; {wanted}.")
    if allowed.choice not in ("none", "auto", "required") and any(name != allowed.choice for name in names):
        raise ScriptUnfit(f"The script calls {names}; {wanted}.")
    if len(names) > 1 and not allowed.parallel:
        raise ScriptUnfit(f"The script calls {names} at once; the request forbids parallel_tool_calls.")


def _keep_to(text: str, schema: Mapping[str, Any], what: str) -> None:
    try:
        fault = violation(json.loads(text), schema)
    except ValueError:
        fault = "it is no JSON"
    if fault is not None:
        raise ScriptUnfit(
            f"{what} does not keep to its strict schema: {fault}. An endpoint that enforces the schema cannot say so; "
            "use the fault 'wrong_schema' for one that does not."
        )
