"""Every rule of SEMANTICS that is about an order of events is a golden script beside this file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from .runner import Scenario, played

OPEN: dict[str, str] = {}
"""Scenarios that the engine does not obey yet, with what is wrong. Each fails as long as it is wrong, and the test when it is not."""

SCRIPTS = sorted(Path(__file__).parent.glob("*/*.txt"))


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the runs the same dice every time."""
    numbers = itertools.count(1)
    monkeypatch.setattr("chargehand.starting.secrets.token_hex", lambda n: f"{next(numbers):0{2 * n}x}")


def _parameter(path: Path) -> Any:
    name = f"{path.parent.name}/{path.stem}"
    marks = [pytest.mark.xfail(reason=OPEN[name], strict=True)] if name in OPEN else []
    return pytest.param(path, id=name, marks=marks)


@pytest.mark.parametrize("path", [_parameter(path) for path in SCRIPTS])
async def test_it_happens_as_written(path: Path, request: pytest.FixtureRequest) -> None:
    """What a scenario says follows each command, and nothing else."""
    scenario = Scenario.parse(path.read_text())
    found = await played(scenario)
    if request.config.getoption("--rewrite-scenarios", default=False) and f"{path.parent.name}/{path.stem}" not in OPEN:
        path.write_text(scenario.rewritten(found))
        return
    expected = [line for command, lines in scenario.script for line in [f"> {command}", *lines]]
    assert [line for command, lines in found for line in [f"> {command}", *lines]] == expected
