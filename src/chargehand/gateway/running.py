"""The gateway put together: servers, tools, the supervisor that drives the sessions, and the line to the client."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chargehand.durable import Waiting
from chargehand.errors import BadConfiguration
from chargehand.gateway.conversation import conversation
from chargehand.gateway.desk import Desk
from chargehand.gateway.lines import Line
from chargehand.gateway.serving import Serving, Whence
from chargehand.gateway.settings import BudgetTable, GatewaySettings
from chargehand.gateway.stdio import standard_streams
from chargehand.gateway.tools import Toolbox
from chargehand.gateway.upstream import Upstream, logger
from chargehand.limits import Budget
from chargehand.supervise.definitions import WorkflowDefinition
from chargehand.supervisor import Supervisor

Makes = Callable[[WorkflowDefinition[..., Any], Callable[[str, Waiting], None]], Supervisor]
"""Makes the supervisor of the sessions' workflow, told who wants to hear what waits for a person."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway whose servers are connected and whose sessions are driven."""

    settings: GatewaySettings
    upstreams: list[Upstream]
    toolbox: Toolbox
    desk: Desk
    supervisor: Supervisor
    session: WorkflowDefinition[..., Any]
    version: str


@asynccontextmanager
async def opened(settings: GatewaySettings, makes: Makes, version: str, *, grace: float, own: bool) -> AsyncIterator[Gateway]:
    """Connect the servers and open the supervisor; at the end let calls in flight settle, for at most `grace` seconds.

    Args:
        own: drive no sessions but those that a client of this process names; others have processes of their own.

    If the process dies inside: what was in flight is recovered by the next gateway that has the session.
    """
    id = uuid.uuid4().hex[:12]
    toolbox = Toolbox(settings, id)
    upstreams = [Upstream(server, _renews(toolbox), version) for server in settings.servers]
    for upstream in upstreams:
        toolbox.add(upstream)
    desk = Desk(id, settings.table)
    session = conversation(settings.table.name, toolbox, desk.conversation, _budget(settings.table.budget))
    supervisor = makes(session, desk.waiting_changed)
    assert supervisor.carrier is not None
    if own:
        supervisor.carrier.only = set()
    supervisor.site.effects = toolbox.effects  # a rollback finds by them how to undo what this process did not do
    try:
        await asyncio.gather(*(upstream.start() for upstream in upstreams))
        toolbox.renew()
        await supervisor.__aenter__()
        try:
            yield Gateway(settings, upstreams, toolbox, desk, supervisor, session, version)
            await desk.close(supervisor)
        finally:
            await supervisor.close(grace)
    finally:
        await asyncio.gather(*(upstream.stop() for upstream in upstreams))


def _renews(toolbox: Toolbox) -> Callable[[], None]:
    def renew() -> None:
        try:
            toolbox.renew()
        except BadConfiguration as error:  # a server that grew a tool which another has: what was known goes on
            logger.error("the tools are not taken as they are now: %s", error.message)

    return renew


def _budget(table: BudgetTable | None) -> Budget | None:
    if table is None:
        return None
    usd = None if table.usd is None else Decimal(table.usd)
    return Budget(calls=table.calls, usd=usd, on_exhaustion=table.on_exhaustion)


async def serve_stdio(gateway: Gateway, session: str | None, stop: asyncio.Event) -> None:
    """Serve the client at the standard streams until it leaves or `stop` is set.

    Args:
        session: the name of its session, by which it goes on after a reconnect; without one it is a new session each time.
    """
    line = Line()
    id = session or f"mcp-{uuid.uuid4().hex[:12]}"
    if session is not None:
        await gateway.desk.take_up(gateway.supervisor, session)
    whence = Whence(id, session is not None, line)
    serving = Serving(gateway.supervisor, gateway.session, gateway.toolbox, gateway.desk, lambda ctx: whence, gateway.version)
    server = serving.server
    async with standard_streams(line) as (read, write):
        served = asyncio.ensure_future(server.run(read, write, server.create_initialization_options()))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({served, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not served.done():
            served.cancel()
            await asyncio.wait({served})
        elif (error := served.exception()) is not None:
            raise error


__all__ = ["Gateway", "Makes", "opened", "serve_stdio"]
