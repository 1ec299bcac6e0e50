"""LangGraph under supervision: the body of an agent that names a graph.

The graph runs in memory, from its start in each incarnation of the body; what it is made of comes from the journal where it is there: the
requests of its chat models (`journaled`), its tools (`tool_of`), the answers to its interrupts. The graph's own checkpointer is put aside,
because it would be a second truth beside the journal.

A node that was interrupted runs again from its start. The requests that it made before are answered as they were, from what this body has
heard already, by the task that asks, the request, and how often it asked.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints, is_typeddict

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableParallel, RunnableSequence
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError, is_invalid_resume
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command, Interrupt
from pydantic import BaseModel, ValidationError

from chargehand.adapters.asking import Answer, Live, ask, ask_from_thread
from chargehand.adapters.people import ask_person
from chargehand.adapters.prices import price_of
from chargehand.adapters.prompting import (
    REQUESTS_MAX,
    instructions_of,
    plain,
    prompt_of,
    refusal_of,
    schema_of,
    used_as_text,
    used_from_thread,
)
from chargehand.contracts import digest_of, explain
from chargehand.errors import DefinitionError, ModelFailed, Rejected
from chargehand.supervise.definitions import AgentDefinition, Definition
from chargehand.supervise.failing import paths_of
from chargehand.verdicts import Feedback

__all__ = ["body_of", "journaled", "tool_of"]

STEPS_MAX = 2 * REQUESTS_MAX
"""Steps of a graph in one attempt, where its author sets no `recursion_limit`: a request and a round of tools each."""

T = TypeVar("T", bound=Runnable[Any, Any])


# -- requests ----------


@dataclass(slots=True)
class _Heard:
    """What the models said to one run of a graph, by the task that asked: a task that is run again is told the same."""

    said: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    def again(self, key: tuple[str, str]) -> tuple[bool, Any]:
        """Say whether this request of the task was answered before its interruption, and what the answer was."""
        known, number = self.said.setdefault(key, []), self.asked[key]
        self.asked[key] += 1
        return (True, known[number]) if number < len(known) else (False, None)


_heard: contextvars.ContextVar[_Heard | None] = contextvars.ContextVar("chargehand_heard", default=None)


def journaled(chat: BaseChatModel) -> BaseChatModel:
    """Return a chat model whose every request is a durable call of the agent in whose graph it is asked.

    The client's own retries are off where that is known how; raises `DefinitionError` where a model keeps them.
    """
    return JournaledChat(inner=_asked_once(chat))


class JournaledChat(BaseChatModel):
    """A chat model with a journal before it. Tools and structured output are bound as the model itself binds them."""

    inner: BaseChatModel
    cache: Any = False

    @property
    def _llm_type(self) -> str:
        return self.inner._llm_type

    @property
    def model_name(self) -> str:
        """The name of the model, as its provider has it."""
        return str(getattr(self.inner, "model_name", None) or getattr(self.inner, "model", None) or self.inner._llm_type)

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return self.inner._identifying_params

    def bind_tools(self, tools: Any, **options: Any) -> Runnable[Any, Any]:
        """Bind tools as the model does."""
        bound: Runnable[Any, Any] = self._instead(self.inner.bind_tools(tools, **options))
        return bound

    def with_structured_output(self, schema: Any, **options: Any) -> Runnable[Any, Any]:
        """Have structured output as the model has it."""
        structured: Runnable[Any, Any] = self._instead(self.inner.with_structured_output(schema, **options))
        return structured

    def _instead(self, made: Any) -> Any:
        """Return what the inner model made of itself, with this one in its place."""
        if made is self.inner:
            return self
        if isinstance(made, RunnableBinding):
            return made.model_copy(update={"bound": self._instead(made.bound)})
        if isinstance(made, RunnableSequence):
            return RunnableSequence(*(self._instead(part) for part in made.steps), name=made.name)
        if isinstance(made, RunnableParallel):
            return RunnableParallel({name: self._instead(part) for name, part in made.steps__.items()})
        return made

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        asked, heard = self._asked(messages, stop, options), _heard.get()
        key = (_task(), asked)
        known, form = (False, None) if heard is None else heard.again(key)
        if not known:
            form = await ask(self.model_name, asked, self._live(messages, stop, options), tokens_at_most=_tokens(self.inner))
            if heard is not None:
                heard.said[key].append(form)
        return _result(form)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        asked, heard = self._asked(messages, stop, options), _heard.get()
        key = (_task(), asked)
        known, form = (False, None) if heard is None else heard.again(key)
        if not known:
            form = ask_from_thread(self.model_name, asked, self._live(messages, stop, options), tokens_at_most=_tokens(self.inner))
            if heard is not None:
                heard.said[key].append(form)
        return _result(form)

    def _asked(self, messages: list[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]) -> str:
        """Return the digest of what an answer depends on. Messages have ids that differ each time."""
        return digest_of([[plain(message, without={"id"}) for message in messages], stop, plain(options), plain(self._identifying_params)])

    def _live(self, messages: list[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]) -> Live:
        async def live() -> Answer:
            try:
                result = await self.inner._agenerate(messages, stop=stop, **options)
            except Exception as error:
                refused = _refused(self.model_name, error)
                if refused is None:
                    raise
                raise refused from error
            return _answer(self.model_name, result)

        return live


def _asked_once(chat: BaseChatModel) -> BaseChatModel:
    """Return a model whose client does not repeat requests by itself: the journaled call repeats, and counts."""
    if (client := getattr(chat, "root_async_client", None)) is not None:  # langchain-openai, whose default is two
        once = client.with_options(max_retries=0)
        return chat.model_copy(update={"root_async_client": once, "async_client": once.chat.completions})
    if getattr(chat, "max_retries", None):
        raise DefinitionError(
            f"{type(chat).__name__} repeats requests by itself (max_retries={chat.max_retries}), each paid for and none counted. "  # type: ignore[attr-defined]
            "Give it max_retries=0: the journaled call repeats."
        )
    return chat


def _task() -> str:
    """Return the task of the graph that runs now, the same when it is run again after an interrupt."""
    config = var_child_runnable_config.get() or {}
    return str(config.get("configurable", {}).get("checkpoint_ns", ""))


def _tokens(chat: BaseChatModel) -> int:
    return int(getattr(chat, "max_tokens", None) or 0)


def _refused(model: str, error: Exception) -> Exception | None:
    """Return what a client raised in our words; None for what is not the provider's doing."""
    name = type(error).__name__
    if name == "ContentFilterFinishReasonError":
        return ModelFailed(f"The model {model} refused to answer: {error}")
    if name == "LengthFinishReasonError" or isinstance(error, (ValidationError, OutputParserException)):
        return Rejected(f"The model {model} gave nothing that fits: {error}", mode="SYS-schema")
    return refusal_of(model, error)


