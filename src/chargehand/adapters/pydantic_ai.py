"""Pydantic AI under supervision: the body of an agent that names a model instead of having one.

Each request to the model and each tool call is a durable call under the agent's path. The framework keeps the conversation; what
the conversation is made of comes from the journal where it is there. Its own ways of repeating are off: requests are repeated by the
journaled call, an output that does not fit is a rejected attempt of the ladder.

Not journaled inside, because the framework gives no hook for it: tools that the provider runs (web search, code execution), realtime
sessions, and what an author's own hooks and dynamic instructions do; the latter have to give the same each time.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic_ai import Agent, Tool, ToolFailed, UsageLimits
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRetry,
    ModelUnavailableError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
)
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import CompletedStreamedResponse, Model, ModelRequestParameters, StreamedResponse, infer_model
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset, ToolsetTool, WrapperToolset
from pydantic_core import to_jsonable_python

from chargehand.adapters.asking import Answer, ask
from chargehand.adapters.prompting import REQUESTS_MAX, Told, Unfit, instructions_of, prompt_of, schema_of, used
from chargehand.errors import ModelFailed, NotDone, Rejected
from chargehand.supervise.decorators import step
from chargehand.supervise.definitions import AgentDefinition, Definition
from chargehand.verdicts import Clarify, Feedback

_VOLATILE = frozenset({"timestamp", "run_id", "conversation_id"})
"""Fields of messages that differ each time the same is asked."""


# -- requests ----------


class JournaledModel(WrapperModel):
    """A model whose every request is a durable call of the agent that asks."""

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Return the recorded response to this very request, or ask the model."""
        settings: ModelSettings = {**(model_settings or {}), "max_retries": 0}  # the journaled call repeats, and counts

        async def live() -> Answer:
            try:
                response = await self.wrapped.request(messages, settings, model_request_parameters)
            except ModelAPIError as error:
                raise _refused(self.model_name, error) from error
            except UnexpectedModelBehavior as error:  # what came over the wire is no response
                raise ConnectionError(f"The model {self.model_name} gave a response that cannot be read: {error.message}") from error
            return _answer(response)

        asked = [_bare(ModelMessagesTypeAdapter.dump_python(messages, mode="json")), _shape(settings, model_request_parameters)]
        form = await ask(self.model_id, asked, live, tokens_at_most=int(settings.get("max_tokens") or 0))
        (response,) = ModelMessagesTypeAdapter.validate_python([form])
        assert isinstance(response, ModelResponse)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Give the whole response at once, recorded or new: half a response is nothing that a later attempt could stand on."""
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(model_request_parameters, response, replay_events=True)


def _bare(form: Any) -> Any:
    """Return messages without what differs each time."""
    if isinstance(form, dict):
        return {name: _bare(item) for name, item in form.items() if name not in _VOLATILE}
    return [_bare(item) for item in form] if isinstance(form, list) else form


def _shape(settings: ModelSettings, parameters: ModelRequestParameters) -> Any:
    """Return what else an answer depends on: settings, the tools' names and schemas, the form of the output."""
    tools = [[tool.name, tool.description, tool.parameters_json_schema] for tool in (*parameters.function_tools, *parameters.output_tools)]
    output = parameters.output_object
    return [
        to_jsonable_python(dict(settings), fallback=repr),
        tools,
        parameters.output_mode,
        None if output is None else [output.name, output.json_schema],
    ]


def _answer(response: ModelResponse) -> Answer:
    (form,) = ModelMessagesTypeAdapter.dump_python([response], mode="json", exclude_none=True)
    return Answer(form, response.usage.input_tokens, response.usage.output_tokens, _price(response))


def _price(response: ModelResponse) -> Decimal | None:
    """Return what a response cost in US dollars by the table of prices that the framework brings; None where it has none."""
    try:
        return response.cost().total_price
    except (LookupError, ValueError, AssertionError):
        return None


def _refused(model: str, error: ModelAPIError) -> Exception:
    """Return a provider's refusal in our words.

    `NotDone`: it was not carried out, and may be later. `ModelFailed`: it will not be. `ConnectionError`: it may have been carried out, and
    paid for; asked again it may be answered.
    """
    what = type(error).__name__.lstrip("_").removeprefix("HTTP")
    if isinstance(error, (ModelRateLimitError, ModelUnavailableError)):
        after: float | None = error.retry_after
        return NotDone(f"The model {model} cannot answer now ({what}): {error}", retry_after=after)
    status = getattr(error, "status_code", None)
    if isinstance(error, (ModelRequestRejectedError, ModelQuotaExceededError)) or (isinstance(status, int) and status < 500):
        return ModelFailed(f"The model {model} refuses the request ({what}): {error}")
    return ConnectionError(f"The model {model} gave no answer that can be read ({what}): {error}")


