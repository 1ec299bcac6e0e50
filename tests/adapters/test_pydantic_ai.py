"""Agents that name a model: real HTTP to a stand-in for a model's endpoint, the framework's own client between."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from chargehand import (
    Budget,
    Clarify,
    DefinitionError,
    ModelFailed,
    Person,
    Reject,
    Rejected,
    Retry,
    RunView,
    Supervisor,
    agent,
    effect,
    give_up,
    injected,
    read,
    retry,
    workflow,
)
from chargehand.errors import Failure
from chargehand.events import Event
from chargehand.supervise.log import loaded
from chargehand.testing.standin import ModelStandIn, Reply, calls, fails, refuses

ASKED: list[str] = []
MADE: list[tuple[str, str]] = []


@pytest.fixture(autouse=True)
def _nothing_yet() -> None:
    ASKED.clear()
    MADE.clear()


class Part(BaseModel):
    """What is needed."""

    sku: str
    quantity: int


class Order(BaseModel):
    """What was ordered."""

    supplier: str
    cents: int


@read(name="prices")
async def prices(sku: str) -> dict[str, int]:
    """Return what each supplier asks, in cents."""
    ASKED.append(sku)
    return {"acme": 20, "bolt": 15}


async def cancel(ref: str, idempotency_key: str = injected()) -> None:
    """Take an order back."""
    MADE.append(("cancel", ref))


@effect(name="place", undo=cancel)
async def place(supplier: str, quantity: int, idempotency_key: str = injected()) -> str:
    """Order at a supplier."""
    MADE.append((supplier, idempotency_key))
    return f"{supplier}-1"


def dear(order: Order) -> None:
    """Let nothing dear through."""
    if order.cents > 100:
        raise Rejected(f"{order.cents} cents is more than the 100 that may be spent")


FINAL = calls(("final_result", {"supplier": "bolt", "cents": 60}))
TO_ORDER = (calls(("prices", {"sku": "M8"})), calls(("place", {"supplier": "bolt", "quantity": 4})), FINAL)


def chat(server: ModelStandIn) -> OpenAIChatModel:
    """Return a model of the framework that asks the stand-in by the chat API."""
    return OpenAIChatModel(server.model, provider=OpenAIProvider(base_url=server.base_url, api_key=server.api_key))


def responses(server: ModelStandIn) -> OpenAIResponsesModel:
    """Return a model of the framework that asks the stand-in by the responses API."""
    return OpenAIResponsesModel(server.model, provider=OpenAIProvider(base_url=server.base_url, api_key=server.api_key))


def buying(model: Any, **options: Any) -> Any:
    """Return a workflow with one agent that asks a model."""
    given = {"role": "Buys parts.", "uses": [prices, place], "ladder": [give_up()], **options}

    @agent(name="buyer", model=model, **given)
    async def buyer(part: Part) -> Order:
        """Choose the cheapest supplier and order there."""

    @workflow(name="buy")
    async def buy(part: Part) -> Order:
        return await buyer(part)

    return buy


class Bench:
    """A supervisor on a file, and the one run of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def run(self, workflow: Any, id: str = "r") -> RunView[Any]:
        """Run it until it ends or rests."""
        self.supervisor = Supervisor(str(self.path), [workflow])
        async with self.supervisor:
            run = await self.supervisor.start(workflow(Part(sku="M8", quantity=4)), id)
            try:
                self.value = await run.result(20)
            except Failure as failure:
                self.failure = failure
            row = await self.supervisor.row(id)
            self.events: list[Event] = await loaded(self.supervisor.journal, row.number)
            return run

    def paths(self, type: str) -> list[str]:
        """Return the names of the calls of which there is such an event."""
        return [event.path.rpartition("/")[2].partition("~")[0] for event in self.events if event.type == type]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A file for a journal."""
    return Bench(tmp_path / "work.db")


@pytest.mark.parametrize("api", [chat, responses])
async def test_requests_and_tools_are_journaled_calls(bench: Bench, api: Any) -> None:
    """Three requests, a read and an effect stand in the journal under the agent's path; the output has passed the schema."""
    async with ModelStandIn(*TO_ORDER) as server:
        await bench.run(buying(api(server)))
    assert bench.value == Order(supplier="bolt", cents=60)
    assert bench.paths("call.done") == ["model", "prices", "model", "model"]
    assert bench.paths("effect.done") == ["place"]
    assert (ASKED, [name for name, _ in MADE]) == (["M8"], ["bolt"])
    assert len(server.requests) == 3


