"""Hand-offs between agents, right ones and ones with a seeded fault, to measure gates on.

The generators were written and fixed before the gates were tuned, and no gate may be imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chargehand.verdicts import ToolResult

FAULTS = (
    "contradiction",
    "numerical drift",
    "context omission",
    "step repetition",
    "ungrounded identifier",
    "ungrounded number",
)


@dataclass(frozen=True, slots=True)
class Handoff:
    """One output on its way to the next agent.

    `path` is the call's, `earlier` are the outputs released before it, by path, as the objects they are; `rejected` is
    the output of the attempt before, if there was one. `fault` is None for a right hand-off; `where` says what the
    fault changed.
    """

    source: str
    step: str
    inputs: Mapping[str, Any]
    output: Any
    tools: tuple[ToolResult, ...] = ()
    earlier: Mapping[str, Any] = field(default_factory=dict)
    rejected: Any = None
    path: str = ""
    fault: str | None = None
    where: str = ""
