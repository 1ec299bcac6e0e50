"""`mcp`: an MCP server in front of other MCP servers, whose tool calls are the reads and effects of supervised runs."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

import chargehand
from chargehand.cli.given import seconds_given
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.running import PANEL, ApproveLevel
from chargehand.cli.working import log_to_stderr, stop_signal
from chargehand.errors import BadConfiguration, MissingExtra


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "mcp", PANEL)(mcp)


async def mcp(
    face: Invocation,
    session: Annotated[
        str | None,
        typer.Option("--session", metavar="NAME", help="The session that the client has, by which it goes on after a restart."),
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="How long calls in flight may settle when the client leaves.")
    ] = "30s",
    log_level: Annotated[str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")] = "warning",
    approve: ApproveLevel = None,
) -> None:
    """Serve the tools of the MCP servers in [mcp.servers] to an MCP client, on standard input and output.

    Each session is a run: reads, effects, approvals, keys and doubts are those of any run, and `chargehand inbox`, `show` and
    `approve` work on it.
    """
    try:
        from chargehand.gateway.running import opened, serve_stdio
        from chargehand.gateway.settings import gateway_settings
    except ModuleNotFoundError as missing:
        raise MissingExtra(f"The MCP gateway needs {missing.name}, which is not installed: pip install 'chargehand[mcp]'.") from missing
    seconds = seconds_given(grace, "--grace") or 0.0
    log_to_stderr(log_level)
    logging.getLogger("mcp").setLevel(logging.ERROR)
    settings = face.settings
    if settings.journal == "memory:":
        raise BadConfiguration("The gateway's journal is a file, or nobody could approve anything. Give --journal FILE.")
    given = gateway_settings(settings.mcp, settings.file, settings.environment, face.variables)
    stop = stop_signal()

    def makes(workflow, on_waiting):  # type: ignore[no-untyped-def]
        return face.supervisor([workflow], work=True, on_waiting=on_waiting)

    async with opened(given, makes, chargehand.__version__, grace=seconds, own=True) as gateway:
        await serve_stdio(gateway, session or given.table.session, stop)
