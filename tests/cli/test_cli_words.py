"""The small parts: what may be printed, what is understood, and the generated page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargehand.cli.given import json_given, percent_given, seconds_given, statuses_given, time_given
from chargehand.cli.main import app
from chargehand.cli.reference import markdown
from chargehand.cli.safe import as_json, duration, holds_mark, one_line, plain, redacted
from chargehand.cli.timeline import told
from chargehand.core.history import History
from chargehand.errors import InvalidInput
from chargehand.events import EVENT_TYPES, Event
from chargehand.supervise.saga import poison_report

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_is_what_the_commands_say() -> None:
    """docs/cli.md is what `chargehand reference` prints."""
    assert PAGE.read_text() == markdown(app), "stale: run `chargehand reference > docs/cli.md`"


# -- what may be printed ----------


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\x1b[2Kb\x1b[1Ac", "abc"),
        ("\x1bPq#0\x1b\\six", "six"),
        ("\x1b]0;never ends", "0;never ends"),
        ("over\rwritten", "over\ufffdwritten"),
        ("bell\x07", "bell\ufffd"),
        ("\u202etxt.exe", "\ufffdtxt.exe"),
        ("plain\ttext\nof two lines", "plain\ttext\nof two lines"),
        ("windows\r\nlines", "windows\nlines"),
        ("ümläut 漢字 👩‍🚀", "ümläut 漢字 👩‍🚀"),
    ],
)
def test_control_sequences_are_taken_out(text: str, safe: str) -> None:
    """Colours, titles, links, cursor moves and turned text do not reach the terminal; ordinary text is as it was."""
    assert plain(text) == safe


@settings(derandomize=True, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=0x2070), max_size=40))
def test_nothing_foreign_keeps_control(text: str) -> None:
    """Whatever the text, no control character but line breaks and tabs is left, and JSON says the same as before."""
    for printed in (plain(text), as_json(text), as_json({text: text}, indent=2)):
        assert not [
            char for char in printed if (ord(char) < 32 and char not in "\n\t") or 0x7F <= ord(char) <= 0x9F or char in "\u202e\u2028"
        ]
    assert json.loads(as_json([text])) == [text]
    assert "\n" not in one_line(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12, "12 s"), (125, "2 min"), (7500, "2 h 5 min"), (200_000, "2 d 7 h"), (-3, "-3.0 s")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    """A duration has the unit a person would say."""
    assert duration(seconds) == text


def test_redaction_goes_by_the_name_of_the_key() -> None:
    """Values of redacted keys are hidden at any depth, however the name is written; others stay, and nothing is changed in place."""
    value = {"user": "u", "Api-Key": "k", "inner": [{"cardToken": "t", "tokens": 5}], "password": None}
    shown = redacted(value, ["api_key", "token", "password"])
    assert shown == {"user": "u", "Api-Key": "[redacted]", "inner": [{"cardToken": "[redacted]", "tokens": 5}], "password": None}
    assert value["Api-Key"] == "k"
    assert holds_mark(shown)
    assert not holds_mark(value)


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_every_event_can_be_told(kind: str) -> None:
    """No event, however bare its payload, keeps a timeline from being shown."""
    assert told(Event(1, 0.0, kind, "path", {}))
    assert told(Event(1, 0.0, kind, "path", {"e": None, "by": "x", "verdicts": [{}], "v": {"$erased": True}, "reason": "r", "due": 1.0}))


@pytest.mark.parametrize("shows", [{}, {"in_flight": []}, {"crashes": 3, "why": "", "in_flight": [], "unsettled": []}])
def test_a_parked_run_is_told_without_a_hanging_colon(shows: dict[str, Any]) -> None:
    """Where nothing is known of why a run parked, the sentence ends there."""
    assert told(Event(1, 0.0, "run.parked", "", {"reason": "poison", "shows": shows})) == "parked as poison"
    assert told(Event(1, 0.0, "run.parked", "", {"reason": "poison", "shows": {"in_flight": ["a", "b"]}})) == "parked as poison: a, b"


def test_what_a_poison_entry_shows_says_why() -> None:
    """Whether calls were in flight or none, the entry of a poison run has a sentence about it."""
    started = [Event(1, 0.0, "run.started", "", {"input": {}})]
    report = poison_report(History().fold_all(started), 3)
    assert "no effect was in flight" in report["why"]
    assert told(Event(2, 0.0, "run.parked", "", {"reason": "poison", "shows": report})) == f"parked as poison: {report['why']}"


# -- what is understood ----------


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2min", 120), ("2h", 7200), ("1 d", 86_400), ("1w", 604_800)]
)
def test_durations_are_understood(text: str, seconds: float) -> None:
    """A duration is a number with a unit, seconds without one."""
    assert seconds_given(text, "--x") == seconds


@pytest.mark.parametrize("text", ["", "x", "-5", "5 years", "1e3", "٣s" * 0 + "h"])
def test_no_duration_is_refused(text: str) -> None:
    """What is no duration is refused and shown."""
    with pytest.raises(InvalidInput, match="--x is no duration"):
        seconds_given(text, "--x")


def test_times_are_dates_or_so_long_ago() -> None:
    """A time is an ISO date or time, or a duration back from now."""
    assert time_given("7d", "--x", 1_000_000.0) == 1_000_000.0 - 604_800
    assert time_given("1970-01-02T00:00:00+00:00", "--x", 0.0) == 86_400
    assert time_given(None, "--x", 0.0) is None


def test_percentages_and_statuses() -> None:
    """A share is a percentage; a status may be written with a hyphen, and unfinished stands for all that are not final."""
    assert (percent_given("5%", "--x"), percent_given("100", "--x"), percent_given("0", "--x")) == (0.05, 1.0, 0.0)
    assert statuses_given(["rolling-back"]) == ("rolling back",)
    assert len(statuses_given(["unfinished"])) == 4
    for text in ("x", "-1", "101", "nan"):
        with pytest.raises(InvalidInput):
            percent_given(text, "--x")


def test_json_that_is_too_deep_is_refused() -> None:
    """Hostile JSON is an input that cannot be used, not a defect."""
    with pytest.raises(InvalidInput, match="is not JSON"):
        json_given("[" * 100_000, "--input")
