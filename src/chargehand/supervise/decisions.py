"""What a person may decide about what waits, as values a host application or the command line can make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision. `value` and `reason` as the kind needs them."""

    name: str
    value: Any = None
    reason: str | None = None


def Approve(edit: Mapping[str, Any] | None = None) -> Decision:
    """Approve an effect as shown, or with its arguments replaced.

    `edit` holds every argument that counts, not only those that change: ``{**entry.shows["arguments"], "quantity": 300}``.
    """
    return Decision("approve") if edit is None else Decision("edit", dict(edit))


def Reject(reason: str) -> Decision:
    """Say no; the agent or workflow receives the reason."""
    return Decision("reject", reason=reason)


def DoneByHand(result: Any = None) -> Decision:
    """The thing is done; `result` is what came of it, checked like any other."""
    return Decision("done", result)


def Release(reason: str) -> Decision:
    """Let an escalated output through, on your name."""
    return Decision("release", reason=reason)


def Edit(value: Any, reason: str | None = None) -> Decision:
    """Put another output, or other arguments, in place; they are checked anew."""
    return Decision("edit", value, reason)


def Answer(value: Any) -> Decision:
    """Answer a question."""
    return Decision("answer", value)


def Redrive(edit: Mapping[str, Any] | None = None) -> Decision:
    """Try a dead letter again, as it is or with other arguments: `edit` holds all of them, as with `Approve`."""
    return Decision("redrive") if edit is None else Decision("edit", dict(edit))


def NotDone() -> Decision:
    """The effect in doubt did not happen."""
    return Decision("not-done")


def Fail() -> Decision:
    """Raise a dead letter's failure into the workflow."""
    return Decision("fail")


def Abandon(reason: str) -> Decision:
    """Give the run up and roll it back; on an undo's letter: accept that the effect stands."""
    return Decision("abandon", reason=reason)
