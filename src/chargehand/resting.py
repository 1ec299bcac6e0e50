"""When a run rests: it has ended, or nothing but a person or a signal can move it on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from chargehand.core.history import History
from chargehand.durable import RunRow
from chargehand.events import Event
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor

_LOOK_SECONDS = 0.1


async def until_rest(supervisor: Supervisor, id: str, *, stay: bool = False) -> RunRow:
    """Return the run's row when it has ended or, unless `stay`, when it waits for nothing but people and signals.

    Raises what keeps this process from driving it, such as a journal that is full.
    """
    ended = asyncio.ensure_future(supervisor.wait_ended(id))
    timed = seen = 0
    try:
        while True:
            await asyncio.wait({ended}, timeout=_LOOK_SECONDS)
            if ended.done():
                return ended.result()
            if supervisor.carrier is not None and id in supervisor.carrier.failed:
                raise supervisor.carrier.failed[id]
            row = await supervisor.row(id)
            still, seen = row.seq == seen, row.seq
            if stay or row.seq == timed or row.due == 0.0 or row.status == "running":
                continue
            if row.status == "rolling back" and not (still and await supervisor.waiting(run_id=id)):
                continue  # a rollback rests only while one of its letters holds it
            if not await moves_on(supervisor, row):
                return row
            timed = row.seq
    finally:
        ended.cancel()


async def moves_on(supervisor: Supervisor, row: RunRow) -> bool:
    """Say whether time alone will move the run on: something of it waits for a time that is no expiry of an entry and no deadline.

    A wait for a place, a rate or a breaker is no event: the carrier that drives the run knows of it, else its row's due time.
    """
    entries = await supervisor.waiting(run_id=row.id)
    dues = supervisor.carrier.dues(row.number) if supervisor.carrier is not None else None
    if dues is not None and dues.keys() - {entry.path for entry in entries} - {"!deadline"}:
        return True
    if dues is None and row.due is not None and row.due not in {entry.due for entry in entries}:
        (started,) = await supervisor.journal.load(row.number, limit=1)
        if row.due != started.event().payload.get("deadline"):
            return True
    return await _has_timer(supervisor, row)


async def _has_timer(supervisor: Supervisor, row: RunRow) -> bool:
    """Say whether time alone will move the run on: a call waits for a time that is not the expiry of an entry."""
    asked = {entry.path for entry in await supervisor.waiting(run_id=row.id)}
    history = History().fold_all(await loaded(supervisor.journal, row.number))
    return any(state.due is not None and state.settled is None and path not in asked for path, state in history.calls.items())


def signals_waited_for(events: Sequence[Event]) -> list[str]:
    """Return the names of the signals that a run waits for, as far as its record says.

    One that came and was kept is not waited for any more, although a run that is parked has not taken it.
    """
    waits: dict[str, str] = {}
    kept: Counter[str] = Counter()
    for event in events:
        if event.type == "signal.wanted":
            waits[event.path] = str(event.payload.get("want"))
        elif event.type in ("signal.received", "signal.expired"):
            waits.pop(event.path, None)
        if event.type == "signal.kept":
            kept[str(event.payload["name"])] += 1
        elif "kept" in event.payload:
            kept[str(event.payload["kept"])] -= 1
    return sorted(Counter(waits.values()) - kept)
