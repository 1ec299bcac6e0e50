"""The demo's side of supervision: starts runs, tells what happens to them, and plays the person who approves.

Everything goes through the public API, from a process that drives no run itself: what a web application would do.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from chargehand import Approve, Person, Supervisor
from chargehand.demo.crew import pay, purchase
from chargehand.demo.effort import Effort
from chargehand.demo.processes import DemoFailed
from chargehand.demo.purchase import Need
from chargehand.demo.telling import Teller
from chargehand.demo.worker import ENVIRONMENT, journal_of

MANAGER = Person("petra", roles=["purchasing"])
ENDS_WITHIN_SECONDS = 60


class Crew:
    """The supervised crew, seen from outside its workers."""

    def __init__(self, folder: Path, teller: Teller) -> None:
        self._folder = folder
        self._teller = teller
        self._stack = AsyncExitStack()
        self.effort = Effort()
        self.paying = asyncio.Event()
        """Set once the first payment's intent is told, so that the story is in order."""

    async def __aenter__(self) -> Self:
        supervisor = Supervisor(journal_of(self._folder), workflows=[purchase], environment=ENVIRONMENT, work=False)
        self._supervisor = await self._stack.enter_async_context(supervisor)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    async def buy(self, need: Need) -> None:
        """Start a purchase and return when it has ended, well or not."""
        run = await self._supervisor.start(purchase(need), id=need.reference)
        try:
            async with asyncio.timeout(ENDS_WITHIN_SECONDS):
                async for event in self._supervisor.watch(run.id):
                    self.effort.note(event)
                    self._teller.event(need.reference, event)
                    if event.type == "effect.proposed":
                        await self._approve(need)
                    elif event.type == "effect.intended" and event.payload["tool"] == pay.full_name:
                        self.paying.set()
        except TimeoutError as error:
            raise DemoFailed(f"{need.reference} did not end within {ENDS_WITHIN_SECONDS} seconds.") from error

    async def _approve(self, need: Need) -> None:
        """Play the person who looks at the order and says yes."""
        for entry in await self._supervisor.waiting(run_id=need.reference):
            self._teller.approval(need.reference, entry, MANAGER.id)
            await self._supervisor.decide(entry, Approve(), by=MANAGER, shown=entry.digest)
