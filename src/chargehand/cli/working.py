"""`worker`: drive runs until told to stop. The only place with signal handlers and logging set-up."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Annotated

import typer

from chargehand.carriers.process import collect_less_often
from chargehand.cli.given import seconds_given
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.loading import resources_for, workflows_at
from chargehand.cli.running import PANEL, ApproveLevel, Resources
from chargehand.cli.safe import as_json, one_line, plain
from chargehand.errors import BadConfiguration, InvalidInput
from chargehand.supervise.telemetry import RunLogFilter
from chargehand.supervisor import Supervisor

LEVELS = ("debug", "info", "warning", "error")


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "worker", PANEL)(worker)


async def worker(
    face: Invocation,
    workflows: Annotated[
        list[str] | None, typer.Argument(metavar="[MODULE:WORKFLOW]...", help="What to drive; else the configured workflows.")
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="DURATION", help="How long calls in flight may settle when told to stop.")
    ] = "30s",
    log_level: Annotated[str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")] = "info",
    resources: Resources = None,
    approve: ApproveLevel = None,
) -> None:
    """Drive runs until SIGTERM or SIGINT; then claim nothing more, let calls in flight settle, and leave.

    A second signal leaves at once: what was in flight is recovered by the next worker, as after a crash.
    """
    seconds = seconds_given(grace, "--grace") or 0.0
    log_to_stderr(log_level)
    settings = face.settings
    if settings.journal == "memory:":
        raise BadConfiguration("A worker cannot drive the journal memory:, which nobody else can reach. Give --journal FILE.")
    definitions = workflows_at(workflows or (), settings)
    supervisor = face.supervisor(definitions, resources_for(definitions, [*(resources or ()), *settings.resources]), work=True)
    stop = stop_signal()
    await supervisor.__aenter__()
    collect_less_often()
    _announce(face, supervisor, "started")
    try:
        await _until_stopped(supervisor, stop)
    finally:
        _announce(face, supervisor, "draining")
        await supervisor.close(seconds)
        _announce(face, supervisor, "stopped")


async def _until_stopped(supervisor: Supervisor, stop: asyncio.Event) -> None:
    """Return when told to stop; raise what stopped the carrier, if that comes first."""
    assert supervisor.carrier is not None
    told, carried = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(supervisor.carrier.carried())
    try:
        await asyncio.wait({told, carried}, return_when=asyncio.FIRST_COMPLETED)
        if carried.done():
            carried.result()
    finally:
        told.cancel()
        carried.cancel()


def stop_signal() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second ends the process."""
    stop = asyncio.Event()

    def told(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told, int(number))
    return stop


def _announce(face: Invocation, supervisor: Supervisor, what: str) -> None:
    """Say on standard output what the worker does, one line each."""
    about = {
        "worker": supervisor.site.worker,
        "is": what,
        "environment": supervisor.environment,
        "journal": face.settings.journal,
        "workflows": sorted(supervisor.workflows),
        "pid": os.getpid(),
    }
    if face.json:
        face.raw(as_json(about))
    elif what == "started":
        serves = f"serves {about['environment']} on {about['journal']}: {', '.join(sorted(supervisor.workflows))}"
        face.raw(one_line(f"worker {about['worker']} {serves}"))
    else:
        face.raw(f"worker {about['worker']} {what}")


class _Plain(logging.Formatter):
    """Log lines hold foreign text too: none of it may steer a terminal, or look like a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record without terminal control, with the run and the call that it is about; its further lines are set in."""
        where = " ".join(part for part in (record.__dict__.get("run"), record.__dict__.get("path")) if part)
        record.where = f"[{where}] " if where else ""
        return plain(super().format(record)).replace("\n", "\n    ")


def log_to_stderr(level: str) -> None:
    """Have everything logged go to standard error. Raises `InvalidInput` for a level that is none."""
    if level.lower() not in LEVELS:
        raise InvalidInput(f"--log-level cannot be {level!r}. It is one of: {', '.join(LEVELS)}.")
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RunLogFilter())
    handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(name)s %(where)s%(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
