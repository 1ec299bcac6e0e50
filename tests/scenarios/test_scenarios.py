"""Every rule of SEMANTICS that is about an order of events is a golden script beside this file."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from .runner import Scenario, played

SCRIPTS = sorted(Path(__file__).parent.glob("*/*.txt"))


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the runs the same dice every time."""
    numbers = itertools.count(1)
    monkeypatch.setattr("chargehand.supervisor.secrets.token_hex", lambda n: f"{next(numbers):0{2 * n}x}")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_it_happens_as_written(path: Path, request: pytest.FixtureRequest) -> None:
    """What a scenario says follows each command, and nothing else."""
    scenario = Scenario.parse(path.read_text())
    found = await played(scenario)
    if request.config.getoption("--rewrite-scenarios"):
        path.write_text(scenario.rewritten(found))
        return
    expected = [line for command, lines in scenario.script for line in [f"> {command}", *lines]]
    assert [line for command, lines in found for line in [f"> {command}", *lines]] == expected
