"""docs/architecture.md: what it counts and lists is what is there."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from chargehand import (
    Approve,
    Failure,
    GateContext,
    Person,
    Rejected,
    Supervisor,
    agent,
    effect,
    fail,
    gate,
    now,
    random,
    read,
    sleep,
    uuid4,
    wait_signal,
    workflow,
)
from chargehand.clocks import SystemClock
from chargehand.durable import Commit
from chargehand.events import Record
from chargehand.journals.memory import MemoryJournal
from chargehand.journals.sqlite_schema import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


class CountingJournal(MemoryJournal):
    """A journal that counts its commits."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.commits = 0

    async def append(self, commit: Commit) -> Sequence[Record]:
        """Count the commits that have events."""
        records = await super().append(commit)
        self.commits += bool(records)
        return records


@read
async def a_read(text: str) -> str:
    """Give it back."""
    return text


@gate
def quick(text: str) -> None:
    """Pass."""


@gate
def second_time(text: str, context: GateContext) -> None:
    """Reject the first attempt."""
    if context.attempt == 1:
        raise Rejected("Once more.")


@gate
async def costly(text: str) -> None:
    """Pass, at a cost."""


@agent(role="Has a quick gate.", gates=[quick])
async def an_agent(text: str) -> str:
    """Give it back."""
    return text


@agent(role="Is rejected once.", gates=[second_time])
async def rejected_agent(text: str) -> str:
    """Give it back."""
    return text


@agent(role="Has a costly gate.", gates=[costly])
async def judged_agent(text: str) -> str:
    """Give it back."""
    return text


async def nothing(result: str) -> None:
    """The way back."""


@effect(undo=nothing)
async def an_effect(text: str) -> str:
    """Give it back."""
    return text


@effect(undo=nothing, approve=True)
async def approved_effect(text: str) -> str:
    """Give it back."""
    return text


@effect(final=True, approve=False, transactional=True)
def in_transaction(tx: Any, text: str) -> str:
    """Give it back."""
    return text


async def _dice(text: str) -> None:
    assert random() < 1
    assert uuid4()


async def _time(text: str) -> None:
    assert now()


async def _sleeping(text: str) -> None:
    await sleep(0.001)


async def _waiting(text: str) -> None:
    await wait_signal("go", str)


async def _undone(text: str) -> None:
    await an_effect(text)
    fail("on purpose")


def _calling(make: Callable[[str], Awaitable[Any]]) -> Callable[[str], Awaitable[None]]:
    async def body(text: str) -> None:
        await make(text)

    return body


CALLS: dict[str, Callable[[str], Awaitable[None]]] = {
    "`random`, `uuid4`": _dice,
    "`now`": _time,
    "`read`": _calling(a_read),
    "`sleep`": _sleeping,
    "`wait_signal`": _waiting,
    "an agent whose gates are quick": _calling(an_agent),
    "an agent that was rejected once": _calling(rejected_agent),
    "an agent with one costly gate": _calling(judged_agent),
    "an effect": _calling(an_effect),
    "a transactional effect": _calling(in_transaction),
    "an effect that a person approves": _calling(approved_effect),
    "an effect and its undo": _undone,
}


def _table() -> dict[str, int]:
    section = PAGE.read_text().partition("### What a call costs")[2].partition("\n## ")[0]
    return {call: int(commits) for call, commits in re.findall(r"^\| (.*?) \| (\d+) \|$", section, re.MULTILINE)}


def test_the_table_of_costs_is_about_these_calls() -> None:
    """Each row of the table is measured, and nothing is measured that it does not show."""
    assert _table().keys() == CALLS.keys()


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_costs_what_the_table_says(call: str) -> None:
    """A call makes as many commits as its row says, the run's start and end not counted."""
    body = CALLS[call]

    async def measured(text: str) -> str:
        await body(text)
        return text

    definition = workflow(name="measured")(measured)
    journal = CountingJournal()
    async with Supervisor("memory:", [definition], journal=journal) as supervisor:
        run = await supervisor.start(definition("x"), id="one")
        if "person" in call:
            while not (entries := await supervisor.waiting()):
                await asyncio.sleep(0.001)
            await supervisor.decide(entries[0], Approve(), by=Person("ann"))
        if "signal" in call:
            await asyncio.sleep(0.05)
            await supervisor.signal("one", "go", "now")
        try:
            await run.result(10)
        except Failure:
            assert "undo" in call
    assert journal.commits - 1 == _table()[call]


async def test_the_files_and_threads_are_those_of_the_page(tmp_path: Path) -> None:
    """Beside an open journal lie the files that the page lists, and the named threads run."""
    async with Supervisor(str(tmp_path / "work.db"), [ten_side_by_side]) as supervisor:
        runs = await supervisor.start_many([(ten_side_by_side("x"), f"run-{number}") for number in range(10)])
        for run in runs:
            await run.result(20)
        files = {re.sub(r"worker-.*", "worker-…", path.name) for path in tmp_path.iterdir()}
        threads = {thread.name for thread in threading.enumerate()}
    listed = set(re.findall(r"`(work\.db[\w.…-]*)`", PAGE.read_text()))
    assert files == listed
    assert {"chargehand-writer", "chargehand-beat"} <= threads
    assert {"`chargehand-writer`", "`chargehand-beat`"} <= set(re.findall(r"^\| (`chargehand-\w+`) \|", PAGE.read_text(), re.MULTILINE))


@workflow(name="ten-side-by-side")
async def ten_side_by_side(text: str) -> str:
    """Read once."""
    return await a_read(text)


def test_the_tables_are_those_of_the_page() -> None:
    """The page names every table of the schema."""
    section = PAGE.read_text().partition("\nTables: ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", section)) - {"CHECK"} == set(TABLES)
