"""What the killed worker of `test_judging.py` runs: one agent behind a quorum of three judges."""

from __future__ import annotations

import asyncio
import sys

from chargehand import Supervisor, agent, give_up, judge, quorum, workflow

MODEL = "openai-chat:stand-in"
JUDGES = [judge(MODEL, f"About its {what}: fine?", name=what, family=f"family of {what}") for what in ("price", "unit", "tone")]


@agent(name="writer", role="Writes.", family="own", gates=[quorum(2, of=JUDGES)], ladder=[give_up()])
async def writer(topic: str) -> str:
    """Write a sentence."""
    return f"It costs 12 euro a {topic}."


@workflow(name="writes")
async def writes(topic: str) -> str:
    """Have it written."""
    return await writer(topic)


async def main() -> None:
    """Run it to its end, or go on with it."""
    async with Supervisor("work.db", [writes]) as supervisor:
        run = await supervisor.start(writes("piece"), "r")
        print(await run.result(60), flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
