"""Report one incident, with a writer that drops a ticket and invents a number at first: python -m examples.incident"""

from __future__ import annotations

import asyncio
from typing import Any

from examples.incident.case import INCIDENT, SITE, careless
from examples.incident.crew import Site
from examples.incident.workflow import Rehearsal, StatusPage, report_incident

from chargehand import Resource, Supervisor


async def main() -> None:
    """Run the workflow on a journal in memory and print what was rejected, and why."""
    page = StatusPage()
    rehearsal = Rehearsal(slips={"writer": careless})
    resources: list[Resource[Any]] = [
        Resource(Site, lambda: SITE),
        Resource(StatusPage, lambda: page),
        Resource(Rehearsal, lambda: rehearsal),
    ]
    async with Supervisor("memory:", workflows=[report_incident], resources=resources) as supervisor:
        run = await supervisor.start(report_incident(INCIDENT), id=INCIDENT.id)
        report = await run.result(timeout=30)
        for event in await run.events():
            print(f"{event.seq:3} {event.type:18} {event.path}")
            for verdict in event.payload.get("verdicts", ()):
                for reason in verdict.get("reasons", ()):
                    print(f"        {verdict['gate']} ({verdict.get('mode')}): {reason}")
    print(f"\nPublished: {report.title}\n{report.summary}")


if __name__ == "__main__":
    asyncio.run(main())
