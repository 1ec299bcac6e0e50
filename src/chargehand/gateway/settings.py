"""The table ``[mcp]`` of the configuration: which servers lie behind the gateway, and what is said of their tools.

A key that is not known is refused with the nearest known name: a misspelt `approve` would be no approval. Values of `env`,
`headers` and `url` may name variables as ``${NAME}``, so that the file holds no secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chargehand.config import nearest
from chargehand.errors import BadConfiguration

Kind = Literal["read", "effect", "final"]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

SECRET_CHARACTERS_MIN = 6
"""A shorter value of `env` or `headers` is a switch, not a secret; taken out of texts it would make them unreadable."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class UndoTable(Table):
    """Which tool of the same server undoes a call. ``$arguments.NAME`` and ``$result.NAME`` stand for what the call took and gave."""

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class ToolTable(Table):
    """What the file says of one tool, over what its annotations say."""

    kind: Kind | None = None
    approve: bool | None = None
    role: str | None = None
    within: Positive | None = None
    votes: Annotated[int, Field(ge=1, le=100)] = 1
    idempotent: bool | None = None
    idempotency_argument: str | None = None
    key: list[str] | None = None
    undo: UndoTable | None = None
    error_means: Literal["not done", "unknown"] = "not done"
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    timeout: Positive | None = None
    at_once: Annotated[int, Field(ge=1)] | None = None
    rate: tuple[Annotated[int, Field(ge=1)], Positive] | None = None
    usd: str | None = None
    environment: list[str] | None = None
    on_exhausted: Literal["letter", "raise"] = "raise"
    hide: bool = False

    @model_validator(mode="before")
    @classmethod
    def _rate_from_list(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("rate"), list):
            return given | {"rate": tuple(given["rate"])}
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> ToolTable:
        if self.kind == "read" and (self.undo or self.key or self.approve or self.idempotency_argument):
            raise ValueError("a read changes nothing, so it has no undo, key, approve or idempotency_argument")
        if self.kind == "final" and self.undo:
            raise ValueError("it is final or it has an undo, not both")
        if self.kind == "effect" and self.undo is None:
            raise ValueError('kind = "effect" needs undo = { tool = "…" }; without a way back it is "final"')
        if self.usd is not None:
            _amount(self.usd)
        return self


class ServerTable(Table):
    """One server behind the gateway: a command that speaks MCP on its standard streams, or a URL."""

    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    prefix: str = ""
    trust_annotations: bool = True
    timeout: Positive | None = None
    start_timeout: Positive = 30.0
    environment: list[str] | None = None
    tools: dict[str, ToolTable] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way_in(self) -> ServerTable:
        if (self.command is None) == (self.url is None):
            raise ValueError("a server has either command = or url =")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("url = starts with http:// or https://")
        if self.url is not None and (self.args or self.env or self.cwd):
            raise ValueError("args, env and cwd belong to command =")
        if self.command is not None and self.headers:
            raise ValueError("headers belong to url =")
        return self


class BudgetTable(Table):
    """What one session may spend: tool calls, and money where tools say what a call costs (`usd`)."""

    calls: Annotated[int, Field(ge=0)] | None = None
    usd: str | None = None
    on_exhaustion: Literal["stop", "ask"] = "stop"

    @model_validator(mode="after")
    def _amounts(self) -> BudgetTable:
        if self.usd is not None:
            _amount(self.usd)
        return self


class McpTable(Table):
    """The table ``[mcp]``. Times in seconds."""

    name: Name = "mcp-gateway"
    session: Name | None = None
    window: Positive = 3600.0
    idle: Positive = 86_400.0
    elicit: bool = True
    roles: list[str] = Field(default_factory=list)
    budget: BudgetTable | None = None
    servers: Annotated[dict[Name, ServerTable], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One server with the variables put in. What is secret of it is shown nowhere."""

    name: str
    table: ServerTable
    env: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    url: str | None = field(repr=False)
    cwd: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be journaled, logged or shown, longest first."""
        values = {*self.env.values(), *self.headers.values()}
        values |= {value.partition(" ")[2] for value in self.headers.values()}
        if self.url is not None:
            values |= set(re.findall(r"//([^/@]+)@", self.url)) | set(re.findall(r"[?&][^=&]+=([^&]+)", self.url))
        return tuple(sorted((value for value in values if len(value) >= SECRET_CHARACTERS_MIN), key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What the gateway is told."""

    table: McpTable
    servers: tuple[ServerSettings, ...]


def gateway_settings(
    document: Mapping[str, Any], file: Path | None, environment: str, variables: Mapping[str, str] | None = None
) -> GatewaySettings:
    """Return the settings of a gateway in one environment. Raises `BadConfiguration` that names key and value.

    Args:
        document: the table ``[mcp]`` of the file.
        file: the file, beside which relative `cwd` start.
        environment: the one that this process serves; servers of others are left out, and their variables are not read.
        variables: what ``${NAME}`` stands for, by default the process's own.
    """
    variables = os.environ if variables is None else variables
    if not document:
        raise BadConfiguration(f"{file or 'The configuration'} has no table [mcp.servers.NAME]. Name at least one server there.")
    try:
        table = McpTable.model_validate(document)
    except ValidationError as error:
        raise BadConfiguration(f"{file}: {_explained(error)}") from None
    servers = [
        _with_variables(name, one, file, variables)
        for name, one in table.servers.items()
        if one.environment is None or environment in one.environment
    ]
    if not servers:
        raise BadConfiguration(f"{file}: no server of [mcp.servers] is for the environment {environment!r}.")
    return GatewaySettings(table, tuple(servers))


def _with_variables(name: str, table: ServerTable, file: Path | None, variables: Mapping[str, str]) -> ServerSettings:
    where = f"{file}: mcp.servers.{name}"

    def put_in(text: str) -> str:
        def value(found: re.Match[str]) -> str:
            if found[1] not in variables:
                raise BadConfiguration(f"{where} names the variable {found[1]}, which is not set.")
            return variables[found[1]]

        return _VARIABLE.sub(value, text)

    folder = file.parent if file is not None else Path.cwd()
    return ServerSettings(
        name,
        table,
        env={key: put_in(value) for key, value in table.env.items()},
        headers={key: put_in(value) for key, value in table.headers.items()},
        url=None if table.url is None else put_in(table.url),
        cwd=None if table.cwd is None else str(folder / Path(table.cwd).expanduser()),
    )


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except ArithmeticError:
        raise ValueError(f"{text!r} is no amount of US dollars") from None
    if not (amount.is_finite() and amount >= 0):
        raise ValueError(f"{text!r} is no amount that can be spent")
    return amount


_TABLES: Mapping[str, type[BaseModel]] = {"tools": ToolTable, "servers": ServerTable, "undo": UndoTable, "budget": BudgetTable}


def _explained(error: ValidationError) -> str:
    """Return the first finding as a sentence, with the near name of an unknown key. A value may be a secret and is not shown."""
    found = error.errors(include_url=False, include_input=False)[0]
    parts = [str(part) for part in found["loc"]]
    where = ".".join(["mcp", *parts])
    if found["type"] != "extra_forbidden":
        return f"{where}: {found['msg'].removeprefix('Value error, ')}."
    *before, key = parts
    table = next((_TABLES[part] for part in reversed(before) if part in _TABLES), McpTable)
    near = nearest(key, table.model_fields)
    hint = f"Did you mean {near!r}?" if near else f"Known are: {', '.join(sorted(table.model_fields))}."
    return f"{'.'.join(['mcp', *before])}: unknown key {key!r}. {hint}"
