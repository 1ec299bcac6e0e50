"""What each event says about its call and its run: tables of events, and everything that they change."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest

from chargehand.core.history import History
from chargehand.core.states import AgentState, CallState, EffectState, Settled
from chargehand.errors import IllegalMove
from chargehand.events import Event
from chargehand.limits import Spent

Draft = tuple[str, str, dict[str, Any]]


def folded(*drafts: Draft) -> History:
    """Return the history of these events; the n-th has seq n and happens at second 10 n."""
    return History().fold_all(Event(seq, 10.0 * seq, *draft) for seq, draft in enumerate(drafts, 1))


def plain(value: Any) -> Any:
    """Return a value as the tables write it: an event as its seq, an ending as a tuple."""
    match value:
        case Event():
            return value.seq
        case Settled():
            return value.seq, value.ok, value.form
        case dict():
            return {key: plain(one) for key, one in value.items()}
        case _:
            return value


def changed(state: CallState) -> dict[str, Any]:
    """Return what is otherwise than in a call of which nothing is known."""
    fresh = type(state)(state.path)
    found = {one.name: getattr(state, one.name) for one in fields(state)}
    return {name: plain(value) for name, value in found.items() if value != getattr(fresh, name)}


def said(history: History) -> dict[str, Any]:
    """Return what the events changed in the run itself."""
    fresh = vars(History())
    kept = {name: value for name, value in vars(history).items() if name not in ("seq", "time", "calls") and not name.startswith("_")}
    return {name: plain(value) for name, value in kept.items() if value != fresh[name]}


ERROR = {"type": "Late"}
SENT = {"tool": "pay", "d": "digest", "args": {"n": 1}, "generation": 1, "key": "k"}

CALLS: list[tuple[str, list[tuple[str, dict[str, Any]]], dict[str, Any]]] = [
    ("ends well", [("call.done", {"d": "x", "v": 5, "name": "n"})], {"digest": "x", "settled": (1, True, 5), "facts": {"name": "n"}}),
    ("ends badly", [("call.failed", {"d": "x", "v": 5, "e": ERROR})], {"digest": "x", "settled": (1, False, ERROR)}),
    (
        "is tried again",
        [("call.retrying", {"d": "x", "try": 2, "due": 30.0})],
        {"digest": "x", "tries": 2, "due": 30.0, "facts": {"d": "x", "try": 2, "due": 30.0}},
    ),
    (
        "keeps what is not said again",
        [("call.retrying", {"d": "x", "try": 2, "due": 30.0}), ("call.retrying", {"more": 1})],
        {"digest": "x", "tries": 2, "facts": {"d": "x", "try": 2, "due": 30.0, "more": 1}},
    ),
    (
        "sleeps and wakes",
        [("timer.set", {"d": "x", "due": 30.0}), ("timer.fired", {})],
        {"digest": "x", "settled": (2, True, None), "facts": {"d": "x", "due": 30.0}},
    ),
    ("reads the time", [("now.read", {"v": 10.0})], {"settled": (1, True, 10.0)}),
    (
        "waits for a signal in vain",
        [("signal.wanted", {"due": 30.0}), ("signal.expired", {"e": ERROR})],
        {"settled": (2, False, ERROR), "facts": {"due": 30.0}},
    ),
    (
        "gets a signal",
        [("signal.wanted", {"d": "x", "due": 30.0}), ("signal.received", {"v": 7, "name": "n"})],
        {"digest": "x", "settled": (2, True, 7), "facts": {"d": "x", "due": 30.0, "name": "n"}},
    ),
    (
        "gets an answer",
        [("question.asked", {"d": "x", "due": 30.0}), ("question.answered", {"d": "y", "v": "yes"})],
        {"digest": "y", "settled": (2, True, "yes"), "facts": {"d": "x", "due": 30.0}},
    ),
    (
        "gets no answer",
        [("question.asked", {"d": "x"}), ("question.answered", {"e": ERROR})],
        {"digest": "x", "settled": (2, False, ERROR), "facts": {"d": "x"}},
    ),
    ("begins to roll back", [("scope.rolling_back", {"e": ERROR})], {"facts": {"began": 1}}),
    ("has rolled back", [("scope.rolling_back", {}), ("scope.rolled_back", {})], {"facts": {"began": 1}, "settled": (2, True, None)}),
]

AGENTS: list[tuple[str, list[tuple[str, dict[str, Any]]], dict[str, Any]]] = [
    (
        "is rejected and tries again",
        [("agent.rejected", {"d": "x", "attempt": 1, "rung": 0, "do": "retry"})],
        {
            "digest": "x",
            "attempt": 2,
            "rung_tries": 1,
            "rejections": [{"d": "x", "attempt": 1, "rung": 0, "do": "retry"}],
        },
    ),
    (
        "is rejected, twice on this rung, and climbs to a person",
        [
            ("agent.rejected", {"attempt": 1}),
            ("agent.rejected", {"attempt": 2, "rung": 0, "do": "reassign", "incarnation": 3}),
            ("agent.rejected", {"attempt": 3, "rung": 1, "do": "escalate", "incarnation": 2}),
        ],
        {
            "attempt": 3,
            "incarnation": 3,
            "rung": 1,
            "step": "escalate",
            "rejections": [
                {"attempt": 1},
                {"attempt": 2, "rung": 0, "do": "reassign", "incarnation": 3},
                {"attempt": 3, "rung": 1, "do": "escalate", "incarnation": 2},
            ],
        },
    ),
    (
        "is rejected a second time after it was reassigned",
        [
            ("agent.rejected", {"attempt": 1, "rung": 1, "do": "reassign", "who": "other"}),
            ("agent.rejected", {"attempt": 2}),
        ],
        {
            "attempt": 3,
            "rung": 1,
            "rung_tries": 1,
            "step": "reassign",
            "who": "other",
            "rejections": [{"attempt": 1, "rung": 1, "do": "reassign", "who": "other"}, {"attempt": 2}],
        },
    ),
    (
        "is rejected by a person: nothing of the attempt is left",
        [
            ("agent.errored", {"attempt": 1, "due": 9.0}),
            ("agent.produced", {"output": 1}),
            ("gate.judged", {"gate": "g"}),
            ("agent.escalated", {"output": 1}),
            ("agent.decided", {"do": "reject"}),
            ("agent.rejected", {"attempt": 1, "rung": 2, "do": "give up"}),
        ],
        {
            "rung": 2,
            "step": "give up",
            "last_error": {"attempt": 1, "due": 9.0},
            "rejections": [{"attempt": 1, "rung": 2, "do": "give up"}],
        },
    ),
    (
        "raises and is repeated",
        [
            ("agent.errored", {"d": "x", "attempt": 1, "due": 30.0, "e": ERROR}),
            ("agent.errored", {"attempt": 1, "due": 40.0, "e": ERROR}),
        ],
        {"digest": "x", "errors": 2, "due": 40.0, "last_error": {"attempt": 1, "due": 40.0, "e": ERROR}},
    ),
    (
        "raises for good and climbs",
        [
            ("agent.errored", {"attempt": 1, "due": 30.0}),
            ("agent.errored", {"attempt": 1, "rung": 1, "do": "reassign", "who": "other"}),
        ],
        {
            "attempt": 2,
            "rung": 1,
            "step": "reassign",
            "who": "other",
            "last_error": {"attempt": 1, "rung": 1, "do": "reassign", "who": "other"},
        },
    ),
    (
        "asks and is answered",
        [("agent.asked", {"question": "?"}), ("agent.answered", {"answer": 5}), ("agent.answered", {})],
        {"answers": [("?", "5"), ("", "None")], "facts": {"withdrawn": False}},
    ),
    ("asks", [("agent.asked", {"question": "?"})], {"question": "?", "facts": {"withdrawn": False}}),
    (
        "is judged anew",
        [("agent.produced", {"output": 1}), ("gate.judged", {"gate": "g"}), ("agent.produced", {"output": 2})],
        {"produced": {"output": 2}},
    ),
    (
        "is judged",
        [("agent.produced", {"output": 1}), ("gate.judged", {"gate": "g", "outcome": "pass"})],
        {"produced": {"output": 1}, "verdicts": {"g": {"gate": "g", "outcome": "pass"}}},
    ),
    (
        "is escalated",
        [("agent.escalated", {"due": 30.0})],
        {"escalated": {"due": 30.0}, "due": 30.0, "step": "escalate"},
    ),
    (
        "is decided",
        [("agent.escalated", {"due": 30.0}), ("agent.decided", {"do": "release"})],
        {"escalated": {"due": 30.0}, "decided": {"do": "release"}, "step": "escalate"},
    ),
    (
        "is escalated again",
        [("agent.escalated", {"due": 30.0}), ("agent.decided", {"do": "reject"}), ("agent.escalated", {"again": 1})],
        {"escalated": {"again": 1}, "step": "escalate"},
    ),
    (
        "is edited twice",
        [
            ("agent.escalated", {"due": 30.0}),
            ("agent.decided", {"do": "edit"}),
            ("agent.produced", {"person": "eve"}),
            ("agent.produced", {"person": "eve"}),
        ],
        {"produced": {"person": "eve"}, "step": "escalate", "facts": {"edits": 2}},
    ),
    (
        "is released",
        [("agent.released", {"v": 5, "by": "gates"})],
        {"settled": (1, True, 5), "release": {"v": 5, "by": "gates"}},
    ),
    ("gives up", [("agent.failed", {"e": ERROR})], {"settled": (1, False, ERROR)}),
]

EFFECTS: list[tuple[str, list[tuple[str, dict[str, Any]]], dict[str, Any]]] = [
    (
        "is proposed",
        [("effect.proposed", {"tool": "pay", "d": "x", "args": {}, "attempt": 2, "due": 30.0})],
        {
            "stage": "proposed",
            "tool": "pay",
            "digest": "x",
            "arguments": {},
            "due": 30.0,
            "proposal": {"tool": "pay", "d": "x", "args": {}, "attempt": 2, "due": 30.0},
            "facts": {"attempt": 2},
        },
    ),
    (
        "is voted on",
        [("effect.proposed", {}), ("effect.voted", {"by": "eve"}), ("effect.voted", {"by": "ann"})],
        {"stage": "proposed", "proposal": {}, "votes": [{"by": "eve"}, {"by": "ann"}]},
    ),
    (
        "is approved, and proposed again",
        [("effect.proposed", {"a": 1}), ("effect.voted", {}), ("effect.approved", {"by": "eve"}), ("effect.proposed", {"a": 2})],
        {"stage": "proposed", "proposal": {"a": 2}},
    ),
    (
        "is approved",
        [("effect.proposed", {}), ("effect.approved", {"by": "eve"})],
        {"stage": "approved", "proposal": {}, "approval": {"by": "eve"}},
    ),
    (
        "is denied",
        [("effect.proposed", {"due": 9.0}), ("effect.denied", {"e": ERROR})],
        {"stage": "denied", "proposal": {"due": 9.0}, "error": ERROR, "settled": (2, False, ERROR)},
    ),
    (
        "is sent",
        [("effect.intended", {**SENT, "business": "b", "final": True, "attempt": 1})],
        {
            "stage": "intended",
            "tool": "pay",
            "digest": "digest",
            "arguments": {"n": 1},
            "key": "k",
            "business": "b",
            "final": True,
            "tries": 1,
            "sent_at": 10.0,
            "sent_seq": 1,
            "ever_intended": True,
            "facts": {"attempt": 1},
        },
    ),
    (
        "fails, is tried again and is done",
        [
            ("effect.intended", {**SENT, "attempt": 1}),
            ("effect.tried", {"try": 1, "doubtful": False, "due": 30.0, "e": ERROR, "attempt": 2}),
            ("effect.again", {"try": 2, "doubtful": True}),
            ("effect.again", {"try": 3}),
            ("effect.done", {"v": 5}),
        ],
        {
            "stage": "done",
            "tool": "pay",
            "digest": "digest",
            "arguments": {"n": 1},
            "key": "k",
            "tries": 3,
            "doubtful": True,
            "error": ERROR,
            "sent_at": 10.0,
            "sent_seq": 1,
            "ever_intended": True,
            "settled": (5, True, 5),
            "result": 5,
            "done_seq": 5,
            "facts": {"attempt": 1},
        },
    ),
    (
        "waits for its next try",
        [("effect.intended", SENT), ("effect.tried", {"try": 2, "doubtful": True, "due": 30.0})],
        {
            "stage": "backoff",
            "tool": "pay",
            "digest": "digest",
            "arguments": {"n": 1},
            "key": "k",
            "tries": 2,
            "doubtful": True,
            "due": 30.0,
            "sent_at": 10.0,
            "sent_seq": 1,
            "ever_intended": True,
        },
    ),
    (
        "is sent again",
        [
            ("effect.intended", {"generation": 1, "key": "k"}),
            ("effect.tried", {"try": 1, "doubtful": False, "due": 30.0}),
            ("effect.again", {"try": 2}),
        ],
        {"stage": "intended", "key": "k", "tries": 2, "sent_at": 10.0, "sent_seq": 1, "ever_intended": True},
    ),
    (
        "is found to be done, by another, under another key",
        [
            ("effect.done", {"v": 5, "shared": True, "dry": True, "final": True, "key": "k", "generation": 3, "business": "b"}),
        ],
        {
            "stage": "done",
            "settled": (1, True, 5),
            "result": 5,
            "done_seq": 1,
            "shared": True,
            "dry": True,
            "final": True,
            "key": "k",
            "generation": 3,
            "business": "b",
        },
    ),
    (
        "is done as it was sent",
        [("effect.intended", {**SENT, "generation": 2, "business": "b", "final": True}), ("effect.done", {})],
        {
            "stage": "done",
            "tool": "pay",
            "digest": "digest",
            "arguments": {"n": 1},
            "settled": (2, True, None),
            "done_seq": 2,
            "final": True,
            "key": "k",
            "generation": 2,
            "business": "b",
            "tries": 1,
            "sent_at": 10.0,
            "sent_seq": 1,
            "ever_intended": True,
        },
    ),
    (
        "is in doubt",
        [("effect.intended", {"generation": 1, "key": "k"}), ("effect.doubted", {"silent": True, "e": ERROR})],
        {
            "stage": "doubt",
            "key": "k",
            "tries": 1,
            "doubtful": True,
            "error": ERROR,
            "sent_at": 10.0,
            "sent_seq": 1,
            "ever_intended": True,
            "facts": {"silent": True, "doubted": 2},
        },
    ),
    (
        "is in doubt, and sent again by a person",
        [("effect.intended", {"generation": 1, "key": "k"}), ("effect.doubted", {}), ("effect.redriven", {})],
        {
            "stage": "backoff",
            "key": "k",
            "doubtful": True,
            "due": 30.0,
            "sent_at": 10.0,
            "sent_seq": 1,
            "ever_intended": True,
            "facts": {"silent": False, "doubted": 2},
        },
    ),
    (
        "did not happen",
        [
            ("effect.intended", {"generation": 1, "key": "k"}),
            ("effect.tried", {"try": 1, "doubtful": True, "due": 30.0}),
            ("effect.did_not_happen", {"permanent": True}),
        ],
        {
            "stage": "did not happen",
            "key": "k",
            "tries": 1,
            "permanent": True,
            "sent_at": 10.0,
            "sent_seq": 1,
            "ever_intended": True,
        },
    ),
    (
        "did not happen, is redriven and sent again: the clock of its key goes on",
        [
            ("effect.intended", {"generation": 1, "key": "k"}),
            ("effect.did_not_happen", {"permanent": True}),
            ("effect.lettered", {}),
            ("effect.redriven", {}),
            ("effect.intended", {"generation": 1, "key": "k"}),
            ("effect.did_not_happen", {}),
        ],
        {
            "stage": "did not happen",
            "key": "k",
            "tries": 1,
            "sent_at": 10.0,
            "sent_seq": 5,
            "ever_intended": True,
        },
    ),
    (
        "did not happen and is edited",
        [
            ("effect.proposed", {}),
            ("effect.voted", {}),
            ("effect.approved", {"by": "eve"}),
            ("effect.intended", {"generation": 1, "key": "k"}),
            ("effect.tried", {"try": 2, "doubtful": True}),
            ("effect.did_not_happen", {}),
            ("effect.lettered", {}),
            ("effect.edited", {"generation": 2, "args": {"n": 2}}),
        ],
        {
            "key": "k",
            "generation": 2,
            "arguments": {"n": 2},
            "proposal": {},
            "sent_seq": 4,
            "ever_intended": True,
            "facts": {"edited": {"n": 2}},
        },
    ),
    (
        "is edited and sent: the clock of the new key begins",
        [
            ("effect.intended", {"generation": 1, "key": "k"}),
            ("effect.did_not_happen", {}),
            ("effect.lettered", {}),
            ("effect.redriven", {}),
            ("effect.intended", {"generation": 2, "key": "k~2"}),
        ],
        {
            "stage": "intended",
            "key": "k~2",
            "generation": 2,
            "tries": 1,
            "sent_at": 50.0,
            "sent_seq": 5,
            "ever_intended": True,
        },
    ),
    (
        "fails",
        [("effect.intended", {"generation": 1, "key": "k"}), ("effect.did_not_happen", {}), ("effect.failed", {"e": ERROR})],
        {
            "stage": "failed",
            "key": "k",
            "tries": 1,
            "error": ERROR,
            "settled": (3, False, ERROR),
            "sent_at": 10.0,
            "sent_seq": 1,
            "ever_intended": True,
        },
    ),
]

UNDOS: list[tuple[str, list[tuple[str, dict[str, Any]]], dict[str, Any]]] = [
    ("begins", [("undo.intended", {"try": 1})], {"stage": "undoing", "undo_tries": 1}),
    (
        "fails once",
        [("undo.intended", {"try": 1}), ("undo.tried", {"due": 30.0})],
        {"stage": "undo backoff", "undo_tries": 1, "due": 30.0},
    ),
    (
        "is tried again",
        [("undo.intended", {"try": 1}), ("undo.tried", {"due": 30.0}), ("undo.intended", {"try": 2})],
        {"stage": "undoing", "undo_tries": 2},
    ),
    ("is done", [("undo.intended", {"try": 1}), ("undo.done", {})], {"stage": "undone", "undo_tries": 1, "facts": {"undone": 3}}),
    ("is left", [("undo.stands", {})], {"stage": "stands", "facts": {"undone": 2}}),
    (
        "opens a letter",
        [("undo.intended", {"try": 1}), ("undo.tried", {"due": 30.0}), ("undo.lettered", {"why": "no"})],
        {"stage": "undo letter", "undo_tries": 1, "facts": {"undone": 4, "letter": {"why": "no", "shared": False, "seq": 4}}},
    ),
    (
        "opens a letter about a shared effect, and asks anew",
        [("undo.intended", {"try": 1}), ("undo.lettered", {"why": "no", "shared": True}), ("undo.lettered", {})],
        {"stage": "undo letter", "undo_tries": 1, "facts": {"undone": 4, "letter": {"why": "", "shared": True, "seq": 4}}},
    ),
    (
        "is redriven",
        [("undo.intended", {"try": 1}), ("undo.lettered", {"why": "no"}), ("undo.redriven", {})],
        {"stage": "undo backoff", "due": 40.0, "facts": {"undone": 3, "letter": {"why": "no", "shared": False, "seq": 3}}},
    ),
]


@pytest.mark.parametrize(("drafts", "expected"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_a_call(drafts: list[tuple[str, dict[str, Any]]], expected: dict[str, Any]) -> None:
    """Everything that its events change in a call, and nothing else."""
    history = folded(*[(kind, "c", payload) for kind, payload in drafts])
    assert changed(history.calls["c"]) == expected
    assert type(history.calls["c"]) is CallState


@pytest.mark.parametrize(("drafts", "expected"), [case[1:] for case in AGENTS], ids=[case[0] for case in AGENTS])
def test_an_agent(drafts: list[tuple[str, dict[str, Any]]], expected: dict[str, Any]) -> None:
    """Everything that its events change in an agent call, and nothing else."""
    history = folded(*[(kind, "a", payload) for kind, payload in drafts])
    assert changed(history.calls["a"]) == expected
    assert type(history.calls["a"]) is AgentState


@pytest.mark.parametrize(("drafts", "expected"), [case[1:] for case in EFFECTS], ids=[case[0] for case in EFFECTS])
def test_an_effect(drafts: list[tuple[str, dict[str, Any]]], expected: dict[str, Any]) -> None:
    """Everything that its events change in an effect, and nothing else."""
    history = folded(*[(kind, "e", payload) for kind, payload in drafts])
    assert changed(history.calls["e"]) == expected
    assert type(history.calls["e"]) is EffectState


@pytest.mark.parametrize(("drafts", "expected"), [case[1:] for case in UNDOS], ids=[case[0] for case in UNDOS])
def test_an_undo(drafts: list[tuple[str, dict[str, Any]]], expected: dict[str, Any]) -> None:
    """Everything that the events of its undo change in an effect that was done first, and nothing else."""
    done = {"settled": (1, True, 5), "result": 5, "done_seq": 1}
    history = folded(("effect.done", "e", {"v": 5}), *[(kind, "e", payload) for kind, payload in drafts])
    assert changed(history.calls["e"]) == done | expected


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("effect.proposed", {"d": "x"}, {"stage": "proposed", "digest": "x", "proposal": {"d": "x"}}),
        ("effect.done", {"v": 6}, {"stage": "done", "settled": (4, True, 6), "result": 6, "done_seq": 4}),
        ("effect.failed", {"e": ERROR}, {"stage": "failed", "error": ERROR, "settled": (4, False, ERROR)}),
        (
            "effect.intended",
            {"generation": 2, "key": "k~2"},
            {
                "stage": "intended",
                "key": "k~2",
                "tries": 1,
                "sent_at": 40.0,
                "sent_seq": 4,
                "ever_intended": True,
            },
        ),
    ],
)
def test_an_undone_effect_begins_anew(kind: str, payload: dict[str, Any], expected: dict[str, Any]) -> None:
    """Its next generation has nothing of the one before: no result, no undo, no tries."""
    undone: list[Draft] = [("effect.done", "e", {"v": 5}), ("undo.intended", "e", {"try": 1}), ("undo.done", "e", {})]
    history = folded(*undone, (kind, "e", payload))
    assert changed(history.calls["e"]) == {"generation": 2} | expected
    assert history.effects() == [history.calls["e"]]


def test_an_event_that_does_not_fit_names_its_effect() -> None:
    """A move that the table does not have is a defect of ours; whoever reports it says where."""
    with pytest.raises(IllegalMove, match="'e', which is 'new'"):
        folded(("undo.done", "e", {}))


RUNS: list[tuple[str, list[Draft], dict[str, Any]]] = [
    ("starts", [("run.started", "", {"deadline": 99.0})], {"started": {"deadline": 99.0}, "deadline": 99.0}),
    ("starts without a deadline", [("run.started", "", {"input": 1})], {"started": {"input": 1}}),
    *[(f"ends: {kind}", [(kind, "", {})], {"ended": 1}) for kind in ("run.completed", "run.failed", "run.cancelled")],
    (
        "is parked twice",
        [("run.parked", "", {"entry": "a"}), ("run.parked", "", {"entry": "b"})],
        {"parked": 2, "openings": {"": 2}, "entries": {"": "b"}},
    ),
    ("is parked without an entry", [("run.parked", "", {"entry": None})], {"parked": 1}),
    ("is resumed", [("run.parked", "", {}), ("run.resumed", "", {"accept": ["a", "b"]})], {"accepted": {"a", "b"}}),
    ("is resumed as it is", [("run.parked", "", {}), ("run.resumed", "", {})], {}),
    (
        "says what its pivot decides",
        [("run.parked", "", {}), ("run.pivoted", "", {"entry": "a"}), ("run.resumed", "", {"pivot": "leave"})],
        {"parked": 1, "pivoted": 2, "pivot_choice": "leave", "openings": {"": 1}, "entries": {"": "a"}},
    ),
    ("rolls back", [("run.parked", "", {}), ("run.rolling_back", "", {})], {"rolling_back": 2, "withdrawn": 2}),
    ("is cancelled twice", [("cancel.requested", "", {}), ("cancel.requested", "", {})], {"cancel": 1}),
    (
        "is made to go on",
        [("call.done", "c", {"v": 1}), ("run.rolling_back", "", {}), ("run.resumed", "", {"again": ["c"]})],
        {"made_anew": {"c"}, "withdrawn": 2},
    ),
    (
        "gets signals before it wants them",
        [
            ("signal.kept", "", {"name": "s", "v": 1}),
            ("signal.kept", "", {"name": "s", "v": 2}),
            ("signal.kept", "", {"name": "s", "v": 3}),
            ("signal.kept", "", {"name": "t"}),
            ("signal.received", "c", {"kept": "s", "v": 1}),
            ("mail.ignored", "", {"kept": "s"}),
            ("mail.ignored", "", {"reason": "late"}),
        ],
        {"signals": {"s": [3], "t": [None]}},
    ),
    ("has a scope that rolls back", [("scope.rolling_back", "s", {})], {"rolling": {"s": 1}}),
    (
        "has a scope with a pivot",
        [("scope.rolling_back", "s", {}), ("scope.pivoted", "s", {"entry": "s!"})],
        {"rolling": {"s": 1}, "scope_pivots": {"s": None}, "openings": {"s": 1}, "entries": {"s": "s!"}},
    ),
    (
        "has a scope whose pivot is decided",
        [("scope.rolling_back", "s", {}), ("scope.pivoted", "s", {}), ("scope.decided", "s", {"do": "leave"})],
        {"rolling": {"s": 1}, "scope_pivots": {"s": "leave"}},
    ),
    (
        "has a scope that has rolled back",
        [("scope.rolling_back", "s", {}), ("scope.pivoted", "s", {}), ("scope.rolled_back", "s", {})],
        {},
    ),
    ("has a scope that had nothing to roll back", [("scope.rolled_back", "s", {})], {}),
    ("releases", [("agent.released", "a", {"v": 1})], {"released": {"a": {"v": 1}}}),
    ("asks a person", [("question.asked", "q", {"entry": "q"})], {"openings": {"q": 1}, "entries": {"q": "q"}}),
    ("asks an approver", [("effect.proposed", "e", {"entry": "e"})], {"openings": {"e": 1}, "entries": {"e": "e"}}),
    ("escalates", [("agent.escalated", "a", {"entry": "a"})], {"openings": {"a": 1}, "entries": {"a": "a"}}),
    (
        "reserves and settles",
        [
            ("spent", "c", {"name": "c!1", "reserve": Spent(5, Decimal(1), 1, 2.0).record()}),
            ("spent", "c", {"name": "c!2", "reserve": Spent(7, Decimal(2), 1, 3.0).record()}),
            ("call.done", "c", {"v": 1, "spent": {"c!1": Spent(4, Decimal(1), 1, 1.0).record()}}),
        ],
        {
            "reservations": 2,
            "reserved": {"c!2": Spent(7, Decimal(2), 1, 3.0, True)},
        },
    ),
]


@pytest.mark.parametrize(("drafts", "expected"), [case[1:] for case in RUNS], ids=[case[0] for case in RUNS])
def test_a_run(drafts: list[Draft], expected: dict[str, Any]) -> None:
    """Everything that events change in the run itself, and nothing else."""
    assert said(folded(*drafts)) == expected
