"""The OpenAI Agents SDK under supervision: the body of an agent that names an agent of the framework, or a crew of them.

Each request to a model and each tool call is a durable call under the agent's path. The framework keeps the conversation and decides who
is next; what the conversation is made of comes from the journal where it is there. The author's agents are left alone: copies of them
run, with a journal before their models and tools. The framework's own ways of repeating are off, and so is its tracing.

A hand-off is held against those gates of the contract that take a `HandOff`, before the next agent's model is asked. A no leaves the run of
the framework as `Rejected`, which the engine takes for what it is: a rejected attempt.

Not journaled inside, because the framework gives no hook for it: hosted tools (part of a request's answer), tools that the framework calls
by itself (computer, shell, MCP servers), guardrails, hooks and dynamic instructions. The guide has the table.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Union

from agents.handoffs import nest_handoff_history
from agents.items import TResponseInputItem
from agents.models.multi_provider import MultiProvider
from agents.tool import ToolOutputFileContent, ToolOutputImage, ToolOutputText
from agents.tool_context import ToolContext

from agents import (
    Agent,
    AgentOutputSchema,
    AgentOutputSchemaBase,
    FunctionTool,
    Handoff,
    HandoffInputData,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    Model,
    ModelBehaviorError,
    ModelRefusalError,
    ModelRetrySettings,
    ModelSettings,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    Tool,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
    UserError,
    handoff,
)
from chargehand.adapters.hand_offs import HandOff, cross, handed_over, takes_hand_off
from chargehand.adapters.openai_agents_requests import JournaledModel, JournaledProvider
from chargehand.adapters.prompting import REQUESTS_MAX, instructions_of, prompt_of, schema_of, used_as_text
from chargehand.errors import ChargehandError, DefinitionError, ModelFailed, Rejected
from chargehand.supervise.decorators import step
from chargehand.supervise.definitions import AgentDefinition, Definition
from chargehand.supervise.gates import Gate
from chargehand.verdicts import Clarify, Feedback

__all__ = ["HandOff", "body_of", "tool_of"]

_TRIPPED = (
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    ToolInputGuardrailTripwireTriggered,
    ToolOutputGuardrailTripwireTriggered,
)


# -- tools ----------


class _Use:
    """What the framework calls for a tool of the contract."""

    def __init__(self, definition: Definition[..., Any]) -> None:
        self.definition = definition

    async def __call__(self, context: ToolContext[Any], arguments: str) -> str:
        try:
            given = json.loads(arguments or "{}")
        except json.JSONDecodeError as error:
            return f"The arguments of {self.definition.name} are no JSON: {error}"
        return await used_as_text(self.definition, given)


def tool_of(definition: Definition[..., Any]) -> FunctionTool:
    """Return a read, effect or agent as a tool of the framework, for one agent of a crew. What the supervisor fills is not in its schema.

    The contract lists it in `uses=` as well; the agent that begins then does not get it.
    """

    def made(*, strict: bool) -> FunctionTool:
        about = definition.__doc__ or ""
        return FunctionTool(definition.name, about, schema_of(definition), _Use(definition), strict_json_schema=strict)

    try:
        return made(strict=True)
    except UserError:  # a dictionary with free keys, for example
        return made(strict=False)


def _step_of(tool: FunctionTool) -> FunctionTool:
    """Return an author's tool as one that is called once for the attempt, however often its body runs."""
    inner = tool.on_invoke_tool

    async def use(context: ToolContext[Any], arguments: str) -> Any:
        async def made(asked: str) -> Any:
            return _as_recorded(await inner(context, arguments))

        return await step(_segment(tool.name), made, arguments)

    return dataclasses.replace(tool, on_invoke_tool=use)


def _as_recorded(output: Any) -> Any:
    """Return a tool's output as JSON that the framework tells the model in the same words."""
    if isinstance(output, (ToolOutputText, ToolOutputImage, ToolOutputFileContent)):
        return output.model_dump(mode="json", exclude_none=True)
    if isinstance(output, (list, tuple)):
        return [_as_recorded(item) for item in output]
    try:
        return output if json.loads(json.dumps(output)) == output else str(output)
    except (TypeError, ValueError):
        return str(output)


def _segment(name: str) -> str:
    return "".join("." if letter in "/#~@!\n" else letter for letter in name)


