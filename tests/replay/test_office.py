"""The office does what the recording did, gives back what it changed, and does nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.replay.office import Office, template
from benchmarks.replay.recording import Change, RecordedRun, Recordings, fold

pytestmark = pytest.mark.data

START = {
    "calendar": {"00000001": ("00000001", "stand-up", "a@b.example", "2023-12-01 09:00:00", "30")},
    "email": {"00000007": ("00000007", "inbox", "a@b.example", "hello", "2023-11-29 10:00:00", "text")},
    "plots": {},
    "project_tasks": {"00000002": ("00000002", "paint", "a@b.example", "Backlog", "2023-12-01", "Design")},
    "crm": {"00000003": ("00000003", "a@b.example", "C", "c@d.example", None, "2023-11-01", "X", "Lead", None, None)},
}


@pytest.fixture
def office() -> Office:
    return Office.in_memory(template(START))


def test_the_judge_agrees_with_the_recordings_own_flags(recordings: Recordings) -> None:
    """Right, harmful and harmless, computed from the states alone, are what was recorded, in every run."""
    differing = [run.number for run in recordings.runs if recordings.judge(run, recordings.recorded_state(run)) != run.outcome]
    assert differing == []


def test_playing_the_recorded_changes_gives_the_recorded_state_and_back(recordings: Recordings, sample: list[RecordedRun]) -> None:
    """The database and the independent fold end alike, and the undos lead back to the start exactly."""
    image = template(recordings.start)
    for run in sample:
        office = Office.in_memory(image)
        made = [(n, office.perform(str(n), run.wanted(n))) for n in range(len(run.calls))]
        assert office.state() == recordings.recorded_state(run)
        for n, changes in reversed(made):
            office.revert(f"{n}!undo", changes)
        assert office.state() == recordings.start


def test_the_same_key_changes_once(office: Office) -> None:
    """A key that the office knows gives the first result again and changes nothing."""
    new = Change("email", "8", None, None, ("8", "outbox", "x@y.example", "s", "2023-11-30 00:00:00", "b"))
    first = office.perform("k", [new])
    assert office.perform("k", [new]) == first
    assert len(office.state()["email"]) == 2


def test_new_rows_get_the_next_free_id(office: Office) -> None:
    """When an earlier new row was prevented, the next one takes its id, as the real tool would give it."""
    new = Change("email", "99", None, None, ("99", "outbox", "x@y.example", "s", "2023-11-30 00:00:00", "b"))
    assert office.perform("k", [new])[0].key == "8"


def test_a_row_that_is_not_there_is_neither_deleted_nor_changed(office: Office) -> None:
    """What the recording deleted or changed may never have been made here; then nothing happens."""
    gone = Change("calendar", "00000009", None, ("00000009", "x", None, None, None), None)
    field = Change("calendar", "00000009", "duration", "30", "60")
    assert office.perform("k", [gone, field]) == []
    assert office.state() == START


def test_plots_are_counted(office: Office) -> None:
    """A plot made twice is two copies, and the undo of the second leaves one."""
    plot = Change("plots", "plots/a.png", "copies", None, None)
    office.perform("1", [plot])
    second = office.perform("2", [plot])
    assert office.state()["plots"] == {"plots/a.png": ("plots/a.png", 2)}
    office.revert("2!undo", second)
    assert office.state()["plots"] == {"plots/a.png": ("plots/a.png", 1)}


def test_a_file_outlives_its_process_and_forgets_nothing(tmp_path: Path) -> None:
    """An office in a file is made once from the template and keeps rows and keys."""
    image = template(START)
    office = Office.in_file(tmp_path / "1.db", image)
    office.perform("k", [Change("crm", "00000003", "status", "Lead", "Won")])
    office.close()
    again = Office.in_file(tmp_path / "1.db", image)
    assert again.state()["crm"]["00000003"][7] == "Won"
    assert again.perform("k", [Change("crm", "00000003", "status", "Lead", "Lost")])[0].after == "Won"
    again.close()


def test_a_recording_that_does_not_fit_its_start_is_refused(recordings: Recordings) -> None:
    """The fold checks every before, so that fidelity is not measured against a wrong reference."""
    run = next(run for run in recordings.runs if any(call.changes for call in run.calls))
    with pytest.raises(ValueError, match="does not start from"):
        fold(fold(recordings.start, run.calls), run.calls)
