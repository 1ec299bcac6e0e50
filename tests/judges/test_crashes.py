"""Judges and crashes: a verdict that is on disk is never asked for again, wherever the process dies."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import BaseModel

from chargehand import Answered, judge, quorum, wait_signal, workflow
from chargehand.testing import Supervised

from .scripted import NO, YES, ScriptedJudge, crew


class Consistent:
    """A stand-in for a judge's model that says the same of the same output, as often as it is asked."""

    def __init__(self, first: Any, then: Any) -> None:
        self.first, self.then, self.asked = first, then, 0

    async def asks(self, prompt: str, schema: type[BaseModel]) -> Answered:
        """Say one thing of the first attempt's output and another of later ones."""
        self.asked += 1
        return Answered(self.first if "attempt 1" in prompt else self.then, 100, 10)


Played = tuple[list[tuple[str, str]], dict[str, int], list[Any], list[Any]]


async def played(supervised: Supervised) -> Played:
    """Have a lone judge and a quorum of three reject once and pass once.

    Returns the votes on record, how often each model was asked, the verdicts, and what was spent.
    """
    models = {"claude": Consistent(NO, YES), "gemini": Consistent(NO, YES), "llama": Consistent(YES, YES), "qwen": Consistent(YES, YES)}
    asked = {name: judge(name, "In dollars?", through=model, name=name) for name, model in models.items()}
    voters = [asked[name] for name in ("claude", "gemini", "llama")]
    run = await supervised.start(crew(asked["qwen"], quorum(2, of=voters))("bolts"), id="r")
    assert "attempt 2" in await run.result()
    events = await run.events()
    votes = [(event.path, event.payload["v"]["outcome"]) for event in events if event.type == "call.done"]
    verdicts = [(e.payload["gate"], e.payload["outcome"], e.payload["evidence"]) for e in events if e.type == "gate.judged"]
    spent = [amount["tokens"] for event in events for amount in event.payload.get("spent", {}).values()]
    return votes, {name: model.asked for name, model in models.items()}, verdicts, spent


@pytest.mark.parametrize("point", ["before commit", "after commit"])
async def test_wherever_it_dies_no_finished_verdict_is_asked_for_again(point: str) -> None:
    """Death before and after each commit: votes and verdicts are those of an undisturbed run, and at most the one ask in flight is made again."""
    async with Supervised() as supervised:
        votes, asked, verdicts, spent = await played(supervised)
        events = (await supervised.view("r").row()).seq
    assert asked == {"claude": 2, "gemini": 2, "llama": 0, "qwen": 2}
    crashes = again = 0
    for nth in range(1, events + 1):
        async with Supervised() as supervised:
            plan = supervised.crash_at(point, nth=nth)
            found = await played(supervised)
            crashes += plan.passed >= nth
        assert (found[0], found[2], found[3]) == (votes, verdicts, spent), nth
        more = Counter(found[1]) - Counter(asked)
        assert more.total() <= (1 if point == "before commit" else 0), (nth, more)
        again += more.total()
    assert crashes >= 15
    assert again == (6 if point == "before commit" else 0), "an ask whose answer never reached the disk is made again, once each"


async def test_a_replay_asks_no_judge(supervised: Supervised) -> None:
    """A run that goes on after its judges spoke, three processes later and with a judge that would now reject, has the release of the first."""
    model = ScriptedJudge(YES, NO)
    writing = crew(judge("claude", "In dollars?", through=model))

    @workflow(name="waiting")
    async def waits(topic: str) -> str:
        written: str = await writing(topic)
        await wait_signal("go", int)
        return written

    run = await supervised.start(waits("bolts"), id="r")
    await supervised.rest()
    for _ in range(3):
        await supervised.crash()
    await supervised.signal(run, "go", 1)
    assert "attempt 1" in await run.result()
    assert len(model.prompts) == 1