# -- the crew ----------


class _Crew:
    """Copies of an author's agents, with a journal before their models and tools and gates between them.

    The agent that begins has the contract in its instructions and those tools of `uses=` that no other agent has.
    """

    def __init__(self, definition: AgentDefinition[..., Any], first: Agent[Any], crossing: list[Gate]) -> None:
        self.definition, self.crossing = definition, crossing
        self.output = _output_of(definition)
        self._copies: dict[int, tuple[Agent[Any], Agent[Any]]] = {}
        self.elsewhere = {tool.name for member in _members(first) for tool in member.tools if _is_ours(tool)}
        self.first = self.copy(first, first=True)

    def copy(self, member: Agent[Any], *, first: bool = False) -> Agent[Any]:
        """Return the copy of an agent, made once."""
        if id(member) in self._copies:
            return self._copies[id(member)][1]
        tools: list[Tool] = [_step_of(tool) if isinstance(tool, FunctionTool) and not _is_ours(tool) else tool for tool in member.tools]
        changes: dict[str, Any] = {}
        if first:
            tools += [tool_of(tool) for name, tool in self.definition.uses.items() if name not in self.elsewhere]
            changes["instructions"] = _joined(member.instructions, instructions_of(self.definition))
        if isinstance(member.model, Model):
            changes["model"] = JournaledModel(member.model, None)
        if self.definition.contract.may_clarify or not _gives(member, self.definition):
            changes["output_type"] = self.output
        made = member.clone(tools=tools, **changes)
        self._copies[id(member)] = (member, made)
        made.handoffs = [self._hand_off(offered) for offered in member.handoffs]
        return made

    def _hand_off(self, offered: Agent[Any] | Handoff[Any, Any]) -> Handoff[Any, Any]:
        if isinstance(offered, Agent):
            return self._gated(handoff(self.copy(offered)), None, nested=False)
        inner = offered.on_invoke_handoff

        async def invoke(context: Any, arguments: str) -> Agent[Any]:
            return self.copy(await inner(context, arguments))

        made = dataclasses.replace(offered, on_invoke_handoff=invoke)
        return self._gated(made, offered.input_filter, nested=offered.nest_handoff_history is True)

    def _gated(self, made: Handoff[Any, Any], author: Callable[[HandoffInputData], Any] | None, *, nested: bool) -> Handoff[Any, Any]:
        if not self.crossing:
            return made

        async def gated(data: HandoffInputData) -> HandoffInputData:
            after = author(data) if author is not None else nest_handoff_history(data) if nested else data
            after = await after if inspect.isawaitable(after) else after
            await cross(self.crossing, handed_over(data, after))
            return after

        return dataclasses.replace(made, input_filter=gated)


def _members(first: Agent[Any]) -> list[Agent[Any]]:
    """Return the agents that can be reached by hand-offs whose target is known, the first one first."""
    found: list[Agent[Any]] = []
    left: list[Any] = [first]
    while left:
        member = left.pop(0)
        if isinstance(member, Handoff):
            member = member._agent_ref() if member._agent_ref is not None else None
        if isinstance(member, Agent) and all(member is not other for other in found):
            found.append(member)
            left.extend(member.handoffs)
    return found


def _is_ours(tool: Tool) -> bool:
    return isinstance(tool, FunctionTool) and isinstance(tool.on_invoke_tool, _Use)


def _joined(own: Any, contract: str) -> Any:
    """Return an agent's own instructions with the contract behind them."""
    if not callable(own):
        return f"{own}\n\n{contract}" if own else contract

    async def both(context: Any, member: Any) -> str:
        said = own(context, member)
        return f"{await said if inspect.isawaitable(said) else said}\n\n{contract}"

    return both


def _gives(member: Agent[Any], definition: AgentDefinition[..., Any]) -> bool:
    """Say whether an agent gives what the contract says by itself: that type, or by a schema of the author's own."""
    return member.output_type == definition.contract.result.annotation or isinstance(member.output_type, AgentOutputSchemaBase)


def _output_of(definition: AgentDefinition[..., Any]) -> AgentOutputSchema:
    annotation = definition.contract.result.annotation
    wanted: Any = Union[annotation, Clarify] if definition.contract.may_clarify else annotation  # noqa: UP007 - built at run time
    try:
        return AgentOutputSchema(wanted)
    except UserError:  # not every type can be described strictly
        return AgentOutputSchema(wanted, strict_json_schema=False)


