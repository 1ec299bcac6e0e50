"""What is said of an id that nothing has: the near one, and what became of what had it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NoReturn

from chargehand.cli.invocation import Invocation
from chargehand.cli.timeline import told
from chargehand.cli.ways import article, how
from chargehand.config import nearest
from chargehand.durable import FINAL_STATUSES, RunRow, Waiting, WaitingKind
from chargehand.errors import DecisionRefused, UnknownEntry, UnknownRun, WrongEnvironment
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor

_RUNS_MAX = 1000
"""So many of the newest runs are looked at for a near id."""

_OPENING = re.compile(r"@\d+$")
"""What the id of the second entry of one call has behind the call's path."""


async def run_named(face: Invocation, supervisor: Supervisor, id: str) -> RunRow:
    """Return the row of the run that a person named. Raises `UnknownRun` with the id that may have been meant."""
    row = await supervisor.journal.run(id)
    if row is not None:
        return row
    run_id, slash, _ = id.partition("/")
    if slash and await supervisor.journal.run(run_id) is not None:
        raise UnknownRun(f"{id!r} is no run but a call or an entry of one. Name the run: {run_id!r}.")
    known = [row.id for row in await supervisor.runs(limit=_RUNS_MAX)]
    listed = "`chargehand runs` lists them." if known else f"It has none at all in the environment {supervisor.environment!r}."
    raise UnknownRun(f"There is no run {id!r} in the journal {face.settings.journal}. {_near(id, known)}{listed}")


def _near(id: str, known: Collection[str]) -> str:
    """Return a question with the known ids that begin so, else the one that is most like it; nothing when none is."""
    starts = sorted(one for one in known if one.startswith(id)) if len(id) >= 4 else []
    if starts:
        return f"Did you mean {' or '.join(repr(one) for one in starts[:3])}? "
    near = nearest(id, known)
    return f"Did you mean {near!r}? " if near is not None else ""


async def refuse_entry(
    supervisor: Supervisor, named: str, *, among: Sequence[Waiting] = (), kinds: Collection[WaitingKind] = ()
) -> NoReturn:
    """Raise what is to be said of an id under which nothing waits.

    `among` are entries of a run of this id that cannot be decided as was asked; `kinds` those that were looked for, all
    when there are none. Raises `UnknownEntry`, `DecisionRefused` or `WrongEnvironment`.
    """
    run_id, slash, path = named.partition("/")
    row = await supervisor.journal.run(run_id)
    if row is None:
        waits = await supervisor.waiting(limit=_RUNS_MAX)
        near = _near(named, {entry.id for entry in waits} | {entry.run_id for entry in waits})
        raise UnknownEntry(f"Nothing of the id {named!r} waits for a person, and no run has it. {near}`chargehand inbox` lists what waits.")
    if row.environment != supervisor.environment:
        raise WrongEnvironment(f"{named!r} belongs to the environment {row.environment!r}; this process serves {supervisor.environment!r}.")
    if among:
        ways = "; ".join(f"chargehand {how(entry, one)}" for entry in among[:3] for one in entry.decisions)
        raise DecisionRefused(f"Nothing in run {run_id!r} is decided so. What waits in it can be decided by: {ways}.")
    others = [entry for entry in await supervisor.waiting(run_id=run_id) if named in (entry.id, entry.run_id)] if kinds else []
    if others:
        listed = ", ".join(f"{entry.id!r}, {article(entry.kind)}" for entry in others[:5])
        raise UnknownEntry(f"No {' or '.join(kinds)} of the id {named!r} waits, but {listed}. `chargehand inbox {named}` shows it.")
    if slash:
        await _refuse_call(supervisor, row, named, _OPENING.sub("", path))
    raise UnknownEntry(f"{_stands(row)}, and nothing in it waits for a person. `chargehand show {row.id}` tells what happened.")


async def _refuse_call(supervisor: Supervisor, row: RunRow, named: str, path: str) -> None:
    """Raise `UnknownEntry` that says what became of a call; return when the run never made it."""
    events = [event for event in await loaded(supervisor.journal, row.number) if event.path == path]
    if events:
        decided = [event for event in events if event.payload.get("by")]
        now = [entry.id for entry in await supervisor.waiting(run_id=row.id) if entry.path == path]
        again = f" What waits there now is {now[0]!r}." if now else ""
        raise UnknownEntry(
            f"{named!r} does not wait for a person: {told((decided or events)[-1])}.{again} `chargehand show {row.id}` tells the rest."
        )
    waits = {entry.id for entry in await supervisor.waiting(run_id=row.id)}
    if waits:
        near = _near(named, waits) or f"What waits in it: {', '.join(sorted(waits)[:5])}. "
        raise UnknownEntry(f"Nothing of the id {named!r} waits in run {row.id!r}. {near}`chargehand inbox --run {row.id}` lists it.")


def _stands(row: RunRow) -> str:
    return f"Run {row.id!r} {'has ended' if row.status in FINAL_STATUSES else 'exists'}: it is {row.status}"
