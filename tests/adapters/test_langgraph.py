"""Graphs of LangGraph: real HTTP to a stand-in for a model's endpoint, LangChain's own client between."""

from __future__ import annotations

import asyncio
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_openai import ChatOpenAI
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel

from chargehand import (
    Answer,
    Budget,
    DefinitionError,
    ModelFailed,
    OutsideRun,
    Person,
    Reject,
    Rejected,
    Retry,
    Supervisor,
    agent,
    give_up,
    retry,
    workflow,
)
from chargehand.adapters.langgraph import journaled, tool_of
from chargehand.testing.standin import ModelStandIn, Reply, calls, fails, gives, refuses, says

from .buying import ASKED, MADE, Bench, Order, Part, buying, dear, dear_place, place, prices

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langgraph.prebuilt import create_react_agent

BOUGHT = {"supplier": "bolt", "cents": 60}
FINAL = says('{"supplier": "bolt", "cents": 60}')
TO_ORDER = (calls(("prices", {"sku": "M8"})), calls(("place", {"supplier": "bolt", "quantity": 4})), FINAL)


def chat(server: ModelStandIn, **options: Any) -> ChatOpenAI:
    """Return LangChain's client of the stand-in, by the chat API."""
    return ChatOpenAI(**{"model": server.model, "base_url": server.base_url, "api_key": server.api_key, **options})


def responses(server: ModelStandIn) -> ChatOpenAI:
    """Return LangChain's client of the stand-in, by the responses API."""
    return chat(server, use_responses_api=True)


def reacting(server: ModelStandIn, api: Any = chat, tools: Any = (prices, place), **options: Any) -> Any:
    """Return a graph that calls tools until it answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_react_agent(journaled(api(server)), [tool_of(tool) for tool in tools], prompt="Be brief.", **options)


@pytest.mark.parametrize("api", [chat, responses])
async def test_requests_and_tools_are_journaled_calls(bench: Bench, api: Any) -> None:
    """Three requests, a read and an effect stand in the journal under the agent's path; the last message is the output."""
    async with ModelStandIn(*TO_ORDER) as server:
        await bench.run(buying(reacting(server, api)))
    assert bench.value == Order(**BOUGHT)
    assert bench.paths("call.done") == ["model", "prices", "model", "model"]
    assert bench.paths("effect.done") == ["place"]
    assert (ASKED, [name for name, _ in MADE]) == (["M8"], ["bolt"])
    assert len(server.requests) == 3
    asked = str(server.requests[0].body)
    assert "Be brief." in asked
    assert "Buys parts." in asked


@pytest.mark.parametrize("api", [chat, responses])
async def test_a_structured_response_is_the_output(bench: Bench, api: Any) -> None:
    """A graph with a response format has a request of its own for it; what it gives comes before the last message."""
    async with ModelStandIn(says("done"), gives(BOUGHT)) as server:
        await bench.run(buying(reacting(server, api, response_format=Order)))
    assert bench.value == Order(**BOUGHT)
    assert bench.paths("call.done") == ["model", "model"]