async def test_feedback_reaches_the_model_as_a_message(bench: Bench) -> None:
    """A gate rejects the first output; the second attempt's prompt says why, and what was rejected."""
    dear_one = calls(("final_result", {"supplier": "acme", "cents": 300}))
    async with ModelStandIn(dear_one, FINAL) as server:
        await bench.run(buying(chat(server), gates=[dear], ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    asked = str(server.requests[1].body["messages"])
    assert "300 cents is more than the 100 that may be spent" in asked
    assert "attempt 2" in asked
    assert '"supplier": "acme"' in asked


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        (calls(("final_result", {"supplier": "bolt", "cents": 60}), fault="wrong_schema"), "SYS-schema"),
        (calls(("final_result", {"supplier": "bolt", "cents": 60}), fault="truncated"), "SYS-schema"),
    ],
    ids=["another type", "half a JSON"],
)
async def test_an_output_that_does_not_fit_uses_a_rung(bench: Bench, said: Reply, mode: str) -> None:
    """What does not fit is no silent repetition inside the framework: the next attempt is a rung's, and is told."""
    async with ModelStandIn(said, FINAL) as server:
        await bench.run(buying(chat(server), ladder=[retry(2), give_up()]))
    assert bench.value.cents == 60
    (rejected,) = [event for event in bench.events if event.type == "agent.rejected"]
    assert rejected.payload["verdicts"][0]["mode"] == mode
    assert len(server.requests) == 2
    assert "gave nothing that fits" in str(server.requests[1].body["messages"])


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
async def test_what_may_go_better_is_asked_again(bench: Bench, fault: Any, kind: str) -> None:
    """A limit, an overload, a server's error, a cut connection and half a body are repeated by the journaled call, in the same attempt."""
    async with ModelStandIn(fails(fault, seconds=0.01), FINAL) as server:
        await bench.run(buying(chat(server), retry_errors=Retry(attempts=1)))
    assert bench.value.cents == 60
    assert len(server.requests) == 2
    (again,) = [event for event in bench.events if event.type == "call.retrying"]
    assert again.payload["e"]["type"] == kind
    assert not [event for event in bench.events if event.type == "agent.errored"]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (fails("quota"), "ModelQuotaExceededError"),
        (fails("context_length"), "ModelContextWindowExceededError"),
        (refuses("I will not."), "I will not."),
        (calls(("final_result", {"supplier": "bolt", "cents": 60}), fault="content_filter"), "refused to answer"),
    ],
    ids=["quota", "context", "refusal", "filter"],
)
async def test_what_will_not_go_better_is_not_asked_again(bench: Bench, reply: Reply, says: str) -> None:
    """A used-up account, a conversation that is too long, a refusal and a content filter fail the attempt at once, in the provider's words."""
    async with ModelStandIn(reply) as server:
        await bench.run(buying(chat(server)))
    assert isinstance(bench.failure, ModelFailed), bench.failure
    assert says in str(bench.failure)
    assert len(server.requests) == 1


@pytest.mark.parametrize(("key", "name", "says"), [("wrong", "stand-in", "Authentication"), ("stand-in", "gpt-none", "NotFound")])
async def test_a_wrong_key_and_an_unknown_model_are_told(bench: Bench, key: str, name: str, says: str) -> None:
    """They fail the run with what the provider said; the key is nowhere in the journal."""
    async with ModelStandIn(FINAL) as server:
        await bench.run(buying(OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.base_url, api_key=key))))
    assert isinstance(bench.failure, ModelFailed)
    assert says in str(bench.failure)


async def test_tokens_and_money_are_counted(bench: Bench) -> None:
    """Each request's tokens are settled in the event of its answer; a model without a known price costs nothing that is known."""
    async with ModelStandIn(*TO_ORDER) as server:
        await bench.run(buying(chat(server)))
    spent = [event.payload["spent"] for event in bench.events if "spent" in event.payload]
    assert len(spent) == 3
    assert all(amount["tokens"] > 0 and Decimal(amount["usd"]) == 0 for settled in spent for amount in settled.values())


async def test_a_budget_stops_the_next_request(bench: Bench) -> None:
    """Two calls of a model are allowed: the third is not made."""
    async with ModelStandIn(*TO_ORDER) as server:
        await bench.run(buying(chat(server), budget=Budget(calls=2)))
    assert bench.failure.code == "budget-exhausted"
    assert len(server.requests) == 2
    assert MADE[-1][0] == "cancel"


