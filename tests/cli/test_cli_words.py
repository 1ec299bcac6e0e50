"""The small parts: what may be printed, what is understood, what an account says, and the generated page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargehand.cli.given import json_given, percent_given, seconds_given, statuses_given, time_given
from chargehand.cli.main import app
from chargehand.cli.reference import markdown
from chargehand.cli.safe import as_json, duration, holds_mark, one_line, plain, redacted
from chargehand.cli.timeline import told
from chargehand.core.account import account_of, length, merged, overlap
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
    started = events()
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


# -- accounts ----------


def events(*drafts: tuple[float, str, str, dict[str, Any]]) -> list[Event]:
    """Return events at these seconds."""
    started: tuple[float, str, str, dict[str, Any]] = (0.0, "run.started", "", {"input": {}})
    return [Event(seq, time, kind, path, payload) for seq, (time, kind, path, payload) in enumerate([started, *drafts], 1)]


def test_an_account_tells_people_retries_and_gates_apart() -> None:
    """Waiting for people is not counted as retrying, what waits side by side counts once, and every verdict counts once."""
    rejected = {"attempt": 1, "rung": 0, "do": "retry", "verdicts": [{"gate": "g", "outcome": "fail", "seconds": 0.25}]}
    account = account_of(
        events(
            (1.0, "agent.rejected", "writer", rejected),
            (
                2.0,
                "agent.produced",
                "writer",
                {"attempt": 2, "output": "x", "used": [], "verdicts": [{"gate": "g", "outcome": "pass", "seconds": 0.25}]},
            ),
            (3.0, "gate.judged", "writer", {"gate": "judge", "outcome": "fail", "seconds": 1.0}),
            (
                3.0,
                "agent.rejected",
                "writer",
                {**rejected, "attempt": 2, "verdicts": [{"gate": "judge", "outcome": "fail", "seconds": 1.0}]},
            ),
            (4.0, "agent.escalated", "writer", {"output": "x", "used": [], "due": None}),
            (5.0, "question.asked", "ask", {"question": "?"}),
            (7.0, "agent.decided", "writer", {"do": "release", "by": {"id": "eve"}}),
            (8.0, "question.answered", "ask", {"v": 1}),
            (8.0, "agent.released", "writer", {"v": "x", "by": "person", "attempt": 2}),
            (10.0, "run.completed", "", {"v": 1}),
        ),
        now=1000.0,
    )
    assert (account.elapsed_seconds, account.person_seconds, account.retry_seconds) == (10.0, 4.0, 3.0)
    assert (account.gates, account.gate_seconds, account.rejections) == (3, 1.5, 2)
    assert (account.agents, account.attempts, account.repeated) == (1, 3, 2)
    assert account.spent is None


def test_what_is_open_lasts_until_now() -> None:
    """A run that still waits has waited until now."""
    account = account_of(events((2.0, "question.asked", "ask", {"question": "?"})), now=12.0)
    assert (account.person_seconds, account.elapsed_seconds) == (10.0, 12.0)


def test_intervals_are_merged_and_shared() -> None:
    """Disjoint intervals cover what the given ones cover; their overlap is what both cover."""
    some = merged([(3.0, 4.0), (0.0, 2.0), (1.0, 3.0)])
    assert some == [(0.0, 4.0)]
    assert length(overlap(some, [(-1.0, 1.0), (3.5, 9.0)])) == 1.5
