"""What a run shows that is put aside as poison: what was going on when its workers died."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand.core.history import History
from chargehand.events import Event
from chargehand.supervise.saga import poison_report

Draft = tuple[str, str, dict[str, Any]]


def sent(path: str) -> list[Draft]:
    """Return the event of an effect that was sent."""
    return [("effect.intended", path, {"generation": 1, "key": "k"})]


def done(path: str) -> list[Draft]:
    """Return the events of an effect that is done."""
    return [*sent(path), ("effect.done", path, {"v": 1})]


UNDONE: list[Draft] = [("undo.intended", "a", {"try": 1, "key": "k!undo"})]


@pytest.mark.parametrize(
    ("drafts", "in_flight", "unsettled"),
    [
        ([], [], []),
        (done("a"), [], []),
        ([*done("a"), *sent("b")], ["b"], ["b"]),
        ([*done("a"), *UNDONE], ["a"], []),
        ([*done("a"), *UNDONE, *sent("b")], ["b", "a"], ["b"]),
        ([*done("a"), *UNDONE, ("undo.tried", "a", {"try": 1, "due": 1.0})], [], []),
        ([("signal.wanted", "s", {"want": "go"})], [], ["s"]),
    ],
)
def test_what_was_in_flight_is_named(drafts: list[Draft], in_flight: list[str], unsettled: list[str]) -> None:
    """Effects whose outcome nobody knows, undos that were under way, and calls that have no answer; without any, it says so."""
    history = History().fold_all(Event(seq, float(seq), *draft) for seq, draft in enumerate(drafts, 1))
    report = poison_report(history, 3)
    assert (report["crashes"], report["in_flight"], report["unsettled"]) == (3, in_flight, unsettled)
    assert all(path in report["why"] for path in in_flight)
    assert report["why"].startswith("in flight" if in_flight else "no effect was in flight")


def test_of_very_many_calls_fifty_are_named() -> None:
    """A run that waits for thousands of branches is shown like any other."""
    drafts = [("signal.wanted", f"s#{number}", {"want": "go"}) for number in range(51)]
    history = History().fold_all(Event(seq, float(seq), *draft) for seq, draft in enumerate(drafts, 1))
    assert poison_report(history, 3)["unsettled"] == [f"s#{number}" for number in range(50)]
