"""What the stand-in refuses, in the shape that OpenAI's API refuses it: status, message, type, param and code.

The wording follows the messages that users of the API quote; clients read `type`, `param` and `code`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

NAME = "chargehand-stand-in"
"""What the stand-in calls itself in response headers and listings."""


class Refused(Exception):
    """The request is answered with an error.

    Args:
        status: the HTTP status.
        message: what the client is told.
        kind: the error's `type`.
        param: the parameter that is at fault, as a path.
        code: a word for programs, None where the API gives none.
        headers: response headers beside the usual ones.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the response's body."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """Return the refusal of a request that is wrong: status 400."""
    return Refused(400, message, param=param, code=code)


def beyond(what: str, param: str) -> Refused:
    """Return the refusal of what the real API takes and the stand-in does not: it says so rather than pretend."""
    return Refused(
        400,
        f"{what} is beyond this stand-in for a model's endpoint ({NAME}). The real API may take it.",
        kind="stand_in_error",
        param=param,
        code="beyond_the_stand_in",
        headers={"x-should-retry": "false"},
    )


def unknown_model(name: str) -> Refused:
    """Return the refusal of a model that is not served."""
    return Refused(404, f"The model `{name}` does not exist or you do not have access to it.", code="model_not_found")


def too_long(limit: int, tokens: int, param: str) -> Refused:
    """Return the refusal of an input that is longer than the model's context."""
    said = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages."
        if param == "messages"
        else "Your input exceeds the context window of this model. Please adjust your input and try again."
    )
    return invalid(said, param, "context_length_exceeded")


# -- from our validation to the API's words ----------


def refusal_of(error: ValidationError) -> Refused:
    """Return what the API would say of the first thing that is wrong with a request's shape."""
    first = error.errors(include_url=False)[0]
    param = path_of(first["loc"])
    for kinds, said in _SAYINGS:
        if first["type"] in kinds:
            return said(param, first["input"], first.get("ctx", {}))
    if first["type"].endswith("_type"):
        return _wrong_type(param, first["input"], _EXPECTED.get(first["type"], "a value of another type"))
    return invalid(f"Invalid value for '{param}': {first['msg']}", param, "invalid_value")


def path_of(loc: Sequence[int | str]) -> str:
    """Return a place in a request as the API writes it: ``messages[0].content``. Words in angle brackets are our own tags."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("<"):
            path += f".{part}" if path else part
    return path


def _missing(param: str, _: Any, __: Mapping[str, Any]) -> Refused:
    return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def _no_tag(param: str, _: Any, context: Mapping[str, Any]) -> Refused:
    return _missing(f"{param}.{_field(context)}", None, {})


def _field(context: Mapping[str, Any]) -> str:
    return "role" if "role" in str(context.get("discriminator")) else "type"


def _unknown(param: str, _: Any, __: Mapping[str, Any]) -> Refused:
    return invalid(f"Unknown parameter: '{param}'.", param, "unknown_parameter")


def _not_among(param: str, given: Any, context: Mapping[str, Any]) -> Refused:
    return _unsupported(param, given, str(context.get("expected", "")))


def _wrong_tag(param: str, given: Any, context: Mapping[str, Any]) -> Refused:
    tags = str(context.get("expected_tags", "")).replace("<", "").replace(">", "")
    if "'str'" in tags:
        return _wrong_type(param, given, "one of a string or array of objects")
    name = _field(context)
    return _unsupported(f"{param}.{name}", given.get(name) if isinstance(given, dict) else given, tags.replace(", ", " or "))


def _unsupported(param: str, given: Any, expected: str) -> Refused:
    values = expected.replace(" or ", ", ").split(", ")
    listed = " and ".join(values) if len(values) < 3 else f"{', '.join(values[:-1])}, and {values[-1]}"
    return invalid(f"Invalid value: '{given}'. Supported values are: {listed}.", param, "invalid_value")


def _wrong_type(param: str, given: Any, expected: str) -> Refused:
    return invalid(
        f"Invalid type for '{param}': expected {expected}, but got {_kind_of(given)} instead.",
        param,
        "invalid_type",
    )


def _too_great(param: str, given: Any, context: Mapping[str, Any]) -> Refused:
    word = "integer" if isinstance(given, int) else "decimal"
    return invalid(
        f"Invalid '{param}': {word} above maximum value. Expected a value <= {context['le']}, but got {given} instead.",
        param,
        f"{word}_above_max_value",
    )


def _too_small(param: str, given: Any, context: Mapping[str, Any]) -> Refused:
    word = "integer" if isinstance(given, int) else "decimal"
    return invalid(
        f"Invalid '{param}': {word} below minimum value. Expected a value >= {context['ge']}, but got {given} instead.",
        param,
        f"{word}_below_min_value",
    )


def _too_short(param: str, _: Any, context: Mapping[str, Any]) -> Refused:
    return invalid(
        f"Invalid '{param}': empty array. Expected an array with minimum length {context['min_length']}, but got an empty array instead.",
        param,
        "empty_array",
    )


def _no_match(param: str, _: Any, context: Mapping[str, Any]) -> Refused:
    pattern = context["pattern"]
    return invalid(
        f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern '{pattern}'.",
        param,
        "invalid_value",
    )


def _too_many_characters(param: str, given: Any, context: Mapping[str, Any]) -> Refused:
    limit = context["max_length"]
    return invalid(
        f"Invalid '{param}': string too long. Expected a string with maximum length {limit}, "
        f"but got a string with length {len(given)} instead.",
        param,
        "string_above_max_length",
    )


_SAYINGS: tuple[tuple[frozenset[str], Callable[[str, Any, Mapping[str, Any]], Refused]], ...] = (
    (frozenset({"missing"}), _missing),
    (frozenset({"union_tag_not_found"}), _no_tag),
    (frozenset({"union_tag_invalid"}), _wrong_tag),
    (frozenset({"extra_forbidden"}), _unknown),
    (frozenset({"literal_error", "enum"}), _not_among),
    (frozenset({"less_than_equal"}), _too_great),
    (frozenset({"greater_than_equal"}), _too_small),
    (frozenset({"too_short"}), _too_short),
    (frozenset({"string_pattern_mismatch"}), _no_match),
    (frozenset({"string_too_long"}), _too_many_characters),
)
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "list_type": "an array of objects",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    named = ((bool, "a boolean"), (int, "an integer"), (float, "a decimal"), (str, "a string"), (list, "an array"))
    return next((name for kind, name in named if isinstance(value, kind)), "an object")
