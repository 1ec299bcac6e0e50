"""What every adapter tells a model, and what it makes of what comes back: the contract as instructions, the arguments as a prompt, the
results of tools as text, a provider's refusals in our words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, create_model
from pydantic_core import to_jsonable_python

from chargehand.contracts import MISSING
from chargehand.errors import BudgetExhausted, Failure, InvalidInput, ModelFailed, NotDone
from chargehand.supervise.call import Call
from chargehand.supervise.definitions import AgentDefinition, Definition
from chargehand.verdicts import Feedback

REQUESTS_MAX = 50
"""Requests to the model in one attempt; an agent that needs more does not know when to stop (MAST FM-1.5)."""


def instructions_of(definition: AgentDefinition[..., Any]) -> str:
    """Return the contract as the model reads it."""
    lines = [definition.role]
    if definition.__doc__:
        lines.append(definition.__doc__.strip())
    if definition.done:
        lines.append("You are done when:\n" + "\n".join(f"- {done.clause}" for done in definition.done))
    return "\n\n".join(lines)


def prompt_of(definition: AgentDefinition[..., Any], values: Mapping[str, Any], feedback: Feedback | None) -> list[str]:
    """Return what the model is asked: the arguments as JSON (a lone text as it is), then what came of earlier attempts."""
    parameters = {parameter.name: parameter.codec for parameter in definition.contract.parameters}
    forms = {name: parameters[name].to_json(value) for name, value in values.items()}
    lone = next(iter(forms.values())) if len(forms) == 1 else None
    prompt = [lone if isinstance(lone, str) else json.dumps(forms, ensure_ascii=False, indent=1)]
    if feedback is not None and str(feedback):
        told = f"This is attempt {feedback.attempt}. Of the attempts before:\n{feedback}"
        if feedback.output is not None:
            told += f"\nThe output that was rejected: {json.dumps(feedback.output, ensure_ascii=False)}"
        prompt.append(told)
    return prompt


def plain(value: Any, *, without: set[str] | None = None) -> Any:
    """Return a value as JSON, for an identity: a class by its schema, what has no JSON form by the name of its type.

    `without` are fields of it that do not count.
    """
    return to_jsonable_python(value, exclude=without, fallback=_named)


def _named(value: Any) -> Any:
    if isinstance(value, type):
        return value.model_json_schema() if issubclass(value, BaseModel) else value.__qualname__
    return type(value).__qualname__


# -- tools ----------


def schema_of(definition: Definition[..., Any]) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments. What the supervisor fills is not in it."""
    fields: dict[str, Any] = {
        parameter.name: (parameter.codec.annotation, ... if parameter.default is MISSING else parameter.default)
        for parameter in definition.contract.parameters
    }
    schema: dict[str, Any] = create_model(definition.name, **fields).model_json_schema()
    return schema


class Unfit(Exception):
    """A model called a tool with arguments that do not fit."""


class Told(Exception):
    """A tool was denied, refused or failed: the model is told, and may do something else."""


async def used(definition: Definition[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a read, effect or agent as a model asks for it, and return its result as JSON. Raises `Unfit` and `Told`."""
    call = _call(definition, arguments)
    try:
        return definition.contract.result.to_json(await call)
    except Failure as failure:
        raise _told(failure) from failure


def _call(definition: Definition[..., Any], arguments: Mapping[str, Any]) -> Call[Any]:
    try:
        return Call(definition, definition.contract.from_record(arguments))
    except InvalidInput as unfit:
        raise Unfit(str(unfit)) from unfit


def _told(failure: Failure) -> Exception:
    """Return what becomes of a failed call: the model is told; what no model may get around ends the attempt."""
    return failure if isinstance(failure, BudgetExhausted) else Told(f"{failure.code}: {failure.message}")


async def used_as_text(definition: Definition[..., Any], arguments: Mapping[str, Any]) -> str:
    """Call a tool and return what the model is told of it: the result as JSON (a text as it is), or why there is none."""
    try:
        return text_of(await used(definition, arguments))
    except (Unfit, Told) as said:
        return str(said)


def used_from_thread(definition: Definition[..., Any], arguments: Mapping[str, Any]) -> str:
    """Do what `used_as_text` does from a thread of the body's own."""
    try:
        call = _call(definition, arguments)
        try:
            return text_of(definition.contract.result.to_json(call.wait()))
        except Failure as failure:
            raise _told(failure) from failure
    except (Unfit, Told) as said:
        return str(said)


def text_of(form: Any) -> str:
    """Return a JSON value as a model reads it."""
    return form if isinstance(form, str) else json.dumps(form, ensure_ascii=False)


# -- refusals ----------

_LATER = frozenset({429, 503, 529})
"""HTTP statuses by which a provider says that it did not carry a request out, and may later (529 is one vendor's overload)."""

_NO_ANSWER = frozenset({"APIConnectionError", "APIResponseValidationError", "TransportError", "JSONDecodeError"})
"""Exception class names of providers' clients (and of what they are built on): no answer came, or none that can be read."""


def refusal_of(model: str, error: Exception) -> Exception | None:
    """Return what a provider's client raised in our words; None for what is not the provider's doing.

    `NotDone`: it was not carried out, and may be later. `ModelFailed`: it will not be. `ConnectionError`: it may have been carried out, and
    paid for; asked again it may be answered.
    """
    what, status = type(error).__name__, getattr(error, "status_code", None)
    if isinstance(status, int):
        if status in _LATER and getattr(error, "code", None) != "insufficient_quota":
            return NotDone(f"The model {model} cannot answer now ({what}): {error}", retry_after=_retry_after(error))
        if status < 500 and status != 408:
            return ModelFailed(f"The model {model} refuses the request ({what}): {error}")
        return ConnectionError(f"The model {model} gave no answer that can be read ({what}): {error}")
    if any(kind.__name__ in _NO_ANSWER for kind in type(error).__mro__):
        return ConnectionError(f"The model {model} gave no answer that can be read ({what}): {error}")
    return None


def _retry_after(error: Exception) -> float | None:
    """Return the seconds after which the provider wants to be asked again, when it said so in seconds."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return max(0.0, float(headers.get("retry-after") or ""))
    except (TypeError, ValueError):
        return None
