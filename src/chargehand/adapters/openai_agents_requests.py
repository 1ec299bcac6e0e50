"""Requests to a model by the OpenAI Agents SDK, each a durable call of the agent that asks."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from agents.items import TResponseInputItem, TResponseStreamEvent
from agents.models.interface import ModelTracing
from openai import OpenAIError
from openai.types.responses import Response, ResponseCompletedEvent, ResponseOutputItem
from openai.types.responses.response_prompt_param import ResponsePromptParam
from pydantic import TypeAdapter

from agents import (
    AgentOutputSchemaBase,
    FunctionTool,
    Handoff,
    Model,
    ModelBehaviorError,
    ModelProvider,
    ModelResponse,
    ModelSettings,
    Tool,
    Usage,
)
from chargehand.adapters.asking import Answer, ask
from chargehand.adapters.prices import price_of
from chargehand.adapters.prompting import plain, refusal_of
from chargehand.errors import ModelFailed, Rejected

_ITEMS: TypeAdapter[list[Any]] = TypeAdapter(list[ResponseOutputItem])
_USAGE: TypeAdapter[Usage] = TypeAdapter(Usage)


class JournaledModel(Model):
    """A model whose every request is a durable call of the agent that asks."""

    def __init__(self, inner: Model, name: str | None) -> None:
        self.inner = inner
        self.name = str(getattr(inner, "model", None) or name or type(inner).__name__)

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | list[TResponseInputItem],
        model_settings: ModelSettings,
        tools: list[Tool],
        output_schema: AgentOutputSchemaBase | None,
        handoffs: list[Handoff],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None,
        conversation_id: str | None,
        prompt: ResponsePromptParam | None,
    ) -> ModelResponse:
        """Return the recorded response to this very request, or ask the model."""
        _refuse_state(previous_response_id, conversation_id, input)

        async def live() -> Answer:
            try:
                response = await self.inner.get_response(
                    system_instructions,
                    input,
                    model_settings,
                    tools,
                    output_schema,
                    handoffs,
                    ModelTracing.DISABLED,
                    previous_response_id=None,
                    conversation_id=None,
                    prompt=prompt,
                )
            except ModelBehaviorError as error:
                raise _broken_off(self.name, error) from error
            except Exception as error:
                refused = refusal_of(self.name, error)
                if refused is None:
                    raise
                raise refused from error
            if not response.output:
                raise ModelFailed(f"The model {self.name} gave an empty answer. A content filter does so.")
            return _answer(self.name, response)

        asked = [
            system_instructions,
            plain(input),
            _settings(model_settings),
            [_tool(tool) for tool in tools],
            None if output_schema is None or output_schema.is_plain_text() else output_schema.json_schema(),
            [[offer.tool_name, offer.tool_description, offer.input_json_schema] for offer in handoffs],
            plain(prompt),
        ]
        form = await ask(self.name, asked, live, tokens_at_most=model_settings.max_tokens or 0)
        return ModelResponse(_ITEMS.validate_python(form["output"]), _USAGE.validate_python(form["usage"]), form["id"])

    async def stream_response(self, *args: Any, **options: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Give the whole response at once, recorded or new: half a response is nothing that a later attempt could stand on."""
        response = await self.get_response(*args, **options)
        whole = Response(
            id=response.response_id or "recorded",
            created_at=0,
            model=self.name,
            object="response",
            output=response.output,
            parallel_tool_calls=True,
            tool_choice="auto",
            tools=[],
        )
        yield ResponseCompletedEvent(response=whole, sequence_number=0, type="response.completed")


class JournaledProvider(ModelProvider):
    """Gives the models of another provider, with a journal before them."""

    def __init__(self, inner: ModelProvider) -> None:
        self.inner = inner

    def get_model(self, model_name: str | None) -> Model:
        """Return a model by its name. Raises `ModelFailed` where its client cannot be made, as without a key."""
        try:
            return JournaledModel(self.inner.get_model(model_name), model_name)
        except OpenAIError as error:
            raise ModelFailed(f"The model {model_name or 'by default'} cannot be asked: {error}") from error


def _refuse_state(previous_response_id: str | None, conversation_id: str | None, input: str | list[TResponseInputItem]) -> None:
    """Refuse a conversation that lives on the server: a recorded answer could not be asked for again in it."""
    kept = [name for name, value in (("previous_response_id", previous_response_id), ("conversation_id", conversation_id)) if value]
    if not isinstance(input, str) and any(item.get("type") == "item_reference" for item in input):
        kept.append("an item_reference")
    if kept:
        raise ModelFailed(
            f"The conversation is kept on the server ({' and '.join(kept)}), where a run that is resumed cannot take it up again. "
            "Leave that out: the crew's conversation comes from the journal."
        )


def _broken_off(model: str, error: ModelBehaviorError) -> Exception:
    """Return in our words that a response ended before its end; why it did is in the message alone."""
    if "content_filter" in error.message:
        return ModelFailed(f"The model {model} refused to answer: {error.message}")
    if "max_output_tokens" in error.message:
        return Rejected(f"The answer of the model {model} gave nothing that fits: {error.message}", mode="SYS-schema")
    return ConnectionError(f"The model {model} gave no answer that can be read: {error.message}")


def _settings(settings: ModelSettings) -> dict[str, Any]:
    """Return the settings that an answer depends on."""
    found = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings) if field.name != "retry"}
    return {name: plain(value) for name, value in found.items() if value is not None}


def _tool(tool: Tool) -> Any:
    """Return what a model is told of a tool."""
    if isinstance(tool, FunctionTool):
        return [tool.name, tool.description, tool.params_json_schema, tool.strict_json_schema]
    return [type(tool).__name__, plain(vars(tool))]


def _answer(model: str, response: ModelResponse) -> Answer:
    used = response.usage
    form = {
        "output": [item.model_dump(mode="json", exclude_unset=True) for item in response.output],
        "usage": _USAGE.dump_python(used, mode="json"),
        "id": response.response_id,
    }
    cached = used.input_tokens_details.cached_tokens or 0
    return Answer(form, used.input_tokens, used.output_tokens, price_of(model, used.input_tokens, used.output_tokens, cached))
