"""What a function takes and gives, compiled once at decoration: binding, checking, JSON forms and identity digests.

A `Codec` turns values of one annotated type into JSON and back. A `Contract` does so for a whole signature and knows
which parameters the supervisor fills (keys, feedback, resources): these are hidden from callers, models and approvals.

The *identity digest* of a call leaves out arguments and model fields equal to their declared default and does not depend
on key order or on how a number is spelled, so that adding an optional parameter does not disturb a parked run.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import PydanticSerializationError, from_json, to_json

from chargehand.errors import DefinitionError, InvalidInput, MissingAnnotation, SecretArgument, TooLarge, Unserialisable
from chargehand.verdicts import Clarify, Feedback

MISSING: Any = inspect.Parameter.empty
_SCALARS = (str, int, bool, type(None))
VALUE_BYTES_MAX = 64 * 1024 * 1024
INTEGER_BITS_MAX = 14_284
"""4300 decimal digits: Python's own JSON reader takes no longer number, so none may be written."""
NESTING_MAX = 200
"""How deep the reader of JSON goes (pydantic's, which every value comes back through)."""
FIXED_POINT_DIGITS = 4300
"""Decimals further from 1 than so many digits are not spelled out: ``1E+999999`` would have a million digits."""


class Injected:
    """The mark of a parameter that the supervisor fills."""

    def __repr__(self) -> str:
        return "injected()"


def injected() -> Any:
    """Mark a parameter that the supervisor fills: an ``idempotency_key`` or a resource, found by its annotation.

    No caller and no model can pass it; it does not show in tool schemas or approvals.
    """
    return Injected()


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical(value: Any) -> str:
    """Return the JSON text of a JSON value with sorted keys and no spaces."""
    return _canonical(value)


def digest_of(value: Any) -> str:
    """Return 128 bits of the SHA-256 of a JSON value's canonical form, as 32 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:32]


def _same_number(value: Any) -> Any:
    if isinstance(value, (str, int)) or value is None:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    if isinstance(value, list):
        return [item if type(item) is str else _same_number(item) for item in value]
    return {key: _same_number(item) for key, item in value.items()}


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _normal(value: Any) -> Any:
    """Give equal decimals one spelling and leave out model fields equal to their default, before the JSON dump."""
    if type(value) in _PLAIN:  # most values of a long history; asked first, because the other questions take long
        return value
    if isinstance(value, Decimal):
        return _spelled(value)
    if isinstance(value, BaseModel):
        return {name: _normal(item) for name, item in _counting(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _normal(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_normal(item) for item in value), key=canonical_key)
    if isinstance(value, Mapping):
        return {key: _normal(item) for key, item in value.items()}
    return value


def _spelled(number: Decimal) -> str:
    """Return the one spelling of a decimal, exact whatever the context's precision is: 0.5 for 0.50 and 5E-1."""
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        return str(number)
    text = "".join(map(str, digits))
    kept = text.rstrip("0")
    if not kept:
        return "0"
    exact = Decimal((sign, tuple(map(int, kept)), exponent + len(text) - len(kept)))
    far = abs(exact.adjusted()) > FIXED_POINT_DIGITS or abs(int(exact.as_tuple().exponent)) > FIXED_POINT_DIGITS
    return str(exact) if far else format(exact, "f")


