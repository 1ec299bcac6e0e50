"""What the killed worker of `test_killed.py` runs: one agent that asks a model seven times."""

from __future__ import annotations

import asyncio
import sys

from chargehand import Supervisor, agent, give_up, read, workflow


@read(name="price")
async def price(sku: str) -> int:
    """Return the price of a part, in cents."""
    with open("asked", "a") as file:
        file.write(sku + "\n")
    return 15


@agent(name="adder", role="Adds prices.", uses=[price], model="openai-chat:stand-in", ladder=[give_up()])
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
