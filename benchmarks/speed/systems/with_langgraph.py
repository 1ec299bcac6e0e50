"""LangGraph with its SQLite saver at durability="sync": every super-step is on disk before the next begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict

import stopwatch
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict):
    """A state that does not grow."""

    x: int
    n: int


async def inc(state: State) -> dict[str, int]:
    """Make one step."""
    return {"x": stopwatch.step(state["x"])}


async def waits(state: State) -> dict[str, int]:
    """Wait for a person."""
    interrupt("go")
    return {"n": 1}


def _sequential(saver: AsyncSqliteSaver) -> Any:
    graph = StateGraph(State)
    graph.add_node("inc", inc)
    graph.add_edge(START, "inc")
    graph.add_conditional_edges("inc", lambda state: END if state["x"] >= state["n"] else "inc")
    return graph.compile(checkpointer=saver)


def _waiting(saver: AsyncSqliteSaver) -> Any:
    graph = StateGraph(State)
    graph.add_node("waits", waits)
    graph.add_node("inc", inc)
    graph.add_edge(START, "waits")
    graph.add_edge("waits", "inc")
    graph.add_edge("inc", END)
    return graph.compile(checkpointer=saver)


class LangGraph:
    """LangGraph as the stopwatch wants it."""

    store = "langgraph.sqlite"

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[None]:
        """Open the saver and compile the graphs."""
        async with AsyncSqliteSaver.from_conn_string(str(folder / self.store)) as saver:
            await saver.setup()
            self.sequential, self.waiting = _sequential(saver), _waiting(saver)
            yield

    def _config(self, id: str, steps: int) -> Any:
        return {"configurable": {"thread_id": id}, "recursion_limit": steps + 10}

    async def run(self, id: str, steps: int) -> int:
        """Make one thread of the graph."""
        state = await self.sequential.ainvoke({"x": 0, "n": steps}, self._config(id, steps), durability="sync")
        return int(state["x"])

    async def runs(self, ids: list[str], steps: int) -> None:
        """Make many threads in one event loop."""
        await asyncio.gather(*(self.run(id, steps) for id in ids))

    async def recover(self, id: str, steps: int) -> None:
        """Go on from the newest checkpoint."""
        await self.sequential.ainvoke(None, self._config(id, steps), durability="sync")

    async def park(self, ids: list[str]) -> None:
        """Start threads that wait at an interrupt."""
        for id in ids:
            await self.waiting.ainvoke({"x": 0, "n": 1}, self._config(id, 5), durability="sync")

    async def wake(self, id: str) -> None:
        """Answer the interrupt."""
        await self.waiting.ainvoke(Command(resume="yes"), self._config(id, 5), durability="sync")


if __name__ == "__main__":
    stopwatch.main(LangGraph())
