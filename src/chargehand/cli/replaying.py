"""`check-replay`: before a deploy, whether the code as it is now goes on with every run that is under way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer

from chargehand.cli.forms import run_form
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.loading import workflows_at
from chargehand.cli.reading import damaged, status_text
from chargehand.cli.safe import counted, one_line
from chargehand.cli.unknown import run_named
from chargehand.durable import FINAL_STATUSES, RunRow
from chargehand.events import Event
from chargehand.statuses import EXIT_OK, EXIT_PARKED
from chargehand.supervise.check import Check, Replayed
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor

PANEL = "Keep"
_PAGE = 500
_BAD = ("diverges", "breaks")


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "check-replay", PANEL)(check_replay)


async def check_replay(
    face: Invocation,
    workflows: Annotated[
        list[str] | None, typer.Argument(metavar="[MODULE:WORKFLOW]...", help="The code to check; else the configured workflows.")
    ] = None,
    run: Annotated[list[str] | None, typer.Option("--run", metavar="RUN", help="Only this run. May be given again.")] = None,
) -> int:
    """Replay every unfinished run of these workflows against the code as it is now, executing nothing.

    Lists every call that the code no longer makes as it was recorded. Leaves with 4 when a run would park. A run that makes a
    new call before it comes to what is recorded cannot be told yet: it goes on, or parks there before any effect is sent.
    """
    definitions = workflows_at(workflows or (), face.settings)
    results: list[tuple[RunRow, Replayed]] = []
    ended: list[RunRow] = []
    unknown = 0
    face.needs_journal()
    async with face.supervisor(definitions, work=False) as supervisor:
        with face.working("replaying") as step:
            async for row in _unfinished(face, supervisor, run or ()):
                if row.status in FINAL_STATUSES:
                    ended.append(row)
                    continue
                if row.workflow not in supervisor.workflows:
                    unknown += 1
                    continue
                events = await loaded(supervisor.journal, row.number)
                results.append((row, _replayed(supervisor, row, events)))
                step(len(results))
    bad = [result for result in results if result[1].outcome in _BAD]
    if face.json:
        face.answer(
            {
                "checked": len(results),
                "bad": len(bad),
                "other_workflows": unknown,
                "ended": [row.id for row in ended],
                "runs": [_form(face, row, found) for row, found in results],
            }
        )
    else:
        _say(face, bad)
        for row, found in results:
            if found.unreached:
                face.say(
                    f"{row.id}: the code asks for {one_line(', '.join(found.begins))} before it comes to what is recorded: "
                    f"{one_line(', '.join(found.unreached))}. If it no longer asks for it, the run will park there.",
                    "yellow",
                )
        open = sum(1 for _, found in results if found.unreached)
        untold = f", {open} cannot be told yet" if open else ""
        face.say(
            f"{counted(len(results), 'unfinished run')} checked: {len(results) - len(bad) - open} go on, {len(bad)} would park{untold}"
        )
        for row in ended:
            face.note(f"Not checked: {row.id} has ended, it is {row.status}. Nothing of it is run again.")
        if unknown:
            face.note(f"Not checked, of other workflows: {counted(unknown, 'unfinished run')}.")
    return EXIT_PARKED if bad else EXIT_OK


def _replayed(supervisor: Supervisor, row: RunRow, events: list[Event]) -> Replayed:
    try:
        return Check(supervisor.site, row, events).replay()
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # what the workflow raises is in the result
        raise damaged(f"The history of run {row.id!r}", error) from error


async def _unfinished(face: Invocation, supervisor: Supervisor, ids: list[str] | tuple[str, ...]) -> AsyncIterator[RunRow]:
    if ids:
        for id in ids:
            yield await run_named(face, supervisor, id)
        return
    before: int | None = None
    while rows := await supervisor.runs(status=("running", "waiting", "parked"), before=before, limit=_PAGE):
        for row in rows:
            yield row
        before = rows[-1].number


def _form(face: Invocation, row: RunRow, found: Replayed) -> dict[str, Any]:
    return {
        "run": run_form(row, face.shown),
        "outcome": found.outcome,
        "why": found.why,
        "divergences": [{"path": one.path, "recorded": one.recorded, "code": one.code} for one in found.divergences],
        "begins": list(found.begins),
        "unreached": list(found.unreached),
    }


def _say(face: Invocation, bad: list[tuple[RunRow, Replayed]]) -> None:
    for row, found in bad:
        face.say(one_line(f"{row.id}  {row.workflow}  {status_text(row)}: {found.outcome}"), "bold")
        if found.why:
            face.say(f"  {one_line(found.why)}", "red")
        for one in found.divergences:
            face.say(f"  at {one_line(one.path) or 'the input'}", "yellow")
            face.say(f"    recorded: {one_line(one.recorded)}")
            face.say(f"    code:     {one_line(one.code)}")