async def test_feedback_reaches_the_model_as_a_message(bench: Bench) -> None:
    """A gate rejects the first output; the second attempt's prompt says why, and what was rejected."""
    async with ModelStandIn(says('{"supplier": "acme", "cents": 300}'), FINAL) as server:
        await bench.run(buying(reacting(server), gates=[dear], ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    asked = str(server.requests[1].body["messages"])
    assert "300 cents is more than the 100 that may be spent" in asked
    assert "attempt 2" in asked


@pytest.mark.parametrize(
    ("said", "options"),
    [
        (says("I bought it."), {}),
        (gives(BOUGHT, fault="wrong_schema"), {"response_format": Order}),
        (gives(BOUGHT, fault="truncated"), {"response_format": Order}),
    ],
    ids=["no JSON", "another type", "half a JSON"],
)
async def test_an_output_that_does_not_fit_uses_a_rung(bench: Bench, said: Reply, options: Any) -> None:
    """What does not fit is a rejected attempt, and the next one is told."""
    first, last = ([said], [FINAL]) if not options else ([says("done"), said], [says("done", nth=3), gives(BOUGHT)])
    async with ModelStandIn(*first, *last) as server:
        await bench.run(buying(reacting(server, **options), ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    (rejected,) = [event for event in bench.events if event.type == "agent.rejected"]
    assert rejected.payload["verdicts"][0]["mode"] == "SYS-schema"
    assert "attempt 2" in str(server.requests[-1].body["messages"])


@pytest.mark.parametrize("api", [chat, responses])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limit", "NotDone"),
        ("overloaded", "NotDone"),
        ("server_error", "ConnectionError"),
        ("dropped", "ConnectionError"),
        ("garbled", "ConnectionError"),
    ],
)
async def test_what_may_go_better_is_asked_again(bench: Bench, api: Any, fault: Any, kind: str) -> None:
    """A limit, an overload, a server's error, a cut connection and half a body are repeated by the journaled call, in the same attempt."""
    async with ModelStandIn(fails(fault, seconds=0.01), FINAL) as server:
        await bench.run(buying(reacting(server, api), retry_errors=Retry(attempts=1)))
    assert bench.value.cents == 60
    assert len(server.requests) == 2
    (again,) = [event for event in bench.events if event.type == "call.retrying"]
    assert again.payload["e"]["type"] == kind


@pytest.mark.parametrize("api", [chat, responses])
@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (fails("quota"), "RateLimitError"),
        (fails("context_length"), "refuses the request"),
        (refuses("I will not."), "I will not."),
        (says("Let me tell you all of it.", fault="content_filter"), "refused to answer"),
    ],
    ids=["quota", "context", "refusal", "filter"],
)
async def test_what_will_not_go_better_is_not_asked_again(bench: Bench, api: Any, reply: Reply, says: str) -> None:
    """A used-up account, a conversation that is too long, a refusal and a content filter fail the attempt at once."""
    async with ModelStandIn(reply) as server:
        await bench.run(buying(reacting(server, api)))
    assert isinstance(bench.failure, ModelFailed), bench.failure
    assert says in str(bench.failure)
    assert len(server.requests) == 1


async def test_tokens_are_counted_and_a_budget_stops_the_next_request(bench: Bench) -> None:
    """Two requests are allowed and settled with their tokens; the third is not made, and what was ordered is cancelled."""
    async with ModelStandIn(*TO_ORDER) as server:
        await bench.run(buying(reacting(server), budget=Budget(calls=2)))
    assert bench.failure.code == "budget-exhausted"
    assert len(server.requests) == 2
    assert MADE[-1][0] == "cancel"
    spent = [event.payload["spent"] for event in bench.events if event.type == "call.done" and "spent" in event.payload]
    assert len(spent) == 2
    assert all(amount["tokens"] > 0 and Decimal(amount["usd"]) == 0 for settled in spent for amount in settled.values())


async def test_arguments_that_do_not_fit_are_told_to_the_model(bench: Bench) -> None:
    """A tool call with a word for a number reaches no tool; the model is told and calls it rightly."""
    wrong = calls(("place", {"supplier": "bolt", "quantity": 4}), fault="wrong_schema")
    async with ModelStandIn(wrong, TO_ORDER[1], FINAL) as server:
        await bench.run(buying(reacting(server)))
    assert [name for name, _ in MADE] == ["bolt"]
    assert "does not fit" in str(server.requests[1].body["messages"][-1])


async def test_a_denied_effect_is_told_to_the_model(bench: Bench) -> None:
    """A person says no, with a reason; the model hears it and ends without the order."""
    async with ModelStandIn(calls(("dear_place", {"supplier": "acme"})), says('{"supplier": "none", "cents": 0}')) as server:
        buy = buying(reacting(server, tools=[dear_place]), uses=[dear_place])
        async with Supervisor(str(bench.path), [buy]) as supervisor:
            run = await supervisor.start(buy(Part(sku="M8", quantity=4)), "r")
            while not (waiting := await supervisor.waiting()):
                await asyncio.sleep(0.01)
            await supervisor.decide(waiting[0].id, Reject("too dear"), by=Person("ann"))
            assert (await run.result(20)).supplier == "none"
    assert MADE == []
    assert "too dear" in str(server.requests[1].body["messages"][-1])


