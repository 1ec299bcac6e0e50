"""The recordings, where they are: absent, every test that needs them is skipped and says what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.replay import recording


@pytest.fixture(scope="session")
def recordings() -> recording.Recordings:
    """All recordings of the data folder."""
    path = recording.folder()
    if path is None:
        pytest.skip("needs the recordings: workbench/ of the data folder beside the checkout, or CHARGEHAND_DATA")
    return recording.load(path)


@pytest.fixture(scope="session")
def sample(recordings: recording.Recordings) -> list[recording.RecordedRun]:
    """Sixty runs with effects, spread over the whole set, those with repeated and with many effects among them."""
    changing = [run for run in recordings.runs if sum(bool(call.changes) for call in run.calls) >= 2]
    return changing[:: max(1, len(changing) // 60)][:60]
