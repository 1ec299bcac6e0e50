"""A sample of the recorded runs, played through the real supervisor on a journal file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.replay import crash, figures
from benchmarks.replay.crew import Mode
from benchmarks.replay.play import Played, Player, perfect
from benchmarks.replay.recording import RecordedRun, Recordings

pytestmark = [pytest.mark.data, pytest.mark.slow]

EACH = Mode(repeat="each")
Play = Callable[..., "list[Played]"]


@pytest.fixture
def play(recordings: Recordings, tmp_path: Path) -> Play:
    """Play runs in a mode and return how they went."""

    async def play(runs: list[RecordedRun], mode: Mode, **options: object) -> list[Played]:
        player = Player(recordings, tmp_path / "journal.db", mode, **options)  # type: ignore[arg-type]
        return (await player.play(runs)).played

    return play


async def test_every_run_ends_in_the_recorded_state(play: Play, sample: list[RecordedRun]) -> None:
    """Supervision without gates changes nothing of what a model does."""
    counted = figures.fidelity(await play(sample, EACH))
    assert counted == {"runs": len(sample), "equal": len(sample)}


async def test_a_failed_run_leaves_the_tables_as_they_were(play: Play, sample: list[RecordedRun]) -> None:
    """A run that fails after its last effect is undone exactly."""
    counted = figures.rollback(await play(sample, EACH, ends="failed"))
    assert counted == {"runs": len(sample), "exact": len(sample)}


async def test_equal_effects_of_one_agent_are_made_once(play: Play, recordings: Recordings) -> None:
    """By default a repeated effect is made once; no run that was right is lost by that, and some harm is avoided."""
    repeating = [run for run in recordings.runs if _repeats(recordings, run)][:60]
    counted = figures.idempotency(await play(repeating, Mode()))
    assert counted["harmful_removed"] > 0
    assert counted["right_lost"] == 0


async def test_gates_contain_harm_and_ask_people(play: Play, recordings: Recordings) -> None:
    """With the rules before every effect fewer runs end harmful, none becomes harmful, and approvals are decided."""
    runs = [run for run in recordings.runs if run.outcome == "harmful"][::20]
    runs += [run for run in recordings.runs if any("delete_customer" in call.tool for call in run.calls)][:5]
    counted = figures.containment(await play(runs, Mode(guarded=True), approver=perfect))
    assert counted["harmful_after"] < counted["harmful_before"]
    assert counted["made_harmful"] == 0
    assert counted["approvals"] > 0


async def test_a_refused_call_makes_the_whole_answer_undone(play: Play, sample: list[RecordedRun]) -> None:
    """When answers with a refused call are not released, such a run leaves nothing behind."""
    played = await play(sample, Mode(guarded=True, whole=True))
    refused = [one for one in played if one.refused]
    assert refused
    assert all(one.as_started for one in refused)


def test_killed_in_mid_rollback(recordings: Recordings) -> None:
    """A worker killed while runs are being rolled back leaves them to the next one, which ends it exactly, once."""
    found = crash.in_rollback(recordings, 12, seed=3)
    assert (len(found.met), found.equal) == (12, 12)


def test_killed_at_random_moments(recordings: Recordings) -> None:
    """Workers killed at random moments lose nothing and repeat nothing."""
    found = crash.at_random(recordings, 12, seed=3)
    assert (len(found.met), found.equal) == (12, 12)


def _repeats(recordings: Recordings, run: RecordedRun) -> bool:
    made = [(c.tool, sorted(c.arguments.items())) for c in run.calls if c.tool in recordings.effects and c.changes]
    return any(call in made[:place] for place, call in enumerate(made))