async def test_a_graph_that_never_ends_is_stopped(bench: Bench) -> None:
    """A hundred steps are enough: the attempt is rejected as one that does not know when to stop."""

    class State(TypedDict):
        part: Part

    builder = StateGraph(State)
    builder.add_node("again", lambda state: state)
    builder.add_edge(START, "again")
    builder.add_edge("again", "again")
    await bench.run(buying(builder))
    assert isinstance(bench.failure, Rejected)
    assert bench.failure.mode == "FM-1.5"


# -- state ----------


class Bought(TypedDict):
    """The state of a graph without messages."""

    part: Part
    feedback: str | None
    supplier: str
    cents: int


async def test_arguments_go_into_the_state_by_name_and_the_output_comes_from_its_fields(bench: Bench) -> None:
    """A graph of plain nodes, not compiled: it gets the argument and the feedback, a sync node asks a model from its thread."""
    seen: list[Any] = []
    async with ModelStandIn(says("acme"), says("bolt")) as server:
        model = journaled(chat(server))

        def choose(state: Bought) -> dict[str, Any]:
            seen.append((state["part"], state["feedback"]))
            found = prices_tool.invoke({"sku": state["part"].sku})
            said = str(model.invoke(f"Who of {found}? {state['feedback']}").text)
            return {"supplier": said, "cents": 300 if said == "acme" else 60}

        prices_tool = tool_of(prices)
        builder = StateGraph(Bought)
        builder.add_node("choose", choose)
        builder.add_edge(START, "choose")
        await bench.run(buying(builder, gates=[dear], ladder=[retry(2), give_up()]))
    assert bench.value == Order(**BOUGHT)
    assert seen[0] == (Part(sku="M8", quantity=4), None)
    assert "300 cents" in seen[1][1]
    assert bench.paths("call.done") == ["prices", "model", "prices", "model"]


async def test_a_lone_output_key_is_the_output(bench: Bench) -> None:
    """A graph that says in its output schema what it gives, gives that."""

    class Out(TypedDict):
        order: Order

    builder = StateGraph(Bought, output_schema=Out)
    builder.add_node("choose", lambda state: {"order": Order(**BOUGHT)})
    builder.add_edge(START, "choose")
    await bench.run(buying(builder.compile()))
    assert bench.value == Order(**BOUGHT)


async def test_an_entrypoint_gives_what_it_returns(bench: Bench) -> None:
    """A workflow of the functional API takes a lone argument as it is."""

    @entrypoint()
    async def choose(part: Part) -> Order:
        return Order(supplier=part.sku, cents=1)

    await bench.run(buying(choose))
    assert bench.value == Order(supplier="M8", cents=1)


def test_an_argument_without_a_place_is_refused() -> None:
    """It would be lost silently."""

    class State(TypedDict):
        other: str

    builder = StateGraph(State)
    builder.add_node("n", lambda state: state)
    builder.add_edge(START, "n")
    with pytest.raises(DefinitionError, match="takes other, and no 'part'"):
        buying(builder)


# -- interrupts ----------


class Choice(BaseModel):
    """What a person chooses."""

    supplier: str


async def answered(bench: Bench, buy: Any, *answers: Any) -> list[Any]:
    """Run a workflow whose graph asks a person, who gives these answers; return what was shown."""
    shown = []
    bench.supervisor = Supervisor(str(bench.path), [buy])
    async with bench.supervisor as supervisor:
        run = await supervisor.start(buy(Part(sku="M8", quantity=4)), "r")
        for answer in answers:
            while not (waiting := await supervisor.waiting()):
                await asyncio.sleep(0.01)
            shown.append(waiting[0].shows)
            await supervisor.decide(waiting[0].id, Answer(answer), by=Person("ann"))
            while waiting[0].id in [entry.id for entry in await supervisor.waiting()]:
                await asyncio.sleep(0.01)
        bench.value = await run.result(20)
        await bench.look()
    return shown


