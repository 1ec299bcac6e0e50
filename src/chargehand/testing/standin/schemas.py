"""JSON schemas as strict structured outputs take them: which schemas are refused, and whether a value keeps to one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_REFUSED_KEYWORDS = ("allOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "oneOf", "patternProperties")
_DEPTH_MAX = 10


def strict_fault(schema: Mapping[str, Any]) -> str | None:
    """Return why strict mode refuses a schema, None when it takes it. The words are those that follow the schema's name.

    The rules are those of OpenAI's structured outputs: the root is an object; every object lists all its properties as
    required and forbids others; composition by anyOf only.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {_quoted(schema.get('type'))}'."
    return next(_faults(schema, (), 0), None)


def _quoted(given: Any) -> str:
    return '"None"' if given is None else f'"{given}"'


def _faults(schema: Any, place: tuple[str, ...], depth: int) -> Iterator[str]:
    where = f"In context={place!r}, "
    if not isinstance(schema, Mapping):
        yield f"{where}schema must be an object."
        return
    if depth > _DEPTH_MAX:
        yield f"{where}the schema is nested deeper than {_DEPTH_MAX} levels."
        return
    for keyword in _REFUSED_KEYWORDS:
        if keyword in schema:
            yield f"{where}'{keyword}' is not permitted."
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind is not None and kind not in _KINDS:
            yield f"{where}'{kind}' is not valid under any of the given schemas."
    if not {"type", "anyOf", "$ref", "enum", "const"} & set(schema):
        yield f"{where}schema must have a 'type' key."
    if kinds == "object" or "properties" in schema:
        yield from _object_faults(schema, place, depth)
    if kinds == "array":
        if "items" not in schema:
            yield f"{where}array schema missing items."
        else:
            yield from _faults(schema["items"], (*place, "items"), depth + 1)
    for number, one in enumerate(schema.get("anyOf", ())):
        yield from _faults(one, (*place, "anyOf", str(number)), depth)
    for name, one in schema.get("$defs", {}).items():
        yield from _faults(one, (*place, "$defs", name), depth)


def _object_faults(schema: Mapping[str, Any], place: tuple[str, ...], depth: int) -> Iterator[str]:
    where = f"In context={place!r}, "
    properties = schema.get("properties", {})
    if schema.get("additionalProperties") is not False:
        yield f"{where}'additionalProperties' is required to be supplied and to be false."
    missing = [name for name in properties if name not in schema.get("required", ())]
    if missing:
        yield (
            f"{where}'required' is required to be supplied and to be an array including every key in properties. Missing '{missing[0]}'."
        )
    extra = [name for name in schema.get("required", ()) if name not in properties]
    if extra:
        yield f"{where}'required' contains '{extra[0]}', which is not among the properties."
    for name, one in properties.items():
        yield from _faults(one, (*place, "properties", name), depth + 1)


def violation(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Return where a value does not keep to a schema of the strict subset, None when it does."""
    return next(_violations(value, schema, schema, "value"), None)


def _violations(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from _violations(value, _resolved(str(schema["$ref"]), root), root, place)
        return
    if "anyOf" in schema:
        if all(next(_violations(value, one, root, place), None) is not None for one in schema["anyOf"]):
            yield f"{place} fits none of anyOf"
        return
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds])):
        yield f"{place} is not of type {kinds}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place} is not one of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{place} is not {schema['const']!r}"
    if isinstance(value, dict):
        yield from _object_violations(value, schema, root, place)
    if isinstance(value, list) and "items" in schema:
        for number, one in enumerate(value):
            yield from _violations(one, schema["items"], root, f"{place}[{number}]")


def _object_violations(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{place} lacks {name!r}"
    for name, one in value.items():
        if name in properties:
            yield from _violations(one, properties[name], root, f"{place}.{name}")
        elif schema.get("additionalProperties") is False:
            yield f"{place} has {name!r}, which its schema does not know"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _KINDS.get(kind, ()))


def _resolved(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        schema = schema.get(part, {}) if part and isinstance(schema, Mapping) else schema
    return schema if isinstance(schema, Mapping) else {}
