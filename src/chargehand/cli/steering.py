"""Steering whole runs: signals to them, letting them go on, cancelling them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from chargehand.cli.deciding import reason_given
from chargehand.cli.fitting import Code, knowing, signal_fits
from chargehand.cli.given import json_given
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.posting import PANEL, As, Wait, posted
from chargehand.cli.safe import one_line
from chargehand.cli.unknown import run_named
from chargehand.config import nearest
from chargehand.durable import FINAL_STATUSES, RunRow
from chargehand.errors import DecisionRefused, InvalidInput
from chargehand.resting import signals_waited_for
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor

Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for name, body in (("signal", signal), ("resume", resume), ("cancel", cancel)):
        command(app, name, PANEL)(body)


async def signal(
    face: Invocation,
    run: Run,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal's name.")],
    value: Annotated[str, typer.Option("--value", metavar="JSON", help="What it carries.")] = "null",
    code: Code = None,
    as_: As = None,
    wait: Wait = False,
) -> int:
    """Send a signal to a run; it is kept when nothing waits for it yet.

    With the run's code at hand, a value that does not fit what the run waits for is refused. Without it the worker sees
    that, and --wait tells.
    """
    if not name.strip() or not name.isprintable():
        raise InvalidInput(f"This is no name of a signal: {name!r}. It is the name that the workflow waits for.")
    carried = json_given(value, "--value")
    async with face.keyed() as supervisor:
        row = await _open_run(face, supervisor, run)
        by = face.person(as_)
        names = signals_waited_for(await loaded(supervisor.journal, row.number))
        known = knowing(face, supervisor, row, code) if name in names or code else None
        checked = known is not None and await signal_fits(known, row, name, carried)
        await supervisor.signal(run, name, carried, by=by)
        mail = {"kind": "signal", "name": name, "waits_for": names, "checked": checked}
        if not face.json:
            face.say(f"signal {one_line(name)} sent to {one_line(run)}")
        if not wait:
            _say_what_waits(face, row, name, names, checked=checked)
        return await posted(face, supervisor, row, mail, wait)


def _say_what_waits(face: Invocation, row: RunRow, name: str, names: Sequence[str], *, checked: bool) -> None:
    if name in names:
        if not checked:
            face.note("Whether its value fits is seen when a worker takes it up: --wait tells, and --code module:workflow checks before.")
        return
    near = nearest(name, names)
    waits = f"it waits for {', '.join(repr(one) for one in names)}" if names else "it waits for none"
    hint = f" Did you mean {near!r}?" if near else ""
    face.note(f"Nothing in {row.id} waits for the signal {name!r} now: {waits}.{hint} It is kept until the run asks for it.", "yellow")


async def resume(
    face: Invocation,
    run: Run,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="PATH",
            help="Go on with the code as it is now: what the call gave is kept, and what was never sent is asked for anew. May be given again.",
        ),
    ] = None,
    as_: As = None,
    wait: Wait = False,
) -> int:
    """Let a run go on that is parked as a whole: diverged, broken or poison."""
    async with face.keyed() as supervisor:
        row = await _open_run(face, supervisor, run)
        if row.status != "parked" or row.reason not in ("diverged", "broken", "poison"):
            raise DecisionRefused(
                f"Run {run!r} is not parked as a whole: it is {row.status}. `chargehand inbox --run {run}` shows what it waits for."
            )
        by = face.person(as_)
        at = await _diverged_at(supervisor, row)
        await _refuse_unknown_paths(supervisor, row, accept or (), at)
        await supervisor.resume(run, accept=accept or (), by=by)
        if at and accept and at not in accept:
            face.note(
                f"It is parked at {at!r}, which --accept does not name, and will park there again unless the code was mended.", "yellow"
            )
        return await posted(face, supervisor, row, {"kind": "resume"}, wait, said=f"{run} is told to go on")


async def _refuse_unknown_paths(supervisor: Supervisor, row: RunRow, accept: Sequence[str], at: str | None) -> None:
    """Raise `InvalidInput` for a path that no call of the run has: said once, it would keep the right one from being said."""
    known = {event.path for event in await loaded(supervisor.journal, row.number)} | {at or ""}
    for path in accept:
        if path not in known:
            near = at or nearest(path, known)
            hint = f" It is parked at {near!r}." if at else f" Did you mean {near!r}?" if near else ""
            raise InvalidInput(f"--accept names {path!r}, which is no call of run {row.id!r}.{hint} Nothing was sent.")


async def _diverged_at(supervisor: Supervisor, row: RunRow) -> str | None:
    """Return the path at which a run diverged."""
    entries = [entry for entry in await supervisor.waiting(run_id=row.id) if entry.kind == "diverged"]
    return str(entries[0].shows.get("path") or "") if entries else None


async def cancel(
    face: Invocation,
    run: Run,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded.")] = "cancelled",
    as_: As = None,
    wait: Wait = False,
) -> int:
    """Cancel a run: what it did is undone, as far as it can be."""
    async with face.keyed() as supervisor:
        row = await _open_run(face, supervisor, run)
        await supervisor.cancel(run, reason_given(reason), by=face.person(as_))
        return await posted(face, supervisor, row, {"kind": "cancel"}, wait, said=f"{run} is to be cancelled")


async def _open_run(face: Invocation, supervisor: Supervisor, id: str) -> RunRow:
    row = await run_named(face, supervisor, id)
    if row.status in FINAL_STATUSES:
        raise DecisionRefused(f"Run {id!r} has ended: it is {row.status}. Nothing was sent.")
    return row
