"""Judges through Pydantic AI: one question to a model, one structured answer, no repeating."""

from __future__ import annotations

import asyncio
import weakref
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelRateLimitError,
    ModelRequestTimeout,
    ModelServerError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UserError,
)
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model, infer_model
from pydantic_ai.usage import RunUsage

from chargehand.errors import ModelFailed, NotDone
from chargehand.supervise.judges import Answered, Asks

_LATER = (ModelRateLimitError, ModelUnavailableError, ModelServerError, ModelConnectionError, ModelRequestTimeout)
"""What may go better when it is asked again."""


def through(model: str | Model) -> Asks:
    """Return what asks a model: "provider:name", or a model of Pydantic AI."""
    return _Through(model)


class _Through:
    """Asks one model. A provider's client belongs to a loop; its key is looked for when it is needed, not when a module is imported."""

    def __init__(self, model: str | Model) -> None:
        self._model = model
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Agent[None, str]] = weakref.WeakKeyDictionary()

    def _asker(self) -> Agent[None, str]:
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            try:
                found = self._loops[loop] = Agent(infer_model(self._model))
            except (UserError, ImportError, ValueError) as error:  # an unknown provider, a missing key
                raise ModelFailed(f"The judge's model {self._model!r} cannot be asked: {error}") from error
        return found

    async def asks(self, prompt: str, schema: type[BaseModel]) -> Answered:
        """Ask once. An answer that does not fit the schema comes back as None, with what it used."""
        agent, usage = self._asker(), RunUsage()
        try:
            run: Any = await agent.run(prompt, output_type=schema, retries={"output": 0}, usage=usage, model_settings={"max_retries": 0})
        except ModelAPIError as error:
            if isinstance(error, _LATER):
                raise NotDone(f"The judge's model did not answer: {error}", retry_after=error.retry_after) from error
            raise ModelFailed(f"The judge's model refuses the request: {error}") from error
        except UnexpectedModelBehavior:  # it refused, was cut off, or did not keep to the form
            return Answered(None, usage.input_tokens, usage.output_tokens)
        return Answered(run.output.model_dump(mode="json"), usage.input_tokens, usage.output_tokens, _price(run.all_messages()))


def _price(messages: list[Any]) -> Decimal | None:
    """Return what the answers cost in US dollars by the framework's table; None where it has no price for one."""
    try:
        prices = [message.cost().total_price for message in messages if isinstance(message, ModelResponse)]
    except (LookupError, ValueError, AssertionError):
        return None
    return sum(prices, Decimal(0))
