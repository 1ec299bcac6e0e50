"""`erase`: take what some events of an ended run hold out of the journal, for good; their hashes stay, so the chain still holds."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Sequence
from typing import Annotated

import typer

from chargehand.cli.invocation import Invocation, asking, command
from chargehand.cli.safe import counted, one_line
from chargehand.cli.timeline import line_of
from chargehand.cli.unknown import run_named
from chargehand.durable import FINAL_STATUSES, RunRow
from chargehand.errors import DecisionRefused, InvalidInput, WrongEnvironment
from chargehand.events import Event
from chargehand.supervise.log import loaded, references
from chargehand.supervisor import Supervisor

PANEL = "Keep"
_SEQS = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "erase", PANEL)(erase)


async def erase(
    face: Invocation,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id. It has ended.")],
    seqs: Annotated[
        list[str] | None, typer.Argument(metavar="[SEQ]...", help="The events whose payloads are erased, by number: 3, or 3-7.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every event of the run, its input and its result too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. What is erased does not come back.")] = False,
) -> None:
    """Erase what events of an ended run hold: arguments, outputs, reasons. That they happened, when and where stays.

    The hash chain still holds, and the journal's own chain notes each erasure. `chargehand show RUN` has the numbers. A
    value is often in several events: in an input, an output and the arguments of what comes next. Not erased are the
    run's id and tags, the result that a business key keeps, exports and backups. The bytes are overwritten; while another
    process has the file open they may stay in its write-ahead log until that is next copied into the file.
    """
    async with face.keyed() as supervisor:
        row = await _ended(face, supervisor, run)
        events = await loaded(supervisor.journal, row.number)
        wanted = _wanted(row, seqs or (), all_)
        fresh = [event for event in events if event.seq in wanted and not event.payload.get("$erased")]
        if fresh and not yes and not _agreed(face, row, fresh):
            face.note("Nothing was erased.")
            return
        chosen = {event.seq for event in fresh}
        blobs = await _only_in(supervisor, row, chosen)
        erased = await supervisor.journal.erase(row.number, sorted(chosen), sorted(blobs))
    keys = sorted({f"{event.payload['business']}" for event in fresh if event.payload.get("business")})
    if face.json:
        face.answer({"run": row.id, "erased": sorted(chosen), "blobs": len(blobs), "kept_keys": keys})
        return
    before = len(wanted) - erased
    face.say(f"{counted(erased, 'payload')} of {row.id} erased" + (f"; {before} had been before" if before else ""))
    if keys:
        face.note(f"The results that these business keys keep were not erased: {', '.join(map(one_line, keys))}.", "yellow")


async def _ended(face: Invocation, supervisor: Supervisor, id: str) -> RunRow:
    row = await run_named(face, supervisor, id)
    if row.environment != supervisor.environment:
        raise WrongEnvironment(
            f"Run {id!r} belongs to the environment {row.environment!r}; this process serves {supervisor.environment!r}."
        )
    if row.status not in FINAL_STATUSES:
        raise DecisionRefused(f"Run {id!r} is {row.status}: it needs its events to go on. Let it end, or cancel it, then erase.")
    return row


def _wanted(row: RunRow, words: Sequence[str], every: bool) -> set[int]:
    """Return the numbers of the events that are named. Raises `InvalidInput`."""
    if bool(words) == every:
        raise InvalidInput("erase takes the numbers of events, such as 3 or 3-7, or --all.")
    if every:
        return set(range(1, row.seq + 1))
    wanted: set[int] = set()
    for word in words:
        found = _SEQS.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found is not None else (0, 0)
        if not 1 <= first <= last:
            raise InvalidInput(f"This is no number of an event: {word!r}. Write 3, or 3-7.")
        if last > row.seq:
            raise InvalidInput(f"Run {row.id!r} has no event {last}: it has {row.seq}. `chargehand show {row.id}` lists them.")
        wanted |= set(range(first, last + 1))
    return wanted


def _agreed(face: Invocation, row: RunRow, events: Sequence[Event]) -> bool:
    """Show what would be lost and ask. Raises `InvalidInput` where nobody can be asked."""
    if face.json or not sys.stdin.isatty():
        raise InvalidInput(f"{counted(len(events), 'payload')} of {row.id!r} would be erased for good. Say so with --yes.")
    for event in events:
        shown = Event(event.seq, event.time, event.type, event.path, face.shown(event.payload))
        face.note(line_of(shown, row.created), "")
    with asking():
        return typer.confirm(f"Erase what {counted(len(events), 'event')} of {row.id} hold, for good?", err=True)


async def _only_in(supervisor: Supervisor, row: RunRow, seqs: Collection[int]) -> set[str]:
    """Return the blobs that only these events refer to."""
    going: set[str] = set()
    staying: set[str] = set()
    for record in await supervisor.journal.load(row.number):
        (going if record.seq in seqs else staying).update(references(record.event().payload).values())
    return going - staying