def _answer(model: str, result: ChatResult) -> Answer:
    message = result.generations[0].message
    if refusal := message.additional_kwargs.get("refusal") or _refusal_in(message.content):
        raise ModelFailed(f"The model {model} refused to answer: {refusal}")
    if "content_filter" in str([result.generations[0].generation_info, message.response_metadata]):
        raise ModelFailed(f"The model {model} refused to answer: its provider's content filter stopped it.")
    form = {
        "said": [[plain(given.message), plain(given.generation_info)] for given in result.generations],
        "output": plain(result.llm_output),
    }
    used: Any = message.usage_metadata if isinstance(message, AIMessage) else None
    if used is None:
        return Answer(form)
    cached = (used.get("input_token_details") or {}).get("cache_read") or 0
    return Answer(form, used["input_tokens"], used["output_tokens"], price_of(model, used["input_tokens"], used["output_tokens"], cached))


def _refusal_in(content: Any) -> str | None:
    parts = content if isinstance(content, list) else ()
    return next((part.get("refusal") for part in parts if isinstance(part, dict) and part.get("type") == "refusal"), None)


def _result(form: Any) -> ChatResult:
    said = [ChatGeneration(message=AIMessage.model_validate(message), generation_info=info) for message, info in form["said"]]
    return ChatResult(generations=said, llm_output=form["output"])


# -- tools ----------


def tool_of(definition: Definition[..., Any]) -> StructuredTool:
    """Return a read, effect or agent as a tool of LangChain. What the supervisor fills is not in its schema.

    The contract lists it in `uses=` as well.
    """

    async def use(**arguments: Any) -> str:
        return await used_as_text(definition, arguments)

    def use_from_thread(**arguments: Any) -> str:
        return used_from_thread(definition, arguments)

    return StructuredTool(
        name=definition.name,
        description=(definition.__doc__ or definition.name).strip(),
        args_schema=schema_of(definition),
        func=use_from_thread,
        coroutine=use,
    )


# -- the body ----------


def body_of(definition: AgentDefinition[..., Any], model: Any) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return the body that runs a graph: the arguments go into its state, the result comes from it, its interrupts go to people.

    Args:
        definition: the agent's contract.
        model: a graph, compiled or not, or an entrypoint of the functional API.

    Raises `DefinitionError` for a graph into whose state an argument does not go.
    """
    graph: Pregel[Any, Any, Any, Any] = model.compile() if isinstance(model, StateGraph) else model
    if not isinstance(graph, Pregel):
        raise DefinitionError(f"The agent {definition.name} names a {type(model).__name__}. Give a graph, compiled or not.")
    keys = _keys(graph)
    lost = [] if keys is None or "messages" in keys else [p.name for p in definition.contract.parameters if p.name not in keys]
    if keys is not None and lost:
        raise DefinitionError(
            f"The graph of {definition.name} takes {', '.join(sorted(keys))}, and no {lost[0]!r}. Call a key of its state {lost[0]!r}, "
            "or let it take messages."
        )

    async def body(feedback: Feedback | None = None, **values: Any) -> Any:
        state = await _run(definition, graph, _given(definition, keys, values, feedback))
        return _gives(definition, graph, state)

    return body


def _keys(graph: Pregel[Any, Any, Any, Any]) -> set[str] | None:
    """Return the keys of a graph's input; None for one that takes a single value."""
    if not isinstance(graph, CompiledStateGraph):
        return None
    return set(graph.builder.schemas[graph.builder.input_schema])


