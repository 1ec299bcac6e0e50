"""An MCP server for the tests: tools of every kind, and a file that says which were really called.

``python workshop.py LEDGER``: each call is a line in LEDGER before anything else happens. `send` and `charge` wait while a file
LEDGER.hold is there, `send` ends the process while LEDGER.die is.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

LEDGER = Path(sys.argv[1])
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
KEYED = {"type": "object", "properties": {"text": {"type": "string"}, "key": {"type": "string"}}, "required": ["text", "key"]}
WIDER = {"type": "object", "properties": {"text": {"type": "string"}, "more": {"type": "string"}}, "required": ["text", "more"]}

READS = types.ToolAnnotations(read_only_hint=True)
ADDS = types.ToolAnnotations(read_only_hint=False, destructive_hint=False)
SAME = types.ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)


def is_there(mark: str) -> bool:
    """Say whether the test has put down a mark."""
    return LEDGER.with_suffix(mark).exists()


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    """List the tools; `order` needs more once the test says so, and `send` is gone."""
    tools = [
        types.Tool(name="look", description="Look.", input_schema=TEXT, annotations=READS),
        types.Tool(name="note", input_schema=TEXT, annotations=ADDS),
        types.Tool(name="put", input_schema=TEXT, annotations=SAME),
        types.Tool(name="charge", input_schema=KEYED, annotations=ADDS),
        types.Tool(name="order", input_schema=WIDER if is_there(".changed") else TEXT),
        types.Tool(name="cancel", input_schema=TEXT),
        types.Tool(name="fail", input_schema=TEXT, annotations=ADDS),
    ]
    if not is_there(".changed"):
        tools.append(types.Tool(name="send", input_schema=TEXT))
    return types.ListToolsResult(tools=tools)


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Write the call down, then do what the test wants."""
    arguments = params.arguments or {}
    with LEDGER.open("a") as file:
        file.write(" ".join([params.name, *map(str, arguments.values())]) + "\n")
    while params.name in ("send", "charge", "put") and is_there(".hold"):
        await asyncio.sleep(0.02)
    if is_there(".die"):
        os._exit(3)
    number = len(LEDGER.read_text().splitlines())
    if params.name == "fail":
        return types.CallToolResult(content=[types.TextContent(type="text", text="no such text")], is_error=True)
    text = f"{params.name} {arguments.get('text')} {os.environ.get('WORKSHOP_TOKEN', '')}".strip()
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], structured_content={"number": number})


async def main() -> None:
    """Serve standard input and output."""
    server: Server[Any] = Server("workshop", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(main())
