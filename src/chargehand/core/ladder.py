"""The ladder: what happens after a rejection, rung by rung. Pure; the driver records each choice in the event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chargehand.errors import DefinitionError
from chargehand.limits import Seconds, positive_seconds

Step = Literal["retry", "reassign", "escalate", "fall back", "give up"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung. `attempts` is how many attempts it is good for; the other fields belong to one kind each."""

    step: Step
    attempts: int = 1
    to: Any = None
    within_seconds: float | None = None
    value: Any = None
    otherwise: Rung | None = None


def retry(n: int) -> Rung:
    """At most `n` attempts in all by the agent itself, each told what was wrong with the one before."""
    if n < 1:
        raise DefinitionError(f"retry counts the first attempt and is at least 1, not {n}.")
    return Rung("retry", attempts=n)


def reassign(agent: Any, attempts: int = 1) -> Rung:
    """Give the task to another agent, best of another model family, for so many attempts."""
    if attempts < 1:
        raise DefinitionError(f"reassign(…, attempts={attempts}) asks the other agent for nothing. Give at least 1 attempt.")
    return Rung("reassign", attempts=attempts, to=agent)


def escalate(to: str | None = None, within: Seconds | None = None, otherwise: Rung | None = None) -> Rung:
    """Ask a person of role `to`, who may release, edit or reject. After `within` seconds go on with `otherwise`, else the next rung.

    Raises `DefinitionError` when `otherwise` is neither fall_back nor give_up.
    """
    if otherwise is not None and otherwise.step not in ("fall back", "give up"):
        raise DefinitionError(f"escalate(otherwise=…) is fall_back(…) or give_up(), not {otherwise.step}. Make it a rung of its own.")
    bound = None if within is None else positive_seconds(within, "escalate(within=…)")
    return Rung("escalate", to=to, within_seconds=bound, otherwise=otherwise)


def fall_back(value: Any) -> Rung:
    """Release a declared value, marked as a fallback."""
    return Rung("fall back", value=value)


def give_up() -> Rung:
    """Raise `Rejected` in the workflow."""
    return Rung("give up")


Ladder = tuple[Rung, ...]
DEFAULT_LADDER: Ladder = (retry(3), escalate())


def checked_ladder(rungs: Sequence[Rung]) -> Ladder:
    """Return the ladder. Raises `DefinitionError` when it has no rung, or one that can never be reached."""
    if not rungs:
        raise DefinitionError("A ladder without a rung says nothing of a rejected output. Write ladder=[give_up()], or leave it out.")
    for position, rung in enumerate(rungs):
        if not isinstance(rung, Rung):
            raise DefinitionError(f"A ladder is made of retry, reassign, escalate, fall_back and give_up, not {rung!r}.")
        if rung.step == "retry" and position > 0:
            raise DefinitionError("retry(n) is the first rung: after another rung it could never be reached. Use reassign.")
        if rung.step in ("give up", "fall back") and position < len(rungs) - 1:
            raise DefinitionError(f"Nothing comes after the rung {rung.step!r}. Make it the last.")
    return tuple(rungs)


@dataclass(frozen=True, slots=True)
class Climb:
    """Where a rejection leads: the rung and what it does."""

    rung: int
    step: Step


def climb(ladder: Ladder, rung: int, tries: int, *, only_person: bool = False, permanent: bool = False) -> Climb:
    """Return where to go after the attempt number `tries + 1` on this rung was rejected.

    `only_person`: the attempt did a final effect, so it is neither retried nor reassigned; a person hears of it, whatever the
    ladder says. `permanent`: repeating with the same agent is no use.
    """
    if only_person:
        return _climb_to_person(ladder, rung)
    current = ladder[rung] if rung < len(ladder) else give_up()
    if not permanent and current.step in ("retry", "reassign") and tries + 1 < current.attempts:
        return Climb(rung, current.step)
    if rung + 1 < len(ladder):
        return Climb(rung + 1, ladder[rung + 1].step)
    return Climb(len(ladder), "give up")


def _climb_to_person(ladder: Ladder, rung: int) -> Climb:
    asked = rung >= len(ladder) or ladder[rung].step == "escalate"
    wanted = ("escalate", "fall back", "give up") if asked else ("escalate",)
    for position in range(rung + 1, len(ladder)):
        if ladder[position].step in wanted:
            return Climb(position, ladder[position].step)
    return Climb(len(ladder), "give up" if asked else "escalate")


def climbed_from(ladder: Ladder) -> Ladder:
    """Return the ladder as it is climbed: an implicit retry(1) comes before one that starts otherwise."""
    return ladder if ladder and ladder[0].step == "retry" else (retry(1), *ladder)
