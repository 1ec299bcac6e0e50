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
_FORMS: dict[str, type] = {"properties": dict, "$defs": dict, "required": list, "anyOf": list, "enum": list, "$ref": str}
_DEPTH_MAX = 10

Schema = Mapping[str, Any]
Place = tuple[str, ...]


def strict_fault(schema: Schema) -> str | None:
    """Return why strict mode refuses a schema, None when it takes it. The words are those that follow the schema's name.

    The rules are those of OpenAI's structured outputs: the root is an object; every object lists all its properties as
    required and forbids others; composition by anyOf only.
    """
    kind = schema.get("type")
    if kind != "object" or "anyOf" in schema:
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    return next(_faults(schema, schema, (), 0), None)


def _faults(schema: Any, root: Schema, place: Place, depth: int) -> Iterator[str]:
    where = f"In context={place!r}, "
    malformed = _malformed(schema, root)
    if malformed is None and depth > _DEPTH_MAX:
        malformed = f"the schema is nested deeper than {_DEPTH_MAX} levels."
    if malformed is not None:
        yield where + malformed
        return
    kinds = kinds_of(schema)
    if "object" in kinds or "properties" in schema:
        yield from _object_faults(schema, root, place, depth)
    if "array" in kinds:
        if "items" not in schema:
            yield f"{where}array schema missing items."
        else:
            yield from _faults(schema["items"], root, (*place, "items"), depth + 1)
    for number, one in enumerate(schema.get("anyOf", ())):
        yield from _faults(one, root, (*place, "anyOf", str(number)), depth + 1)
    for name, one in schema.get("$defs", {}).items():
        yield from _faults(one, root, (*place, "$defs", name), depth + 1)


def _malformed(schema: Any, root: Schema) -> str | None:
    """Say what makes a part no schema at all: then nothing in it is looked at."""
    if not isinstance(schema, Mapping):
        return "schema must be an object."
    for keyword, form in _FORMS.items():
        if keyword in schema and not isinstance(schema[keyword], form):
            return f"'{keyword}' is not of the right type."
    refused = [keyword for keyword in _REFUSED_KEYWORDS if keyword in schema]
    if refused:
        return f"'{refused[0]}' is not permitted."
    unknown = [kind for kind in kinds_of(schema) if not isinstance(kind, str) or kind not in _KINDS]
    if unknown:
        return f"'{unknown[0]}' is not valid under any of the given schemas."
    if not {"type", "anyOf", "$ref", "enum", "const"} & set(schema):
        return "schema must have a 'type' key."
    if "$ref" in schema and _resolved(schema, root) is None:
        return f"reference to component '{schema['$ref']}' which was not found in the schema."
    return None


def kinds_of(schema: Schema) -> list[Any]:
    """Return the types that a schema names."""
    if "type" not in schema:
        return []
    return schema["type"] if isinstance(schema["type"], list) else [schema["type"]]


def _object_faults(schema: Schema, root: Schema, place: Place, depth: int) -> Iterator[str]:
    where = f"In context={place!r}, "
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("additionalProperties") is not False:
        yield f"{where}'additionalProperties' is required to be supplied and to be false."
    missing = [name for name in properties if name not in required]
    if missing:
        yield (
            f"{where}'required' is required to be supplied and to be an array including every key in properties. Missing '{missing[0]}'."
        )
    extra = [name for name in required if not isinstance(name, str) or name not in properties]
    if extra:
        yield f"{where}'required' contains '{extra[0]}', which is not among the properties."
    for name, one in properties.items():
        yield from _faults(one, root, (*place, "properties", name), depth + 1)


def violation(value: Any, schema: Schema) -> str | None:
    """Return where a value does not keep to a schema that `strict_fault` takes, None when it does."""
    return next(_violations(value, schema, schema, "value"), None)


def _violations(value: Any, schema: Schema, root: Schema, place: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield what is wrong; `seen` are the references that led to this very value, so that a circle of them ends."""
    if "$ref" in schema:
        if schema["$ref"] in seen:
            yield f"{place} is held against a schema that refers to itself alone"
            return
        seen |= {schema["$ref"]}
        schema = _resolved(schema, root) or {}
    if "anyOf" in schema:
        if all(next(_violations(value, one, root, place, seen), None) is not None for one in schema["anyOf"]):
            yield f"{place} fits none of anyOf"
        return
    kinds = kinds_of(schema)
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{place} is not of type {schema['type']}"
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


def _object_violations(value: dict[str, Any], schema: Schema, root: Schema, place: str) -> Iterator[str]:
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


def _resolved(schema: Schema, root: Schema) -> Schema | None:
    """Return what a reference leads to, through others; None when it leads nowhere or round in a circle."""
    seen: set[str] = set()
    while "$ref" in schema:
        reference = schema["$ref"]
        if not isinstance(reference, str) or reference in seen:
            return None
        seen.add(reference)
        found: Any = root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(part) if part and isinstance(found, Mapping) else found
        if not isinstance(found, Mapping):
            return None
        schema = found
    return schema
