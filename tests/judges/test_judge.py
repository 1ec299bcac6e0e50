"""Judges in a run: blind, asked once, paid for, void without a quote; and quorums of them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from chargehand import Feedback, Monoculture, agent, give_up, quorum, retry, workflow
from chargehand.supervise.judges import Answered, Opinion, judge
from chargehand.testing import Supervised


class ScriptedJudge:
    """A stand-in for a judge's model: gives the opinions it was made with, one after the other."""

    def __init__(self, *opinions: Any) -> None:
        self.opinions, self.prompts = list(opinions), list[str]()

    async def asks(self, prompt: str, schema: type[BaseModel]) -> Answered:
        """Give the next opinion."""
        self.prompts.append(prompt)
        return Answered(self.opinions.pop(0), 100, 10)


def opinion(outcome: str, *quotes: str, reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an opinion as a model answers it."""
    return {"outcome": outcome, "quotes": list(quotes), "reasons": list(reasons)}


def crew(*gates: Any) -> Any:
    """Return a workflow of one writer behind these gates."""

    @agent(role="Writes.", gates=list(gates), family="openai", ladder=[retry(2), give_up()], name="writer")
    async def writer(topic: str, feedback: Feedback | None = None) -> str:
        return f"The price of the bolt is 12 euro, attempt {feedback.attempt if feedback else 1}."

    @workflow(name="writing")
    async def writing(topic: str) -> str:
        return await writer(topic)

    return writing


async def test_a_judge_is_blind_and_its_cost_counts(supervised: Supervised) -> None:
    """A rejection's reason goes to the producer and never to the judge, who is not told who made the output; each ask is paid for."""
    model = ScriptedJudge(opinion("fail", "price of the bolt", reasons=("Say dollars.",)), opinion("pass", "price of the bolt"))
    run = await supervised.start(crew(judge("anthropic:claude-opus-5", "In dollars?", through=model, needs=["topic"]))("bolts"), id="r")
    assert "attempt 2" in await run.result()
    assert "bolts" in model.prompts[1]
    assert "writer" not in model.prompts[1]
    assert "Say dollars" not in model.prompts[1]
    spent = [amount["tokens"] for event in await run.events() for amount in event.payload.get("spent", {}).values()]
    assert spent == [110, 110]


async def test_a_quote_that_is_not_there_voids_the_verdict(supervised: Supervised) -> None:
    """A judge that passes the output and quotes what it does not say has abstained, and the output is not released by that."""
    model = ScriptedJudge(opinion("pass", "this is nowhere at all"), opinion("pass", "price of the bolt"))
    run = await supervised.start(crew(judge("claude", "Fine?", through=model))("bolts"), id="r")
    assert "attempt 2" in await run.result()
    first, second = [event.payload for event in await run.events() if event.type == "gate.judged"]
    assert (first["outcome"], first["evidence"]["void"], second["outcome"]) == ("abstain", "pass", "pass")


async def test_a_quorum_of_judges_states_its_effective_votes(supervised: Supervised) -> None:
    """Three judges of three families pass by two to one, and count as 3 / (1 + 2 * 0.44) votes."""
    said = [("claude", "pass", "a"), ("gemini", "fail", "b"), ("llama", "pass", "c")]
    judges = [judge(model, "Fine?", through=ScriptedJudge(opinion(how, "price of the bolt")), name=name) for model, how, name in said]
    run = await supervised.start(crew(quorum(2, of=judges))("bolts"), id="r")
    await run.result()
    (verdict,) = [event.payload for event in await run.events() if event.type == "gate.judged"]
    assert (verdict["outcome"], verdict["evidence"]["effective"]) == ("pass", 1.6)


@pytest.mark.parametrize("model", ["gpt-4o", "openrouter/openai/gpt-oss-120b", "nobody-knows-it"])
def test_a_judge_of_the_producers_family_or_of_none_is_refused(model: str) -> None:
    """A judge of the producer's family, whoever resells it, and one that the table does not know are refused at definition."""
    with pytest.raises(Monoculture):
        crew(judge(model, "Fine?", through=ScriptedJudge()))


async def test_the_adapter_asks_a_model_once_for_an_opinion() -> None:
    """Through Pydantic AI's own test model the port gives an opinion and what it used."""
    testing = pytest.importorskip("pydantic_ai.models.test")
    made = judge(testing.TestModel(custom_output_args=opinion("pass", "q")), "Fine?", family="z")
    answered = await made.voters[0].through.asks("Judge this.", Opinion)
    assert answered.answer == opinion("pass", "q")
    assert answered.input_tokens > 0
