"""A client that is killed: ``python client.py CONFIG TOOL TEXT`` calls one tool in the session `s`."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp import Client, StdioServerParameters


async def main() -> None:
    """Call the tool."""
    arguments = ["-m", "chargehand.cli.main", "mcp", "--config", sys.argv[1], "--session", "s"]
    async with Client(StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ)), mode="legacy") as client:
        print(await client.call_tool(sys.argv[2], {"text": sys.argv[3]}))


if __name__ == "__main__":
    asyncio.run(main())
