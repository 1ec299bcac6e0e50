"""The account of a run: what it did, what that cost, and what supervising it cost. Computed from its events when asked.

*Seconds* are of three kinds, and no second counts twice: of gates (as the verdicts say), of waiting for people (from the
event that asks to the event that answers), and of retries (from a call's first failed try to its end, less the waiting
for people). Branches that wait side by side count once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargehand.core.history import History
from chargehand.core.states import AgentState
from chargehand.events import Event
from chargehand.limits import Spent

Interval = tuple[float, float]

_ASKS = {
    "effect.proposed",
    "effect.doubted",
    "effect.lettered",
    "undo.lettered",
    "agent.escalated",
    "agent.asked",
    "question.asked",
    "run.parked",
    "run.pivoted",
    "scope.pivoted",
}
"""Events after which a person is waited for; the next event of the same path ends it."""

_STAYS_ASKED = {"effect.voted", "effect.edited", "mail.ignored"}
"""Events of such a path that do not end the waiting."""

_FAILED_TRIES = {"call.retrying", "effect.tried", "agent.rejected", "agent.errored", "undo.tried"}
_ENDS = {
    "call.done", "call.failed", "effect.done", "effect.failed", "effect.denied", "effect.did_not_happen",
    "effect.doubted", "agent.released", "agent.failed", "undo.done", "undo.stands", "undo.lettered",
}  # fmt: skip
_RUN_ENDS = {"run.completed", "run.failed", "run.cancelled"}


@dataclass(frozen=True, slots=True)
class Account:
    """What a run did. `spent` is None where no code reported; times in seconds.

    `repeated` counts what would not have been called unsupervised: further attempts of agents, further tries of steps
    and effects, votes. `gates` counts recorded verdicts.
    """

    elapsed_seconds: float
    events: int
    steps: int
    agents: int
    attempts: int
    effects: int
    undone: int
    rejections: int
    gates: int
    votes: int
    repeated: int
    gate_seconds: float
    retry_seconds: float
    person_seconds: float
    spent: Spent | None


def account_of(events: Sequence[Event], now: float) -> Account:
    """Return the account of a run from all its events; what is still open lasts until `now`."""
    history = History().fold_all(events)
    ended = next((event.time for event in reversed(events) if event.type in _RUN_ENDS), None)
    until = max(now, events[-1].time) if ended is None else ended
    verdicts = list(_verdicts(events))
    people = merged(_person_intervals(events, until))
    retries = merged(_retry_intervals(events, until))
    agents = [state for state in history.calls.values() if isinstance(state, AgentState)]
    votes = sum(1 for state in agents if _is_vote(state.path))
    attempts = sum(state.attempt for state in agents)
    spent = history.spent_in("")
    types = [event.type for event in events]
    return Account(
        elapsed_seconds=until - events[0].time,
        events=len(events),
        steps=types.count("call.done") + types.count("call.failed"),
        agents=len(agents) - votes,
        attempts=attempts - votes,
        effects=sum(1 for effect in history.effects() if effect.ever_intended or effect.done_seq),
        undone=types.count("undo.done"),
        rejections=types.count("agent.rejected"),
        gates=len(verdicts),
        votes=votes,
        repeated=attempts - len(agents) + types.count("call.retrying") + types.count("effect.again") + votes,
        gate_seconds=sum(float(verdict.get("seconds", 0.0)) for verdict in verdicts),
        retry_seconds=length(retries) - length(overlap(retries, people)),
        person_seconds=length(people),
        spent=spent if spent.measured else None,
    )


def _is_vote(path: str) -> bool:
    """Say whether an agent call is a vote that a gate asked for (``researcher/try1/quorum~2``)."""
    name = path.rpartition("/")[2]
    return "~" in name and "." not in name and "/try" in path


def _verdicts(events: Iterable[Event]) -> Iterable[Mapping[str, Any]]:
    """Yield every verdict once: those of costly gates are recorded when given and again with what follows from them."""
    counted: dict[str, set[str]] = {}
    for event in events:
        if event.type == "gate.judged":
            counted.setdefault(event.path, set()).add(str(event.payload.get("gate")))
            yield event.payload
        elif event.type in ("agent.produced", "agent.rejected", "agent.released"):
            known = counted.setdefault(event.path, set())
            for verdict in event.payload.get("verdicts", ()):
                if verdict.get("gate") not in known:
                    yield verdict
            if event.type == "agent.produced":
                known.update(str(verdict.get("gate")) for verdict in event.payload.get("verdicts", ()))
            else:
                known.clear()


# -- time ----------


def _person_intervals(events: Iterable[Event], until: float) -> list[Interval]:
    asked: dict[str, float] = {}
    found: list[Interval] = []
    for event in events:
        if event.type in _RUN_ENDS or event.type == "run.rolling_back":
            found += [(since, event.time) for since in asked.values()]
            asked.clear()
        elif event.path in asked and event.type not in _STAYS_ASKED:
            found.append((asked.pop(event.path), event.time))
        if event.type in _ASKS:
            asked.setdefault(event.path, event.time)
    return found + [(since, until) for since in asked.values()]


def _retry_intervals(events: Iterable[Event], until: float) -> list[Interval]:
    failing: dict[str, float] = {}
    found: list[Interval] = []
    for event in events:
        if event.type in _FAILED_TRIES:
            failing.setdefault(event.path, event.time)
        elif event.type in _ENDS and event.path in failing:
            found.append((failing.pop(event.path), event.time))
        elif event.type in _RUN_ENDS:
            found += [(since, event.time) for since in failing.values()]
            failing.clear()
    return found + [(since, until) for since in failing.values()]


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return disjoint intervals that cover the same time, in order."""
    result: list[Interval] = []
    for start, end in sorted(intervals):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return result


def length(intervals: Iterable[Interval]) -> float:
    """Return the seconds that disjoint intervals cover."""
    return sum(end - start for start, end in intervals)


def overlap(some: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """Return the time that two lists of disjoint intervals share."""
    return [(max(a, c), min(b, d)) for a, b in some for c, d in others if max(a, c) < min(b, d)]
