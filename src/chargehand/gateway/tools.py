"""The tools that clients see, and the read or effect that each is.

What a server says of a tool (`readOnlyHint` and its like) gives its kind, the configuration overrides it, and a tool of which
nobody says anything is final and needs approval. A tool's arguments are one parameter here, whatever its schema: they are held against
the schema when they are asked for and again just before they are sent, so that a schema which changes disturbs no replay.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import mcp_types as types
from jsonschema.exceptions import SchemaError, ValidationError  # type: ignore[import-untyped]
from jsonschema.protocols import Validator  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]

from chargehand.contracts import digest_of, injected
from chargehand.errors import BadConfiguration, NotDone
from chargehand.gateway.book import Kind
from chargehand.gateway.settings import GatewaySettings, ServerSettings, ToolTable
from chargehand.gateway.upstream import Upstream, UpstreamLost
from chargehand.limits import AtOnce, Rate, Retry
from chargehand.supervise.definitions import Approval, Definition, EffectDefinition, EffectOptions, Limits, StepDefinition

Sends = Callable[..., Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as clients see it. `repeatable`: calling it twice with the same arguments does no more than once."""

    name: str
    upstream: Upstream
    listed: types.Tool
    table: ToolTable
    kind: Kind
    approve: bool
    repeatable: bool
    _validator: list[Validator] = field(default_factory=list, compare=False)

    @property
    def handled(self) -> tuple[Kind, bool, bool]:
        """How it is handled."""
        return self.kind, self.approve, self.repeatable

    def with_key(self, arguments: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Return arguments with the key in the one that the configuration names for it."""
        named = self.table.idempotency_argument
        return dict(arguments) if named is None else {**arguments, named: key}

    def unfit(self, arguments: Mapping[str, Any]) -> str | None:
        """Say why arguments do not fit the tool's schema."""
        try:
            if not self._validator:
                kind = validator_for(self.listed.input_schema)
                kind.check_schema(self.listed.input_schema)
                self._validator.append(kind(self.listed.input_schema))
            error = next(iter(self._validator[0].iter_errors(dict(arguments))), None)
        except SchemaError as broken:
            return f"the schema of {self.name} is none: {broken.message}"
        if error is None:
            return None
        where = ".".join(str(part) for part in error.absolute_path)
        return f"{where}: {_short(error)}" if where else _short(error)

    def shown(self) -> types.Tool:
        """Return the tool as it is listed to clients."""
        meta = dict(self.listed.meta or {}) | {"chargehand/kind": self.kind, "chargehand/approve": self.approve}
        return self.listed.model_copy(update={"name": self.name, "meta": meta, "execution": None})

    def digest(self) -> str:
        """Return what an approval relies on besides the arguments: which server, which schema, how it is handled."""
        table = self.upstream.settings.table
        reached = [table.command, table.args, table.cwd, table.url]
        undo = None if self.table.undo is None else self.table.undo.model_dump()
        return digest_of([self.listed.name, self.listed.input_schema, reached, *self.handled, undo, self.table.idempotency_argument])


def _short(error: ValidationError) -> str:
    text = str(error.message)
    return text if len(text) <= 300 else text[:299] + "…"


def kind_of(listed: types.Tool, table: ToolTable, trust: bool) -> tuple[Kind, bool, bool]:
    """Return a tool's kind, whether a person is asked before it is called, and whether it may be repeated.

    By the MCP specification `destructiveHint` is true and the others are false where a tool does not say so.
    """
    hints = listed.annotations if trust and listed.annotations is not None else types.ToolAnnotations()
    kind: Kind = table.kind or ("effect" if table.undo else "read" if hints.read_only_hint else "final")
    asks = kind == "final" and hints.destructive_hint is not False
    approve = kind != "read" and (asks if table.approve is None else table.approve)
    idempotent = bool(hints.idempotent_hint) if table.idempotent is None else table.idempotent
    return kind, approve, kind == "read" or idempotent or table.idempotency_argument is not None


class Toolbox:
    """All tools of all servers by the names that clients see, and their definitions for the engine.

    Args:
        settings: what the configuration says of them.
        gateway: the name of this process, which every result carries.
    """

    def __init__(self, settings: GatewaySettings, gateway: str) -> None:
        self._settings, self._gateway = settings, gateway
        self._upstreams: list[Upstream] = []
        self._definitions: dict[tuple[str, Kind], Definition[..., Any]] = {}
        self.tools: dict[str, Tool] = {}
        self.effects: dict[str, EffectDefinition[..., Any]] = {}

    def add(self, upstream: Upstream) -> None:
        """Take the tools of one more server."""
        self._upstreams.append(upstream)

    def renew(self) -> None:
        """Take the servers' lists as they are now. Raises `BadConfiguration` when two tools have one name."""
        found: dict[str, Tool] = {}
        for upstream in self._upstreams:
            for tool in self._tools_of(upstream):
                if tool.name in found:
                    other = found[tool.name].upstream.name
                    raise BadConfiguration(
                        f'Two servers have a tool {tool.name!r}: {other} and {upstream.name}. Give one of them prefix = "…".'
                    )
                found[tool.name] = tool
        before, self.tools = self.tools, found
        for tool in found.values():
            last, made = before.get(tool.name), self._definitions.get((tool.name, tool.kind))
            if made is not None and (last is None or last.handled != tool.handled):
                del self._definitions[tool.name, tool.kind]
            for definition in (made, self.definition(tool.name, tool.kind)):
                if isinstance(definition, EffectDefinition):  # also of what waits for a person: it is asked again
                    definition.code_digest = tool.digest()

    def _tools_of(self, upstream: Upstream) -> Iterable[Tool]:
        table = upstream.settings.table
        for listed in upstream.tools.values():
            said = table.tools.get(listed.name, ToolTable())
            if said.hide:
                continue
            kind, approve, repeatable = kind_of(listed, said, table.trust_annotations)
            yield Tool(shown_name(upstream.settings, listed.name), upstream, listed, said, kind, approve, repeatable)

    def definition(self, name: str, kind: Kind) -> Definition[..., Any]:
        """Return what the engine calls for a tool as it was when it was asked for, also when there is no such tool any more."""
        made = self._definitions.get((name, kind))
        if made is None:
            made = self._definitions[name, kind] = self._defined(name, kind)
            if isinstance(made, EffectDefinition):
                self.effects[name] = made
        return made

    def table_of(self, name: str) -> ToolTable:
        """Return what the configuration says of a tool, whether or not its server lists it now."""
        for server in self._settings.servers:
            for tool, table in server.table.tools.items():
                if shown_name(server, tool) == name:
                    return table
        return ToolTable()

    def _defined(self, name: str, kind: Kind) -> Definition[..., Any]:
        table, tool = self.table_of(name), self.tools.get(name)
        limits = Limits(
            None if table.at_once is None else AtOnce(table.at_once), None if table.rate is None else Rate(table.rate[0], table.rate[1])
        )
        server = None if tool is None else tool.upstream.settings.table
        timeout = table.timeout if table.timeout is not None or server is None else server.timeout
        retry = Retry(attempts=table.attempts)
        if kind == "read":
            return StepDefinition(self._sends(name, keyed=False), "read", name=name, retry=retry, timeout=timeout, limits=limits)
        environments = table.environment if table.environment is not None or server is None else server.environment
        options = EffectOptions(
            undo=None if table.undo is None or kind == "final" else self._undoes(name, table),
            final=table.undo is None or kind == "final",
            approve=Approval(tool is None or tool.approve, table.role, table.within, table.votes),
            key=None if table.key is None else _key(table.key),
            retry=retry,
            timeout=timeout,
            environment=environments,
            on_exhausted=table.on_exhausted,
        )
        keyed = tool is not None and tool.repeatable
        made: EffectDefinition[..., Any] = EffectDefinition(self._sends(name, keyed=keyed), options, name=name, limits=limits)
        return made

    # -- what is sent ----------

    def _sends(self, name: str, *, keyed: bool) -> Sends:
        """Return the function that calls a tool; with a key where repeating it is safe."""

        async def send(arguments: dict[str, Any]) -> Any:
            return await self._called(name, arguments, None)

        async def send_keyed(arguments: dict[str, Any], idempotency_key: str = injected()) -> Any:
            return await self._called(name, arguments, idempotency_key)

        sends: Sends = send_keyed if keyed else send
        sends.__name__ = name
        return sends

    async def _called(self, name: str, arguments: Mapping[str, Any], key: str | None) -> dict[str, Any]:
        """Call a tool and return its result, with the time and this process. Raises `NotDone` for what a server calls an error."""
        tool = self.tools.get(name)
        if tool is None:
            raise NotDone(f"There is no tool {name} any more: its server no longer lists it, or cannot be reached.", permanent=True)
        sent = dict(arguments) if key is None else tool.with_key(arguments, key)
        unfit = tool.unfit(sent)
        if unfit is not None:
            raise NotDone(f"The arguments do not fit the schema that {name} has now: {unfit}. List the tools again.", permanent=True)
        result = await tool.upstream.call(tool.listed.name, sent)
        if result.get("isError") and tool.kind != "read":
            raise self._said_no(tool, text_of(result))
        return {"result": result, "at": time.time(), "by": self._gateway}

    @staticmethod
    def _said_no(tool: Tool, text: str) -> Exception:
        if tool.table.error_means == "unknown":
            return UpstreamLost(f"{tool.name} ended with an error: {text}")
        return NotDone(text, permanent=True)

    def _undoes(self, name: str, table: ToolTable) -> Sends:
        """Return the function that takes a call back by another tool of the same server."""
        undo = table.undo
        assert undo is not None

        async def take_back(result: Any, arguments: dict[str, Any], idempotency_key: str = injected()) -> None:
            tool = self.tools.get(name)
            if tool is None:
                raise NotDone(f"There is no tool {name} any more, so the server that undoes it is not known.")
            sent = filled_in(undo.arguments, {"arguments": arguments, "result": content_of(result)})
            answer = await tool.upstream.call(undo.tool, sent)
            if answer.get("isError"):
                raise NotDone(f"{undo.tool} could not undo {name}: {text_of(answer)}", permanent=True)

        take_back.__name__ = undo.tool
        return take_back


def shown_name(server: ServerSettings, tool: str) -> str:
    """Return a tool's name as clients see it. What cannot stand in a path of the journal is written as an underscore."""
    return "".join("_" if char in "/#~@!\n\0" else char for char in server.table.prefix + tool)


def _key(names: Iterable[str]) -> Callable[[Any], str]:
    """Return the business key of a call: the arguments of these names."""

    def key(call: Any) -> str:
        values = [call.arguments.get(name) for name in names]
        return "/".join(value if isinstance(value, str) else json.dumps(value, sort_keys=True) for value in values)

    return key


def text_of(result: Mapping[str, Any]) -> str:
    """Return the text of a result; of what is no text, its type."""
    parts = [item.get("text", f"[{item.get('type')}]") for item in result.get("content", ())]
    return "\n".join(parts) or "no text"


def content_of(value: Any) -> Any:
    """Return what a result holds: its structured content, else its text, read as JSON where it is that."""
    result = value.get("result", value) if isinstance(value, dict) else value
    if not isinstance(result, dict):
        return result
    if "structuredContent" in result:
        return result["structuredContent"]
    text = text_of(result)
    try:
        return json.loads(text)
    except ValueError:
        return {"text": text}


def filled_in(template: Any, known: Mapping[str, Any]) -> Any:
    """Put values into a template: ``$arguments.NAME`` and ``$result.NAME``, also deeper. Raises `NotDone` for what is not there."""
    if isinstance(template, dict):
        return {key: filled_in(item, known) for key, item in template.items()}
    if isinstance(template, list):
        return [filled_in(item, known) for item in template]
    if not isinstance(template, str) or not template.startswith("$"):
        return template
    value: Any = known
    for part in template[1:].split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise NotDone(f"The undo asks for {template}, which is not there.", permanent=True) from None
    return value
