"""Families of judges, and what several votes are worth."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand import DefinitionError, Done, Monoculture, agent, ahead_by, effect, give_up, judge, quorum, read, reassign, retry
from chargehand.cli.timeline import told
from chargehand.supervise.panels import effective_votes, families_of_voter
from chargehand.testing import Supervised

from .scripted import NO, UNSURE, YES, ScriptedJudge, crew


def judging(*models: str, **options: Any) -> list[Any]:
    """Return judges of these models, each named by its number."""
    return [judge(model, "Fine?", through=ScriptedJudge(YES), name=f"judge{n}", **options) for n, model in enumerate(models)]


# -- families ----------


@pytest.mark.parametrize("gate", [lambda one: one, lambda one: quorum(1, of=[one]), lambda one: ahead_by(1, of=[one])])
@pytest.mark.parametrize(
    ("own", "other", "model", "refused"),
    [
        ("openai:gpt-5", "anthropic:claude-opus-5", "google:gemini-3-pro", False),
        ("openai:gpt-5", "anthropic:claude-opus-5", "azure:gpt-4o", True),
        ("openai:gpt-5", "anthropic:claude-opus-5", "bedrock:us.anthropic.claude-3-7-sonnet", True),  # judges what it is reassigned to
        ("openai:gpt-5", "who-knows", "google:gemini-3-pro", True),
        ("deepseek-r1-distill-qwen-32b", "anthropic:claude-opus-5", "deepseek:deepseek-chat", True),  # taught the producer
        ("deepseek-r1-distill-qwen-32b", "anthropic:claude-opus-5", "qwen3-max", True),
        ("deepseek-r1-distill-qwen-32b", "anthropic:claude-opus-5", "mistral-large", False),
    ],
)
def test_a_judge_that_shares_the_producers_blind_spots_is_refused(gate: Any, own: str, other: str, model: str, refused: bool) -> None:
    """Whoever produces by the agent's own ladder: no judge of its model's base, nor of a model that taught it, whoever resells that."""

    @agent(role="Writes.", model=other)
    async def stands_in(topic: str) -> str: ...

    def define(**options: Any) -> Any:
        ladder = [retry(1), reassign(stands_in), give_up()]

        @agent(role="Writes.", model=own, ladder=ladder, **options)
        async def writer(topic: str) -> str: ...

        return writer

    (one,) = judging(model)
    define(gates=[gate(one)], allow_same_family=True)
    for options in ({"gates": [gate(one)]}, {"done": [Done("It is fine.", by=gate(one))]}):
        if refused:
            with pytest.raises(Monoculture, match="Declare different families"):
                define(**options)
        else:
            define(**options)


def test_a_declared_family_counts_before_the_name() -> None:
    """A fine-tune under a name of its own is of the family that its owner declares, in the words of the table."""
    (one,) = judging("our-own-tune", family="llama")
    assert families_of_voter(one.voters[0]) == ("meta",)
    with pytest.raises(Monoculture):
        crew_of_family("meta-llama", one)
    crew_of_family("openai", one)


def crew_of_family(family: str, gate: Any) -> None:
    """Define a writer of this family behind a gate."""

    @agent(role="Writes.", family=family, gates=[gate])
    async def writer(topic: str) -> str:
        return topic


@pytest.mark.parametrize("where", ["read", "effect", "admits"])
def test_a_judge_stands_only_where_it_can_be_asked(where: str) -> None:
    """A judge among the gates of a read, of an effect, or of what an agent takes, is refused when that is defined."""
    gates = judging("claude")
    with pytest.raises(DefinitionError, match="gates= of an agent"):
        if where == "read":
            read(gates=gates)(crew_of_family)
        elif where == "effect":
            effect(final=True, approve=False, gates=gates)(crew_of_family)
        else:
            agent(role="Writes.", admits=gates)(crew_of_family)


# -- what votes are worth ----------


@pytest.mark.parametrize(
    ("models", "correlation", "votes"),
    [
        (["claude"], None, 1.0),
        (["claude", "gemini"], 0.0, 2.0),
        (["claude", "gemini"], 1.0, 1.0),
        (["claude-opus-5", "claude-haiku-5"], 0.0, 1.0),  # one family errs as one, whatever is declared across families
        (["claude", "gemini", "llama"], None, 3 / 1.88),
        (["claude", "gemini", "llama"], {("judge0", "judge1"): 0.2, ("judge2", "judge0"): 0.2, ("judge1", "judge2"): 0.2}, 3 / 1.4),
        (["claude-opus-5", "claude-haiku-5"], {("judge1", "judge0"): 0.5}, 4 / 3),  # what was measured counts also within a family
        (["claude", "gemini"], {("judge0", "judge1"): -0.5}, 2.0),  # never more than there are
        (["claude", "nobody-knows", "gemini"], 0.0, 9 / 7),  # an unknown one is of everybody's family
    ],
)
def test_votes_that_err_together_count_less(models: list[str], correlation: Any, votes: float) -> None:
    """n voters with errors that correlate by ρ are worth n / (1 + (n - 1) ρ)."""
    assert effective_votes([one.voters[0] for one in judging(*models)], correlation) == pytest.approx(votes)


def test_nine_judges_are_worth_two() -> None:
    """The figure that is assumed across families is the one at which nine judges came to two votes (arXiv 2605.29800)."""
    nine = judging("gpt-5", "claude", "gemini", "llama", "mistral-large", "qwen3", "deepseek-chat", "grok-4", "command-r")
    assert effective_votes([one.voters[0] for one in nine]) == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("correlation", [1.5, -2.0, {("a", "b"): 7.0}, float("nan")])
def test_what_is_no_correlation_is_refused(correlation: Any) -> None:
    """A correlation lies between -1 and 1."""
    with pytest.raises(DefinitionError, match="no correlation"):
        quorum(1, of=judging("claude"), correlation=correlation)


# -- voting ----------


async def verdicts_of(supervised: Supervised, gate: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Run a writer behind a gate; return the verdicts, and how `show` tells them."""
    run = await supervised.start(crew(gate, ladder=[give_up()])("bolts"), id="r")
    await run.ended()
    judged = [event for event in await run.events() if event.type == "gate.judged"]
    return [event.payload for event in judged], [told(event) for event in judged]


