"""What a program that starts and awaits runs is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from chargehand import Supervisor, wait_signal, workflow
from chargehand.errors import BadConfiguration, InvalidInput
from chargehand.testing import Supervised


class Ticket(BaseModel):
    """Four fields that may be missing."""

    id: str
    customer: str
    text: str
    paid: int


@workflow(name="texts.handle")
async def handle(ticket: Ticket) -> str:
    """Take a ticket."""
    return ticket.id


@workflow(name="texts.waits")
async def waits() -> int:
    """Wait for a signal."""
    return await wait_signal("go", int)


@workflow(name="texts.shapeless")
async def shapeless() -> Ticket:
    """Give what it may not."""
    return "no ticket"  # type: ignore[return-value]


def test_every_finding_is_counted() -> None:
    """The first three are told, and how many more there are."""
    with pytest.raises(InvalidInput, match="text: Field required; and 1 more"):
        handle({"id": 1})  # type: ignore[arg-type]


async def test_a_result_that_takes_too_long_says_so() -> None:
    """The error names the run, how it stands, and that it goes on."""
    async with Supervisor("memory:", [waits]) as supervisor:
        run = await supervisor.start(waits(), "w-1")
        with pytest.raises(TimeoutError, match=r"Run 'w-1' has not ended within 0.01 s: it is (running|waiting). It goes on"):
            await run.result(0.01)


@pytest.mark.parametrize("deadline", [-1, 0, float("nan")])
async def test_a_deadline_that_has_passed_starts_nothing(deadline: float) -> None:
    """What could only fail at once is refused."""
    async with Supervisor("memory:", [waits], work=False) as supervisor:
        with pytest.raises(InvalidInput, match="deadline= is not a positive number of seconds"):
            await supervisor.start(waits(), "d-1", deadline=deadline)
        assert await supervisor.runs() == []


@pytest.mark.parametrize("url", ["", " ", None, 3])
def test_what_names_no_journal_is_refused(url: Any) -> None:
    """An empty name would be a directory's; None and a number are none."""
    with pytest.raises(BadConfiguration, match="names no journal"):
        Supervisor(url, [waits])


async def test_a_workflow_that_returns_what_it_may_not_is_told_in_our_words(supervised: Supervised) -> None:
    """The entry of the broken run has the finding, without an address of another library."""
    await supervised.start(shapeless())
    (entry,) = await supervised.waiting()
    assert "returned what it may not: value: Input should be" in entry.shows["error"]
    assert "pydantic.dev" not in entry.shows["error"]
