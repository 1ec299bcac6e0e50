"""Judges through Pydantic AI: one question to a model, one structured answer, no repeating.

What the provider surely did not do is `NotDone`, and free; what it may have done is a `ConnectionError`, and counts as reserved;
what it will never do is `ModelFailed`. The judge's step repeats the first two. An answer that came and does not fit is an answer.
"""

from __future__ import annotations

import asyncio
import weakref
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UserError,
)
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RunUsage

from chargehand.errors import ModelFailed, NotDone
from chargehand.supervise.judges import Answered, Asks


class _Once(WrapperModel):
    """A model that is asked once: neither its client nor anybody here repeats a request."""

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Ask, and say in our words what came of it when that is no answer."""
        settings: ModelSettings = {**(model_settings or {}), "max_retries": 0}
        try:
            return await self.wrapped.request(messages, settings, model_request_parameters)
        except ModelAPIError as error:
            raise _refused(error) from error
        except UnexpectedModelBehavior as error:  # what came over the wire is no response
            raise ConnectionError(f"The judge's model gave a response that cannot be read: {error.message}") from error


def _refused(error: ModelAPIError) -> Exception:
    """Return a provider's refusal in our words."""
    if isinstance(error, (ModelRateLimitError, ModelUnavailableError)):
        after: float | None = error.retry_after
        return NotDone(f"The judge's model cannot answer now: {error}", retry_after=after)
    status = getattr(error, "status_code", None)
    if isinstance(error, (ModelRequestRejectedError, ModelQuotaExceededError)) or (isinstance(status, int) and status < 500):
        return ModelFailed(f"The judge's model refuses the request: {error}")
    return ConnectionError(f"The judge's model gave no answer that can be read: {error}")


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
                found = self._loops[loop] = Agent(_Once(infer_model(self._model)))
            except (UserError, ImportError, ValueError) as error:  # an unknown provider, a missing key
                raise ModelFailed(f"The judge's model {self._model!r} cannot be asked: {error}") from error
        return found

    async def asks(self, prompt: str, schema: type[BaseModel]) -> Answered:
        """Ask once. An answer that does not fit the schema comes back as None, with what it used."""
        agent, usage = self._asker(), RunUsage()
        try:
            run: Any = await agent.run(prompt, output_type=schema, retries={"output": 0}, usage=usage)
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
