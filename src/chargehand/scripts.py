"""A run for a script: started, driven and awaited in one call that blocks."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from chargehand.durable import FINAL_STATUSES, Waiting
from chargehand.errors import InsideLoop, RunRests
from chargehand.resting import signals_waited_for, until_rest
from chargehand.supervise.call import Call
from chargehand.supervise.log import loaded
from chargehand.supervisor import RunView, Supervisor

T = TypeVar("T")


def run_sync(call: Call[T], url: str = "memory:", *, id: str | None = None, **options: Any) -> T:
    """Run a workflow to its end and return its value: for scripts. Inside a running loop use ``await supervisor.start(…)``.

    `url`, and `options`, are those of `Supervisor`; `id` is the run's.

    Raises what the run failed with, and `RunRests` when nothing but a person or a signal can move it on. In a file the run is
    kept: once somebody has decided, the same call goes on with it. In ``memory:`` it ends with this call.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise InsideLoop(
            "run_sync was called where an event loop runs. Use: async with Supervisor(…) as supervisor: run = await supervisor.start(…); await run.result()"
        )

    async def main() -> T:
        async with Supervisor(url, [call.definition], **options) as supervisor:
            run = await supervisor.start(call, id)
            row = await until_rest(supervisor, run.id)
            if row.status not in FINAL_STATUSES:
                raise await _rests(supervisor, run, keeps=url != "memory:")
            return await run.result()

    return asyncio.run(main())


async def _rests(supervisor: Supervisor, run: RunView[Any], *, keeps: bool) -> RunRests:
    """Return the error that says what a run waits for, and what can be done."""
    row = await run.row()
    waits = [_told(entry) for entry in await supervisor.waiting(run_id=run.id)]
    waits += [f"the signal {name!r}" for name in signals_waited_for(await loaded(supervisor.journal, row.number))]
    how = f"{row.status} ({row.reason})" if row.reason else row.status
    way = (
        "Decide with `chargehand inbox`, then make the same call with the same id."
        if keeps
        else "The journal memory: ended with this call, and the run with it. Give a file, so that somebody can decide."
    )
    return RunRests(f"The run {run.id!r} is {how} and cannot go on by itself. {'; '.join(waits) or 'It names nothing'}. {way}")


def _told(entry: Waiting) -> str:
    why = entry.shows.get("error") or entry.shows.get("code") or ""
    return f"{entry.kind} {entry.id}: {entry.title}{f': {why}' if why else ''}".rstrip(".")