def saying(*opinions: Any) -> list[Any]:
    """Return judges of different families that say these."""
    models = ("claude", "gemini", "llama", "qwen3")
    return [judge(models[n], "Fine?", through=ScriptedJudge(one), name=f"judge{n}") for n, one in enumerate(opinions)]


async def test_a_quorum_tells_its_votes_and_their_worth(supervised: Supervised) -> None:
    """Two to one passes; the verdict, and the line that a person reads, say how many independent votes that was."""
    (verdict,), (line,) = await verdicts_of(supervised, quorum(2, of=saying(YES, NO, YES)))
    assert (verdict["outcome"], verdict["evidence"]["effective"]) == ("pass", 1.6)
    assert "2 yes, 1 no of 3 voters; worth 1.6 independent votes" in line


async def test_lost_votes_are_no_noes(supervised: Supervised) -> None:
    """A quorum that only judges who could not tell keep from being reached abstains, and counts no vote of theirs."""
    (verdict,), (line,) = await verdicts_of(supervised, quorum(2, of=saying(YES, UNSURE, UNSURE)))
    assert (verdict["outcome"], verdict["evidence"]["effective"], verdict["evidence"]["lost"]) == ("abstain", 1.0, 2)
    assert "1 yes, 0 no, 2 lost of 3 voters" in line


async def test_noes_that_decide_stop_the_asking(supervised: Supervised) -> None:
    """Two noes of three make two yeses impossible: the third is not asked, and each reason reaches the producer once."""
    voters = saying(NO, NO, YES)
    (verdict,), _ = await verdicts_of(supervised, quorum(2, of=voters))
    assert (verdict["outcome"], verdict["reasons"][1:]) == ("fail", ["Say dollars."])
    assert voters[2].voters[0].through.prompts == []


async def test_ahead_by_asks_judges_until_one_side_leads(supervised: Supervised) -> None:
    """One yes, one no, two yeses: the lead of two comes with the fourth."""
    (verdict,), _ = await verdicts_of(supervised, ahead_by(2, of=saying(YES, NO, YES, YES)))
    assert (verdict["outcome"], verdict["evidence"]["yes"], verdict["evidence"]["no"]) == ("pass", 3, 1)


async def test_judges_see_no_other_vote(supervised: Supervised) -> None:
    """What the second judge is asked is what the first was asked, word for word."""
    voters = saying(NO, YES, YES)
    await verdicts_of(supervised, quorum(2, of=voters))
    prompts = [voter.voters[0].through.prompts for voter in voters]
    assert prompts[0] == prompts[1] == prompts[2]
    assert len(prompts[0]) == 1
