"""What the killed worker of `test_killed.py` runs: one agent that asks a model seven times, by the framework that is named."""

from __future__ import annotations

import asyncio
import importlib
import sys
import warnings
from typing import Any

from chargehand import Supervisor, agent, give_up, read, workflow


@read(name="price")
async def price(sku: str) -> int:
    """Return the price of a part, in cents."""
    with open("asked", "a") as file:
        file.write(sku + "\n")
    return 15


def answering(framework: str) -> Any:
    """Return what answers, as its author wrote it."""
    if framework == "openai_agents":
        sdk = importlib.import_module("agents")
        adapter = importlib.import_module("chargehand.adapters.openai_agents")
        second = sdk.Agent(name="second", model="stand-in", tools=[adapter.tool_of(price)])
        return sdk.Agent(name="first", model="stand-in", handoffs=[second])
    if framework == "langgraph":
        adapter = importlib.import_module("chargehand.adapters.langgraph")
        model = adapter.journaled(importlib.import_module("langchain_openai").ChatOpenAI(model="stand-in"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("langgraph.prebuilt").create_react_agent(model, [adapter.tool_of(price)])
    return "openai-chat:stand-in"


@agent(name="adder", role="Adds prices.", uses=[price], model=answering(sys.argv[1]), ladder=[give_up()])
async def adder(parts: list[str]) -> int:
    """Look up each price, then give the sum."""


@workflow(name="adds")
async def adds(parts: list[str]) -> int:
    """Have the prices added."""
    return await adder(parts)


async def main() -> None:
    """Run it to its end, or go on with it."""
    async with Supervisor("work.db", [adds]) as supervisor:
        run = await supervisor.start(adds([f"M{n}" for n in range(6)]), "r")
        print(await run.result(60), flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
