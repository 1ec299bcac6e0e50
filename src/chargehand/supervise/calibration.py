"""How good judges are, measured on labelled outputs: what they find, what they falsely reject, and with whom they err together.

An output that is wrong is the producer's error; a judge errs when it passes a wrong one or fails a right one. An abstention is no
error: it is counted beside, because the gate's `on_abstain` says what it leads to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations
from math import atanh, sqrt, tanh
from typing import Any, Literal

from chargehand.errors import NotDone
from chargehand.supervise.judges import JudgeDefinition

Z = 1.96
"""95 % on both sides of a normal distribution."""

Outcome = Literal["pass", "fail", "abstain", "lost"]
"""What a judge said; "lost" when it could not be reached."""


@dataclass(frozen=True, slots=True)
class Example:
    """One output as JSON, whether it is right, and the inputs and tools' results of who made it, for rubrics that need them."""

    output: Any
    right: bool
    inputs: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` out of `of`, with Wilson's score interval (E. B. Wilson, JASA 22, 1927), 95 %."""

    hits: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the share; all of it where nothing was counted."""
        if not self.of:
            return 0.0, 1.0
        share, square = self.hits / self.of, Z * Z
        middle = (share + square / (2 * self.of)) / (1 + square / self.of)
        half = Z / (1 + square / self.of) * sqrt(share * (1 - share) / self.of + square / (4 * self.of * self.of))
        return max(0.0, middle - half), min(1.0, middle + half)

    def form(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"hits": self.hits, "of": self.of, "share": self.hits / self.of if self.of else None, "interval": list(self.interval)}


@dataclass(frozen=True, slots=True)
class Together:
    """How two kinds of errors correlate over `of` examples: φ (Pearson's of two yes-or-no values), None where one never or always occurs.

    The interval is that of Fisher's transformation (R. A. Fisher, Metron 1, 1921), 95 %; an approximation for such values.
    """

    phi: float | None
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of φ; all of it where too little was counted."""
        if self.phi is None or self.of < 4:
            return -1.0, 1.0
        middle, half = atanh(max(-0.999999, min(0.999999, self.phi))), Z / sqrt(self.of - 3)
        return min(self.phi, tanh(middle - half)), max(self.phi, tanh(middle + half))

    def form(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"phi": self.phi, "of": self.of, "interval": list(self.interval)}


def together(pairs: Sequence[tuple[bool, bool]]) -> Together:
    """Return how two yes-or-no values correlate over these examples."""
    n = len(pairs)
    both, one, other = sum(a and b for a, b in pairs), sum(a for a, _ in pairs), sum(b for _, b in pairs)
    spread = one * (n - one) * other * (n - other)
    return Together((n * both - one * other) / sqrt(spread) if spread else None, n)


@dataclass(frozen=True, slots=True)
class Heard:
    """What one judge said about the examples, in their order, and what it cost."""

    judge: JudgeDefinition
    examples: Sequence[Example]
    said: Sequence[Outcome]
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal | None = None

    def errors(self) -> list[bool | None]:
        """Return for each example whether the judge erred; None where it gave no judgement."""
        return [
            None if said in ("abstain", "lost") else (said == "pass") != example.right
            for said, example in zip(self.said, self.examples, strict=True)
        ]

    def rejected(self, *, right: bool) -> Share:
        """Return how many of the right outputs, or of the wrong ones, it rejected. What was lost is not counted."""
        said = [said for said, example in zip(self.said, self.examples, strict=True) if example.right is right and said != "lost"]
        return Share(said.count("fail"), len(said))

    def count(self, outcome: Outcome) -> int:
        """Return how often it said this."""
        return list(self.said).count(outcome)

    @property
    def with_producer(self) -> Together:
        """How the judge's errors and the producer's correlate."""
        return together(
            [(erred, not example.right) for erred, example in zip(self.errors(), self.examples, strict=True) if erred is not None]
        )

    @property
    def tells_apart(self) -> bool:
        """Say whether the examples show that the judge rejects wrong outputs more often than right ones: the intervals lie apart."""
        return self.rejected(right=False).interval[0] > self.rejected(right=True).interval[1]


def err_together(one: Heard, other: Heard) -> Together:
    """Return how two judges' errors correlate over what both of them judged: the ρ that `quorum(…, correlation=)` takes."""
    pairs = zip(one.errors(), other.errors(), strict=True)
    return together([(a, b) for a, b in pairs if a is not None and b is not None])


def pairs_of(heard: Sequence[Heard]) -> list[tuple[Heard, Heard, Together]]:
    """Return every two of these judges with how their errors correlate."""
    return [(one, other, err_together(one, other)) for one, other in combinations(heard, 2)]


async def hear(judge: JudgeDefinition, examples: Sequence[Example], at_once: int = 4) -> Heard:
    """Ask a judge about every example, each once; nothing is journaled.

    Raises what a model refuses for good (`ModelFailed`); an ask that failed transiently is lost.
    """
    places = asyncio.Semaphore(at_once)

    async def one(example: Example) -> tuple[Outcome, int, int, Decimal | None]:
        call = judge.ballot(example.output, example.inputs, example.tools)
        prompt = str(call.arguments.values["prompt"])
        async with places:
            try:
                judgement, answered = await judge.asked(prompt, example.output, paid=False)
            except (NotDone, ConnectionError, TimeoutError):
                return "lost", 0, 0, None
        return judgement.outcome, answered.input_tokens, answered.output_tokens, answered.usd

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(example)) for example in examples]
    answers = [task.result() for task in tasks]
    prices = [usd for *_, usd in answers if usd is not None]
    return Heard(
        judge,
        examples,
        [said for said, *_ in answers],
        sum(tokens for _, tokens, _, _ in answers),
        sum(tokens for _, _, tokens, _ in answers),
        sum(prices, Decimal()) if prices else None,
    )
