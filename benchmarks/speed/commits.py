"""How many transactions each kind of call takes, counted from the writer, not timed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from chargehand import Approve, Feedback, Person, Supervisor, agent, effect, gate, now, read, sleep, uuid4, workflow


async def undo(result: int) -> None:
    """Take it back."""


@effect(undo=undo)
async def make(x: int) -> int:
    """Change the world."""
    return x


@effect(undo=undo, approve=True)
async def asked(x: int) -> int:
    """Change the world after a person said yes."""
    return x


@effect(undo=undo, transactional=True)
def within(tx: Any, x: int) -> int:
    """Change the journal's own database."""
    return x


@gate
def small(x: int) -> None:
    """Pass."""


@agent(role="Gives its input back.", gates=[small])
async def echo(x: int, feedback: Feedback | None = None) -> int:
    """Give the input back."""
    return x


@read
async def look(x: int) -> int:
    """Look."""
    return x


async def commits_per_call(folder: Path) -> dict[str, float]:
    """Return how many transactions each kind of call takes, start and end of the run left out."""
    return await _count(
        folder,
        {
            "nothing": _nothing,
            "uuid4": _plain(uuid4),
            "now": _plain(now),
            "read": lambda: _awaited(look(1)),
            "sleep": lambda: _awaited(sleep(0.001)),
            "agent with a quick gate": lambda: _awaited(echo(1)),
            "effect": lambda: _awaited(make(1)),
            "transactional effect": lambda: _awaited(within(1)),
            "effect with approval, and its decision": lambda: _awaited(asked(1)),
        },
    )


async def _nothing() -> None: ...


async def _awaited(thing: Awaitable[Any]) -> Any:
    return await thing


def _plain(function: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    async def body() -> None:
        function()

    return body


async def _count(folder: Path, bodies: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, float]:
    @workflow(name="bench.commits")
    async def commits(name: str) -> None:
        await bodies[name]()

    counted: dict[str, float] = {}
    async with Supervisor(str(folder / "commits.db"), [commits]) as supervisor:
        for number, name in enumerate(bodies):
            before = (await supervisor.journal.statistics())["writer"]["transactions"]
            view = await supervisor.start(commits(name), f"c{number}")
            while "approval" in name and not (waiting := await supervisor.waiting()):
                await asyncio.sleep(0.005)
            if "approval" in name:
                await supervisor.decide(waiting[0], Approve(), by=Person("bench"))
            await view.result()
            counted[name] = (await supervisor.journal.statistics())["writer"]["transactions"] - before
    base = counted.pop("nothing")
    return {name: count - base for name, count in counted.items()}
