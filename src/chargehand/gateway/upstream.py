"""One server behind the gateway: a connection that is kept up, and calls whose failure says whether they happened.

A call raises `NotDone` when it surely did not reach a tool: no connection, a refusal by the protocol. Once it is written, only the
server's reply says what came of it; a connection that ends before the reply leaves it open (`UpstreamLost`).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from pydantic import TypeAdapter, ValidationError

from chargehand.errors import NotDone
from chargehand.gateway.settings import ServerSettings

Streams = tuple[Any, Any]
"""What comes from a server, and what goes to it."""

logger = logging.getLogger("chargehand.gateway")

PAUSE_FIRST, PAUSE_MAX = 0.2, 30.0
"""Seconds between two attempts to connect: the first, and the longest, doubled in between."""
PAGES_MAX = 100
"""A listing of tools that has more pages never ends."""

CONNECT_SECONDS = 30.0
"""How long an HTTP connection may take to be made; a reply may take as long as the tool's `timeout` lets it."""

_RESULT: TypeAdapter[Any] = TypeAdapter(types.CallToolResult | types.InputRequiredResult)
_REFUSED = frozenset({types.METHOD_NOT_FOUND, types.INVALID_PARAMS})
"""Codes by which a server says that it has not called the tool."""


class UpstreamLost(Exception):
    """The connection to a server ended, or the server broke down, before it said what came of a call."""


class Scrub:
    """Takes a server's secrets out of whatever is journaled, shown or answered."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text

    def form(self, form: Any) -> Any:
        """Return a JSON value without secrets."""
        if not self._secrets:
            return form
        if isinstance(form, str):
            return self.text(form)
        if isinstance(form, list):
            return [self.form(item) for item in form]
        return {self.text(key): self.form(item) for key, item in form.items()} if isinstance(form, dict) else form


class Upstream:
    """One server, connected as long as it lives, and again when it comes back.

    Args:
        settings: which server it is and how it is reached.
        changed: called when the list of its tools may be another.
        version: what the server is told of the gateway's version.
    """

    def __init__(self, settings: ServerSettings, changed: Callable[[], None], version: str) -> None:
        self.settings = settings
        self.scrub = Scrub(settings.secrets)
        self.tools: Mapping[str, types.Tool] = {}
        self.trouble: str | None = "it has not been connected yet"
        self._changed = changed
        self._info = types.Implementation(name="chargehand", version=version)
        self._client: Client | None = None
        self._up = asyncio.Event()
        self._tried = asyncio.Event()
        self._stale = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The server's name in the configuration."""
        return self.settings.name

    async def start(self) -> None:
        """Connect, and return when that has worked or failed for the first time; it is tried again in the background."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"upstream {self.name}")
        tried = asyncio.ensure_future(self._tried.wait())
        await asyncio.wait({tried, self._task}, timeout=self.settings.table.start_timeout, return_when=asyncio.FIRST_COMPLETED)
        tried.cancel()

    async def stop(self) -> None:
        """Disconnect. A server that is a process of ours is ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool and return its result in the form of the wire, an error result included.

        Raises `NotDone` for what surely did not happen, `UpstreamLost` when nobody can tell.
        """
        client = await self._connected()
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=tool, arguments=dict(arguments)))
        try:
            result = await client.session.send_request(request, _RESULT)
        except MCPError as error:
            raise self._failed(tool, error) from None
        except ValidationError as error:
            raise UpstreamLost(
                f"The server {self.name} answered {tool} with what MCP does not allow: {error.error_count()} findings"
            ) from None
        if isinstance(result, types.InputRequiredResult):
            raise NotDone(f"{tool} of {self.name} asks for input, which the gateway does not pass on.", permanent=True)
        form = result.model_dump(by_alias=True, mode="json", exclude_none=True, exclude_unset=True)
        form.pop("resultType", None)
        form.pop("_meta", None)
        return self.scrub.form(form)  # type: ignore[no-any-return]

    def _failed(self, tool: str, error: MCPError) -> Exception:
        said = self.scrub.text(error.message)
        gone = error.code == types.INVALID_REQUEST and (self.settings.url is None or said == "Session terminated")
        if gone or error.code in _REFUSED:
            return NotDone(f"The server {self.name} refuses {tool}: {said} ({error.code}).", permanent=not (gone and self.settings.url))
        return UpstreamLost(f"The server {self.name} did not say what came of {tool}: {said} ({error.code})")

    async def _connected(self) -> Client:
        """Return the connection, waiting for one that is being made. Raises `NotDone`."""
        if self._client is None:
            try:
                await asyncio.wait_for(self._up.wait(), self.settings.table.start_timeout)
            except TimeoutError:
                raise NotDone(f"The server {self.name} cannot be reached: {self.trouble}.") from None
        if self._client is None:
            raise NotDone(f"The server {self.name} cannot be reached: {self.trouble}.")
        return self._client

    # -- keeping the connection ----------

    async def _keep(self) -> None:
        pause = PAUSE_FIRST
        while True:
            try:
                await self._once()
                pause, self.trouble = PAUSE_FIRST, "it has ended the connection"
                logger.warning("the server %s has ended the connection", self.name)
            except Exception as error:
                self.trouble = self.scrub.text(_told(error))
                logger.warning("the server %s cannot be connected: %s", self.name, self.trouble)
            self._tried.set()
            await asyncio.sleep(pause)
            pause = min(PAUSE_MAX, pause * 2)

    async def _once(self) -> None:
        """Connect once, and return when the connection has ended."""
        ended = asyncio.Event()
        async with Client(_Watched(self._transport(), ended), message_handler=self._heard, client_info=self._info, cache=None) as client:
            try:
                await self._list(client)
                self._client, self.trouble = client, None
                self._up.set()
                self._tried.set()
                await self._until(ended, client)
            finally:
                self._client = None
                self._up.clear()

    async def _until(self, ended: asyncio.Event, client: Client) -> None:
        """Return when the connection has ended; list the tools again when the server says that they are others."""
        gone = asyncio.ensure_future(ended.wait())
        try:
            while not gone.done():
                stale = asyncio.ensure_future(self._stale.wait())
                await asyncio.wait({gone, stale}, return_when=asyncio.FIRST_COMPLETED)
                stale.cancel()
                if self._stale.is_set() and not gone.done():
                    self._stale.clear()
                    await self._list(client)
        finally:
            gone.cancel()

    async def _list(self, client: Client) -> None:
        found: dict[str, types.Tool] = {}
        cursor: str | None = None
        for _ in range(PAGES_MAX):
            page = await client.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
            found |= {tool.name: tool for tool in page.tools}
            cursor = page.next_cursor
            if cursor is None:
                break
        self.tools = found
        self._changed()

    async def _heard(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._stale.set()

    def _transport(self) -> AbstractAsyncContextManager[Streams]:
        settings = self.settings
        if settings.url is not None:
            return _over_http(settings.url, settings.headers)
        assert settings.table.command is not None
        server = StdioServerParameters(command=settings.table.command, args=settings.table.args, env=dict(settings.env), cwd=settings.cwd)
        return stdio_client(server, errlog=sys.__stderr__ or sys.stderr)


def _told(error: BaseException) -> str:
    """Return what went wrong in one line; of a group of exceptions, the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".replace("\n", " ")


