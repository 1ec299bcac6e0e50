"""Agents of the OpenAI Agents SDK: real HTTP to a stand-in for a model's endpoint, the framework's own client between."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from openai import AsyncOpenAI

from agents import (
    Agent,
    GuardrailFunctionOutput,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    handoff,
    input_guardrail,
)
from chargehand import (
    Budget,
    Clarify,
    DefinitionError,
    GateContext,
    ModelFailed,
    Person,
    Reject,
    Rejected,
    Retry,
    Supervisor,
    gate,
    give_up,
    retry,
    workflow,
)
from chargehand import agent as supervised
from chargehand.adapters.openai_agents import HandOff, tool_of
from chargehand.testing.standin import ModelStandIn, Reply, calls, fails, gives, refuses, says

from .buying import ASKED, MADE, Bench, Order, Part, buying, dear, dear_place, place

BOUGHT = {"supplier": "bolt", "cents": 60}
FINAL = gives(BOUGHT)
TO_ORDER = (calls(("prices", {"sku": "M8"})), calls(("place", {"supplier": "bolt", "quantity": 4})), FINAL)


def chat(server: ModelStandIn, **options: Any) -> OpenAIChatCompletionsModel:
    """Return a model of the framework that asks the stand-in by the chat API."""
    client = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
    return OpenAIChatCompletionsModel(**{"model": server.model, "openai_client": client, **options})


def responses(server: ModelStandIn) -> OpenAIResponsesModel:
    """Return a model of the framework that asks the stand-in by the responses API."""
    return OpenAIResponsesModel(model=server.model, openai_client=AsyncOpenAI(base_url=server.base_url, api_key=server.api_key))


def buyer(server: ModelStandIn, api: Any = chat, **options: Any) -> Agent[Any]:
    """Return an agent as its author wrote it."""
    return Agent(**{"name": "buyer", "model": api(server), "instructions": "Be brief.", **options})


@pytest.mark.parametrize("api", [chat, responses])
async def test_requests_and_tools_are_journaled_calls(bench: Bench, api: Any) -> None:
    """Three requests, a read and an effect stand in the journal under the agent's path; the output has passed the schema."""
    async with ModelStandIn(*TO_ORDER) as server:
        await bench.run(buying(buyer(server, api)))
    assert bench.value == Order(**BOUGHT)
    assert bench.paths("call.done") == ["model", "prices", "model", "model"]
    assert bench.paths("effect.done") == ["place"]
    assert (ASKED, [name for name, _ in MADE]) == (["M8"], ["bolt"])
    assert len(server.requests) == 3
    asked = str(server.requests[0].body)
    assert "Be brief." in asked
    assert "Buys parts." in asked
    assert "Choose the cheapest supplier" in asked


async def test_the_authors_agent_is_left_alone(bench: Bench) -> None:
    """A copy runs: the agent has its own tools, model and instructions afterwards, and can be run without supervision."""
    async with ModelStandIn(*TO_ORDER, says("hello")) as server:
        own = buyer(server)
        await bench.run(buying(own))
        assert (own.tools, own.instructions, type(own.model)) == ([], "Be brief.", OpenAIChatCompletionsModel)
        assert (await Runner.run(own, "hi")).final_output == "hello"


