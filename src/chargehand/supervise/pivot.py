"""The pivot: what becomes of a saga that fails after a final effect. What came after is undone; the rest is a person's choice.

*go on* has the failed call, and what was undone, made anew; *undo* takes back what can be; *leave* lets it stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chargehand.core.history import History
from chargehand.core.identity import Scope
from chargehand.core.states import AgentState, EffectState
from chargehand.supervise import waiting
from chargehand.supervise.log import Draft

if TYPE_CHECKING:
    from chargehand.supervise.run import RunDriver

SUFFIX = "!rollback"


async def ask(driver: RunDriver, path: str, stands: Sequence[EffectState], failure: Mapping[str, Any]) -> None:
    """Open the letter of a run (path "") or of a scope's rollback: what stands, and why it failed when it could not be undone."""
    shows = {
        "failure": failure,
        "stands": [{"path": effect.path, "tool": effect.tool, "result": effect.result, "final": effect.final} for effect in stands],
    }
    whose = "The run" if not path else f"The scope {path.removesuffix(SUFFIX)!r}"
    entry = waiting.entry(driver, path, "letter", f"{whose} failed after a final effect", shows, waiting.PIVOT_DECISIONS)
    kind = "scope.pivoted" if path else "run.pivoted"
    await driver.log.commit((kind, path, {"entry": entry.id}), opened=[entry])


async def decision_on_run(driver: RunDriver) -> str:
    """Wait for what a person decides on the run."""
    history = driver.history
    while history.pivoted is not None and history.pivot_choice is None:
        await driver.event_at("")
    return history.pivot_choice or "go on"


async def decision_on_scope(driver: RunDriver, path: str) -> str:
    """Wait for what a person decides on a scope."""
    pivots = driver.history.scope_pivots
    while path in pivots and pivots[path] is None:
        await driver.event_at(path)
    return pivots.get(path) or "go on"


def decided(history: History, path: str, body: Mapping[str, Any]) -> list[Draft]:
    """Turn a person's decision into events."""
    begun = history.rolling[path] if path else history.rolling_back
    assert begun is not None
    if body["decision"] == "go on":
        names = {*again(history, begun.seq, begun.payload.get("from", ())), *([path] if path else [])}
        return [("run.resumed", "", {"by": body.get("by"), "again": sorted(names)})]
    if path:
        return [("scope.decided", path, {"by": body.get("by"), "do": body["decision"], "reason": body.get("reason")})]
    return [("run.resumed", "", {"by": body.get("by"), "pivot": body["decision"]})]


def again(history: History, begun: int, failed: Sequence[str]) -> list[str]:
    """Return the calls that are made anew: those that failed, what was undone because of it, and the rollbacks that did so.

    What an earlier rollback undid, whose failure the code had caught, or what an agent's release did not keep, stays undone.
    """
    rollbacks = [
        path for path in history.calls if path.endswith(SUFFIX) and any(Scope(path.removesuffix(SUFFIX)).covers(f) for f in failed)
    ]
    spans: list[tuple[float, float]] = [(begun, math.inf)]
    for path in rollbacks:
        state = history.calls[path]
        spans.append((state.facts.get("began", math.inf), state.settled.seq if state.settled is not None else math.inf))
    undone = [effect for effect in history.effects() if effect.stage == "undone"]
    made = [effect.path for effect in undone if any(start < effect.facts["undone"] <= end for start, end in spans)]
    return sorted({*failed, *rollbacks, *(_agent_of(history, path) for path in made)})


def _agent_of(history: History, path: str) -> str:
    parts = path.split("/")
    for length in range(1, len(parts)):
        owner = "/".join(parts[:length])
        if isinstance(history.calls.get(owner), AgentState):
            return owner
    return path
