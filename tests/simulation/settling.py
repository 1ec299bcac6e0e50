"""What must hold when a seed is over: the books, the chains, and a replay of every run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from chargehand import Supervisor
from chargehand.supervise.check import Check

from .model_effects import Effect
from .model_runs import Run
from .processes import Stage
from .services import Services


def check_end(models: Any, services: Services, stage: Stage, office: Supervisor, complain: Callable[[str], None], dice: Random) -> None:
    """Hold the end of a seed against everything that was promised."""
    runs: dict[str, Run] = models.runs.runs
    for run in runs.values():
        if run.ended is not None:
            check_books(run, services, models.rules.entries_made, complain)
    check_shared(list(runs.values()), services, complain)
    stage.loop.run_until_complete(_check_journal(runs, stage, complain))
    for run in runs.values():
        stage.loop.run_until_complete(_check_replay(run, stage, office, complain, dice))


def check_books(run: Run, services: Services, entries_made: Callable[[str], int], complain: Callable[[str], None]) -> None:
    """What the journal says was done, and nothing else, stands in the services' books."""
    for effect in run.effects.values():
        if not effect.tool or effect.kind.business or effect.ref in services.lied:
            continue
        net, made = services.net(effect.tool, effect.ref), services.made(effect.tool, effect.ref)
        if effect.kind.transactional:
            net, made = net + entries_made(effect.ref), made + entries_made(effect.ref)
        wanted = {"done": (1,), "stands": (0, 1)}.get(effect.stands_at, (0,))
        if net not in wanted:
            complain(f"{run.id} {effect.path} ({effect.ref}) is {effect.stands_at!r}, the books say {net}")
        if made > effect.generations + effect.by_hand:
            complain(f"{run.id} {effect.path} ({effect.ref}) was made {made} times in {effect.generations} generations")


def check_shared(runs: list[Run], services: Services, complain: Callable[[str], None]) -> None:
    """What has a business key stands once at most, and exactly when somebody owns it."""
    owned: dict[tuple[str, str], list[Effect]] = {}
    for run in runs:
        for effect in run.effects.values():
            if effect.tool and effect.kind.business and not effect.shared:
                owned.setdefault((effect.tool, effect.ref), []).append(effect)
    for (tool, ref), effects in owned.items():
        done = sum(1 for effect in effects if effect.stands_at == "done")
        maybe = sum(1 for effect in effects if effect.stands_at == "stands")
        net = services.net(tool, ref)
        if not done <= net <= done + maybe:
            complain(f"{tool} {ref} is done {done} times by the journal, {net} times by the books")
        if done > 1 and all(effect.by_hand == 0 for effect in effects):
            complain(f"{tool} {ref} is owned by {[(effect.run, effect.path) for effect in effects if effect.stands_at == 'done']}")


async def _check_journal(runs: dict[str, Run], stage: Stage, complain: Callable[[str], None]) -> None:
    """The chains hold; nothing is left of a run that has ended."""
    journal = stage.journal
    for run in runs.values():
        await journal.verify(run.number)
        if run.ended is None:
            continue
        if await journal.waiting(run_id=run.id):
            complain(f"{run.id} has ended and something of it waits")
        row = await journal.run(run.id)
        if row is None or (row.owner, row.due) != (None, None):
            complain(f"{run.id} has ended: {row}")
        if any(count != 1 for count in run.heard.values()):
            complain(f"{run.id} heard {run.heard}")
    await journal.verify_chain()
    held = [key for key in stage.business_keys() if key.state == "held"]
    if all(run.ended for run in runs.values()):
        for key in held:
            stands = [
                effect for run in runs.values() for effect in run.effects.values() if effect.path == key.path and run.id == key.run_id
            ]
            if not any(effect.stands_at == "stands" for effect in stands):
                complain(f"{key.key} is held by {key.run_id} {key.path}, and every run has ended")


async def _check_replay(run: Run, stage: Stage, office: Supervisor, complain: Callable[[str], None], dice: Random) -> None:
    """The code replays every prefix of the record without diverging, and all of it to the same value."""
    row = await stage.journal.run(run.id)
    assert row is not None
    stops = [
        event.seq
        for event in run.events
        if event.type in ("run.rolling_back", "run.parked", "run.completed", "run.failed", "run.cancelled")
    ]
    whole = min(stops, default=len(run.events) + 1) - 1
    for length in sorted({whole, *(dice.randint(1, max(whole, 1)) for _ in range(3))}):
        events = run.events[:length]
        check = Check(office.site, row, events)
        found = check.replay()
        if found.outcome != "replays" and not run.went_on:
            complain(f"{run.id} does not replay to {length} of {len(run.events)}: {found}")
    last = run.events[-1]
    if last.type == "run.completed" and whole == len(run.events) - 1:
        check = Check(office.site, row, run.events[:-1])
        check.replay()
        root = check.trampoline.root
        value = None if root is None or not root.ended or not root.ok else root.value
        if value != last.payload["v"] or found.begins:
            complain(f"{run.id} gave {last.payload['v']}, a replay gives {value} and begins {found.begins}")
    await asyncio.sleep(0)
