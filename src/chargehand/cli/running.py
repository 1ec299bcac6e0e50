"""`run`: start one run, or one for each line of a file, and drive them in this process until they rest."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import chargehand
from chargehand.cli import each
from chargehand.cli.forms import entry_form, run_form
from chargehand.cli.given import json_given, percent_given, seconds_given, tags_given
from chargehand.cli.ignored import ignored_on
from chargehand.cli.inbox import bounds
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.loading import call_of, look_beside, resources_for, workflow_at
from chargehand.cli.reading import tell
from chargehand.cli.safe import as_json, counted, duration, one_line, short_json
from chargehand.cli.timeline import verdicts_told
from chargehand.cli.ways import quoted, told
from chargehand.durable import FINAL_STATUSES, RunRow, Waiting
from chargehand.errors import ChargehandError, Failure, InvalidInput, RunConflict
from chargehand.resting import signals_waited_for, until_rest
from chargehand.statuses import EXIT_FAILED, EXIT_OK, EXIT_PARKED, EXIT_WAITING
from chargehand.supervise.call import Call
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor

PANEL = "Run"
_AT_ONCE = 10
_FRAME = re.compile(r'^  File "(?P<file>[^"\n]+)", line (?P<line>\d+)', re.MULTILINE)
"""A frame of a traceback as Python prints it."""

Resources = Annotated[
    list[str] | None,
    typer.Option(
        "--resources",
        metavar="MODULE:NAME",
        help="A Resource or a list of them, over those the workflow's modules define. May be given again.",
    ),
]
ApproveLevel = Annotated[str | None, typer.Option("--approve", metavar="LEVEL", help="How much asks a person: declared, final or every.")]


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "run", PANEL)(run)


@dataclass(frozen=True)
class _Options:
    """What every run that this command starts shares."""

    tags: Mapping[str, str]
    deadline: float | None
    by: str


async def run(
    face: Invocation,
    workflow: Annotated[str, typer.Argument(metavar="MODULE:WORKFLOW", help="What to run: module:name, or path/to/file.py:name.")],
    input: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON|@FILE", help="The input: the argument itself when there is one, else arguments by name."),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="The run's id, its idempotency key. With --each a template: '{date}-{id}'.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="A tag to find the run by. May be given again.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="DURATION", help="Fail and roll back when it takes longer: 90s, 15m, 2h.")
    ] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Stay while only people can move the run on; else leave with 3 or 4.")] = False,
    each_: Annotated[str | None, typer.Option("--each", metavar="FILE", help="One run for each line of this file of JSON lines.")] = None,
    at_once: Annotated[
        int | None, typer.Option("--at-once", metavar="N", min=1, max=10_000, help="With --each: so many runs side by side. Default: 10.")
    ] = None,
    fail_above: Annotated[
        str | None,
        typer.Option("--fail-above", metavar="PERCENT", help="With --each: allow so many failures; start no more once they are exceeded."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="FILE", help="With --each: write one line of JSON for each item, in their order; readable by you alone."
        ),
    ] = None,
    resources: Resources = None,
    approve: ApproveLevel = None,
    as_: Annotated[str | None, typer.Option("--as", metavar="NAME", help="The principal who starts it, else who is logged in.")] = None,
) -> int:
    """Run a workflow and print its value. The same id never runs twice: again, it goes on or gives the recorded value.

    With --each: one run for each line of a file, a closing table by failure class; run again, it does only what is missing.
    """
    look_beside(face.settings)
    definition = workflow_at(workflow)
    options = _Options(tags_given(tag or ()), seconds_given(deadline, "--deadline"), face.starter(as_))
    supervisor = face.supervisor([definition], resources_for([definition], [*(resources or ()), *face.settings.resources]), work=True)
    if each_ is not None:
        if input is not None or stay:
            raise InvalidInput("--each gives every run its input from a line and leaves runs that wait; leave --input and --stay out.")
        batch = each.Batch(definition, each_, id, at_once or _AT_ONCE, percent_given(fail_above, "--fail-above"), out)
        return await each.run_each(face, supervisor, batch, tags=options.tags, deadline=options.deadline, by=options.by)
    if fail_above is not None or out is not None or at_once is not None:
        raise InvalidInput("--at-once, --fail-above and --out belong to --each.")
    call = call_of(definition, json_given(input, "--input") if input is not None else {})
    return await _run_one(face, supervisor, call, id if id is not None else uuid.uuid4().hex, options, stay)


# -- one run ----------


async def _run_one(face: Invocation, supervisor: Supervisor, call: Call[Any], id: str, options: _Options, stay: bool) -> int:
    assert supervisor.carrier is not None
    supervisor.carrier.only = {id}
    async with face.driving(supervisor):
        try:
            await supervisor.start(call, id, tags=options.tags, deadline=options.deadline, by=options.by)
        except RunConflict as conflict:
            raise _explained(face, conflict) from None
        telling = asyncio.create_task(_tell_progress(face, supervisor, id))
        try:
            row = await until_rest(supervisor, id, stay=stay)
        finally:
            await _stop(telling)
        waits = await supervisor.waiting(run_id=id)
        waiting = _WaitsFor(waits, [], {})
        if row.status not in FINAL_STATUSES:
            events = await loaded(supervisor.journal, row.number)
            ignored = {entry.id: why for entry in waits if (why := ignored_on(entry, events)) is not None}
            waiting = _WaitsFor(waits, signals_waited_for(events), ignored)
        if row.status == "completed":
            value = call.definition.contract.result.to_json(await supervisor.outcome(row, call.definition.contract.result))
            return _completed(face, row, value)
        failure = None
        if row.status in ("failed", "cancelled"):
            try:
                await supervisor.outcome(row)
            except ChargehandError as error:
                failure = error
    return _not_completed(face, row, waiting, failure)


def _explained(face: Invocation, conflict: RunConflict) -> RunConflict:
    """Return the error with what is recorded and what was given, as far as it may be shown."""
    if not conflict.difference:
        return conflict
    both = {name: {"recorded": recorded, "given": given} for name, (recorded, given) in conflict.difference.items()}
    return RunConflict(f"{conflict.message} {short_json(face.shown(both), 300)}")


def _completed(face: Invocation, row: RunRow, value: Any) -> int:
    if face.json:
        face.answer({"run": run_form(row, face.shown), "value": value})
        return EXIT_OK
    face.note(f"{row.id} completed in {duration(row.updated - row.created)}", "green")
    face.raw(as_json(value, indent=2))
    return EXIT_OK


@dataclass(frozen=True)
class _WaitsFor:
    """What a run waits for: entries, signals, and by entry why the last decision on it changed nothing."""

    entries: list[Waiting]
    signals: list[str]
    ignored: dict[str, str]


def _not_completed(face: Invocation, row: RunRow, waiting: _WaitsFor, failure: ChargehandError | None) -> int:
    """Say how the run stands, and what can be done."""
    if face.json:
        record = failure.record() if isinstance(failure, Failure) else None if failure is None else {"message": failure.message}
        shown = [face.shown(entry_form(entry, row.updated)) for entry in waiting.entries]
        about = {"waiting": shown, "signals": waiting.signals, "ignored": waiting.ignored}
        face.answer({"run": run_form(row, face.shown), "error": record, **about})
    elif failure is not None:
        standing = f" {counted(row.standing, 'effect stands', 'effects stand')}." if row.standing else ""
        face.note(
            f"{row.id} {row.status}: {one_line(failure.message)} [{failure.code}]{standing} `chargehand show {row.id}` tells how.", "red"
        )
    else:
        _say_what_waits(face, row, waiting)
    if row.status in ("failed", "cancelled"):
        return EXIT_FAILED
    return EXIT_WAITING if row.status == "waiting" else EXIT_PARKED


def _say_what_waits(face: Invocation, row: RunRow, waiting: _WaitsFor) -> None:
    lives = face.settings.journal != "memory:"
    face.note(f"{row.id} is {row.status}{f' ({row.reason})' if row.reason else ''}.", "yellow")
    now = time.time()
    for entry in waiting.entries:
        bound = ", ".join(bounds(entry, now))
        why = _why(entry)[1 if entry.title.endswith("?") else 0 :]
        face.note(f"{entry.kind}{f' {bound}' if bound else ''}: {one_line(entry.title)}{why}", "yellow")
        if entry.role:
            face.note(f"  the role {one_line(entry.role)}: {face.who_has(entry.role)}")
        if entry.id in waiting.ignored:
            face.note(f"  {waiting.ignored[entry.id]}", "red")
        for way in told(entry, face.as_whom(entry.role)) if lives else ():
            face.note(f"  {way}", "cyan")
    for name in waiting.signals:
        face.note(f"signal: it waits for {one_line(name)!r}", "yellow")
        if lives:
            face.note(f"  chargehand signal {quoted(row.id)} {quoted(name)} --value JSON", "cyan")
    if lives:
        whole = f"`chargehand inbox {quoted(row.id)}` shows it whole. " if waiting.entries else ""
        face.note(f"{whole}Once decided, run the same command again, or keep a `chargehand worker` running.")
    else:
        face.note("The journal memory: ends with this command, and the run with it. Give --journal FILE, so that somebody can decide.")


def _why(entry: Waiting) -> str:
    """Return why something waits, as far as the entry says."""
    if entry.kind == "escalation":
        error = entry.shows.get("error")
        said = one_line(error.get("message") or error.get("type"), 300) if isinstance(error, Mapping) else ""
        parts = [one_line(entry.shows.get("why") or ""), one_line(verdicts_told(entry.shows), 300), said]
        return "".join(f": {part}" for part in parts if part)
    if entry.kind == "diverged":
        return f": recorded is {one_line(entry.shows.get('recorded'), 300)}; the code asks for {one_line(entry.shows.get('code'), 300)}"
    why = next((entry.shows[name] for name in ("why", "error", "failure", "code") if entry.shows.get(name)), "")
    if isinstance(why, Mapping):
        why = why.get("message") or ""
    place = _place(str(entry.shows.get("traceback") or ""))
    return (f": {one_line(why, 300)}" if why else "") + (f" ({one_line(place)})" if place else "")


def _place(traceback: str) -> str:
    """Return file and line of the user's code in a traceback, as far as it goes; nothing when there is none."""
    ours = str(Path(chargehand.__file__).parent)
    frames = [found for found in _FRAME.finditer(traceback) if not found["file"].startswith(ours)]
    return f"{frames[-1]['file']}:{frames[-1]['line']}" if frames else ""


async def _tell_progress(face: Invocation, supervisor: Supervisor, id: str) -> None:
    """On a terminal, print the run's events as they come, above a line that says how long it has been going on."""
    if face.json or not face.err.is_terminal:
        return
    started = (await supervisor.row(id)).created
    beside = Invocation(face.settings, out=face.err, err=face.err)
    with face.err.status("running"):
        async for event in supervisor.watch(id):
            tell(beside, event, started)


async def _stop(task: asyncio.Task[None]) -> None:
    """Let what has come be told, then end the telling."""
    await asyncio.wait({task}, timeout=0.2)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