def _given(
    definition: AgentDefinition[..., Any], keys: set[str] | None, values: Mapping[str, Any], feedback: Feedback | None
) -> dict[str, Any] | Any:
    """Return the graph's input: arguments by name; the prompt as messages; what came of earlier attempts as feedback."""
    if keys is None:
        return next(iter(values.values())) if len(values) == 1 else dict(values)
    given = {name: value for name, value in values.items() if name in keys}
    if "messages" in keys and "messages" not in given:
        prompt = prompt_of(definition, values, feedback)
        given["messages"] = [SystemMessage(instructions_of(definition)), *(HumanMessage(part) for part in prompt)]
    if "feedback" in keys:
        given["feedback"] = None if feedback is None else str(feedback)
    return given


async def _run(definition: AgentDefinition[..., Any], graph: Pregel[Any, Any, Any, Any], given: Any) -> Any:
    """Run a graph to its end; what interrupts it is put before a person, and it goes on with the answers."""
    mine = graph.copy({"checkpointer": InMemorySaver()})
    config: Any = {"configurable": {"thread_id": "run"}}
    if "recursion_limit" not in (graph.config or {}):
        config["recursion_limit"] = STEPS_MAX
    heard = _Heard()
    token = _heard.set(heard)
    try:
        left: tuple[Interrupt[Any], ...] = ()
        unfit: str | None = None
        while True:
            try:
                state = await mine.ainvoke(given, config, version="v1")
            except ValidationError as error:
                if not is_invalid_resume(error):
                    raise
                unfit = explain(error)
            else:
                left, unfit = _interrupts(state), None
                if not left:
                    return state
            heard.asked.clear()  # tasks that were interrupted begin again
            answers = await asyncio.gather(*(_answered(definition, one, unfit) for one in left))
            given = Command(resume={one.id: answer for one, answer in zip(left, answers, strict=True)})
    except GraphRecursionError as error:
        raise Rejected(f"{definition.name} did not come to an end: {error}", mode="FM-1.5") from error
    except OutputParserException as error:
        raise Rejected(f"{definition.name} gave nothing that fits: {error}", mode="SYS-schema") from error
    except Rejected as error:
        if not any("/model~" in path for path in paths_of(error)):
            raise
        raise Rejected(error.message, mode=error.mode) from None  # of this attempt's output, not of a call that it made
    finally:
        _heard.reset(token)


def _interrupts(state: Any) -> tuple[Interrupt[Any], ...]:
    return tuple(state.get("__interrupt__", ())) if isinstance(state, dict) else ()


async def _answered(definition: AgentDefinition[..., Any], one: Interrupt[Any], unfit: str | None) -> Any:
    """Put an interrupt before a person."""
    about = plain(one.value)
    said = about.get("question") if isinstance(about, dict) else about
    question = said if isinstance(said, str) else f"{definition.name} waits for an answer."
    if unfit is not None:
        question += f" (The answer before did not fit: {unfit})"
    schema = one.response_schema if isinstance(one.response_schema, dict) else None
    return await ask_person("interrupt", question, about=about, schema=schema)


# -- what it gives ----------


def _gives(definition: AgentDefinition[..., Any], graph: Pregel[Any, Any, Any, Any], state: Any) -> Any:
    """Return the output in the state that a graph ended with; the order of the rules is that of the guide."""
    annotation = definition.contract.result.annotation
    if not isinstance(graph, CompiledStateGraph):
        return state
    if state.get("structured_response") is not None:
        return state["structured_response"]
    keys = list(graph.builder.schemas[graph.builder.output_schema])
    if len(keys) == 1 and keys != ["messages"]:
        return state.get(keys[0])
    wanted = _fields(annotation)
    if wanted and all(name in state for name in wanted):
        return {name: state[name] for name in wanted}
    if state.get("messages"):
        said = str(state["messages"][-1].text)
        return said if annotation is str else _read(definition, said)
    return dict(state)


def _fields(annotation: Any) -> list[str]:
    """Return the names of what a structured type needs; none for any other type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [name for name, one in annotation.model_fields.items() if one.is_required()]
    if is_dataclass(annotation):
        return [one.name for one in fields(annotation)]
    return list(get_type_hints(annotation)) if is_typeddict(annotation) else []


def _read(definition: AgentDefinition[..., Any], said: str) -> Any:
    try:
        return json.loads(said)
    except json.JSONDecodeError as error:
        raise Rejected(f"{definition.name} gave nothing that fits: its last message is no JSON ({error})", mode="SYS-schema") from error