async def test_an_interrupt_becomes_a_question_to_a_person(bench: Bench) -> None:
    """The graph goes on with the answer; the request before the interrupt, in the same node, is not made again; an unfit answer is asked anew."""
    async with ModelStandIn(says("acme or bolt"), says("thanks")) as server:
        model = journaled(chat(server))

        async def choose(state: Bought) -> dict[str, Any]:
            found = await model.ainvoke("Who has it?")
            choice = interrupt({"question": f"Which: {found.text}?"}, response_schema=Choice)
            await model.ainvoke("Say thanks.")
            return {"supplier": choice.supplier, "cents": 60}

        builder = StateGraph(Bought)
        builder.add_node("choose", choose)
        builder.add_edge(START, "choose")
        shown = await answered(bench, buying(builder), {"suplier": "?"}, {"supplier": "bolt"})
    assert bench.value == Order(**BOUGHT)
    assert shown[0]["question"] == "Which: acme or bolt?"
    assert shown[0]["answer"]["properties"]["supplier"]["type"] == "string"
    assert "did not fit" in shown[1]["question"]
    assert len(server.requests) == 2


async def test_interrupts_at_once_are_answered_by_id(bench: Bench) -> None:
    """Two nodes ask at the same time; each gets its own answer, whoever is answered first."""

    class State(TypedDict):
        part: Part
        supplier: str
        cents: int

    builder = StateGraph(State)
    builder.add_node("who", lambda state: {"supplier": interrupt("Who?")})
    builder.add_node("cents", lambda state: {"cents": interrupt("How much?")})
    builder.add_edge(START, "who")
    builder.add_edge(START, "cents")
    buy = buying(builder)
    bench.supervisor = Supervisor(str(bench.path), [buy])
    async with bench.supervisor as supervisor:
        run = await supervisor.start(buy(Part(sku="M8", quantity=4)), "r")
        while len(waiting := await supervisor.waiting()) < 2:
            await asyncio.sleep(0.01)
        for entry in sorted(waiting, key=lambda entry: entry.title):
            await supervisor.decide(entry.id, Answer(60 if entry.title == "How much?" else "bolt"), by=Person("ann"))
        assert await run.result(20) == Order(**BOUGHT)


async def test_a_question_outlives_the_process(bench: Bench) -> None:
    """The worker leaves while a person is asked; another one gets the answer, asks the model nothing anew, and asks no second time."""
    async with ModelStandIn(says("acme or bolt")) as server:
        model = journaled(chat(server))

        async def choose(state: Bought) -> dict[str, Any]:
            found = await model.ainvoke("Who has it?")
            return {"supplier": interrupt(f"Which: {found.text}?"), "cents": 60}

        builder = StateGraph(Bought)
        builder.add_node("choose", choose)
        builder.add_edge(START, "choose")
        buy = buying(builder)
        async with Supervisor(str(bench.path), [buy]) as supervisor:
            await supervisor.start(buy(Part(sku="M8", quantity=4)), "r")
            while not await supervisor.waiting():
                await asyncio.sleep(0.01)
        shown = await answered(bench, buy, "bolt")
    assert shown[0]["question"] == "Which: acme or bolt?"
    assert bench.value == Order(**BOUGHT)
    assert len(server.requests) == 1
    assert bench.paths("question.asked") == ["interrupt"]


# -- what is refused ----------


def test_a_client_that_repeats_by_itself_is_refused() -> None:
    """Its repetitions would be paid for and not counted."""

    class Repeating(FakeListChatModel):
        max_retries: int = 2

    with pytest.raises(DefinitionError, match="max_retries=0"):
        journaled(Repeating(responses=["hello"]))


async def test_a_journaled_model_is_asked_in_a_body_only() -> None:
    """Outside there is no journal."""
    with pytest.raises(OutsideRun):
        await journaled(FakeListChatModel(responses=["hello"])).ainvoke("hi")


async def test_any_chat_model_of_langchain_can_be_journaled(bench: Bench, tmp_path: Path) -> None:
    """One that reports no usage is asked and recorded as well, but counts as nothing that was measured."""
    builder = StateGraph(MessagesState)
    model = journaled(FakeListChatModel(responses=['{"supplier": "bolt", "cents": 60}']))

    async def say(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder.add_node("say", say)
    builder.add_edge(START, "say")

    @agent(name="buyer", role="Buys.", model=builder, ladder=[give_up()])
    async def buyer(part: Part) -> Order:
        """Buy."""

    @workflow(name="buy")
    async def buy(part: Part) -> Order:
        return await buyer(part)

    await bench.run(buy)
    assert bench.value == Order(**BOUGHT)
