"""DBOS on SQLite, its durable default."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import stopwatch
from dbos import DBOS, SetWorkflowID


@DBOS.step()
async def inc(x: int) -> int:
    """Make one step."""
    return stopwatch.step(x)


@DBOS.workflow()
async def sequential(n: int) -> int:
    """Make n steps, one after the other."""
    x = 0
    while x < n:
        x = await inc(x)
    return x


@DBOS.workflow()
async def waits() -> str:
    """Wait for a message, then make one step."""
    said = await DBOS.recv_async("go", timeout_seconds=86_400)
    await inc(0)
    return str(said)


class Dbos:
    """DBOS as the stopwatch wants it."""

    store = "dbos.sqlite"

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[None]:
        """Launch it on a file in the folder."""
        url = f"sqlite:///{folder / self.store}"
        DBOS(
            config={
                "name": "bench",
                "system_database_url": url,
                "application_version": "1",
                "run_admin_server": False,
                "log_level": "ERROR",
            }
        )
        DBOS.launch()
        yield

    async def run(self, id: str, steps: int) -> int:
        """Make one workflow."""
        with SetWorkflowID(id):
            handle = await DBOS.start_workflow_async(sequential, steps)
        return await handle.get_result(polling_interval_sec=0.001)

    async def runs(self, ids: list[str], steps: int) -> None:
        """Make many workflows in one event loop."""
        await asyncio.gather(*(self._direct(id, steps) for id in ids))

    async def _direct(self, id: str, steps: int) -> None:
        with SetWorkflowID(id):
            await sequential(steps)

    async def recover(self, id: str, steps: int) -> None:
        """Wait for what `launch` recovered."""
        handle = await DBOS.retrieve_workflow_async(id)
        await handle.get_result(polling_interval_sec=0.01)

    async def park(self, ids: list[str]) -> None:
        """Start workflows that wait for a message."""
        for id in ids:
            with SetWorkflowID(id):
                await DBOS.start_workflow_async(waits)

    async def wake(self, id: str) -> None:
        """Send the message."""
        await DBOS.send_async(id, "yes", "go")
        handle = await DBOS.retrieve_workflow_async(id)
        await handle.get_result(polling_interval_sec=0.001)


if __name__ == "__main__":
    stopwatch.main(Dbos())
