"""What the gates' tests share: asking a gate with as much context as the test names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chargehand.supervise.gates import Gate, as_gate, verdict_of
from chargehand.supervise.threads import Threads
from chargehand.verdicts import GateContext, Verdict

Ask = Callable[..., Verdict]


@pytest.fixture
def ask() -> Ask:
    """Return a function that asks a gate: ``ask(gate, output, inputs={…}, tools=[…], …)``."""

    def answer(gate: Gate | Callable[..., Any], output: Any, resources: Any = None, **known: Any) -> Verdict:
        context = GateContext(**{"run_id": "run", "path": "writer", "attempt": 1, "inputs": {}, **known})
        return asyncio.run(verdict_of(as_gate(gate), output, context, resources or {}, threads=Threads()))

    return answer