def _counting(value: BaseModel) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a model that differ from their declared default, and what it holds beside its fields."""
    for name, field in type(value).model_fields.items():
        item = getattr(value, name)
        if field.is_required() or field.default_factory_takes_validated_data or item != field.get_default(call_default_factory=True):
            yield name, item
    yield from (value.__pydantic_extra__ or {}).items()


def canonical_key(value: Any) -> str:
    """Return a text by which values of mixed types can be sorted."""
    return canonical(_ANY.dump_python(value, mode="json"))


_NAMED_INFINITIES = ConfigDict(ser_json_inf_nan="constants")
"""Without it pydantic writes what is no number as null, and a value would come back as another."""


def _adapter_of(annotation: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(annotation, config=_NAMED_INFINITIES)
    except PydanticUserError:  # a model or dataclass has a configuration of its own
        return TypeAdapter(annotation)


_ANY: TypeAdapter[Any] = _adapter_of(Any)


class Codec:
    """Values of one type to JSON and back.

    Raises `DefinitionError` when the type cannot be described, `SecretArgument` when it holds a secret.
    """

    __slots__ = ("adapter", "annotation", "loose", "scalar", "where")

    def __init__(self, annotation: Any, where: str) -> None:
        self.annotation = annotation
        self.where = where
        if _holds_secret(annotation, set()):
            raise SecretArgument(f"{where} is a secret ({annotation!r}) and would be written to the journal. Make it a Resource.")
        self.scalar = annotation in _SCALARS or annotation is None
        self.loose = _takes_anything(annotation)
        try:
            self.adapter: TypeAdapter[Any] = _adapter_of(annotation)
        except PydanticSchemaGenerationError as error:
            raise DefinitionError(
                f"{where} has a type that JSON cannot describe: {annotation!r}. Use a Pydantic model, a dataclass or a plain type."
            ) from error

    def check(self, value: Any) -> Any:
        """Return the value as its type; raise pydantic's `ValidationError` when it does not fit.

        Raises `Unserialisable` for a generator, an open file and their like: reading one uses it up; and for a secret, which would
        be written as asterisks and handed on as such.
        """
        if type(value) is self.annotation and self.scalar:
            return value
        if self.loose:
            _refuse_unwritable(value, self.where)
        return self.adapter.validate_python(value)

    def to_json(self, value: Any) -> Any:
        """Return the JSON form. Raises `Unserialisable`."""
        if self.scalar and isinstance(value, _SCALARS):
            if type(value) is str:
                _checked_text(value, self.where)
            elif isinstance(value, int) and value.bit_length() > INTEGER_BITS_MAX:
                raise Unserialisable(
                    f"{self.where} is a whole number of more than 4300 digits, which no reader of JSON takes. Give it as text."
                )
            return value
        try:
            form = self.adapter.dump_python(value, mode="json", warnings="error")
            text = _canonical(form)
            size = len(text.encode())
            if text.count("[") + text.count("{") > NESTING_MAX:
                from_json(text)  # what is nested too deep could be written, and never be read again
        except (PydanticSerializationError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Unserialisable(f"{self.where} cannot be written to the journal: {_short(value)}: {_mended(error)}") from error
        if size > VALUE_BYTES_MAX:
            raise TooLarge(_too_large(self.where, size))
        return form

    def from_json(self, form: Any) -> Any:
        """Return the value of a JSON form, always a fresh object. Raises pydantic's `ValidationError`."""
        if self.scalar:
            return form if type(form) is self.annotation else self.adapter.validate_python(form)
        return self.adapter.validate_json(json.dumps(form, ensure_ascii=False))

    def identity(self, value: Any) -> Any:
        """Return the JSON form that counts for identity."""
        if self.scalar and isinstance(value, _SCALARS):
            return value
        return _same_number(json.loads(json.dumps(_ANY.dump_python(_normal(value), mode="json"), allow_nan=False)))

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema."""
        return self.adapter.json_schema()


_SECRETS = (SecretStr, SecretBytes, Secret)


def _takes_anything(annotation: Any) -> bool:
    """Say whether values of any type may come under an annotation."""
    return annotation is Any or annotation is object or any(_takes_anything(part) for part in get_args(annotation))


def _refuse_unwritable(value: Any, where: str) -> None:
    """Raise `Unserialisable` where what is written would not be what is handed on: a value that can be read only once, a secret."""
    if isinstance(value, _SECRETS) or (isinstance(value, BaseModel) and _holds_secret(type(value), set())):
        raise Unserialisable(f"{where} is a secret ({type(value).__name__}) and would be written to the journal. Make it a Resource.")
    if isinstance(value, Iterator):
        raise Unserialisable(
            f"{where} cannot be written to the journal: {_short(value)} gives what it holds only once. Give a list of it, or read the file."
        )
    if isinstance(value, (list, tuple)):
        for item in value:
            _refuse_unwritable(item, where)
    elif isinstance(value, dict):
        for item in value.values():
            _refuse_unwritable(item, where)


def _mended(error: Exception) -> str:
    """Return why a value has no JSON form, and what to do."""
    if isinstance(error, ValueError) and str(error).startswith("Out of range float"):
        return "JSON has no NaN and no infinity. Give None or a text for it, or raise an error that says why there is no number."
    return f"{error}. Give plain data, a dataclass or a Pydantic model."


def _too_large(where: str, size: int) -> str:
    return f"{where} has {size:,} bytes; the journal takes {VALUE_BYTES_MAX:,}. Store it elsewhere and pass its address."


def _checked_text(value: str, where: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise Unserialisable(
            f"{where} holds half of a surrogate pair, which is no text: {_short(value)}. Decode it properly first."
        ) from error
    if size > VALUE_BYTES_MAX:
        raise TooLarge(_too_large(where, size))


def _short(value: Any, limit: int = 120) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _holds_secret(annotation: Any, seen: set[Any]) -> bool:
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, _SECRETS):
        return True
    try:
        if annotation in seen:
            return False
        seen.add(annotation)
    except TypeError:
        return False
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds_secret(field.annotation, seen) for field in annotation.model_fields.values())
    if isinstance(annotation, type) and hasattr(annotation, "__annotations__"):  # dataclasses, named tuples, typed dictionaries
        return any(_holds_secret(part, seen) for part in _parts_of(annotation))
    return any(_holds_secret(part, seen) for part in get_args(annotation))


def _parts_of(annotation: type) -> list[Any]:
    """Return the types of a class's fields; none when a name in them is not known here (pydantic says so itself)."""
    try:
        return list(get_type_hints(annotation).values())
    except Exception:
        return []


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that a caller fills."""

    name: str
    codec: Codec
    default: Any


@dataclass(frozen=True, slots=True)
class Filled:
    """One parameter that the supervisor fills: the key, the feedback, or a resource by its annotation."""

    name: str
    what: str
    annotation: Any


class Arguments(NamedTuple):
    """The checked arguments of one call: values by name, and their identity digest."""

    values: dict[str, Any]
    digest: str


class Contract:
    """What one function takes and gives.

    Args:
        function: the plain function.
        name: how errors call it.
        transaction: the first parameter is the journal's transaction and is filled.
    """

    def __init__(self, function: Callable[..., Any], name: str, *, transaction: bool = False, needs_result: bool = True) -> None:
        self.function = function
        self.name = name
        self.is_async = inspect.iscoroutinefunction(function)
        hints = _hints(function, name)
        parameters: list[Parameter] = []
        filled: list[Filled] = []
        public: list[inspect.Parameter] = []
        for position, parameter in enumerate(inspect.signature(function).parameters.values()):
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise DefinitionError(f"{name} takes *{parameter.name}: every argument needs a name and a type.")
            if transaction and position == 0:
                filled.append(Filled(parameter.name, "transaction", None))
                continue
            what = _what_is_filled(parameter, hints)
            if what is not None:
                filled.append(Filled(parameter.name, what, hints.get(parameter.name)))
                continue
            if parameter.name not in hints:
                raise MissingAnnotation(f"{name} has a parameter without a type: {parameter.name!r}. Annotate it.")
            parameters.append(Parameter(parameter.name, Codec(hints[parameter.name], f"{name}({parameter.name})"), parameter.default))
            public.append(parameter)
        if needs_result and "return" not in hints:
            raise MissingAnnotation(f"{name} has no result type. Annotate what it gives back (-> None when nothing).")
        self.parameters = tuple(parameters)
        self.filled = tuple(filled)
        self.resources = tuple(parameter.annotation for parameter in filled if parameter.what == "resource")
        self.signature = inspect.Signature(public, return_annotation=hints.get("return", MISSING))
        result = hints.get("return", type(None))
        self.result = Codec(_without_clarify(result), f"the result of {name}")
        self.may_clarify = Clarify in get_args(result)
        self._positional = tuple(p.name for p in public if p.kind is not p.KEYWORD_ONLY)
        self._sorted = sorted(parameters, key=lambda parameter: parameter.name)
        self._plain = all(parameter.codec.scalar for parameter in parameters)
        self._by_name = {parameter.name: parameter for parameter in parameters}

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """Check arguments and digest them. Raises `InvalidInput` that names the argument and the value."""
        if not kwargs and len(args) == len(self._positional):
            values = dict(zip(self._positional, args, strict=True))  # the common case, ten times as fast as a full bind
        else:
            values = self._bound(args, kwargs)
        for name, value in values.items():
            parameter = self._by_name[name]
            if not (parameter.codec.scalar and type(value) is parameter.codec.annotation):
                values[name] = self._checked(parameter, value)
        return self._digested(values)

    def from_record(self, forms: Mapping[str, Any]) -> Arguments:
        """Make arguments again from their JSON forms by name, checked. Raises `InvalidInput`."""
        if not isinstance(forms, Mapping):
            raise InvalidInput(f"{self.name} takes arguments by name, not {_short(forms)}. It takes {self.signature}.")
        unknown = [name for name in forms if name not in self._by_name]
        if unknown:
            raise InvalidInput(f"{self.name} takes no argument {unknown[0]!r}. It takes {self.signature}.")
        values: dict[str, Any] = {}
        for name, form in forms.items():
            try:
                values[name] = self._by_name[name].codec.from_json(form)
            except ValidationError as error:
                raise InvalidInput(f"{self.name}({name}) does not fit: {_short(form)}: {explain(error)}") from error
        missing = [p.name for p in self.parameters if p.name not in values and p.default is MISSING]
        if missing:
            raise InvalidInput(f"{self.name} lacks the argument {missing[0]!r}. It takes {self.signature}.")
        return self._digested(values)

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return dict(self.signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise InvalidInput(f"{self.name}: {error}. It takes {self.signature}.") from error

    def _checked(self, parameter: Parameter, value: Any) -> Any:
        try:
            return parameter.codec.check(value)
        except ValidationError as error:
            raise InvalidInput(f"{self.name}({parameter.name}) does not fit: {_short(value)}: {explain(error)}") from error

    def _digested(self, values: dict[str, Any]) -> Arguments:
        identity: dict[str, Any] = {}
        for parameter in self._sorted:
            name, default = parameter.name, parameter.default
            if name not in values:
                values[name] = default
                continue
            value = values[name]
            if default is not MISSING and type(value) is type(default) and value == default:
                continue
            try:
                identity[name] = parameter.codec.identity(value)
            except (PydanticSerializationError, ValueError, TypeError, AttributeError, RecursionError) as error:
                raise Unserialisable(f"{self.name}({name}) cannot be written to the journal: {_short(value)}: {_mended(error)}") from error
        try:
            if self._plain:  # nothing nested that would have to be sorted: six times as fast
                return Arguments(values, hashlib.sha256(to_json(identity)).hexdigest()[:32])
            return Arguments(values, digest_of(identity))
        except (PydanticSerializationError, UnicodeEncodeError) as error:
            raise Unserialisable(f"{self.name} takes a text that cannot be written to the journal: {_short(values)}: {error}") from error

    def take_feedback(self) -> None:
        """Have the supervisor fill the feedback, also where the signature does not ask for it."""
        if all(filled.what != "feedback" for filled in self.filled):
            self.filled = (*self.filled, Filled("feedback", "feedback", Feedback | None))

    def to_record(self, arguments: Arguments, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the JSON forms of arguments by name, defaults included."""
        return {p.name: p.codec.to_json(arguments.values[p.name]) for p in self.parameters if p.name not in without}

    def digest_without(self, arguments: Arguments, without: tuple[str, ...]) -> str:
        """Return the identity digest as if these arguments did not exist."""
        return self._digested({name: value for name, value in arguments.values.items() if name not in without}).digest

    def partial_digest(self, arguments: Arguments, without: tuple[str, ...]) -> str:
        """Return the digest of the arguments that count, all defaults included."""
        return digest_of({p.name: p.codec.identity(arguments.values[p.name]) for p in self.parameters if p.name not in without})


