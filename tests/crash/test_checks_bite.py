"""The checks of this folder find an engine that does wrong: each sabotage here breaks a promise, and must be noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chargehand.core import effect_life
from chargehand.core.history import History
from chargehand.supervise import effects, saga
from chargehand.supervise.run import RunDriver

from .catalogue import ALL
from .example import MENDED
from .instants import InMemory
from .playing import resumed, undisturbed

Patch = Callable[[pytest.MonkeyPatch], None]


def blind_retry(patch: pytest.MonkeyPatch) -> None:
    """Send again whatever was in flight."""
    patch.setattr(effect_life, "_recover", lambda effect, policy, now: "send again")


def blind_undo(patch: pytest.MonkeyPatch) -> None:
    """Take every undo for one that may be repeated."""
    patch.setattr(saga, "_undo_is_keyed", lambda definition: True)


def new_keys(patch: pytest.MonkeyPatch) -> None:
    """Show a new key after a crash."""
    original, count = effects.key_of, iter(range(10**6))
    patch.setattr(effects, "key_of", lambda base, generation: f"{original(base, generation)}-{next(count)}")


def forgotten_steps(patch: pytest.MonkeyPatch) -> None:
    """Do not find the recorded steps when a run is loaded."""
    fold_all = History.fold_all

    def without(self: History, events: Any) -> History:
        return fold_all(self, [event for event in events if event.type != "call.done"])

    patch.setattr(History, "fold_all", without)


def oldest_first(patch: pytest.MonkeyPatch) -> None:
    """Undo in the order in which things were done, after a crash."""
    undo_all = saga.undo_all

    async def reversed_all(driver: RunDriver, found: Any, *args: Any, **kwargs: Any) -> Any:
        return await undo_all(driver, list(found)[::-1], *args, **kwargs)

    patch.setattr(saga, "undo_all", reversed_all)


def dropped_undo(patch: pytest.MonkeyPatch) -> None:
    """Take a begun undo for a finished one after a crash."""
    fold = History.fold

    def finished(self: History, event: Any) -> Any:
        state = fold(self, event)
        if event.type == "undo.intended":
            state.stage = "undone"  # type: ignore[union-attr]
        return state

    patch.setattr(History, "fold", finished)


@pytest.mark.parametrize(
    ("name", "sabotage"),
    [
        ("every effect", blind_retry),
        ("rolling back", blind_undo),
        ("every effect", new_keys),
        ("steps", forgotten_steps),
        ("rolling back", oldest_first),
        ("rolling back", dropped_undo),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_sabotage(name: str, sabotage: Patch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that was sabotaged fails from at least one instant of the run."""
    kind = InMemory()
    expected, instants, facts = await undisturbed(name, kind, str(tmp_path))
    sabotage(monkeypatch)
    monkeypatch.setattr("crash.outside.PATIENCE", 0.5)
    for instant in instants:
        try:
            await resumed(name, kind, str(tmp_path), instant, expected, facts)
        except AssertionError:
            return
    raise RuntimeError("nobody noticed")


def test_the_catalogue_is_whole() -> None:
    """Every kind of thing that a run may do is in the catalogue; a shrunken one would prove less."""
    assert len(ALL) >= 39
    assert MENDED.keys() == {"now"}
