"""docs/mini.py: the idea in under a hundred lines keeps what its docstring says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

MINI = Path(__file__).parents[2] / "docs" / "mini.py"
PRICES = {"Alder": 0.31, "Cedar": 0.22}


class Killed(BaseException):
    """Stands in for a kill: nothing in mini.py catches it."""


class World:
    """What the outside sees: each key counts once, as a service that honours keys counts."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.sent = 0

    def order(self, supplier: str, key: str) -> str:
        """Take an order."""
        self.sent += 1
        if key not in self.keys:
            self.keys.append(key)
        return f"order at {supplier}"

    def cancel(self, order: str, key: str) -> None:
        """Take a cancellation."""
        self.sent += 1
        if key not in self.keys:
            self.keys.append(key)


@pytest.fixture
def mini() -> ModuleType:
    """The module, freshly loaded."""
    spec = importlib.util.spec_from_file_location("mini", MINI)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _failing(mini: ModuleType, world: World) -> Any:
    def order(supplier: str, key: str) -> str:
        return world.order(supplier, key)

    def pay(order: str, key: str) -> str:
        return world.order(order, key)

    def procure(run: Any, prices: dict[str, float], message_ok: bool) -> str:
        best = run.agent(mini.analyst, prices, gate=lambda name: None if name in prices else f"{name!r} made no offer.")
        placed = run.effect(order, best, undo=world.cancel)
        paid: str = run.effect(pay, placed, undo=world.cancel)
        run.agent(lambda feedback: "", gate=lambda text: None if message_ok else "it is empty", attempts=2)
        return paid

    return procure


def _killed_everywhere(mini: ModuleType, folder: Path, message_ok: bool) -> list[tuple[World, list[dict[str, Any]]]]:
    """Kill a run before and after each of its appends, start it again, and return what the world and the log say."""
    ends = []
    for nth in range(1, 40):
        for when in ("before", "after"):
            world, path, left = World(), folder / f"{when}{nth}{message_ok}.jsonl", [nth]

            class Mortal(mini.Run):  # type: ignore[misc, name-defined]
                def append(self, *args: Any, _left: list[int] = left, _when: str = when, **more: Any) -> None:
                    _left[0] -= 1
                    if _left[0] == 0 and _when == "before":
                        raise Killed
                    super().append(*args, **more)
                    if _left[0] == 0:
                        raise Killed

            workflow = _failing(mini, world)
            for run_class in (Mortal, mini.Run):
                try:
                    run_class(str(path)).supervise(workflow, PRICES, message_ok)
                except (Killed, mini.Rejected):
                    continue
            ends.append((world, mini.Run(str(path)).events))
            if left[0] > 0:
                return ends
    raise AssertionError("the run never came to its end")


def test_it_is_under_a_hundred_lines() -> None:
    """The idea fits on two pages."""
    assert len(MINI.read_text().splitlines()) < 100


def test_it_runs_as_its_docstring_says(tmp_path: Path) -> None:
    """Started twice with one file, it orders once and gives the same answer."""
    outputs = [
        subprocess.run(
            [sys.executable, str(MINI), "run.jsonl"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
        ).stdout
        for _ in range(2)
    ]
    assert outputs[0] == "ordered from Cedar under run.jsonl/place_order#1\norder at Cedar\n"
    assert outputs[1] == "order at Cedar\n"


@pytest.mark.slow
def test_a_kill_anywhere_changes_nothing(mini: ModuleType, tmp_path: Path) -> None:
    """Killed before or after any append and started again, the run ends as undisturbed, and each key was counted once."""
    ends = _killed_everywhere(mini, tmp_path, message_ok=True)
    assert len(ends) > 10
    for world, events in ends:
        assert events == ends[-1][1]
        assert [key.partition("/")[2] for key in world.keys] == ["order#1", "pay#1"]


@pytest.mark.slow
def test_a_kill_in_the_rollback_undoes_each_effect_once(mini: ModuleType, tmp_path: Path) -> None:
    """A run that fails undoes both effects, newest first, also when it is killed in the middle."""
    ends = _killed_everywhere(mini, tmp_path, message_ok=False)
    assert len(ends) > 16
    for world, events in ends:
        assert events == ends[-1][1]
        assert [key.partition("/")[2] for key in world.keys] == ["order#1", "pay#1", "pay#1!undo", "order#1!undo"]


def test_a_torn_last_line_did_not_happen(mini: ModuleType, tmp_path: Path) -> None:
    """A log that ends in the middle of a line is read up to the line before, and goes on from there."""
    path = tmp_path / "run.jsonl"
    mini.Run(str(path)).supervise(mini.procure, PRICES)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    mini.Run(str(path)).supervise(mini.procure, PRICES)
    assert path.read_bytes() == whole


def test_the_gate_keeps_what_it_rejects_out(mini: ModuleType, tmp_path: Path) -> None:
    """The invented supplier is in the log as rejected, and never reached the order."""
    run = mini.Run(str(tmp_path / "run.jsonl"))
    assert run.supervise(mini.procure, PRICES) == "order at Cedar"
    assert [event["kind"] for event in run.events] == ["rejected", "released", "intended", "done"]