def explain(error: ValidationError) -> str:
    """Return pydantic's findings as one sentence: the first three, and how many more there are."""
    findings = error.errors(include_url=False)
    found = [f"{'.'.join(str(part) for part in item['loc']) or 'value'}: {item['msg']}" for item in findings[:3]]
    return "; ".join(found) + (f"; and {len(findings) - 3} more" if len(findings) > 3 else "")


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DefinitionError(f"{name} has an annotation that cannot be resolved: {error}. Import the type at module level.") from error


def _what_is_filled(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> str | None:
    hint = hints.get(parameter.name)
    if hint is Feedback or Feedback in get_args(hint):
        if parameter.default is MISSING:
            raise DefinitionError(
                f"The parameter {parameter.name!r} is filled with feedback and needs a default: feedback: Feedback | None = None."
            )
        return "feedback"
    if not isinstance(parameter.default, Injected):
        return None
    return "key" if parameter.name == "idempotency_key" else "resource"


def _without_clarify(annotation: Any) -> Any:
    """Take `Clarify` out of an agent's result type: it is an answer to the supervisor, not to the workflow."""
    if get_origin(annotation) in (typing.Union, types.UnionType) and Clarify in get_args(annotation):
        rest = tuple(part for part in get_args(annotation) if part is not Clarify)
        return rest[0] if len(rest) == 1 else typing.Union[rest]  # noqa: UP007 - built at run time
    return annotation
