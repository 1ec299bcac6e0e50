"""Agents of simulated runs: what each attempt asks for and says is data, so that it says the same after a crash.

A script is ``{"ref", "attempts": [{"ops": [{"tool", "ref", "amount"}], "say", "side_by_side"}]}``; `say` is "good", "draft"
(which a gate rejects), "unpolished" (which a costly gate rejects), "ask" (a question), "raise" or "hang".
"""

from __future__ import annotations

import asyncio
from typing import Any

from chargehand import (
    Clarify,
    Failure,
    Feedback,
    Rejected,
    Retry,
    agent,
    escalate,
    fall_back,
    gate,
    give_up,
    human,
    injected,
    reassign,
    retry,
)

from .services import HttpError, Services
from .tools import TOOLS, search

FALLBACK = "good fallback"
USES = [search, *(tool for name, tool in TOOLS.items() if name not in ("wire", "announce"))]


@gate(name="finished", detects="FM-3.1")
def finished(output: str) -> None:
    """Reject what is only a draft."""
    if output.startswith("draft"):
        raise Rejected(f"{output!r} is a draft")


@gate(name="polished", costly=True)
async def polished(output: str) -> None:
    """Reject, after some thought, what is unpolished."""
    await asyncio.sleep(3.0)
    if output.startswith("unpolished"):
        raise Rejected(f"{output!r} is unpolished")


async def played(script: dict[str, Any], feedback: Feedback | None, services: Services) -> str | Clarify:
    """Play one attempt."""
    attempts = script["attempts"]
    number = 1 if feedback is None else feedback.attempt
    part = attempts[min(number, len(attempts)) - 1]
    ref = f"{script['ref']}.{number}"
    if part["say"] == "ask" and (feedback is None or not feedback.answers):
        return Clarify(f"Which {script['ref']}?")
    if part.get("look"):
        await search(f"{ref}.look")
    calls = [TOOLS[op["tool"]](op["ref"], op["amount"]) for op in part["ops"]]
    if part.get("side_by_side"):
        await asyncio.gather(*(_forgiving(call) for call in calls))
    else:
        for call in calls:
            await _forgiving(call)
    if part["say"] == "raise":
        raise HttpError(503)
    if part["say"] == "hang":
        await asyncio.sleep(500.0)
    said = "good" if part["say"] in ("ask", "raise", "hang") else part["say"]
    return f"{said} {ref}"


async def _forgiving(call: Any) -> str:
    try:
        result: str = await call
    except Failure as error:
        return error.code
    return result


@agent(role="Does as scripted.", uses=USES, gates=[finished], family="a", name="plain")
async def plain(script: dict[str, Any], services: Services = injected(), feedback: Feedback | None = None) -> str:
    """The default ladder: three attempts, then a person."""
    return await played(script, feedback, services)  # type: ignore[return-value]


@agent(role="Gives up.", uses=USES, gates=[finished], ladder=[retry(2), give_up()], family="a", name="quitter")
async def quitter(script: dict[str, Any], services: Services = injected(), feedback: Feedback | None = None) -> str:
    """Two attempts, then no more."""
    return await played(script, feedback, services)  # type: ignore[return-value]


@agent(role="Falls back.", uses=USES, gates=[finished, polished], ladder=[retry(2), fall_back(FALLBACK)], family="a", name="modest")
async def modest(script: dict[str, Any], services: Services = injected(), feedback: Feedback | None = None) -> str:
    """Two attempts, then a declared value."""
    return await played(script, feedback, services)  # type: ignore[return-value]


@agent(role="Helps out.", uses=USES, family="b", name="helper")
async def helper(script: dict[str, Any], services: Services = injected(), feedback: Feedback | None = None) -> str:
    """Makes the attempts that another gives up."""
    return await played(script, feedback, services)  # type: ignore[return-value]


@agent(
    role="Is helped.",
    uses=USES,
    gates=[finished, polished],
    ladder=[retry(1), reassign(helper), escalate(to="boss", within=900.0, otherwise=give_up())],
    family="a",
    name="helped",
)
async def helped(script: dict[str, Any], services: Services = injected(), feedback: Feedback | None = None) -> str:
    """One attempt, another agent, a boss for a while."""
    return await played(script, feedback, services)  # type: ignore[return-value]


@agent(
    role="Is watched.",
    uses=USES,
    gates=[finished, human(role="boss")],
    ladder=[retry(3), give_up()],
    retry_errors=Retry(attempts=3, first=2.0),
    timeout=120.0,
    family="a",
    name="watched",
)
async def watched(script: dict[str, Any], services: Services = injected(), feedback: Feedback | None = None) -> str | Clarify:
    """Every output is looked at by a person; an attempt has two minutes."""
    return await played(script, feedback, services)


AGENTS: dict[str, Any] = {definition.name: definition for definition in (plain, quitter, modest, helped, watched)}
"""Every agent that workflows call, by its name."""