async def test_arguments_that_do_not_fit_are_told_to_the_model(bench: Bench) -> None:
    """A tool call with a word for a number reaches no tool; the model is told and calls it rightly."""
    wrong = calls(("place", {"supplier": "bolt", "quantity": 4}), fault="wrong_schema")
    async with ModelStandIn(wrong, TO_ORDER[1], FINAL) as server:
        await bench.run(buying(chat(server)))
    assert [name for name, _ in MADE] == ["bolt"]
    assert "place(" in str(server.requests[1].body["messages"][-1])
    assert "does not fit" in str(server.requests[1].body["messages"][-1])


async def test_a_denied_effect_is_told_to_the_model(bench: Bench) -> None:
    """A person says no, with a reason; the model hears it and ends without the order."""

    @effect(name="dear_place", undo=cancel, approve=True)
    async def dear_place(supplier: str, idempotency_key: str = injected()) -> str:
        MADE.append((supplier, idempotency_key))
        return supplier

    asks = calls(("dear_place", {"supplier": "acme"}))
    async with ModelStandIn(asks, calls(("final_result", {"supplier": "none", "cents": 0}))) as server:
        buy = buying(chat(server), uses=[dear_place])
        async with Supervisor(str(bench.path), [buy]) as supervisor:
            run = await supervisor.start(buy(Part(sku="M8", quantity=4)), "r")
            while not (waiting := await supervisor.waiting()):
                await asyncio.sleep(0.01)
            await supervisor.decide(waiting[0].id, Reject("too dear"), by=Person("ann"))
            assert (await run.result(20)).supplier == "none"
    assert MADE == []
    assert "too dear" in str(server.requests[1].body["messages"][-1])


async def test_an_agent_of_the_framework_keeps_its_own_tools(bench: Bench) -> None:
    """Its plain tools are steps: asked once, their wish to be called otherwise is passed on; its instructions stand beside the contract."""
    async with ModelStandIn(
        calls(("stock", {"sku": "?"})), calls(("stock", {"sku": "M8"})), calls(("place", {"supplier": "bolt", "quantity": 4})), FINAL
    ) as server:
        inner = Agent(chat(server), instructions="Be brief.")

        @inner.tool_plain
        def stock(sku: str) -> int:
            """Return how many are in stock."""
            ASKED.append(sku)
            if sku == "?":
                raise ModelRetry("Give a real part number.")
            return 7

        await bench.run(buying(inner))
    assert bench.value.cents == 60
    assert ASKED == ["?", "M8"]
    assert bench.paths("call.done") == ["model", "stock", "model", "stock", "model", "model"]
    system = str(server.requests[0].body["messages"])
    assert "Be brief." in system
    assert "Buys parts." in system
    assert "Give a real part number." in str(server.requests[1].body["messages"][-1])


async def test_a_question_is_an_answer(bench: Bench) -> None:
    """An agent that may ask for clarification has it among its outputs; the answer comes in the next prompt."""
    async with ModelStandIn(
        calls(("final_result_Clarify", {"question": "Which M8?"})), calls(("final_result_Order", {"supplier": "bolt", "cents": 60}))
    ) as server:

        @agent(name="asker", role="Buys parts.", model=chat(server), clarify=lambda question: "The short one.", ladder=[give_up()])
        async def asker(part: Part) -> Order | Clarify:
            """Order."""

        @workflow(name="asks")
        async def asks(part: Part) -> Order:
            return await asker(part)

        await bench.run(asks)
    assert bench.value.cents == 60
    assert "Which M8? The answer: The short one." in str(server.requests[1].body["messages"])


def test_a_body_beside_a_model_is_refused() -> None:
    """One of the two would never run."""
    with pytest.raises(DefinitionError, match="names a model and has a body"):

        @agent(role="Both.", model="openai:stand-in")
        async def both(x: int) -> int:
            return x + 1


async def test_many_requests_at_once_do_not_mix(bench: Bench) -> None:
    """Two tool calls in one response are made side by side, and each result goes to its own call."""
    both = calls(("prices", {"sku": "A"}), ("prices", {"sku": "B"}))
    async with ModelStandIn(both, FINAL) as server:
        await bench.run(buying(chat(server)))
    assert sorted(ASKED) == ["A", "B"]
    assert bench.paths("call.done").count("prices") == 2
