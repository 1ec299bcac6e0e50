"""What waits for a person: one list, whatever the kind. Each entry says what it shows, what may be decided, by whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chargehand.contracts import digest_of
from chargehand.durable import ParkReason, Waiting, WaitingKind

if TYPE_CHECKING:
    from chargehand.core.states import EffectState
    from chargehand.supervise.definitions import EffectDefinition
    from chargehand.supervise.operations import Operations
    from chargehand.supervise.run import RunDriver
    from chargehand.supervise.steps import Wanted

APPROVAL_DECISIONS = ("approve", "edit", "reject", "done")
ESCALATION_DECISIONS = ("release", "edit", "reject")
UNDO_LETTER_DECISIONS = ("redrive", "done", "abandon")
PIVOT_DECISIONS = ("go on", "undo", "leave")


def entry(
    driver: RunDriver,
    path: str,
    kind: WaitingKind,
    title: str,
    shows: Mapping[str, Any],
    decisions: tuple[str, ...],
    *,
    role: str | None = None,
    due: float | None = None,
    digest: str | None = None,
) -> Waiting:
    """Return an entry of this run. Its digest covers what it shows unless another is given."""
    return Waiting(
        id=driver.entry_id(path),
        run_id=driver.row.id,
        path=path,
        kind=kind,
        title=title,
        shows=shows,
        decisions=decisions,
        role=role,
        created=driver.clock.now(),
        due=due,
        digest=digest if digest is not None else digest_of(dict(shows)),
        environment=driver.site.environment,
    )


def current_id(driver: Operations, path: str) -> str:
    """Return the id of the newest entry that was opened at a path."""
    return driver.history.entries.get(path) or f"{driver.row.id}/{path}"


def parked_entry(driver: RunDriver, reason: ParkReason, shows: dict[str, Any]) -> Waiting:
    """Return the entry of a run that is parked as a whole."""
    title = {
        "diverged": "The code no longer asks for what the journal recorded",
        "broken": "A bug, not a failure of a call, stopped the run",
        "poison": "The worker died three times over this run",
    }[reason]
    kind: WaitingKind = reason
    return entry(driver, "", kind, f"{title}: {driver.row.workflow}", shows, ("resume", "cancel"))


def question_entry(driver: RunDriver, path: str, wanted: Wanted, due: float | None) -> Waiting:
    """Return the entry of a question that workflow code asks."""
    shows = {"question": wanted.name, "about": wanted.shows}
    if wanted.codec is not None:
        shows["answer"] = wanted.codec.schema()
    return entry(driver, path, "question", wanted.name, shows, ("answer",), role=wanted.role, due=due)


def effect_letter(driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any]) -> Waiting:
    """Return the dead letter of an effect that surely did not happen and could not be done."""
    shows = _effect_shows(effect) | {"happened": "did not happen", "generation": effect.generation}
    return entry(
        driver,
        effect.path,
        "letter",
        f"{definition.name} could not be done",
        shows,
        ("redrive", "edit", "done", "fail", "abandon"),
    )


def doubt(driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any], why: str, *, returned: bool) -> Waiting:
    """Return the entry of an effect whose outcome nobody knows; of one that `returned`, what it returned could not be used."""
    late = driver.history.rolling_back is not None
    again = ("redrive",) if not late and definition.policy.key_counts(effect, driver.clock.now()) else ()
    happened = "it returned, so it happened as far as its code can tell; its result is unknown" if returned else "unknown"
    shows = _effect_shows(effect) | {"happened": happened, "why": why, "generation": effect.generation}
    return entry(
        driver,
        effect.path,
        "doubt",
        f"{definition.name}: what came of it?" if returned else f"{definition.name}: did it happen?",
        shows,
        ("done", "not-done", *again, "abandon"),
    )


def undo_letter(driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any] | None, why: str) -> Waiting:
    """Return the dead letter of an effect that could not be undone."""
    name = definition.name if definition is not None else effect.tool
    shows = _effect_shows(effect) | {"result": effect.result, "why": why}
    return entry(driver, effect.path, "letter", f"{name} could not be undone", shows, UNDO_LETTER_DECISIONS)


def _effect_shows(effect: EffectState) -> dict[str, Any]:
    return {"tool": effect.tool, "arguments": effect.arguments, "key": effect.key, "error": effect.error}
