"""A stand-in for judges' models, and a crew whose output they judge."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from chargehand import Answered, Feedback, agent, give_up, retry, workflow


class ScriptedJudge:
    """A stand-in for a judge's model: gives the opinions it was made with, one after the other, and the last one for ever."""

    def __init__(self, *opinions: Any) -> None:
        self.opinions, self.prompts = list(opinions), list[str]()

    async def asks(self, prompt: str, schema: type[BaseModel]) -> Answered:
        """Give the next opinion; one that is an exception is raised."""
        self.prompts.append(prompt)
        said = self.opinions.pop(0) if len(self.opinions) > 1 else self.opinions[0]
        if isinstance(said, Exception):
            raise said
        return Answered(said, 100, 10)


def opinion(outcome: str, *quotes: str, reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an opinion as a model answers it."""
    return {"outcome": outcome, "quotes": list(quotes), "reasons": list(reasons)}


YES = opinion("pass", "price of the bolt")
NO = opinion("fail", "price of the bolt", reasons=("Say dollars.",))
UNSURE = opinion("abstain")


def crew(*gates: Any, ladder: Any = (retry(2), give_up()), **options: Any) -> Any:
    """Return a workflow of one writer behind these gates."""

    @agent(role="Writes.", gates=list(gates), family="openai", ladder=list(ladder), name="writer", **options)
    async def writer(topic: str, feedback: Feedback | None = None) -> str:
        return f"The price of the bolt is 12 euro, attempt {feedback.attempt if feedback else 1}."

    @workflow(name="writing")
    async def writing(topic: str) -> str:
        return await writer(topic)

    return writing
