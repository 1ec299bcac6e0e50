"""When a run rests: it has ended, or nothing but a person or a signal can move it on."""

from __future__ import annotations

import asyncio

from chargehand.durable import RunRow
from chargehand.supervisor import Supervisor

_LOOK_SECONDS = 0.1


async def until_rest(supervisor: Supervisor, id: str, *, stay: bool = False) -> RunRow:
    """Return the run's row when it has ended or, unless `stay`, when it waits for nothing but people and signals."""
    ended = asyncio.ensure_future(supervisor.wait_ended(id))
    try:
        while True:
            await asyncio.wait({ended}, timeout=_LOOK_SECONDS)
            if ended.done():
                return ended.result()
            if stay:
                continue
            row = await supervisor.row(id)
            if row.status in ("waiting", "parked") and await _only_others_move(supervisor, row):
                return row
    finally:
        ended.cancel()


async def _only_others_move(supervisor: Supervisor, row: RunRow) -> bool:
    """Say whether no timer of the run's own is set: only the expiry of an entry or the run's deadline may be."""
    if row.due is None:
        return True
    first = (await supervisor.journal.load(row.number, limit=1))[0].event()
    expiries = {entry.due for entry in await supervisor.waiting(run_id=row.id)} | {first.payload.get("deadline")}
    return row.due in expiries
