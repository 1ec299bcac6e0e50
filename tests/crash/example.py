"""What an example of the catalogue is: a workflow, and the people, signals and troubles that go with it.

Everything outside of a run (people, signals, cancels) acts by what it sees in the journal and in the world's books, so a
run that was disturbed meets the same people as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chargehand import (
    Decision,
    Waiting,
)
from chargehand.supervise.call import Call

from .world import Fact, Trouble, World


class LetItExpire(Exception):
    """Raised by an example's person who does not answer."""


@dataclass(frozen=True)
class Example:
    """One workflow of the catalogue.

    `people` decides what differs from the usual (None: the usual). `signals` are sent as soon as the run waits, `early`
    ones at once. `cancel_when` is the fact upon which somebody cancels. `gross_varies`: whether a thing that is taken back
    anyhow happened at all may depend on when the process died. `ordered`: undos come in one order only. `other` is a
    second run of the same journal, started when the first has ended. `children` are the runs that the workflow starts
    itself, by id, with their workflows.
    """

    call: Callable[[], Call[Any]]
    troubles: Mapping[tuple[str, str], Sequence[Trouble]] = field(default_factory=dict)
    people: Callable[[Waiting, World], Decision | None] | None = None
    signals: Sequence[tuple[str, Any]] = ()
    early: Sequence[tuple[str, Any]] = ()
    cancel_when: Fact | None = None
    gross_varies: bool = False
    ordered: bool = True
    deadline: float | None = None
    other: Callable[[], Call[Any]] | None = None
    children: Mapping[str, Any] = field(default_factory=dict)


MENDED = {"now": False}
"""Whether the code of `broken` is mended. What a deploy does, as a switch."""
