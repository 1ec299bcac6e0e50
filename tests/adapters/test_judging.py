"""Judges that name a model: real HTTP to a stand-in for a model's endpoint, the framework's own client between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from chargehand import Budget, DefinitionError, Feedback, Retry, agent, give_up, judge, retry, workflow
from chargehand.testing import Supervised
from chargehand.testing.standin import ModelStandIn, Reply, calls, fails, refuses

PANEL = Path(__file__).with_name("panel.py")


def says(outcome: str, *quotes: str, **more: Any) -> Reply:
    """Return a reply that is an opinion."""
    return calls(
        ("final_result", {"outcome": outcome, "quotes": list(quotes) or ["price of the bolt"], "reasons": ["Say dollars."]}), **more
    )


def chat(server: ModelStandIn, key: str | None = None) -> OpenAIChatModel:
    """Return a model of the framework that asks the stand-in by the chat API."""
    return OpenAIChatModel(server.model, provider=OpenAIProvider(base_url=server.base_url, api_key=key or server.api_key))


def responses(server: ModelStandIn) -> OpenAIResponsesModel:
    """Return a model of the framework that asks the stand-in by the responses API."""
    return OpenAIResponsesModel(server.model, provider=OpenAIProvider(base_url=server.base_url, api_key=server.api_key))


class Judged:
    """One run of a writer behind one judge."""

    def __init__(self, supervised: Supervised) -> None:
        self.supervised = supervised

    async def by(self, model: Any, budget: Budget | None = None) -> None:
        """Run it to its end, which may be that the writer gives up."""

        @agent(
            role="Writes.",
            gates=[judge(model, "Is the price in dollars?", family="standing in", retry=Retry(attempts=3, first=1.0))],
            family="openai",
            ladder=[retry(2), give_up()],
            budget=budget,
            name="writer",
        )
        async def writer(topic: str, feedback: Feedback | None = None) -> str:
            return f"The price of the bolt is 12 euro, attempt {feedback.attempt if feedback else 1}."

        @workflow(name="writing")
        async def writing(topic: str) -> str:
            return await writer(topic)

        run = await self.supervised.start(writing("bolts"), id="r")
        await run.ended()
        self.events = await run.events()
        self.verdicts = [event.payload for event in self.events if event.type == "gate.judged"]
        self.outcomes = [verdict["outcome"] for verdict in self.verdicts]


@pytest.fixture
async def judged() -> AsyncIterator[Judged]:
    """A run that will be judged, in time that jumps but waits for what is on the wire."""
    async with Supervised(patience=30) as supervised:
        yield Judged(supervised)


@pytest.mark.parametrize("api", [chat, responses])
async def test_a_judge_speaks_over_http(judged: Judged, api: Any) -> None:
    """It rejects, its reason reaches the producer, it passes; the tokens of both requests stand in the journal."""
    async with ModelStandIn(says("fail"), says("pass")) as server:
        await judged.by(api(server))
    assert judged.outcomes == ["fail", "pass"]
    assert judged.verdicts[0]["reasons"] == ["Say dollars."]
    assert len(server.requests) == 2
    spent = [amount["tokens"] for event in judged.events for amount in event.payload.get("spent", {}).values()]
    assert len(spent) == 2
    assert all(0 < tokens < 1000 for tokens in spent)


async def test_what_goes_over_the_wire_is_blind(judged: Judged) -> None:
    """Neither the producer's name nor its model, nor a rejection's reason, nor what it was asked, is in the second request."""
    async with ModelStandIn(says("fail"), says("pass")) as server:
        await judged.by(chat(server))
    asked = str(server.requests[1].body)
    assert "Is the price in dollars?" in asked
    assert "The price of the bolt is 12 euro, attempt 2." in asked
    assert not [word for word in ("writer", "openai", "Say dollars", "bolts", "rejected") if word in asked]


@pytest.mark.parametrize("fault", ["rate_limit", "overloaded", "server_error", "dropped", "garbled"])
async def test_what_may_go_better_is_asked_again(judged: Judged, fault: Any) -> None:
    """A limit, an overload, a server's error, a cut connection and half a body are repeated durably, and by nobody else."""
    async with ModelStandIn(fails(fault, seconds=7), says("pass")) as server:
        await judged.by(chat(server))
    assert judged.outcomes == ["pass"]
    assert len(server.requests) == 2
    (again,) = [event for event in judged.events if event.type == "call.retrying"]
    if fault in ("rate_limit", "overloaded"):
        assert again.payload["due"] - again.time >= 7, "as Retry-After says"


