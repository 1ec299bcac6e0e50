"""Decisions that a worker could not carry out: an entry that still waits says so, or its person waits for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chargehand.cli.safe import one_line
from chargehand.durable import Waiting
from chargehand.events import Event
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor


def ignored_on(entry: Waiting, events: Sequence[Event]) -> str | None:
    """Return why the last decision on an entry changed nothing, as far as the run's events say."""
    for event in reversed(events):
        if event.type != "mail.ignored" or event.time < entry.created:
            continue
        body = event.payload.get("body") or {}
        if body.get("entry") == entry.id:
            return f"{one_line(body.get('decision'))} was ignored: {one_line(event.payload.get('why'), 300)}"
    return None


async def ignored_among(supervisor: Supervisor, entries: Iterable[Waiting]) -> dict[str, str]:
    """Return by entry why the last decision on it changed nothing. Reads the events of each run."""
    found: dict[str, str] = {}
    for entry in entries:
        events = await loaded(supervisor.journal, (await supervisor.row(entry.run_id)).number)
        if (why := ignored_on(entry, events)) is not None:
            found[entry.id] = why
    return found
