"""What is left for a worker: said to be on disk, and with --wait what the run made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from chargehand.cli.forms import run_form
from chargehand.cli.invocation import Invocation
from chargehand.cli.safe import one_line
from chargehand.durable import RunRow
from chargehand.statuses import EXIT_OK, EXIT_REFUSED, EXIT_WAITING
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor

PANEL = "Decide"
WAIT_SECONDS = 10.0
_LOOK_SECONDS = 0.05

As = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="The principal who decides; the secret comes from CHARGEHAND_SECRET or a prompt.")
]
Wait = Annotated[bool, typer.Option("--wait", help=f"Wait up to {WAIT_SECONDS:g} seconds until a worker has taken the decision up.")]


async def posted(
    face: Invocation, supervisor: Supervisor, row: RunRow, mail: dict[str, Any], wait: bool, *, said: str | None = None
) -> int:
    """Say that something is on disk, and with `wait` what the run made of it."""
    if said is not None and not face.json:
        face.say(one_line(said))
    taken, why, kept = await _answer(supervisor, row, mail) if wait else (None, None, False)
    after = await supervisor.row(row.id)
    if face.json:
        face.answer({**mail, "run": run_form(after, face.shown), "taken_up": taken, "why": why})
    elif taken:
        face.say(f"{'kept: nothing waits for it yet' if kept else 'taken up'}; run {row.id} is {after.status}")
    elif taken is False and why is not None:
        face.say(f"ignored: {one_line(why)}", "red")
    elif taken is False:
        face.note(f"No worker has taken it up within {WAIT_SECONDS:g} s. It is on disk and counts as soon as one runs.", "yellow")
    elif not await supervisor.journal.workers():
        face.note("It is on disk. No worker lives that could take it up: start one with `chargehand worker`.")
    if taken is not False:
        return EXIT_OK
    return EXIT_REFUSED if why is not None else EXIT_WAITING


async def _answer(supervisor: Supervisor, row: RunRow, mail: Mapping[str, Any]) -> tuple[bool, str | None, bool]:
    """Wait until the run's driver has folded the mail. Returns whether it fitted, why not, and whether it is a signal that is kept."""
    clock = supervisor.clock
    end = clock.monotonic() + WAIT_SECONDS
    while clock.monotonic() < end:
        left = await supervisor.journal.mail([row.number])
        if not any(letter.kind == mail["kind"] and letter.body.get("entry") == mail.get("entry") for letter in left):
            events = await loaded(supervisor.journal, row.number, after=row.seq)
            ignored = [
                event.payload
                for event in events
                if event.type == "mail.ignored"
                and event.payload.get("kind") == mail["kind"]
                and (event.payload.get("body") or {}).get("entry") == mail.get("entry")
            ]
            kept = any(event.type == "signal.kept" and event.payload.get("name") == mail.get("name") for event in events)
            return (False, str(ignored[-1].get("why")), False) if ignored else (True, None, kept)
        await asyncio.sleep(_LOOK_SECONDS)
    return False, None, False
