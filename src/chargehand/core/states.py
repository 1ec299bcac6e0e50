"""What is known of each call: the states that events are folded into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chargehand.core.lifecycle import Stage


@dataclass(slots=True)
class Settled:
    """How a call ended: by which event, and the JSON form of its value or failure."""

    seq: int
    ok: bool
    form: Any


@dataclass(slots=True)
class CallState:
    """A recorded call. `asked` says that the code asked for it since this driver loaded the run."""

    path: str
    digest: str | None = None
    settled: Settled | None = None
    asked: bool = False
    tries: int = 0
    due: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class EffectState(CallState):
    """A recorded effect. `doubtful`: some try of this generation may have happened."""

    stage: Stage = "new"
    tool: str = ""
    arguments: Any = None
    generation: int = 1
    key: str = ""
    business: str | None = None
    doubtful: bool = False
    sent_at: float | None = None
    sent_seq: int = 0
    permanent: bool = False
    error: Mapping[str, Any] | None = None
    proposal: Mapping[str, Any] | None = None
    approval: Mapping[str, Any] | None = None
    votes: list[Mapping[str, Any]] = field(default_factory=list)
    done_seq: int = 0
    result: Any = None
    shared: bool = False
    dry: bool = False
    final: bool = False
    undo_tries: int = 0
    ever_intended: bool = False


@dataclass(slots=True)
class AgentState(CallState):
    """A recorded agent call. `rung` and `rung_tries` say where on the ladder it stands."""

    attempt: int = 1
    incarnation: int = 0
    rung: int = 0
    rung_tries: int = 0
    step: str = "retry"
    who: str | None = None
    rejections: list[Mapping[str, Any]] = field(default_factory=list)
    errors: int = 0
    last_error: Mapping[str, Any] | None = None
    produced: Mapping[str, Any] | None = None
    verdicts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    escalated: Mapping[str, Any] | None = None
    decided: Mapping[str, Any] | None = None
    question: str | None = None
    answers: list[tuple[str, str]] = field(default_factory=list)
    release: Mapping[str, Any] | None = None
