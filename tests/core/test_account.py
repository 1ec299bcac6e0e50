"""The account of a run: every number counts what its name says, and no second counts twice."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

import pytest

from chargehand.core.account import Account, account_of, length, merged, overlap
from chargehand.events import Event
from chargehand.limits import Spent

Draft = tuple[float, str, str, dict[str, Any]]


def events(*drafts: Draft) -> list[Event]:
    """Return the events of a run that started at second 0, at these seconds."""
    started: Draft = (0.0, "run.started", "", {"input": {}})
    return [Event(seq, time, kind, path, payload) for seq, (time, kind, path, payload) in enumerate([started, *drafts], 1)]


def judged(gate: str, seconds: float = 1.0) -> dict[str, Any]:
    """Return a verdict of a gate."""
    return {"gate": gate, "outcome": "pass", "seconds": seconds}


def rejected(*verdicts: dict[str, Any], attempt: int = 1) -> dict[str, Any]:
    """Return what an event holds that rejects an attempt."""
    return {"attempt": attempt, "rung": 0, "do": "retry", "verdicts": list(verdicts)}


def test_every_number_counts_what_its_name_says() -> None:
    """One run in which each kind of thing happened a different number of times."""
    spent = Spent(100, Decimal("0.5"), 1, 2.0).record()
    sent = {"generation": 1, "key": "k"}
    account = account_of(
        events(
            (1.0, "call.done", "read", {"v": 1}),
            (1.0, "call.done", "read#2", {"v": 1}),
            (1.0, "call.failed", "read#3", {"e": {}}),
            (1.0, "call.retrying", "read#4", {"try": 1, "due": 2.0}),
            (2.0, "agent.rejected", "writer", rejected()),
            (2.0, "agent.rejected", "writer", rejected(attempt=2)),
            (3.0, "agent.released", "writer", {"v": "x", "spent": {"writer!1": spent}}),
            (3.0, "agent.released", "writer/try1/quorum~1", {"v": True}),
            (3.0, "agent.released", "writer/try1/quorum~2", {"v": True}),
            (4.0, "effect.intended", "sent", sent),
            (4.0, "effect.again", "sent", {"try": 2}),
            (4.0, "effect.done", "sent", {"v": 1}),
            (4.0, "effect.done", "transactional", {"v": 1}),
            (4.0, "effect.intended", "open", sent),
            (4.0, "effect.failed", "never sent", {"e": {}}),
            (5.0, "undo.intended", "sent", {"try": 1}),
            (5.0, "undo.done", "sent", {}),
            (6.0, "run.failed", "", {"e": {}}),
            (7.0, "signal.kept", "", {"name": "late"}),
        ),
        now=1000.0,
    )
    assert asdict(account) == asdict(
        Account(
            elapsed_seconds=6.0,
            events=20,
            steps=3,
            agents=1,
            attempts=3,
            effects=3,
            undone=1,
            rejections=2,
            gates=0,
            votes=2,
            repeated=6,
            gate_seconds=0.0,
            retry_seconds=5.0,
            person_seconds=0.0,
            spent=Spent(100, Decimal("0.5"), 1, 2.0, True),
        )
    )


@pytest.mark.parametrize(
    ("path", "votes"),
    [
        ("writer/try1/quorum~2", 1),
        ("part/gather.1/writer/try1/quorum~2", 1),
        ("buyer/try1/order~3f2a.1", 0),
        ("a~b/try1/c", 0),
        ("quorum~2", 0),
    ],
)
def test_a_vote_is_an_agent_that_a_gate_asked(path: str, votes: int) -> None:
    """What an agent's body asks for has a dot after the tilde; what stands elsewhere is no vote."""
    assert account_of(events((1.0, "agent.released", path, {"v": True})), now=1.0).votes == votes


