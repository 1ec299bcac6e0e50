"""A body that says of its own output that it is not good."""

from __future__ import annotations

from chargehand import Feedback, Rejected, agent, give_up, retry, workflow
from chargehand.testing import Supervised

TOLD: list[str] = []


@agent(name="careful", role="Counts.", ladder=[retry(2), give_up()])
async def careful(x: int, feedback: Feedback | None = None) -> int:
    """Reject its own first output."""
    TOLD.append("" if feedback is None else str(feedback))
    if feedback is None:
        raise Rejected("I counted wrongly", mode="FM-3.2")
    return x


@agent(name="inner", role="Fails.", ladder=[give_up()])
async def inner(x: int) -> int:
    """Give it up at once."""
    raise Rejected("never")


@agent(name="outer", role="Asks another.", uses=[inner], ladder=[retry(2), give_up()])
async def outer(x: int) -> int:
    """Ask an agent that fails."""
    return await inner(x)


@workflow(name="counts")
async def counts(x: int) -> int:
    """Count."""
    return await careful(x)


@workflow(name="asks another")
async def asks_another(x: int) -> int:
    """Ask."""
    return await outer(x)


async def test_a_body_rejects_its_own_output(supervised: Supervised) -> None:
    """It uses a rung as a gate's no does, and the next attempt is told why."""
    TOLD.clear()
    run = await supervised.start(counts(3))
    await supervised.rest()
    assert await run.history() == ["run.started", "agent.rejected careful", "agent.released careful", "run.completed"]
    rejected = (await run.events())[1].payload
    assert rejected["verdicts"] == [{**rejected["verdicts"][0], "outcome": "fail", "gate": "body", "mode": "FM-3.2"}]
    assert (TOLD[0], "I counted wrongly" in TOLD[1]) == ("", True)


async def test_what_a_call_of_the_body_rejected_is_an_error_of_the_body(supervised: Supervised) -> None:
    """An agent that another one used has given up: asking the outer one again for that would change nothing."""
    run = await supervised.start(asks_another(3))
    await supervised.rest()
    assert [line.split("/")[0] for line in await run.history() if line.startswith("agent.")] == [
        "agent.rejected outer",
        "agent.failed outer",
        "agent.errored outer",
        "agent.failed outer",
    ]
