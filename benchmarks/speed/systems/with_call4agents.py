"""call4agents: once-only actions in a SQLite ledger. It has no runs that wait, so nothing is parked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import call4agents as c4a
import stopwatch


@c4a.effect(name="inc", idempotent_for=86_400)
def inc(x: int) -> int:
    """Make one step. It may be repeated after a crash, as a step may; without saying so, the one in flight would wait for a person."""
    return stopwatch.step(x)


def sequential(id: str, steps: int) -> int:
    """Make n actions, one after the other."""
    x = 0
    with c4a.run(id):
        while x < steps:
            x = inc(x)
    return x


class Call4Agents:
    """call4agents as the stopwatch wants it."""

    store = "ledger.sqlite"

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[None]:
        """Open the ledger."""
        c4a.init(str(folder / self.store))
        yield

    async def run(self, id: str, steps: int) -> int:
        """Make one run."""
        return sequential(id, steps)

    async def runs(self, ids: list[str], steps: int) -> None:
        """Make many runs, one after the other: it is synchronous, and threads make it no faster (tried with 4, 16 and 64)."""
        for id in ids:
            sequential(id, steps)

    async def recover(self, id: str, steps: int) -> None:
        """Make the run again from its start; what is recorded is not done again."""
        sequential(id, steps)

    async def park(self, ids: list[str]) -> None:
        """Refuse: there is no such thing."""
        raise NotImplementedError("call4agents has no run that waits")

    async def wake(self, id: str) -> None:
        """Refuse: there is no such thing."""
        raise NotImplementedError("call4agents has no run that waits")


if __name__ == "__main__":
    stopwatch.main(Call4Agents())
