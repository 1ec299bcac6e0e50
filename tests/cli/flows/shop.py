"""Small workflows for the tests of the command line. Effects write to ledger.txt in the current directory."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from pydantic import BaseModel

from chargehand import (
    NotDone,
    Rejected,
    Resource,
    Retry,
    agent,
    ask_human,
    effect,
    fail,
    gate,
    gather,
    give_up,
    injected,
    retry,
    sleep,
    spending,
    step,
    wait_signal,
    workflow,
)


class Ledger:
    """What the world saw, one line for each effect."""

    def __init__(self) -> None:
        self.path = Path("ledger.txt")

    def write(self, line: str) -> None:
        """Book one line."""
        with self.path.open("a") as file:
            file.write(line + "\n")


ledger = Resource(Ledger, {"development": Ledger})


class Item(BaseModel):
    """One line of a batch."""

    date: str
    id: int
    kind: str = "fine"


@step(retry=Retry(attempts=1))
async def worked(item: Item) -> int:
    """Do an item as its kind says."""
    with Path("worked.txt").open("a") as file:
        file.write(f"{item.id}\n")
    if item.kind == "refused":
        raise PermissionError("not allowed")
    if item.kind == "rejected":
        raise Rejected("not good enough", mode="FM-3.2")
    if item.kind == "slow":
        await asyncio.sleep(30)
    return item.id * 10


@workflow
async def work(item: Item) -> int:
    """Do one item."""
    return await worked(item)


@step
async def added(a: int, b: int) -> int:
    """Add."""
    return a + b


@workflow
async def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return await added(a, b)


async def give_back(receipt: str, ledger: Ledger = injected()) -> None:
    """The way back of `charge`."""
    ledger.write(f"back {receipt}")


@effect(undo=give_back, approve=lambda call: call.amount > 100)
async def charge(amount: int, card_token: str = "tok", idempotency_key: str = injected(), ledger: Ledger = injected()) -> str:
    """Charge; above 100 a person is asked."""
    ledger.write(f"charge {amount}")
    return f"r-{amount}"


@workflow
async def pay(amount: int) -> str:
    """Charge once."""
    return await charge(amount, card_token="tok-4711")


@workflow
async def pay_and_fail(amount: int) -> str:
    """Charge, then fail."""
    await charge(amount)
    fail("nothing to buy")


async def unsend(amount: int) -> None:
    """The way back of the effects that go wrong."""


@effect(undo=unsend, retry=Retry(attempts=1))
async def refuse(amount: int, ledger: Ledger = injected()) -> str:
    """Surely do not happen while the amount is below 10."""
    if amount < 10:
        raise NotDone("the service said no", permanent=True)
    ledger.write(f"refuse {amount}")
    return f"done {amount}"


@workflow
async def lettered(amount: int) -> str:
    """End in a dead letter."""
    return await refuse(amount)


@effect(undo=unsend, retry=Retry(attempts=1))
async def vanish(amount: int) -> str:
    """Nobody knows whether it happened."""
    raise RuntimeError("connection lost \x1b[31mred\x1b]0;owned\x07")


@workflow
async def doubted(amount: int) -> str:
    """End in doubt."""
    return await vanish(amount)


@effect(final=True, approve=False)
async def send(text: str, ledger: Ledger = injected()) -> str:
    """Send; there is no way back."""
    ledger.write(f"send {text}")
    return text


@workflow
async def pivot(text: str) -> str:
    """Fail after a final effect."""
    await send(text)
    fail("too late")


@gate
def never(output: str) -> None:
    """Refuse everything but a person's own words."""
    if output != "by hand":
        raise Rejected("not by hand")


@agent(role="Writes.", gates=[never], done=["It is true."])
async def writer(subject: str) -> str:
    """Write what no gate passes."""
    return f"about {subject}"


@workflow
async def review(subject: str) -> str:
    """Escalate to a person."""
    return await writer(subject)


@agent(role="Writes badly.", gates=[never], ladder=[retry(1), give_up()])
async def bungler(subject: str) -> str:
    """Write what no gate passes, once."""
    return f"about {subject}"


@workflow
async def bungle(subject: str) -> str:
    """Fail by its agent."""
    return await bungler(subject)


@agent(role="Thinks.")
async def thinker(subject: str) -> str:
    """Say what a model's call cost."""
    async with spending(model="small", tokens_at_most=200) as spent:
        spent.report(input=100, output=20, usd="0.004")
    return subject


@workflow
async def think(subject: str) -> str:
    """Spend."""
    return await thinker(subject)


@workflow
async def ask(question: str) -> bool:
    """Ask a person."""
    return await ask_human(question, bool, role="boss")


@workflow
async def ask_freely(question: str) -> str:
    """Ask anybody."""
    return await ask_human(question, str)


@workflow
async def listen() -> int:
    """Wait for a signal."""
    return await wait_signal("go", int)


@workflow
async def nap(seconds: float) -> str:
    """Sleep."""
    await sleep(seconds)
    return "awake"


@workflow
async def broken(n: int) -> int:
    """Raise a bug, until the file mended.txt is there."""
    value = await added(n, 1)
    return {True: value}[Path("mended.txt").exists()]


@step
async def padded(letters: int) -> dict[str, str]:
    """Give a long value."""
    return {"head": "begins", "rest": "x" * letters}


@workflow
async def long(letters: int) -> dict[str, str]:
    """Give a long value."""
    return await padded(letters)


@step
async def complained(number: int) -> int:
    """Fail with a long reason."""
    raise Rejected(f"{number}" + "y" * 3000, mode="FM-3.2")


@workflow
async def many_failures(branches: int) -> None:
    """Fail in so many branches, each with a long reason."""
    await gather(*(complained(number) for number in range(branches)))


@effect(undo=unsend, key=lambda call: call.customer)
async def greet(customer: str, idempotency_key: str = injected()) -> str:
    """Greet each customer once, whoever asks."""
    return f"hello {customer}"


@workflow
async def welcome(customer: str) -> str:
    """Greet under a business key."""
    return await greet(customer)


async def refuse_to_undo(text: str) -> None:
    """The way back of `post`, which is refused."""
    raise PermissionError("the letter box is locked")


@effect(undo=refuse_to_undo, retry=Retry(attempts=1))
async def post(text: str, idempotency_key: str = injected()) -> str:
    """Post; it cannot be undone."""
    return text


@workflow
async def post_and_fail(text: str) -> str:
    """Post, then fail: the undo becomes a letter."""
    await post(text)
    fail("nobody home")


@step
async def thresholds() -> list[int]:
    """Say how often the process that does this collects garbage."""
    return list(gc.get_threshold())


@workflow
async def collections(wait: bool) -> list[int]:
    """Say how often whoever drives this collects garbage; when told to wait, whoever does so after the signal."""
    if wait:
        await wait_signal("go", int)
    return await thresholds()