def _check(definition: AgentDefinition[..., Any], first: Agent[Any]) -> None:
    """Refuse what would get into the way of supervision. Raises `DefinitionError`."""
    for member in _members(first):
        if member.model_settings.timeout is not None:
            raise DefinitionError(
                f"The agent {member.name!r} in {definition.name} has a ModelSettings.timeout, which would go on while a request waits to be "
                "repeated. Leave it out, and give the client one: AsyncOpenAI(timeout=…)."
            )
        for tool in member.tools:
            if not isinstance(tool, FunctionTool):
                continue
            ours = tool.on_invoke_tool.definition if isinstance(tool.on_invoke_tool, _Use) else None
            if ours is not None and definition.uses.get(tool.name) is not ours:
                raise DefinitionError(
                    f"The agent {member.name!r} has the tool {tool.name}, which uses= of {definition.name} does not list."
                )
            if ours is None and tool.name in definition.uses:
                raise DefinitionError(f"Two tools are called {tool.name!r}: one of {member.name!r}, one in uses= of {definition.name}.")
            if tool.needs_approval:
                raise DefinitionError(
                    f"The tool {tool.name} of {member.name!r} has needs_approval, which nobody here would answer. "
                    f"Make it an @effect(approve=…) and list it in uses= of {definition.name}."
                )


# -- the body ----------


def body_of(definition: AgentDefinition[..., Any], model: Agent[Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return the body that runs a crew: its first agent's instructions are joined by the contract, its prompt is the arguments.

    Args:
        definition: the agent's contract. Its gates that take a `HandOff` are taken out of it, and asked where one hands over.
        model: the agent that begins, with the agents that it may hand over to.

    Raises `DefinitionError` for tools that want an approval of the framework's own, and for timeouts of requests.
    """
    _check(definition, model)
    crossing = [gate for gate in definition.gates if takes_hand_off(gate)]
    definition.gates = tuple(gate for gate in definition.gates if gate not in crossing)
    crews: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[_Crew, RunConfig]] = weakref.WeakKeyDictionary()

    async def body(feedback: Feedback | None = None, **values: Any) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in crews:  # a provider's client belongs to a loop; and the author may have added to the crew until now
            _check(definition, model)
            crews[loop] = (_Crew(definition, model, crossing), _config())
        return await _run(definition, *crews[loop], prompt_of(definition, values, feedback))

    return body


def _config() -> RunConfig:
    return RunConfig(
        model_provider=JournaledProvider(MultiProvider()),
        model_settings=ModelSettings(retry=ModelRetrySettings(max_retries=0)),  # the journaled call repeats, and counts
        tracing_disabled=True,
        tool_not_found_behavior="return_error_to_model",
    )


async def _run(definition: AgentDefinition[..., Any], crew: _Crew, config: RunConfig, prompt: list[str]) -> Any:
    messages: list[TResponseInputItem] = [{"role": "user", "content": part} for part in prompt]
    try:
        result = await Runner.run(crew.first, messages, max_turns=REQUESTS_MAX, run_config=config)
    except MaxTurnsExceeded as error:
        raise Rejected(f"{definition.name} did not come to an end: {error}", mode="FM-1.5") from error
    except ModelRefusalError as error:
        raise ModelFailed(f"The model of {definition.name} refused to answer: {error.refusal}") from error
    except ModelBehaviorError as error:
        raise Rejected(f"{definition.name} gave nothing that fits: {error.message}", mode="SYS-schema") from error
    except Rejected as error:  # by a gate on a hand-off, or half an answer: of this attempt, not of a call that it made
        raise Rejected(error.message, mode=error.mode) from None
    except _TRIPPED as error:
        raise Rejected(f"A guardrail of {definition.name} tripped: {error}") from error
    except UserError as error:
        cause = error.__cause__
        if isinstance(cause, ChargehandError):
            raise cause from None  # of a call that a tool made: the framework wraps it
        raise ModelFailed(f"The crew of {definition.name} cannot be run: {error.message}") from error
    if result.interruptions:
        raise ModelFailed(
            f"A tool of an agent in {definition.name} wants an approval of the framework's own. Make it an @effect(approve=…)."
        )
    return result.final_output
