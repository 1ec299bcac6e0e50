"""The events of a run: the closed list of types, the stored form and the hash chain.

A run is its events. An event says what is now true of the call at a *path*; the newest events of a path are folded
into what the driver does next (``core/history.py``). Events are never changed; `erase` removes a payload and leaves the
chain valid, because the hash covers the payload's digest and not the payload.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, NamedTuple

from chargehand.errors import JournalCorrupt

EVENT_TYPES: dict[str, str] = {
    # the run
    "run.started": "the run exists: workflow, input, seed, deadline, who started it",
    "run.completed": "the workflow returned a value",
    "run.failed": "the workflow failed and everything that could be undone is undone",
    "run.cancelled": "the run was cancelled and everything that could be undone is undone",
    "run.parked": "the whole run waits for a person: diverged, broken or poison",
    "run.resumed": "a person let a parked run go on",
    "run.rolling_back": "the run has failed for good and begins to undo its effects",
    "run.pivoted": "the run failed after a final effect and waits for a person",
    "cancel.requested": "somebody asked for the run to be cancelled",
    "mail.ignored": "a message came late, twice or did not fit; the reason is kept",
    # calls without an outside effect
    "call.done": "a step or read gave a value",
    "call.failed": "a step or read failed",
    "call.retrying": "a step or read will be tried again",
    "now.read": "the workflow read the time",
    "timer.set": "the workflow sleeps until a time",
    "timer.fired": "the time has come",
    "signal.wanted": "the workflow waits for a signal",
    "signal.kept": "a signal came before anything waited for it",
    "signal.received": "the signal came",
    "signal.expired": "the signal did not come in time",
    "question.asked": "a person is asked something",
    "question.answered": "the person answered, or nobody did in time",
    # agents
    "agent.rejected": "an attempt's output did not pass its gates",
    "agent.errored": "an attempt raised, timed out or left its role",
    "agent.asked": "an agent asks for clarification",
    "agent.answered": "the question was answered",
    "agent.produced": "an output passed the quick gates and waits for the costly ones",
    "gate.judged": "a costly gate gave its verdict",
    "agent.escalated": "a person is asked to release, edit or reject",
    "agent.decided": "the person decided on the escalated output",
    "agent.released": "an output became usable downstream",
    "agent.failed": "the ladder gave up; the workflow sees the failure",
    "spent": "what a call of a model cost",
    # effects
    "effect.proposed": "an effect waits for approval",
    "effect.voted": "one of several approvers said yes",
    "effect.approved": "an effect was approved",
    "effect.denied": "an effect was refused, or nobody answered in time",
    "effect.intended": "an effect is about to be tried for the first time in this generation",
    "effect.tried": "one try of an effect ended without success",
    "effect.again": "an effect is about to be tried again under the same key",
    "effect.doubted": "an effect's outcome is unknown and a person must decide",
    "effect.lettered": "an effect could not be done and became a dead letter",
    "effect.done": "an effect was done",
    "effect.did_not_happen": "it is certain that an effect did not happen in this generation",
    "effect.edited": "a person changed the arguments of an effect",
    "effect.redriven": "a person had an effect tried again",
    "effect.failed": "an effect's failure is raised into the workflow",
    # undo
    "scope.rolling_back": "a scope failed and begins to undo its effects",
    "scope.pivoted": "the scope failed after a final effect and waits for a person",
    "scope.decided": "a person decided what becomes of a scope that failed after a final effect",
    "scope.rolled_back": "the scope's effects are undone, or accounted for",
    "undo.intended": "an undo is about to be tried",
    "undo.tried": "one try of an undo ended without success",
    "undo.lettered": "an undo could not be done and became a dead letter",
    "undo.redriven": "a person had an undo tried again",
    "undo.done": "an effect was undone",
    "undo.stands": "an effect stays: by a person's decision, or because it is final",
}


class Event(NamedTuple):
    """One event with its decoded payload. `time` is in seconds since the epoch, UTC."""

    seq: int
    time: float
    type: str
    path: str
    payload: dict[str, Any]


class Record(NamedTuple):
    """One event as a journal stores it: `payload` is JSON, `hash` chains it to the event before."""

    seq: int
    time: float
    type: str
    path: str
    payload: bytes
    hash: bytes

    def event(self) -> Event:
        """Return the event with its payload decoded. Raises `JournalCorrupt` when it is not what was written."""
        try:
            payload = json.loads(self.payload)
        except (ValueError, RecursionError) as error:
            raise JournalCorrupt(f"Event {self.seq} ({self.type} {self.path!r}) cannot be read: {error}. {_VERIFY}") from error
        if not isinstance(payload, dict):
            raise JournalCorrupt(f"Event {self.seq} ({self.type} {self.path!r}) cannot be read: it is no JSON object. {_VERIFY}")
        return Event(self.seq, self.time, self.type, self.path, payload)


_VERIFY = "`chargehand verify` tells which runs are whole."


def chain_hash(previous: bytes, run_id: str, seq: int, time: float, type: str, path: str, payload_digest: bytes, key: bytes = b"") -> bytes:
    """Return the SHA-256 that binds an event to all before it (32 bytes); with a key, the HMAC-SHA-256.

    Without a key the chain finds accidents; who can write the file can compute it anew. With one, only who has the key can.
    Fields are separated by NUL, which no path or id may contain, so no two different events share an input.
    """
    text = f"{run_id}\0{seq}\0{float(time)!r}\0{type}\0{path}\0".encode()
    if key:
        return hmac.digest(key, previous + text + payload_digest, "sha256")
    return hashlib.sha256(previous + text + payload_digest).digest()
