"""What waits for a person: one list, and two views of it. Each entry says what it shows and which commands decide it."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from chargehand.cli.forms import entry_form, is_overdue
from chargehand.cli.given import kinds_given, seconds_given
from chargehand.cli.ignored import ignored_among
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.safe import as_json, duration, one_line, plain
from chargehand.cli.unknown import refuse_entry, run_named
from chargehand.cli.ways import told
from chargehand.durable import Waiting, WaitingKind
from chargehand.errors import InvalidInput
from chargehand.statuses import EXIT_OK, EXIT_WAITING

PANEL = "Look"
LETTER_KINDS: tuple[WaitingKind, ...] = ("letter", "doubt")

Run = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only what waits in this run.")]
Role = Annotated[str | None, typer.Option("--role", metavar="ROLE", help="Only what this role may decide.")]
Entry = Annotated[str | None, typer.Argument(metavar="[ENTRY]", help="The id of one entry, or of a run: show it whole.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app, "inbox", PANEL)(inbox)
    command(app, "approvals", PANEL)(approvals)
    command(app, "letters", PANEL)(letters)


async def inbox(
    face: Invocation,
    entry: Entry = None,
    run: Run = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", metavar="KIND", help="Only entries of this kind. May be given again.")] = None,
    role: Role = None,
    check: Annotated[bool, typer.Option("--check", help="Leave with 3 when something is overdue or in doubt.")] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="DURATION", help="With --check: what waits longer is overdue.")
    ] = None,
) -> int:
    """List whatever waits for a person: approvals, escalations, letters, doubts, questions, parked runs."""
    bound = seconds_given(older_than, "--older-than")
    if bound is not None and not check:
        raise InvalidInput("--older-than belongs to --check, which says what is overdue.")
    found, ignored = await _found(face, entry, run, kinds_given(kind or ()), role)
    now = time.time()
    urgent = [one for one in found if one.kind == "doubt" or is_overdue(one, now, bound)] if check else []
    _show(face, found, now, ignored, whole=entry is not None, filtered=bool(run or kind or role))
    if urgent and not face.json:
        face.note(f"{len(urgent)} overdue or in doubt: {', '.join(one.id for one in urgent[:5])}", "yellow")
    return EXIT_WAITING if urgent else EXIT_OK


async def approvals(face: Invocation, entry: Entry = None, run: Run = None, role: Role = None) -> None:
    """List the effects that wait for approval, each with exactly what would run."""
    found, ignored = await _found(face, entry, run, ("approval",), role)
    _show(face, found, time.time(), ignored, whole=True, filtered=bool(run or role))


async def letters(face: Invocation, entry: Entry = None, run: Run = None, role: Role = None) -> None:
    """List dead letters and doubts: calls that could not be finished, or whose outcome nobody knows."""
    found, ignored = await _found(face, entry, run, LETTER_KINDS, role)
    _show(face, found, time.time(), ignored, whole=True, filtered=bool(run or role))


async def _found(
    face: Invocation, named: str | None, run: str | None, kinds: Sequence[WaitingKind], role: str | None
) -> tuple[list[Waiting], dict[str, str]]:
    """Return what waits and fits; of one that is named, also why the last decision on it changed nothing."""
    ignored: dict[str, str] = {}
    async with face.reading() as supervisor:
        if run is not None:
            await run_named(face, supervisor, run)
        found = await supervisor.waiting(run_id=run, kinds=kinds, limit=100_000)
        if named is not None:
            found = [one for one in found if named in (one.id, one.run_id)]
            if not found:
                await refuse_entry(supervisor, named, kinds=kinds)
            ignored = await ignored_among(supervisor, found)
    return [one for one in found if role is None or one.role in (None, role)], ignored


def _show(face: Invocation, found: Sequence[Waiting], now: float, ignored: Mapping[str, str], *, whole: bool, filtered: bool) -> None:
    if face.json:
        face.answer({"waiting": [face.shown(entry_form(one, now)) for one in found], "ignored": dict(ignored)})
        return
    if not found:
        face.note("Nothing waits." if not filtered else "Nothing waits that fits these options.")
        return
    if whole:
        for one in found:
            show_entry(face, one, now, ignored.get(one.id))
        return
    rows = [(one.id, one.kind, one.title, one.role or "", duration(now - one.created), _due(one, now)) for one in found]
    face.table(
        ("entry", "kind", "what", "role", "waits", "due"),
        rows,
        styles=lambda row: "red" if row[1] == "doubt" or row[5] == "overdue" else "",
    )
    face.note("Details and what may be decided: chargehand inbox ENTRY")


def _due(entry: Waiting, now: float) -> str:
    if entry.due is None:
        return ""
    return "overdue" if entry.due <= now else f"in {duration(entry.due - now)}"


def bounds(entry: Waiting, now: float) -> list[str]:
    """Return for whom an entry waits, and until when."""
    due = _due(entry, now)
    return [f"for the role {one_line(entry.role)}"] * bool(entry.role) + [f"due {due}"] * bool(due)


def show_entry(face: Invocation, entry: Waiting, now: float, ignored: str | None = None) -> None:
    """Print one entry whole: everything the person has to see, and how to decide."""
    face.say(one_line(entry.id), "bold")
    face.say("  " + ", ".join([entry.kind, one_line(entry.title), f"waits {duration(now - entry.created)}", *bounds(entry, now)]))
    if entry.role:
        face.say(f"  the role {one_line(entry.role)}: {face.who_has(entry.role)}", "dim")
    for name, value in face.shown(dict(entry.shows)).items():
        if isinstance(value, str) and "\n" in value:  # a traceback, or a text that an agent wrote
            face.say(f"  {one_line(name)}:")
            face.say(textwrap.indent(plain(value).rstrip("\n"), "    "))
        elif value not in (None, [], {}, ""):
            face.say(f"  {one_line(name)}: {as_json(value)}")
    face.say(f"  shown as: {entry.digest}", "dim")
    if ignored is not None:
        face.say(f"  {ignored}", "red")
    for way in told(entry, face.as_whom(entry.role)):
        face.say(f"  {way}", "cyan")
    face.say()
