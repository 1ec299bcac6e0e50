"""Workflows that many runs of one journal may do at the same time: whatever they order carries their own number."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from chargehand import Failure, Feedback, Rejected, agent, fail, gate, gather, saga, sleep, step, workflow
from chargehand.supervise.call import Call

from .tools import charge, enter, note, open_account, order, post, search, ship


@workflow(name="market shop")
async def shop(number: int) -> list[Any]:
    """Keyed, looked up, bare and transactional effects, one after another and side by side."""
    seen: list[Any] = [await note(f"{number} begins")]
    seen += await gather(charge(f"{number} a"), ship(f"{number} b"), post(f"{number} c"))
    for turn in range(3):
        seen.append(await charge(f"{number} turn {turn}"))
    seen.append(await enter(f"{number} e"))
    return seen


@workflow(name="market give back")
async def give_back(number: int) -> None:
    """Everything is undone."""
    await charge(f"{number} a")
    await gather(ship(f"{number} b"), charge(f"{number} c"))
    await post(f"{number} d")
    fail(f"{number} is given back")


@workflow(name="market wait")
async def wait(number: int) -> list[str]:
    """Sleep, a saga that fails, and a person."""
    await sleep(5)
    try:
        async with saga():
            await charge(f"{number} in saga")
            await ship(f"{number} in saga")
            await give_up(number)
    except Failure:
        await sleep(5)
    return [await order(f"{number} approved", number), await post(f"{number} last")]


@workflow(name="market give up")
async def give_up(number: int) -> None:
    await charge(f"{number} too much")
    fail(f"{number} gives up")


@gate(name="no draft")
def no_draft(output: str) -> None:
    """Reject drafts."""
    if output.startswith("draft"):
        raise Rejected("a draft")


@agent(role="Buys at the market.", uses=[search, charge, ship, post], gates=[no_draft], name="market buyer")
async def buyer(number: int, feedback: Feedback | None = None) -> str:
    """Buys the wrong thing first."""
    found = await search(f"{number}")
    if feedback is None or feedback.attempt == 1:
        await charge(f"{number} wrong")
        await post(f"{number} wrong")
        return f"draft {found[1]}"
    return f"bought {await ship(f'{number} right')}"


@workflow(name="market crew")
async def crew(number: int) -> list[str]:
    """An agent whose first attempt is rejected and undone."""
    return [await note(f"{number} crew"), await buyer(number), await charge(f"{number} tip")]


@step(name="blocks the loop")
async def blocks(seconds: float) -> str:
    """Stand in everybody's way, as a synchronous client in an async function does."""
    time.sleep(seconds)
    return "blocked"


@workflow(name="market jam")
async def jam(seconds: float) -> list[str]:
    """The event loop of its worker stands still for a while."""
    return [await blocks(seconds), await charge("after the jam")]


@workflow(name="market letter")
async def letter(ref: str) -> str:
    """One effect without a key."""
    await note(f"{ref} begins")
    return await post(ref)


@workflow(name="market regret")
async def regret(ref: str) -> None:
    """One effect without a key, and its undo without one."""
    await post(ref)
    fail("regretted")


@step(name="kills its worker")
async def kills(flag: str) -> str:
    """Take the whole process down, until a file says that this is mended."""
    if not os.path.exists(flag):
        os.kill(os.getpid(), signal.SIGKILL)
    return "mended"


@workflow(name="market poison")
async def poison(flag: str) -> str:
    """A run that kills whoever drives it."""
    return await kills(flag)


@workflow(name="market account")
async def account(group: int, number: int) -> str:
    """Several runs want one account: a business key across runs."""
    await note(f"{number} asks")
    return await open_account(f"group {group}")


MARKET: list[Any] = [shop, give_back, wait, crew, give_up, jam, letter, regret, poison, account]
STALLS: list[Callable[[int], Call[Any]]] = [shop, give_back, wait, crew]


def errand(number: int) -> Call[Any]:
    """Return the call of the run of this number."""
    return STALLS[number % len(STALLS)](number)
