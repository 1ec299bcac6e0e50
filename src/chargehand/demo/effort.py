"""What supervision itself did, counted from the journal's events: its cost, never its success."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Happening(Protocol):
    """What the demo reads of an event."""

    @property
    def type(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def payload(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Effort:
    """Events written, outputs sent back, approvals asked, and the seconds that gates took."""

    events: int = 0
    sent_back: int = 0
    approvals: int = 0
    gate_seconds: float = 0.0

    def note(self, event: Happening) -> None:
        """Count one event."""
        self.events += 1
        self.sent_back += event.type == "agent.rejected"
        self.approvals += event.type == "effect.proposed"
        self.gate_seconds += sum(verdict.get("seconds", 0.0) for verdict in event.payload.get("verdicts", ()))
