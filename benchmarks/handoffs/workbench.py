"""Hand-offs of real agents: the final answers of the recorded WorkBench runs, and the calls behind them.

Source: github.com/olly-styles/WorkBench (MIT). The recordings are not part of this repository: they are looked for in
the folder named by the environment variable CHARGEHAND_DATA, else in ``shared/data`` beside the checkout. Every string
in them is foreign text and is only ever compared.

A recorded run is *right* when it left the state that was asked for, *harmful* when it changed the state otherwise, and
*wrong* when it did not do all that was asked. What is wrong with its answer is not recorded; so recall on the recorded
faults is a share of runs, and on the seeded ones (made from right runs) a share of faults.
"""

from __future__ import annotations

import json
import lzma
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.handoffs import Handoff
from chargehand.verdicts import ToolResult

TODAY = "Thursday 2023-11-30 00:00"
"""The day and time that the benchmark tells every agent."""

RECORDED = ("harmful run", "wrong run")


def folder() -> Path:
    """Return where the recordings should be."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("CHARGEHAND_DATA", beside)) / "workbench"


def _lines(name: str) -> Iterator[dict[str, Any]]:
    with lzma.open(folder() / f"{name}.jsonl.xz", "rt") as lines:
        for line in lines:
            yield json.loads(line)


def _of_run(run: dict[str, Any], query: str) -> Handoff:
    tools = tuple(ToolResult(call["name"], call.get("args") or {}, call.get("output")) for call in run["calls"] if call.get("name"))
    fault = None if run["correct"] else "harmful run" if run["side_effect"] else "wrong run"
    return Handoff("workbench", run["model"], {"query": query, "today": TODAY}, run["answer"], tools, path="agent", fault=fault)


_IDENTIFIER = re.compile(r"\b0\d{7}\b|\b[a-z]+\.[a-z]+@atlas\.com\b")
_NUMBER = re.compile(r"(?<![\w.,:/_-])(?!0\d{7}|20\d\d\b)\d{2,}(?:\.\d+)?(?![\w:/_-]|[.,]\d|st\b|nd\b|rd\b|th\b)")
_MONTH = re.compile(r"(January|February|March|April|May|June|July|August|September|October|November|December)\s+$")
_NAMES = ("ingrid.solberg", "tomas.novak", "wanjiru.otieno", "pavel.orlov")


def _seeded(dice: Random, handoff: Handoff) -> Iterator[Handoff]:
    """Yield a right answer with an invented identifier, with a changed number, and with its last call made twice."""
    answer = str(handoff.output)
    found = list(_IDENTIFIER.finditer(answer))
    if found:
        one = dice.choice(found)
        invented = f"{dice.choice(_NAMES)}@atlas.com" if "@" in one[0] else f"0000{dice.randrange(4000, 9999)}"
        yield replace(
            handoff,
            output=answer[: one.start()] + invented + answer[one.end() :],
            fault="ungrounded identifier",
            where=one[0],
        )
    numbers = [one for one in _NUMBER.finditer(answer) if not _MONTH.search(answer[: one.start()])]
    if numbers:
        one = dice.choice(numbers)
        changed = f"{float(one[0]) * dice.choice((1.1, 1.7, 3.0)) + 7:.{len(one[0].partition('.')[2])}f}"
        yield replace(
            handoff,
            output=answer[: one.start()] + changed + answer[one.end() :],
            fault="ungrounded number",
            where=one[0],
        )
    if handoff.tools:
        yield replace(handoff, tools=(*handoff.tools, handoff.tools[-1]), fault="step repetition", where=handoff.tools[-1].tool)


def handoffs(seed: int = 20261123) -> Iterator[Handoff]:
    """Yield every recorded run that ended with an answer, and the right ones again with seeded faults."""
    dice = Random(seed)
    queries = {task["task"]: task["query"] for task in _lines("tasks")}
    for run in _lines("runs"):
        if run["error"] or not run["answer"].strip():
            continue
        handoff = _of_run(run, queries[run["task"]])
        yield handoff
        if handoff.fault is None:
            yield from _seeded(dice, handoff)