@asynccontextmanager
async def _over_http(url: str, headers: Mapping[str, str]) -> AsyncIterator[Streams]:
    async with httpx2.AsyncClient(headers=dict(headers), timeout=httpx2.Timeout(CONNECT_SECONDS, read=None)) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            yield streams


class _Watched:
    """A transport that says when the server's side of it has ended."""

    def __init__(self, inner: AbstractAsyncContextManager[Streams], ended: asyncio.Event) -> None:
        self._inner, self._ended = inner, ended

    async def __aenter__(self) -> Streams:
        read, write = await self._inner.__aenter__()
        return _WatchedReader(read, self._ended), write

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)


class _WatchedReader:
    """What comes from a server; sets an event when nothing comes any more."""

    def __init__(self, inner: Any, ended: asyncio.Event) -> None:
        self._inner, self._ended = inner, ended

    @property
    def last_context(self) -> Any:
        """The context that a message was sent in, where the stream knows it."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        try:
            return await self._inner.receive()  # type: ignore[no-any-return]
        except BaseException:
            self._ended.set()
            raise

    async def aclose(self) -> None:
        self._ended.set()
        await self._inner.aclose()

    def __aiter__(self) -> _WatchedReader:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self._inner.__anext__()  # type: ignore[no-any-return]
        except BaseException:
            self._ended.set()
            raise

    async def __aenter__(self) -> _WatchedReader:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        self._ended.set()
        return await self._inner.__aexit__(kind, error, trace)  # type: ignore[no-any-return]
