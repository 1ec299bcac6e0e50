"""MCP over this process's standard streams.

The SDK's own transport does not say when a reply has really been written, and goes through a thread for each line; this one writes in
the loop. While it serves, the standard streams that others know lead elsewhere: nothing that a library or a child prints gets between
the messages.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage

from chargehand.errors import BadConfiguration
from chargehand.gateway.lines import Line

LINE_BYTES_MAX = 64 * 1024 * 1024


class Reading:
    """Messages of the client, each a line."""

    def __init__(self, reader: asyncio.StreamReader, line: Line) -> None:
        self._reader, self._line = reader, line
        self._closed = False

    async def receive(self) -> SessionMessage | Exception:
        """Return the next message, or why it is none. Raises `anyio.EndOfStream` when the client has left."""
        while not self._closed:
            try:
                raw = await self._reader.readline()
            except ValueError as error:  # longer than the limit: nothing after it can be trusted
                raise anyio.EndOfStream from error
            if not raw.endswith(b"\n"):
                break  # half a message is none
            if not raw.strip():
                continue
            self._line.heard()
            try:
                return SessionMessage(types.jsonrpc_message_adapter.validate_json(raw, by_name=False))
            except ValueError as error:
                return error
        raise anyio.EndOfStream

    async def aclose(self) -> None:
        """Read no more."""
        self._closed = True

    def __aiter__(self) -> Reading:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Reading:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


class Writing:
    """Messages to the client."""

    def __init__(self, writer: asyncio.StreamWriter, line: Line) -> None:
        self._writer, self._line = writer, line

    async def send(self, item: SessionMessage, /) -> None:
        """Write a message. Raises `anyio.BrokenResourceError` when the client has left."""
        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            self._writer.write(text.encode() + b"\n")
            await self._writer.drain()
        except (OSError, RuntimeError) as error:
            raise anyio.BrokenResourceError from error
        if isinstance(item.message, (types.JSONRPCResponse, types.JSONRPCError)):
            self._line.written(item.message.id)

    async def aclose(self) -> None:
        """Write no more."""
        self._writer.close()

    async def __aenter__(self) -> Writing:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


@asynccontextmanager
async def standard_streams(line: Line) -> AsyncIterator[tuple[Reading, Writing]]:
    """Give the process's standard streams as a line to the client. Raises `BadConfiguration` when they are files."""
    wire_in, wire_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(wire_in, "rb", buffering=0))
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(wire_out, "wb", buffering=0))
    except ValueError as error:
        raise BadConfiguration(f"MCP over stdio wants a client at both ends of a pipe, and these are none: {error}. See --http.") from None
    try:
        yield Reading(reader, line), Writing(asyncio.StreamWriter(transport, protocol, reader, loop), line)
    finally:
        line.closed()
        sys.stdout.flush()
