"""Chargehand as it comes: one SQLite file, synchronous=FULL, the supervisor in this event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import stopwatch

from chargehand import Supervisor, step, wait_signal, workflow


@step(name="bench.inc")
async def inc(x: int) -> int:
    """Make one step."""
    return stopwatch.step(x)


@workflow(name="bench.sequential")
async def sequential(n: int) -> int:
    """Make n steps, one after the other."""
    x = 0
    while x < n:
        x = await inc(x)
    return x


@workflow(name="bench.waits")
async def waits() -> str:
    """Wait for a signal, then make one step."""
    said = await wait_signal("go", str)
    await inc(0)
    return said


class Chargehand:
    """Chargehand as the stopwatch wants it."""

    store = "chargehand.db"

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[None]:
        """Open the journal and drive what is due."""
        async with Supervisor(str(folder / self.store), [sequential, waits]) as self.supervisor:
            yield

    async def run(self, id: str, steps: int) -> int:
        """Make one run."""
        return await (await self.supervisor.start(sequential(steps), id)).result()

    async def runs(self, ids: list[str], steps: int) -> None:
        """Make many runs at the same time."""
        views = await self.supervisor.start_many([(sequential(steps), id) for id in ids])
        await asyncio.gather(*(view.result() for view in views))

    async def recover(self, id: str, steps: int) -> None:
        """Wait for the run that the supervisor has claimed."""
        await self.supervisor.run(id).result()

    async def park(self, ids: list[str]) -> None:
        """Start runs that wait for a signal, and wait until they do."""
        for start in range(0, len(ids), 1000):
            some = ids[start : start + 1000]
            await self.supervisor.start_many([(waits(), id) for id in some])
            while await self.supervisor.runs(status=("running",), limit=1):
                await asyncio.sleep(0.002)

    async def wake(self, id: str) -> None:
        """Send the signal."""
        await self.supervisor.signal(id, "go", "yes")
        await self.supervisor.run(id).result()


if __name__ == "__main__":
    stopwatch.main(Chargehand())
