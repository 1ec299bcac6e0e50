"""Hand-offs of real agents: what the agents of the recorded tau-bench retail conversations told their customers.

Source: github.com/sierra-research/tau-bench and tau2-bench (MIT); recordings from github.com/microsoft/AgentRx (MIT) and
the tau2 leaderboard. Looked for beside those of ``workbench``. Every string in them is foreign text and only compared.

Each message to the customer is one hand-off: its inputs are the policy, the tools' descriptions and what the customer
said until then, its tool results those of the conversation until then. The messages of a conversation that earned its
reward are *right*, the others belong to a *wrong run*: which of them is wrong is not recorded.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.handoffs import Handoff, workbench
from chargehand.verdicts import ToolResult

FILES = ("retail_agentrx", "tau2_retail_toolorchestra")


def folder() -> Path:
    """Return where the recordings should be."""
    return workbench.folder().with_name("tau_retail")


def _lines(name: str) -> Iterator[Any]:
    with lzma.open(folder() / f"{name}.jsonl.xz", "rt") as lines:
        for line in lines:
            yield json.loads(line)


def _messages(conversation: dict[str, Any], known: dict[str, Any]) -> Iterator[Handoff]:
    fault = None if conversation["reward"] == 1 else "wrong run"
    said: list[str] = []
    asked: list[tuple[str, Any]] = []
    tools: list[ToolResult] = []
    for message in conversation["messages"]:
        if message["role"] == "user":
            said.append(message.get("content") or "")
        elif message["role"] == "tool":
            name, arguments = asked.pop(0) if asked else (message.get("name") or "tool", {})
            tools.append(ToolResult(name, arguments if isinstance(arguments, dict) else {"given": arguments}, message.get("content")))
        elif message["role"] == "assistant":
            asked = [(name, arguments) for name, arguments in message.get("calls") or ()]
            if message.get("content"):
                inputs = {**known, "customer": list(said)}
                yield Handoff("tau", conversation["source"], inputs, message["content"], tuple(tools), path="agent", fault=fault)


def handoffs() -> Iterator[Handoff]:
    """Yield every message of an agent to its customer."""
    rules = next(iter(_lines("policy_and_tool_schemas")))[1]
    known = {"rules": json.dumps(rules, ensure_ascii=False)}
    for name in FILES:
        for conversation in _lines(name):
            yield from _messages(conversation, known)
