"""What the gateway's tests share: a configuration, clients of the official SDK, and people who decide."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from chargehand import Approve, Decision, Event, Person, Supervisor, Waiting

WORKSHOP = Path(__file__).with_name("workshop.py")
TOKEN = "wsk-not-to-be-kept-anywhere"
CONFIGURATION = """
journal = "work.db"

[mcp.servers.workshop]
command = {python}
args = [{script}, "ledger"]
env = {{ WORKSHOP_TOKEN = "${{WORKSHOP_TOKEN}}" }}
cwd = "."

[mcp.servers.workshop.tools.order]
undo = {{ tool = "cancel", arguments = {{ text = "$result.number" }} }}
approve = false

[mcp.servers.workshop.tools.charge]
idempotency_argument = "key"
"""


class House:
    """A folder with a configuration, a journal and the workshop's ledger."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder, self.journal = folder, folder / "work.db"
        self.config = folder / "gateway.toml"
        text = CONFIGURATION.format(python=_toml(sys.executable), script=_toml(str(WORKSHOP)))
        self.config.write_text(text + more)

    def calls(self) -> list[str]:
        """Return what the workshop was really asked, in order."""
        ledger = self.folder / "ledger"
        return ledger.read_text().splitlines() if ledger.exists() else []

    def mark(self, name: str) -> Path:
        """Put down a mark that the workshop sees."""
        path = (self.folder / "ledger").with_suffix(name)
        path.touch()
        return path

    @property
    def command(self) -> StdioServerParameters:
        """How a client starts the gateway."""
        environment = {**os.environ, "WORKSHOP_TOKEN": TOKEN}
        arguments = ["-m", "chargehand.cli.main", "mcp", "--config", str(self.config)]
        return StdioServerParameters(command=sys.executable, args=arguments, env=environment, cwd=self.folder)

    @asynccontextmanager
    async def client(self, *options: str, mode: str = "legacy", elicits: Any = None) -> AsyncIterator[Client]:
        """Give a client of the official SDK that has started a gateway."""
        command = self.command
        command.args = [*command.args, *options]
        async with Client(command, mode=mode, elicitation_callback=elicits) as client:
            yield client

    @asynccontextmanager
    async def people(self) -> AsyncIterator[Supervisor]:
        """Give what people decide with."""
        async with Supervisor(str(self.journal), work=False) as supervisor:
            yield supervisor

    async def waiting(self) -> list[Waiting]:
        """Return what waits for a person, once something does."""
        async with self.people() as supervisor:
            while not (found := await supervisor.waiting()):
                await asyncio.sleep(0.02)
            return found

    async def decide(self, decision: Decision | None = None) -> Waiting:
        """Have a person decide about the one thing that waits."""
        (entry,) = await self.waiting()
        async with self.people() as supervisor:
            await supervisor.decide(entry, decision or Approve(), by=Person("ann"), shown=entry.digest)
        return entry

    async def events(self, run: str) -> list[Event]:
        """Return a session's events."""
        async with self.people() as supervisor:
            return await supervisor.run(run).events()

    async def kill_gateways(self) -> None:
        """Kill every gateway that lives on the journal."""
        async with self.people() as people:
            for worker in await people.journal.workers():
                os.kill(int(worker.about["pid"]), signal.SIGKILL)

    async def asked(self, line: str, times: int = 1) -> None:
        """Return when the workshop has been asked something so often."""
        while self.calls().count(line) < times:
            await asyncio.sleep(0.02)


def text(result: Any) -> str:
    """Return the text of a tool's result."""
    return "\n".join(item.text for item in result.content)


def _toml(value: str) -> str:
    return "'" + value + "'"