@pytest.mark.parametrize(
    ("drafts", "gates", "seconds"),
    [
        ([(1.0, "agent.rejected", "a", rejected(judged("g"), judged("h", 2.0)))], 2, 3.0),
        ([(1.0, "agent.released", "a", {"v": 1, "verdicts": [{"gate": "g", "outcome": "pass"}]})], 1, 0.0),
        ([(1.0, "agent.rejected", "a", {"attempt": 1, "rung": 0, "do": "retry"})], 0, 0.0),
        ([(1.0, "agent.produced", "a", {"attempt": 1})], 0, 0.0),
        # given when judged, and again in what follows from it
        ([(1.0, "gate.judged", "a", judged("g")), (2.0, "agent.rejected", "a", rejected(judged("g"), judged("h")))], 2, 2.0),
        (
            [
                (1.0, "agent.produced", "a", {"attempt": 1, "verdicts": [judged("g")]}),
                (1.0, "gate.judged", "a", judged("judge")),
                (2.0, "agent.released", "a", {"v": 1, "verdicts": [judged("g"), judged("judge")]}),
            ],
            2,
            2.0,
        ),
        # the next attempt is judged anew, and so is another agent
        ([(1.0, "gate.judged", "a", judged("g")), (2.0, "agent.rejected", "b", rejected(judged("g")))], 2, 2.0),
        (
            [
                (1.0, "gate.judged", "a", judged("g")),
                (1.0, "agent.rejected", "a", rejected(judged("g"))),
                (2.0, "agent.rejected", "a", rejected(judged("g"), attempt=2)),
            ],
            2,
            2.0,
        ),
    ],
)
def test_every_verdict_counts_once(drafts: list[Draft], gates: int, seconds: float) -> None:
    """Verdicts of costly gates are in the journal twice."""
    account = account_of(events(*drafts), now=3.0)
    assert (account.gates, account.gate_seconds) == (gates, seconds)


@pytest.mark.parametrize(
    ("drafts", "seconds"),
    [
        ([(1.0, "question.asked", "ask", {}), (4.0, "question.answered", "ask", {"v": 1})], 3.0),
        ([(1.0, "question.asked", "ask", {}), (4.0, "question.answered", "other", {"v": 1})], 9.0),
        ([(1.0, "question.asked", "ask", {}), (4.0, "run.completed", "", {})], 3.0),
        ([(1.0, "question.asked", "ask", {}), (4.0, "run.rolling_back", "", {}), (6.0, "run.failed", "", {})], 3.0),
        ([(1.0, "run.parked", "", {}), (4.0, "run.resumed", "", {})], 3.0),
        ([(1.0, "run.pivoted", "", {}), (4.0, "run.resumed", "", {"pivot": "leave"})], 3.0),
        ([(1.0, "scope.pivoted", "s", {}), (4.0, "scope.decided", "s", {"do": "leave"})], 3.0),
        ([(1.0, "agent.asked", "a", {"question": "?"}), (4.0, "agent.answered", "a", {"answer": "!"})], 3.0),
        ([(1.0, "agent.escalated", "a", {}), (4.0, "agent.decided", "a", {})], 3.0),
        ([(1.0, "effect.proposed", "e", {}), (2.0, "effect.voted", "e", {}), (4.0, "effect.approved", "e", {})], 3.0),
        ([(1.0, "effect.proposed", "e", {}), (3.0, "mail.ignored", "e", {}), (4.0, "effect.denied", "e", {"e": {}})], 3.0),
        (
            [
                (1.0, "effect.proposed", "e", {}),
                (2.0, "effect.edited", "e", {"generation": 2, "args": {}}),
                (3.0, "effect.proposed", "e", {}),
                (4.0, "effect.approved", "e", {}),
            ],
            3.0,
        ),
        # asked twice: the first time until the second, the second time until it is answered
        ([(1.0, "run.parked", "", {}), (3.0, "run.parked", "", {}), (4.0, "run.resumed", "", {})], 3.0),
        # two side by side
        (
            [
                (1.0, "question.asked", "a", {}),
                (2.0, "question.asked", "b", {}),
                (3.0, "question.answered", "a", {"v": 1}),
                (4.0, "question.answered", "b", {"v": 1}),
            ],
            3.0,
        ),
    ],
)
def test_waiting_for_people(drafts: list[Draft], seconds: float) -> None:
    """From what asks to what answers, to the end of the run, or until now, which is second 10."""
    assert account_of(events(*drafts), now=10.0).person_seconds == seconds


SENT: Draft = (1.0, "effect.intended", "e", {"generation": 1, "key": "k"})