async def test_feedback_reaches_the_model_as_a_message(bench: Bench) -> None:
    """A gate rejects the first output; the second attempt's prompt says why, and what was rejected."""
    async with ModelStandIn(gives({"supplier": "acme", "cents": 300}), FINAL) as server:
        await bench.run(buying(buyer(server), gates=[dear], ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    asked = str(server.requests[1].body["messages"])
    assert "300 cents is more than the 100 that may be spent" in asked
    assert "attempt 2" in asked
    assert '"supplier": "acme"' in asked


@pytest.mark.parametrize("api", [chat, responses])
@pytest.mark.parametrize(
    "said", [gives(BOUGHT, fault="wrong_schema"), gives(BOUGHT, fault="truncated")], ids=["another type", "half a JSON"]
)
async def test_an_output_that_does_not_fit_uses_a_rung(bench: Bench, api: Any, said: Reply) -> None:
    """What does not fit is a rejected attempt, and the next one is told."""
    async with ModelStandIn(said, FINAL) as server:
        await bench.run(buying(buyer(server, api), ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    (rejected,) = [event for event in bench.events if event.type == "agent.rejected"]
    assert rejected.payload["verdicts"][0]["mode"] == "SYS-schema"
    assert len(server.requests) == 2
    assert "gave nothing that fits" in str(server.requests[1].body)


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
        await bench.run(buying(buyer(server, api), retry_errors=Retry(attempts=1)))
    assert bench.value.cents == 60
    assert len(server.requests) == 2
    (again,) = [event for event in bench.events if event.type == "call.retrying"]
    assert again.payload["e"]["type"] == kind
    assert not [event for event in bench.events if event.type == "agent.errored"]


@pytest.mark.parametrize("api", [chat, responses])
@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (fails("quota"), "RateLimitError"),
        (fails("context_length"), "BadRequestError"),
        (refuses("I will not."), "I will not."),
        (gives(BOUGHT, fault="content_filter"), "refused to answer"),
    ],
    ids=["quota", "context", "refusal", "filter"],
)
async def test_what_will_not_go_better_is_not_asked_again(bench: Bench, api: Any, reply: Reply, says: str) -> None:
    """A used-up account, a conversation that is too long, a refusal and a content filter fail the attempt at once, in the provider's words."""
    async with ModelStandIn(reply) as server:
        await bench.run(buying(buyer(server, api)))
    assert isinstance(bench.failure, ModelFailed), bench.failure
    assert says in str(bench.failure)
    assert len(server.requests) == 1


@pytest.mark.parametrize(("key", "name", "says"), [("wrong", "stand-in", "Authentication"), ("stand-in", "gpt-none", "NotFound")])
async def test_a_wrong_key_and_an_unknown_model_are_told(bench: Bench, key: str, name: str, says: str) -> None:
    """They fail the run with what the provider said."""
    async with ModelStandIn(FINAL) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key=key)
        await bench.run(buying(buyer(server, model=OpenAIChatCompletionsModel(model=name, openai_client=client))))
    assert isinstance(bench.failure, ModelFailed)
    assert says in str(bench.failure)


async def test_a_missing_key_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for when a request is to be made, and not a second time."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    await bench.run(buying(Agent(name="buyer", model="gpt-5-mini")))
    assert isinstance(bench.failure, ModelFailed)
    assert "OPENAI_API_KEY" in str(bench.failure)
    assert bench.paths("agent.errored") == ["buyer"]


async def test_tokens_are_counted(bench: Bench) -> None:
    """Each request's tokens are settled in the event of its answer; a model without a known price costs nothing that is known."""
    async with ModelStandIn(*TO_ORDER) as server:
        await bench.run(buying(buyer(server)))
    spent = [event.payload["spent"] for event in bench.events if "spent" in event.payload]
    assert len(spent) == 3
    assert all(amount["tokens"] > 0 and Decimal(amount["usd"]) == 0 for settled in spent for amount in settled.values())


async def test_a_budget_stops_the_next_request(bench: Bench) -> None:
    """Two calls of a model are allowed: the third is not made, and what was ordered is cancelled."""
    async with ModelStandIn(*TO_ORDER) as server:
        await bench.run(buying(buyer(server), budget=Budget(calls=2)))
    assert bench.failure.code == "budget-exhausted"
    assert len(server.requests) == 2
    assert MADE[-1][0] == "cancel"


async def test_arguments_that_do_not_fit_are_told_to_the_model(bench: Bench) -> None:
    """A tool call with a word for a number reaches no tool; the model is told and calls it rightly."""
    wrong = calls(("place", {"supplier": "bolt", "quantity": 4}), fault="wrong_schema")
    async with ModelStandIn(wrong, TO_ORDER[1], FINAL) as server:
        await bench.run(buying(buyer(server)))
    assert [name for name, _ in MADE] == ["bolt"]
    told = str(server.requests[1].body["messages"][-1])
    assert "place(" in told
    assert "does not fit" in told


async def test_arguments_that_are_no_json_are_told_to_the_model(bench: Bench) -> None:
    """Half a JSON reaches no tool."""
    half = calls(("place", {"supplier": "bolt", "quantity": 4}), fault="truncated")
    async with ModelStandIn(half, TO_ORDER[1], FINAL) as server:
        await bench.run(buying(buyer(server)))
    assert [name for name, _ in MADE] == ["bolt"]
    assert "no JSON" in str(server.requests[1].body["messages"][-1])


async def test_a_denied_effect_is_told_to_the_model(bench: Bench) -> None:
    """A person says no, with a reason; the model hears it and ends without the order."""
    async with ModelStandIn(calls(("dear_place", {"supplier": "acme"})), gives({"supplier": "none", "cents": 0})) as server:
        buy = buying(buyer(server), uses=[dear_place])
        async with Supervisor(str(bench.path), [buy]) as supervisor:
            run = await supervisor.start(buy(Part(sku="M8", quantity=4)), "r")
            while not (waiting := await supervisor.waiting()):
                await asyncio.sleep(0.01)
            await supervisor.decide(waiting[0].id, Reject("too dear"), by=Person("ann"))
            assert (await run.result(20)).supplier == "none"
    assert MADE == []
    assert "too dear" in str(server.requests[1].body["messages"][-1])


async def test_an_authors_tools_are_steps(bench: Bench) -> None:
    """A plain tool is asked once; what it says of its own failure reaches the model in the framework's words."""

    @function_tool
    def stock(sku: str) -> dict[str, int]:
        """Return how many are in stock."""
        ASKED.append(sku)
        if sku == "?":
            raise ValueError("Give a real part number.")
        return {"left": 7}

    async with ModelStandIn(calls(("stock", {"sku": "?"})), calls(("stock", {"sku": "M8"})), TO_ORDER[1], FINAL) as server:
        await bench.run(buying(buyer(server, tools=[stock])))
    assert bench.value.cents == 60
    assert ASKED == ["?", "M8"]
    assert bench.paths("call.done") == ["model", "stock", "model", "stock", "model", "model"]
    assert "An error occurred while running the tool" in str(server.requests[1].body["messages"][-1])
    assert "{'left': 7}" in str(server.requests[2].body["messages"][-1])


async def test_an_agent_as_a_tool_is_a_step_with_requests_of_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model is named, so its request is journaled as well as the tool as a whole."""
    async with ModelStandIn(calls(("ask_scout", {"input": "who has M8?"})), says("bolt has"), TO_ORDER[1], FINAL) as server:
        monkeypatch.setattr("agents.models._openai_shared.get_default_openai_client", lambda: chat(server)._client)
        monkeypatch.setattr("agents.models._openai_shared.get_use_responses_by_default", lambda: False)
        scout = Agent(name="scout", model=server.model)
        await bench.run(buying(buyer(server, tools=[scout.as_tool("ask_scout", "Ask who has it.")])))
    assert bench.value.cents == 60
    assert bench.paths("call.done") == ["model", "model", "ask_scout", "model", "model"]


async def test_a_question_is_an_answer(bench: Bench) -> None:
    """An agent that may ask for clarification has it among its outputs; the answer comes in the next prompt."""
    async with ModelStandIn(gives({"response": {"question": "Which M8?"}}), gives({"response": BOUGHT})) as server:

        @supervised(name="asker", role="Buys.", model=buyer(server), clarify=lambda question: "The short one.", ladder=[give_up()])
        async def asker(part: Part) -> Order | Clarify:
            """Order."""

        @workflow(name="asks")
        async def asks(part: Part) -> Order:
            return await asker(part)

        await bench.run(asks)
    assert bench.value.cents == 60
    assert "Which M8? The answer: The short one." in str(server.requests[1].body["messages"])


async def test_a_guardrail_that_trips_rejects_the_attempt(bench: Bench) -> None:
    """It is the author's own gate: its no uses a rung."""
    tripped: list[int] = []

    @input_guardrail(run_in_parallel=False)
    def once(context: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
        tripped.append(1)
        return GuardrailFunctionOutput(output_info="too short", tripwire_triggered=len(tripped) == 1)

    async with ModelStandIn(FINAL) as server:
        await bench.run(buying(buyer(server, input_guardrails=[once]), ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    (rejected,) = [event for event in bench.events if event.type == "agent.rejected"]
    assert "guardrail" in rejected.payload["verdicts"][0]["reasons"][0]


async def test_a_crew_that_never_ends_is_stopped(bench: Bench) -> None:
    """Fifty turns are enough for anybody: the attempt is rejected as one that does not know when to stop."""
    async with ModelStandIn(calls(("prices", {"sku": "M8"}), times=None)) as server:
        await bench.run(buying(buyer(server)))
    assert isinstance(bench.failure, Rejected)
    assert bench.failure.mode == "FM-1.5"
    assert len(server.requests) == 50


async def test_a_tool_that_is_not_there_is_told_to_the_model(bench: Bench) -> None:
    """A server may let a model call what was not offered: it hears so, and the attempt goes on."""

    class Inventing(OpenAIChatCompletionsModel):
        async def get_response(self, *args: Any, **options: Any) -> Any:
            response = await super().get_response(*args, **options)
            for item in response.output:
                if getattr(item, "name", "") == "prices":
                    item.name = "prizes"
            return response

    async with ModelStandIn(calls(("prices", {"sku": "M8"})), FINAL) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key=server.api_key)
        await bench.run(buying(buyer(server, model=Inventing(model=server.model, openai_client=client))))
    assert bench.value.cents == 60
    assert "prizes" in str(server.requests[1].body["messages"][-1])


# -- hand-offs ----------


@gate
def knows_a_price(handed: HandOff, context: GateContext) -> None:
    """Nothing is handed over before somebody has looked at the prices."""
    if "prices" not in handed.calls:
        raise Rejected(f"{handed.source} has no price for {context.inputs['part'].sku}")
    if not context.tools:
        raise Rejected("no tool was used")


def crew(server: ModelStandIn, api: Any = chat, **options: Any) -> Agent[Any]:
    """Return a scout that hands over to a buyer, who alone may order."""
    second = Agent(name="orderer", model=api(server), instructions="Order.", tools=[tool_of(place)])
    return buyer(server, api, name="scout", handoffs=[handoff(second, **options) if options else second])


OVER = calls(("transfer_to_orderer", {}))
ORDER = calls(("place", {"supplier": "bolt", "quantity": 4}))


@pytest.mark.parametrize("api", [chat, responses])
async def test_a_hand_off_that_passes_goes_on(bench: Bench, api: Any) -> None:
    """The scout looks and hands over, the orderer orders and answers; each agent has its own tools, the gate is asked once."""
    async with ModelStandIn(calls(("prices", {"sku": "M8"})), OVER, ORDER, FINAL) as server:
        await bench.run(buying(crew(server, api), gates=[knows_a_price, dear]))
    assert bench.value == Order(**BOUGHT)
    assert bench.paths("call.done") == ["model", "prices", "model", "hand-off", "model", "model"]
    names = [sorted(tool.get("name") or tool["function"]["name"] for tool in served.body["tools"]) for served in server.requests]
    assert names == [["prices", "transfer_to_orderer"]] * 2 + [["place"]] * 2


async def test_a_hand_off_that_a_gate_rejects_is_a_rejected_attempt(bench: Bench) -> None:
    """The orderer's model is not asked; the scout's next attempt is told why, and does better."""
    async with ModelStandIn(OVER, calls(("prices", {"sku": "M8"})), OVER, ORDER, FINAL) as server:
        await bench.run(buying(crew(server), gates=[knows_a_price], ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    (rejected,) = [event for event in bench.events if event.type == "agent.rejected"]
    assert "scout handed to orderer did not pass knows_a_price: scout has no price for M8" in str(rejected.payload["verdicts"])
    assert "scout has no price for M8" in str(server.requests[1].body["messages"])
    assert [served.body["messages"][0]["content"] for served in server.requests].count("Order.") == 2
    assert len(server.requests) == 5


async def test_a_rejected_hand_off_takes_back_what_was_done_before_it(bench: Bench) -> None:
    """The first attempt orders and hands over badly; the second stands on nothing of it, so the order is cancelled."""
    async with ModelStandIn(calls(("place", {"supplier": "acme", "quantity": 4})), OVER, FINAL) as server:
        scout = buyer(server, name="scout", handoffs=[Agent(name="orderer", model=chat(server))])
        await bench.run(buying(scout, gates=[knows_a_price], ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    assert [name for name, _ in MADE] == ["acme", "cancel"]


async def test_a_gate_sees_what_the_next_agent_reads(bench: Bench) -> None:
    """The arguments of the hand-off, and the conversation as an input filter of the author leaves it."""
    seen: list[HandOff] = []

    def looks(handed: HandOff) -> None:
        seen.append(handed)

    def only_news(data: Any) -> Any:
        return data.clone(input_history="Somebody wants parts.", pre_handoff_items=())

    async with ModelStandIn(
        calls(("prices", {"sku": "M8"})), calls(("transfer_to_orderer", {"sku": "M8", "quantity": 4})), ORDER, FINAL
    ) as server:
        given = crew(server, input_type=Part, on_handoff=lambda context, part: None, input_filter=only_news)
        await bench.run(buying(given, gates=[looks]))
    (handed,) = seen
    assert (handed.source, handed.target, handed.arguments) == ("scout", "orderer", {"sku": "M8", "quantity": 4})
    assert handed.calls == ("transfer_to_orderer",)
    assert handed.text.startswith("Somebody wants parts.")
    assert handed.messages[0]["content"] == "Somebody wants parts."
    read = server.requests[2].body["messages"]
    assert [message["role"] for message in read] == ["system", "user", "assistant", "tool"]
    assert read[1]["content"] == "Somebody wants parts."


async def test_a_nested_history_is_what_the_gate_sees(bench: Bench) -> None:
    """A hand-off that has the framework sum the conversation up is held against the summary."""
    seen: list[HandOff] = []

    def looks(handed: HandOff) -> None:
        seen.append(handed)

    async with ModelStandIn(OVER, ORDER, FINAL) as server:
        await bench.run(buying(crew(server, nest_handoff_history=True), gates=[looks]))
    (handed,) = seen
    read = server.requests[1].body["messages"]
    assert [message["content"] for message in handed.messages] == [message["content"] for message in read[1:]]
    assert "M8" in handed.text


async def test_a_gate_on_hand_offs_that_crashes_lets_nothing_through(bench: Bench) -> None:
    """It abstains, and that counts as its `on_abstain` says."""

    def broken(handed: HandOff) -> None:
        raise ZeroDivisionError

    async with ModelStandIn(OVER) as server:
        await bench.run(buying(crew(server), gates=[broken]))
    assert isinstance(bench.failure, Rejected)
    assert "did not pass broken" in str(bench.failure)

    async with ModelStandIn(OVER, ORDER, FINAL) as server:
        await bench.run(buying(crew(server), gates=[gate(on_abstain="pass")(broken)]), "r2")
    assert bench.value.cents == 60


async def test_agents_may_hand_to_and_fro(bench: Bench) -> None:
    """A crew with a circle is copied once."""
    async with ModelStandIn(OVER, calls(("transfer_to_scout", {})), FINAL) as server:
        first = crew(server)
        first.handoffs[0].handoffs.append(first)  # type: ignore[union-attr]
        await bench.run(buying(first))
    assert bench.value.cents == 60
    assert "Buys parts." in str(server.requests[2].body["messages"][0])


# -- what is refused ----------


async def test_a_conversation_on_the_server_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent as a tool goes on from a response that the server keeps: its request is not made, and the author hears why."""
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    async with ModelStandIn(calls(("ask_scout", {"input": "who?"}))) as server:
        scout = Agent(name="scout")
        tool = scout.as_tool("ask_scout", "Ask.", previous_response_id="resp_1", failure_error_function=None)
        await bench.run(buying(buyer(server, tools=[tool])))
    assert isinstance(bench.failure, ModelFailed)
    assert "previous_response_id" in str(bench.failure)
    assert len(server.requests) == 1


def test_an_approval_of_the_frameworks_own_is_refused() -> None:
    """Nobody would answer it."""

    @function_tool(needs_approval=True)
    def launch() -> str:
        """Launch."""
        return "launched"

    with pytest.raises(DefinitionError, match="launch of 'buyer' has needs_approval"):
        buying(Agent(name="buyer", tools=[launch]))


def test_a_timeout_of_requests_is_refused() -> None:
    """It would go on while a request waits to be repeated."""
    with pytest.raises(DefinitionError, match="timeout"):
        buying(Agent(name="buyer", handoffs=[Agent(name="other", model_settings=ModelSettings(timeout=3))]))


def test_two_tools_of_one_name_are_refused() -> None:
    """The model could not tell them apart, and one of them is no effect."""

    @function_tool(name_override="place")
    def other() -> str:
        """Place."""
        return ""

    with pytest.raises(DefinitionError, match="Two tools are called 'place'"):
        buying(Agent(name="buyer", tools=[other]))


def test_a_tool_outside_the_contract_is_refused() -> None:
    """A tool of ours that `uses=` does not list would be out of role."""
    with pytest.raises(DefinitionError, match="dear_place, which uses= of buyer does not list"):
        buying(Agent(name="buyer", handoffs=[Agent(name="other", tools=[tool_of(dear_place)])]))


def test_the_family_is_that_of_the_model() -> None:
    """It is taken from the name of the model of the agent that begins."""

    def family(model: Any) -> str | None:
        @supervised(role="Answers.", model=Agent(name="x", model=model))
        async def answers(question: str) -> str:
            """Answer."""

        return answers.family

    client = AsyncOpenAI(api_key="none")
    assert family("gpt-5-mini") == family(OpenAIChatCompletionsModel(model="gpt-5-mini", openai_client=client)) is not None
    assert family("gpt-5-mini") != family("claude-opus-4")
