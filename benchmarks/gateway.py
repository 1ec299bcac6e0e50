"""What the MCP gateway adds to a tool call, beside a direct connection to the same server: ``python -m benchmarks.gateway``.

One client of the official SDK over stdio, one call after the other, medians and 95th percentiles in milliseconds. The server is the
workshop of the gateway's tests, which appends a line to a file for each call. `look` is a read, `note` an effect that needs no approval.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from mcp import Client, StdioServerParameters
from tests.gateway.house import WORKSHOP, House

WARM_UP = 20


async def measured(client: Client, tool: str, calls: int) -> tuple[float, float]:
    """Return the median and the 95th percentile of so many calls, in milliseconds."""
    took: list[float] = []
    for number in range(WARM_UP + calls):
        started = time.perf_counter()
        await client.call_tool(tool, {"text": f"x{number}"})
        took.append((time.perf_counter() - started) * 1e3)
    took = sorted(took[WARM_UP:])
    return statistics.median(took), took[int(len(took) * 0.95)]


async def main(calls: int) -> None:
    """Measure both ways and print the difference and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        server = StdioServerParameters(command=sys.executable, args=[str(WORKSHOP), "alone"], cwd=folder, env=dict(os.environ))
        for tool in ("look", "note"):
            async with Client(server, mode="legacy") as client:
                alone, alone_95 = await measured(client, tool, calls)
            async with house.client() as client:
                behind, behind_95 = await measured(client, tool, calls)
            print(f"{tool}: direct {alone:.2f} (95 %: {alone_95:.2f}) ms, gateway {behind:.2f} (95 %: {behind_95:.2f}) ms", end="; ")
            print(f"adds {behind - alone:.2f} ms, {behind / alone:.1f} times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    asyncio.run(main(parser.parse_args().calls))
