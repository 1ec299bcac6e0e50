"""Decisions and their seals: what is left in a mailbox."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from chargehand.supervise.decisions import (
    Abandon,
    Answer,
    Approve,
    Decision,
    DoneByHand,
    Edit,
    Fail,
    NotDone,
    Redrive,
    Reject,
    Release,
)
from chargehand.supervise.seals import is_sealed, sealed


def test_each_decision_says_what_it_was_made_with() -> None:
    """Names are what the journal keeps; values and reasons arrive where they belong."""
    assert Approve() == Decision("approve", None, None)
    assert Approve(edit={"n": 1}) == Decision("edit", {"n": 1}, None)
    assert Approve(edit={}) == Redrive(edit={}) == Decision("edit", {}, None)
    assert Redrive() == Decision("redrive", None, None)
    assert Redrive(edit={"n": 1}) == Decision("edit", {"n": 1}, None)
    assert Reject("why") == Decision("reject", None, "why")
    assert DoneByHand() == Decision("done", None, None)
    assert DoneByHand(5) == Decision("done", 5, None)
    assert Release("why") == Decision("release", None, "why")
    assert Edit(5) == Decision("edit", 5, None)
    assert Edit(5, "why") == Decision("edit", 5, "why")
    assert Answer(5) == Decision("answer", 5, None)
    assert NotDone() == Decision("not-done", None, None)
    assert Fail() == Decision("fail", None, None)
    assert Abandon("why") == Decision("abandon", None, "why")


KEY, BODY = b"key of the journal", {"decision": "approve", "by": {"id": "eve"}}


def test_a_seal_is_always_made_the_same_way() -> None:
    """Mail lies in journals for years: the seal of these values is this one, by HMAC-SHA-256 over their canonical JSON."""
    text = '["mail","r1","decision","5.0",{"by":{"id":"eve"},"decision":"approve"}]'
    seal = hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()
    assert sealed(KEY, "r1", "decision", 5, BODY) == {**BODY, "seal": seal}


def test_a_sealed_letter_is_the_same_after_it_was_read_back() -> None:
    """What JSON makes of a body is what is sealed: a tuple comes back as a list."""
    letter = sealed(KEY, "r1", "signal", 5.0, {"value": (1, 2)})
    assert letter["value"] == [1, 2]
    assert is_sealed(KEY, "r1", "signal", 5.0, letter)


@pytest.mark.parametrize(
    ("key", "run", "kind", "time", "change"),
    [
        (b"another key", "r1", "decision", 5.0, {}),
        (KEY, "r2", "decision", 5.0, {}),
        (KEY, "r1", "signal", 5.0, {}),
        (KEY, "r1", "decision", 5.5, {}),
        (KEY, "r1", "decision", 5.0, {"decision": "reject"}),
        (KEY, "r1", "decision", 5.0, {"more": 1}),
        (KEY, "r1", "decision", 5.0, {"seal": None}),
        (KEY, "r1", "decision", 5.0, {"seal": "é"}),
    ],
)
def test_a_seal_binds_everything(key: bytes, run: str, kind: str, time: float, change: dict[str, Any]) -> None:
    """Another key, run, kind, time or word, and the letter does not bear the seal."""
    letter = sealed(KEY, "r1", "decision", 5.0, BODY)
    assert is_sealed(KEY, "r1", "decision", 5.0, letter)
    assert not is_sealed(key, run, kind, time, {**letter, **change})


def test_without_a_key_nothing_is_sealed() -> None:
    """The body is left as it is, in a dictionary of its own, and every letter counts."""
    left = sealed(b"", "r1", "decision", 5.0, BODY)
    assert left == BODY
    assert left is not BODY
    assert is_sealed(b"", "r1", "decision", 5.0, {"anything": 1})