@pytest.mark.parametrize(
    ("drafts", "seconds"),
    [
        ([(1.0, "call.retrying", "r", {"try": 1}), (2.0, "call.retrying", "r", {"try": 2}), (4.0, "call.done", "r", {"v": 1})], 3.0),
        ([(1.0, "call.retrying", "r", {"try": 1}), (4.0, "call.failed", "r", {"e": {}})], 3.0),
        ([(1.0, "call.retrying", "r", {"try": 1}), (4.0, "call.done", "other", {"v": 1})], 9.0),
        ([(1.0, "call.retrying", "r", {"try": 1}), (4.0, "run.cancelled", "", {})], 3.0),
        ([(1.0, "agent.errored", "a", {"due": 2.0}), (4.0, "agent.released", "a", {"v": 1})], 3.0),
        ([(1.0, "agent.rejected", "a", rejected()), (4.0, "agent.failed", "a", {"e": {}})], 3.0),
        ([SENT, (1.0, "effect.tried", "e", {"try": 1, "doubtful": False}), (4.0, "effect.done", "e", {"v": 1})], 3.0),
        ([SENT, (1.0, "effect.tried", "e", {"try": 1, "doubtful": False}), (4.0, "effect.did_not_happen", "e", {})], 3.0),
        # a doubt ends the retrying: from there on a person is waited for
        ([SENT, (1.0, "effect.tried", "e", {"try": 1, "doubtful": True}), (4.0, "effect.doubted", "e", {})], 3.0),
        # waiting for a person in between is no retrying
        (
            [
                (1.0, "agent.rejected", "a", rejected()),
                (2.0, "agent.escalated", "a", {}),
                (3.0, "agent.decided", "a", {}),
                (4.0, "agent.released", "a", {"v": 1}),
            ],
            2.0,
        ),
    ],
)
def test_retrying(drafts: list[Draft], seconds: float) -> None:
    """From a call's first failed try to its end, to the end of the run, or until now, which is second 10."""
    assert account_of(events(*drafts), now=10.0).retry_seconds == seconds


def test_an_account_tells_people_retries_and_gates_apart() -> None:
    """Waiting for people is not counted as retrying, what waits side by side counts once, and every verdict counts once."""
    judge = {"gate": "judge", "outcome": "fail", "seconds": 1.0}
    account = account_of(
        events(
            (1.0, "agent.rejected", "writer", rejected(judged("g", 0.25))),
            (2.0, "agent.produced", "writer", {"attempt": 2, "output": "x", "used": [], "verdicts": [judged("g", 0.25)]}),
            (3.0, "gate.judged", "writer", judge),
            (3.0, "agent.rejected", "writer", rejected(judge, attempt=2)),
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


def test_trying_to_undo_again_is_retrying() -> None:
    """From the first undo that failed to its end or to the letter it is a retry; what the letter waits for is a person's time."""
    account = account_of(
        events(
            (1.0, "effect.intended", "post", {"generation": 1, "key": "k"}),
            (2.0, "effect.done", "post", {"v": "x"}),
            (2.0, "run.rolling_back", "", {"e": {}, "by": "failure"}),
            (2.0, "undo.intended", "post", {"try": 1}),
            (3.0, "undo.tried", "post", {"try": 1, "e": {}, "due": 4.0}),
            (5.0, "undo.lettered", "post", {"why": "locked", "entry": "r/post"}),
        ),
        now=15.0,
    )
    assert (account.retry_seconds, account.person_seconds) == (2.0, 10.0)


def test_what_is_open_lasts_until_now() -> None:
    """A run that still waits has waited until now; a clock that stands behind the last event takes nothing away."""
    waiting = events((1.0, "call.done", "c", {"v": 1}), (2.0, "question.asked", "ask", {"question": "?"}))
    for now, waited in ((12.0, 10.0), (1.0, 0.0)):
        account = account_of(waiting, now=now)
        assert (account.person_seconds, account.elapsed_seconds) == (waited, waited + 2.0)


def test_a_run_lasts_from_its_first_event() -> None:
    """Whenever that was."""
    assert account_of([Event(1, 5.0, "run.started", "", {}), Event(2, 7.0, "run.completed", "", {})], now=99.0).elapsed_seconds == 2.0


@pytest.mark.parametrize(
    ("intervals", "covered"),
    [
        ([], []),
        ([(3.0, 4.0), (0.0, 2.0), (1.0, 3.0)], [(0.0, 4.0)]),
        ([(0.0, 5.0), (1.0, 2.0), (6.0, 7.0)], [(0.0, 5.0), (6.0, 7.0)]),
        ([(0.0, 1.0), (1.0, 2.0)], [(0.0, 2.0)]),
        ([(0.0, 1.0), (2.0, 3.0), (2.5, 4.0)], [(0.0, 1.0), (2.0, 4.0)]),
    ],
)
def test_intervals_are_merged(intervals: list[tuple[float, float]], covered: list[tuple[float, float]]) -> None:
    """Disjoint intervals cover what the given ones cover."""
    assert merged(intervals) == covered
    assert length(merged(intervals)) == sum(end - start for start, end in covered)


def test_intervals_are_shared() -> None:
    """The overlap of two lists is what both cover; where they only touch is nothing."""
    assert overlap([(0.0, 2.0), (3.0, 4.0)], [(-1.0, 1.0), (2.0, 3.5), (4.0, 5.0)]) == [(0.0, 1.0), (3.0, 3.5)]