# -- tools ----------


@dataclass
class JournaledTools(WrapperToolset[Any]):
    """The tools of an agent: those of its contract journal themselves; an author's plain function is a step."""

    contract: Mapping[str, Definition[..., Any]]

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]) -> Any:
        """Call a tool once for the attempt, however often its body runs."""
        if name in self.contract:
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)

        async def made(arguments: Any) -> Any:
            try:
                return ["gave", await self.wrapped.call_tool(name, tool_args, ctx, tool)]
            except (ModelRetry, ToolFailed) as said:
                return [type(said).__name__, said.message]

        how, what = await step(name, made, to_jsonable_python(tool_args, fallback=repr))
        if how == "gave":
            return what
        raise ModelRetry(what) if how == "ModelRetry" else ToolFailed(what)


class Journaled(AbstractCapability[Any]):
    """Has every request and every tool call of a run of the framework go through the journal."""

    def __init__(self, tools: Mapping[str, Definition[..., Any]]) -> None:
        self._tools = tools

    def get_ordering(self) -> CapabilityOrdering:
        """Stand next to the model, so that what others change is what is asked and recorded."""
        return CapabilityOrdering(position="innermost")

    def get_wrapper_model(self, model: Model) -> Model:
        """Return the model with a journal before it."""
        return JournaledModel(model)

    def get_wrapper_toolset(self, toolset: AbstractToolset[Any]) -> AbstractToolset[Any]:
        """Return the tools with a journal before them."""
        return JournaledTools(toolset, self._tools)


def tool_of(definition: Definition[..., Any]) -> Tool[Any]:
    """Return a read, effect or agent as a tool of the framework. What the supervisor fills is not in its schema."""

    async def use(**arguments: Any) -> Any:
        try:
            return await used(definition, arguments)
        except Unfit as unfit:
            raise ModelRetry(str(unfit)) from unfit
        except Told as told:
            raise ToolFailed(str(told)) from told

    return Tool.from_schema(use, definition.name, definition.__doc__ or "", schema_of(definition))


# -- the body ----------


def body_of(definition: AgentDefinition[..., Any], model: str | Model | Agent[Any, Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return the body that asks a model: its instructions are the contract, its prompt the arguments, its tools those of `uses`.

    Args:
        definition: the agent's contract.
        model: "provider:name", a model of Pydantic AI, or an agent of Pydantic AI with tools and instructions of its own.
    """
    loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Agent[Any, Any]] = weakref.WeakKeyDictionary()

    async def body(feedback: Feedback | None = None, **values: Any) -> Any:
        inner = model if isinstance(model, Agent) else loops.get(asyncio.get_running_loop())
        if inner is None:  # a provider's client belongs to a loop; its key is looked for when it is needed, not when the module is imported
            inner = loops[asyncio.get_running_loop()] = Agent(infer_model(model))  # type: ignore[arg-type]
        return await _run(definition, inner, prompt_of(definition, values, feedback), own=isinstance(model, Agent))

    return body


async def _run(definition: AgentDefinition[..., Any], inner: Agent[Any, Any], prompt: list[str], *, own: bool) -> Any:
    toolset = FunctionToolset([tool_of(tool) for tool in definition.uses.values()])
    output = _output_of(definition)
    try:
        result = await inner.run(
            prompt,
            output_type=None if own and inner.output_type == definition.contract.result.annotation else output,
            instructions=instructions_of(definition),
            toolsets=[toolset],
            capabilities=[Journaled(definition.uses)],
            usage_limits=UsageLimits(request_limit=REQUESTS_MAX),
            retries={"output": 0},
        )
    except ContentFilterError as error:
        raise ModelFailed(f"The model of {definition.name} refused to answer: {error.message}") from error
    except UsageLimitExceeded as error:
        raise Rejected(f"{definition.name} did not come to an end: {error}", mode="FM-1.5") from error
    except UnexpectedModelBehavior as error:
        raise Rejected(f"{definition.name} gave nothing that fits: {error.message}", mode="SYS-schema") from error
    return result.output


def _output_of(definition: AgentDefinition[..., Any]) -> Any:
    annotation = definition.contract.result.annotation
    return [annotation, Clarify] if definition.contract.may_clarify else annotation
