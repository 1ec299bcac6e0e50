"""The workflow of a session: what a client asks comes in as signals, each call is a branch of its own.

The workflow decides which call is which (`book.py`) and makes the new ones, by the engine as it is: reads, effects, approvals, doubts,
letters. It talks to the process that drives it through a `Listener`, which it may tell the same thing twice: a replay tells everything
again.

The n-th call of a session is made in the n-th gather of the workflow, so a path says which call it belongs to (`call_at`).
"""

from __future__ import annotations

import contextvars
import re
from collections.abc import Callable
from typing import Any, Protocol, cast

from pydantic import BaseModel

from chargehand.errors import CallFailed, ChargehandError, Denied, Failure, NotDone, TimedOut
from chargehand.gateway.book import Again, Answer, Book, Placed, Said
from chargehand.gateway.tools import Toolbox
from chargehand.limits import Budget
from chargehand.supervise.budgets import spending
from chargehand.supervise.decorators import step, workflow
from chargehand.supervise.definitions import WorkflowDefinition
from chargehand.supervise.verbs import ask_human, gather, now, wait_signal

SIGNAL = "said"
UNDECIDED = "Is this call the earlier one again, whose reply may have been lost, or a new one?"

_PATH = re.compile(r"gather(?:#(\d+))?\.1/")


class Opened(BaseModel):
    """What a session begins with. `idle` is for how many seconds nothing need be said before it ends."""

    session: str
    idle: float


class Listener(Protocol):
    """Who hears in this process what the run of a session does."""

    def placed(self, request: str, placed: Placed) -> None:
        """Hear which call a request belongs to."""

    def answered(self, number: int, answer: Answer) -> None:
        """Hear what a call gave."""


_book: contextvars.ContextVar[Book] = contextvars.ContextVar("chargehand_book")
_listener: contextvars.ContextVar[Listener] = contextvars.ContextVar("chargehand_listener")


def call_at(path: str) -> int | None:
    """Return the number of the call that a path belongs to."""
    found = _PATH.match(path)
    return None if found is None else int(found[1] or 1)


def error_result(text: str, **meta: Any) -> dict[str, Any]:
    """Return a tool's result that says what went wrong."""
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    return result | ({"_meta": meta} if meta else {})


def conversation(
    name: str, toolbox: Toolbox, listener_of: Callable[[str], Listener], budget: Budget | None
) -> WorkflowDefinition[..., Any]:
    """Return the workflow of the sessions of one gateway.

    Args:
        name: its name, by which only processes of this gateway drive its runs.
        toolbox: the tools and their definitions.
        listener_of: who hears what the run of a session does.
        budget: what one session may spend.
    """

    @workflow(name="call")
    async def call(said: Said, number: int, unclear: int | None) -> None:
        """Make one call, or find out that it was made before."""
        answer = await _earlier(said, unclear)
        if answer is None:
            answer = await _made(toolbox, said, budget)
        _book.get().answered(number, answer)
        _listener.get().answered(number, answer)

    @workflow(name=name, budget=budget)
    async def session(opened: Opened) -> int:
        """Make what is asked for until nothing was asked for a long time; return how many calls there were."""
        book, listener, idle, count = Book(), listener_of(opened.session), opened.idle, 0
        _book.set(book)
        _listener.set(listener)
        while True:
            try:
                said = await wait_signal(SIGNAL, Said, within=idle)
            except TimedOut:
                if book.going_on:
                    continue
                return count
            idle = said.idle
            if said.kind != "call":
                book.replies(said)
                if said.kind == "end" and not book.going_on:
                    return count
                continue
            placed = book.place(said)
            listener.placed(said.request, placed)
            if placed.new:
                count += 1
                await gather(call(said, placed.number, placed.unclear), contain=True, within=0)

    return session


async def _made(toolbox: Toolbox, said: Said, budget: Budget | None) -> Answer:
    """Call the tool. Whatever goes wrong is an answer: a call that fails takes no session with it."""
    if said.refused is not None:
        return Answer(result=error_result(said.refused), at=said.at, failed=True)
    try:
        if budget is not None:
            await _charge(said.tool, toolbox.table_of(said.tool).usd or "0")
        form = await toolbox.definition(said.tool, said.was)(arguments=said.arguments)
    except Failure as failure:
        return Answer(result=error_result(_told(failure)), at=now().timestamp(), failed=True)
    except ChargehandError as error:
        return Answer(result=error_result(f"{error.message} [{error.code}]"), at=said.at, failed=True)
    if isinstance(form, dict) and form.keys() == {"result", "at", "by"}:
        return Answer.model_validate(form)
    return Answer(result=_by_hand(form), at=now().timestamp())


def _told(failure: Failure) -> str:
    """Return what a client is told of a failure: a server's own words as they are."""
    if isinstance(failure, CallFailed) and failure.type_name == NotDone.__name__:
        return failure.detail
    return f"{failure.message} [{failure.code}]"


def _by_hand(value: Any) -> dict[str, Any]:
    """Return as a tool's result what a person said came of a call."""
    if isinstance(value, dict) and isinstance(value.get("content"), list):
        return value
    text = value if isinstance(value, str) else "A person has done this by hand." if value is None else repr(value)
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
    return result | ({"structuredContent": value} if isinstance(value, dict) else {})


async def _earlier(said: Said, unclear: int | None) -> Answer | None:
    """Ask whether this is an earlier call again; return what that one gave if it is."""
    if unclear is None:
        return None
    book = _book.get()
    earlier = book.answer_of(unclear)
    about = {
        "tool": said.tool,
        "arguments": said.arguments,
        "earlier call": unclear,
        "its answer": None if earlier is None else earlier.result,
    }
    try:
        word = await ask_human(UNDECIDED, cast(Any, Again), about=about)
    except Denied as denied:
        return Answer(result=error_result(denied.message), at=said.at, failed=True)
    answer = book.answer_of(unclear)
    book.settled(unclear)
    return answer if word == "same" else None


@step(name="charge")
async def _charge(tool: str, usd: str) -> None:
    """Have a call of a tool counted in the session's budget, before it is made."""
    async with spending(usd_at_most=usd) as block:
        block.report(usd=usd)


__all__ = ["SIGNAL", "Listener", "Opened", "call_at", "conversation", "error_result"]
