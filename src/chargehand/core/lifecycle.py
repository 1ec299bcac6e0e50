"""The life of an effect as a table. An event that the table does not allow is a defect and names both sides.

``docs/architecture.md`` shows the diagram made from this table.
"""

from __future__ import annotations

from typing import Literal

from chargehand.errors import IllegalMove

Stage = Literal[
    "new", "redriven", "proposed", "approved", "intended", "backoff", "doubt", "letter", "did not happen",
    "done", "denied", "failed", "undoing", "undo backoff", "undo letter", "undone", "stands",
]  # fmt: skip

EFFECT_MOVES: dict[tuple[Stage, str], Stage] = {
    ("new", "effect.proposed"): "proposed",
    ("new", "effect.intended"): "intended",
    ("new", "effect.done"): "done",  # transactional, shared by key, or dry
    ("new", "effect.failed"): "failed",
    ("proposed", "effect.voted"): "proposed",
    ("proposed", "effect.edited"): "proposed",
    ("proposed", "effect.proposed"): "proposed",  # edited: the others are asked about what it is now
    ("proposed", "effect.approved"): "approved",
    ("proposed", "effect.denied"): "denied",
    ("proposed", "effect.done"): "done",  # done by hand
    ("approved", "effect.proposed"): "proposed",  # what would run is not what was approved, or it expired
    ("approved", "effect.intended"): "intended",
    ("approved", "effect.done"): "done",
    ("approved", "effect.failed"): "failed",
    ("intended", "effect.tried"): "backoff",
    ("intended", "effect.again"): "intended",  # after a crash, under the same key
    ("intended", "effect.done"): "done",
    ("intended", "effect.doubted"): "doubt",
    ("intended", "effect.did_not_happen"): "did not happen",
    ("intended", "undo.intended"): "undoing",
    ("backoff", "effect.again"): "intended",
    ("backoff", "effect.tried"): "backoff",  # looked up: the try before surely did not happen
    ("backoff", "effect.done"): "done",
    ("backoff", "effect.doubted"): "doubt",
    ("backoff", "effect.did_not_happen"): "did not happen",
    ("backoff", "undo.intended"): "undoing",
    ("did not happen", "effect.lettered"): "letter",
    ("did not happen", "effect.failed"): "failed",
    ("letter", "effect.redriven"): "redriven",
    ("redriven", "effect.proposed"): "proposed",  # no approval covers it any more
    ("redriven", "effect.intended"): "intended",
    ("redriven", "effect.done"): "done",  # shared by key meanwhile, or transactional
    ("redriven", "effect.failed"): "failed",
    ("letter", "effect.edited"): "new",
    ("letter", "effect.done"): "done",
    ("letter", "effect.failed"): "failed",
    ("doubt", "effect.doubted"): "doubt",  # a rollback asks anew
    ("doubt", "effect.redriven"): "backoff",
    ("doubt", "effect.done"): "done",
    ("doubt", "effect.did_not_happen"): "did not happen",
    ("doubt", "undo.intended"): "undoing",
    ("doubt", "undo.stands"): "stands",
    ("done", "undo.intended"): "undoing",
    ("done", "undo.stands"): "stands",
    ("undoing", "undo.intended"): "undoing",  # after a crash, under the same key
    ("undoing", "undo.tried"): "undo backoff",
    ("undoing", "undo.done"): "undone",
    ("undoing", "undo.lettered"): "undo letter",
    ("undo backoff", "undo.intended"): "undoing",
    ("undo backoff", "undo.lettered"): "undo letter",
    ("undo letter", "undo.lettered"): "undo letter",  # a rollback withdrew the entry and asks anew
    ("undo letter", "undo.redriven"): "undo backoff",
    ("undo letter", "undo.done"): "undone",
    ("undo letter", "undo.stands"): "stands",
    ("undone", "effect.proposed"): "proposed",  # an agent asks for it again: the next generation begins
    ("undone", "effect.intended"): "intended",
    ("undone", "effect.done"): "done",
    ("undone", "effect.failed"): "failed",
}  # fmt: skip

SETTLED_STAGES: frozenset[Stage] = frozenset({"done", "denied", "failed", "undone", "stands"})
OPEN_STAGES: frozenset[Stage] = frozenset({"intended", "backoff", "doubt"})
"""The effect may have happened: nobody knows yet."""
UNDOING_STAGES: frozenset[Stage] = frozenset({"undoing", "undo backoff", "undo letter"})
"""Its undo has begun and has not come to an end."""
STANDING_STAGES: frozenset[Stage] = frozenset({"done", "undoing", "undo backoff", "undo letter", "stands", "doubt", "intended", "backoff"})
"""The effect is, or may be, in the world."""


def moved(stage: Stage, event: str, path: str) -> Stage:
    """Return the stage after an event. Raises `IllegalMove` that names path, stage and event."""
    try:
        return EFFECT_MOVES[(stage, event)]
    except KeyError:
        raise IllegalMove(f"{event} at {path!r}, which is {stage!r}. This is a defect in Chargehand; please report it.") from None