@pytest.mark.parametrize(
    "reply",
    [refuses("I will not."), says("pass", fault="wrong_schema"), says("pass", fault="truncated"), says("pass", fault="content_filter")],
    ids=["refusal", "another form", "half a JSON", "filter"],
)
async def test_what_is_no_judgement_abstains_and_is_not_asked_again(judged: Judged, reply: Reply) -> None:
    """A judge that does not fill in the form has not passed the output: it abstains, at the cost of one request."""
    async with ModelStandIn(reply, says("pass")) as server:
        await judged.by(chat(server))
    assert judged.outcomes == ["abstain", "pass"]
    assert judged.verdicts[0]["reasons"] == ["The judge's answer was no judgement."]
    assert len(server.requests) == 2, "one for each attempt"
    assert [event.payload["attempt"] for event in judged.events if event.type == "agent.rejected"] == [1]


@pytest.mark.parametrize(("reply", "key", "says_so"), [(fails("quota"), None, "Quota"), (says("pass"), "wrong", "Authentication")])
async def test_a_judge_that_cannot_be_asked_abstains_and_says_why(judged: Judged, reply: Reply, key: str | None, says_so: str) -> None:
    """No quota and a wrong key let nothing through, and the provider's words are in the verdict; the key is nowhere."""
    async with ModelStandIn(reply.model_copy(update={"times": None}), api_key="sk-right") as server:
        await judged.by(chat(server, key))
    assert judged.outcomes == ["abstain", "abstain"]
    assert "could not be asked" in judged.verdicts[0]["reasons"][0]
    assert judged.events[-1].type == "run.failed"
    assert "sk-right" not in str(judged.events)


async def test_a_quote_that_was_changed_on_the_way_voids_the_verdict(judged: Judged) -> None:
    """A well-formed pass that quotes another price than the output's lets nothing through."""
    async with ModelStandIn(says("pass", "The price of the bolt is 13 euro"), says("pass")) as server:
        await judged.by(chat(server))
    assert judged.outcomes == ["abstain", "pass"]
    assert judged.verdicts[0]["evidence"]["void"] == "pass"


async def test_the_producers_budget_holds_its_judges(judged: Judged) -> None:
    """A budget of one call: the judge of the second attempt is not asked, and so passes nothing."""
    async with ModelStandIn(says("fail")) as server:
        await judged.by(chat(server), Budget(calls=1))
    assert len(server.requests) == 1
    assert judged.outcomes == ["fail", "abstain"]
    assert "budget" in judged.verdicts[1]["reasons"][0]


def test_a_model_that_is_none_is_refused_where_the_judge_is_defined() -> None:
    """A number names no model."""
    with pytest.raises(DefinitionError, match="no model to judge with"):
        judge(7, "Fine?")


@pytest.mark.slow
async def test_a_quorum_killed_between_its_votes_pays_for_none_twice(tmp_path: Path) -> None:
    """SIGKILL while the second of three judges is asked. Another process asks the second again and the third, and not the first."""
    async with ModelStandIn(
        says("pass", "costs 12 euro"), fails("hang", nth=2), says("fail", "costs 12 euro"), says("pass", "costs 12 euro")
    ) as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.api_key}
        command = [sys.executable, str(PANEL)]
        first = subprocess.Popen(command, cwd=tmp_path, env=environment)
        await server.asked(2, within=60)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        third = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert second.stdout == "It costs 12 euro a piece.\n", second.stderr
    assert third.stdout == second.stdout, "it has ended: nothing is asked"
    rubrics = [next(name for name in ("price", "unit", "tone") if f"About its {name}" in str(served.body)) for served in server.requests]
    assert rubrics == ["price", "unit", "unit", "tone"]
