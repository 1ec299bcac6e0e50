"""The outside world as a process of its own sees it: services behind a socket, with their books in a SQLite file.

Whoever asks may be killed or stopped at any moment, also in the middle of asking: what has arrived here is done whole, and
what has not, never happened. Nobody's death or sleep holds anybody else up.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from chargehand import NotDone

from .world import Book, Fact, World


class SqliteBook(Book):
    """A list of facts in a SQLite file of its own."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path)
        self._connection.execute("CREATE TABLE IF NOT EXISTS facts(number INTEGER PRIMARY KEY, what, tool, ref, key)")
        super().__init__([Fact(*row) for row in self._connection.execute("SELECT what, tool, ref, key FROM facts ORDER BY number")])

    @contextmanager
    def writing(self) -> Iterator[list[Fact]]:
        """Lend the facts to one service; what it appends is kept."""
        known = len(self._facts)
        try:
            yield self._facts
        finally:
            with self._connection:
                self._connection.executemany("INSERT INTO facts(what, tool, ref, key) VALUES (?, ?, ?, ?)", self._facts[known:])

    def written(self) -> list[Fact]:
        """Return all facts as the file has them."""
        return [Fact(*row) for row in self._connection.execute("SELECT what, tool, ref, key FROM facts ORDER BY number")]


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[str]:
    """Answer for the services; yields the address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line.endswith(b"\n"):  # who died while asking has not asked
                writer.write(json.dumps(await _answer(world, json.loads(line))).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    with tempfile.TemporaryDirectory() as folder:  # a socket's address is short
        address = os.path.join(folder, "services")
        server = await asyncio.start_unix_server(answer, address)
        try:
            yield address
        finally:
            server.close()
            await server.wait_closed()


async def _answer(world: World, asked: list[str]) -> dict[str, Any]:
    what, *given = asked
    try:
        match what:
            case "ran":
                return {"done": await world.ran(*given)}
            case "find":
                return {"done": await world.find(*given)}
        return {"done": await world.ask(what, *given)}
    except NotDone as refusal:
        return {"not done": str(refusal)}


class RemoteWorld(World):
    """The services as a worker reaches them."""

    def __init__(self, address: str, slow: float) -> None:
        super().__init__(Book(), slow=slow)
        self._address = address

    async def _call(self, *asked: str) -> str:
        await self.journey()
        reader, writer = await asyncio.open_unix_connection(self._address)
        try:
            writer.write(json.dumps(asked).encode() + b"\n")
            line = await reader.readline()
        finally:
            writer.close()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the connection was reset")
        await self.journey()
        answer = json.loads(line)
        if "not done" in answer:
            raise NotDone(answer["not done"])
        return str(answer["done"])

    async def ask(self, what: str, tool: str, ref: str, key: str) -> str:
        """Have a service do or take back something."""
        return await self._call(what, tool, ref, key)

    async def find(self, tool: str, ref: str) -> str:
        """Look up whether something happened and was not taken back."""
        return await self._call("find", tool, ref)

    async def ran(self, label: str) -> str:
        """Note that a step ran."""
        return await self._call("ran", label)
