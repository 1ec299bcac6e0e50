"""Judges in a run: blind, asked once, paid for, void without a quote; and quorums of them."""

from __future__ import annotations

import pytest

from chargehand import Monoculture, judge, quorum
from chargehand.supervise.judges import Opinion
from chargehand.testing import Supervised

from .scripted import ScriptedJudge, crew, opinion


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
