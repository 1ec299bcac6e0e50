"""A request to a model as a durable call: asked once, paid once.

In the body of an agent a request is known by what it asks: the model, the messages so far, the tools and settings. A body
that runs again after a crash asks the same again and gets the recorded answer; only the request that was in flight is made
anew, and what it had reserved counts as spent. The journal keeps the digest of the request and the whole answer, so a long
conversation costs no more per request than a short one.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chargehand.contracts import digest_of
from chargehand.errors import NotDone, OutsideRun
from chargehand.limits import Retry
from chargehand.supervise.budgets import spending
from chargehand.supervise.call import current_body
from chargehand.supervise.decorators import step


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model gave: the JSON form of its response, and what it used. `usd` is None where no price is known."""

    form: Any
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = None


Live = Callable[[], Awaitable[Answer]]
_live: contextvars.ContextVar[Live] = contextvars.ContextVar("chargehand_live")


@step(name="model", retry=Retry(attempts=4))
async def request(model: str, asked: str, tokens_at_most: int) -> Any:
    """Ask a model. What it used is settled in the event of its answer; a request that surely was not carried out used nothing."""
    async with spending(model=model, tokens_at_most=tokens_at_most) as spent:
        try:
            answer = await _live.get()()
        except NotDone:
            spent.report()
            raise
        spent.report(input=answer.input_tokens, output=answer.output_tokens, usd=answer.usd)
    return answer.form


async def ask(model: str, asked: Any, live: Live, *, tokens_at_most: int = 0) -> Any:
    """Return the JSON form of a model's response to exactly this request, asking the model only when the journal has none.

    Args:
        model: its name, for budgets and for people.
        asked: all that the answer depends on, as JSON, without what differs from time to time (ids, times).
        live: asks the model. It raises `NotDone` for what was not carried out and may be later (with `retry_after` seconds when the
            provider said so), a `Failure` for what will not be; anything transient else may have been paid for, and counts as reserved.
        tokens_at_most: what is reserved in budgets before the request is made.

    If the process dies inside: the request is made again, and its reservation counts as spent.
    """
    _check_inside()
    token = _live.set(live)
    try:
        return await request(model, digest_of([model, asked]), tokens_at_most)
    finally:
        _live.reset(token)


def ask_from_thread(model: str, asked: Any, live: Live, *, tokens_at_most: int = 0) -> Any:
    """Do what `ask` does from a thread of the body's own, and block that thread."""
    _check_inside()
    token = _live.set(live)
    try:
        return request(model, digest_of([model, asked]), tokens_at_most).wait()
    finally:
        _live.reset(token)


def _check_inside() -> None:
    if current_body.get() is None:
        raise OutsideRun("A supervised agent's model was asked outside the agent's body. Call the agent from a workflow.")
