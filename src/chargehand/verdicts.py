"""What gates say, what agents are told, and how an output was released."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["pass", "fail", "abstain"]
ReleasedBy = Literal["gates", "person", "fallback"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate said about one output.

    `reasons` are sentences for the agent that has to mend it; `evidence` is JSON; `mode` is a MAST code or a system class.
    """

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    gate: str = ""
    mode: str | None = None
    evidence: Any = None
    seconds: float = 0.0

    @classmethod
    def passed(cls) -> Verdict:
        """Return a pass."""
        return cls("pass")

    @classmethod
    def fail(cls, *reasons: str, mode: str | None = None, evidence: Any = None) -> Verdict:
        """Return a fail with its reasons."""
        return cls("fail", reasons, mode=mode, evidence=evidence)

    @classmethod
    def abstain(cls, *reasons: str, evidence: Any = None) -> Verdict:
        """Return an abstention: the gate could not tell."""
        return cls("abstain", reasons, evidence=evidence)

    def record(self) -> dict[str, Any]:
        """Return the JSON form."""
        form: dict[str, Any] = {"gate": self.gate, "outcome": self.outcome}
        if self.reasons:
            form["reasons"] = list(self.reasons)
        if self.mode is not None:
            form["mode"] = self.mode
        if self.evidence is not None:
            form["evidence"] = self.evidence
        if self.seconds:
            form["seconds"] = round(self.seconds, 6)
        return form

    @classmethod
    def from_record(cls, form: Mapping[str, Any]) -> Verdict:
        """Make the verdict again from its JSON form."""
        return cls(
            form["outcome"],
            tuple(form.get("reasons", ())),
            gate=form.get("gate", ""),
            mode=form.get("mode"),
            evidence=form.get("evidence"),
            seconds=form.get("seconds", 0.0),
        )


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the next attempt of an agent is told about the ones before it.

    `reasons` are those of the last rejection, `verdicts` those of all attempts, oldest first. `already_done` lists the
    effects of earlier incarnations that stand: ``{"tool", "arguments", "result"}``. `answers` are the answers to the
    agent's own questions. `output` is the rejected output, as JSON.
    """

    attempt: int
    reasons: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    output: Any = None
    already_done: tuple[Mapping[str, Any], ...] = ()
    answers: tuple[tuple[str, str], ...] = ()
    done_when: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"- {reason}" for reason in self.reasons]
        lines += [
            f"- already done: {effect['tool']}({effect['arguments']}). Call it again to keep it: that does not do it twice. Else it is undone."
            for effect in self.already_done
        ]
        lines += [f"- you asked: {question} The answer: {answer}" for question, answer in self.answers]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Clarify:
    """An answer that an agent may give instead of guessing: a question (MAST FM-2.2)."""

    question: str


@dataclass(frozen=True, slots=True)
class Done:
    """A clause of what done means, and the gate that checks it."""

    clause: str
    by: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One claim an output makes: `subject` has `attribute` = `value`, in `unit`. Source: what `consistent` cites."""

    subject: str
    attribute: str
    value: Any
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class ReleasedFact:
    """A fact that was released in this run, and by which call."""

    fact: Fact
    path: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A read or effect that an agent made in this attempt: its arguments and result as JSON."""

    tool: str
    arguments: Mapping[str, Any]
    result: Any


@dataclass(frozen=True, slots=True)
class GateContext:
    """What a gate may know: never the producer's reasoning, never another judge's vote.

    `inputs` are the validated arguments by parameter name, `tools` what this attempt's calls returned, `released` the
    outputs released earlier in the run by path (as JSON), `facts` what they asserted, `rejected` this call's own rejected outputs (as JSON), `role` and `done_when` the contract.
    """

    run_id: str
    path: str
    attempt: int
    inputs: Mapping[str, Any]
    tools: Sequence[ToolResult] = ()
    released: Mapping[str, Any] = field(default_factory=dict)
    facts: Sequence[ReleasedFact] = ()
    rejected: Sequence[Any] = ()
    role: str = ""
    done_when: tuple[str, ...] = ()
    environment: str = ""
    facts_of: Callable[[Any], Sequence[Fact]] | None = None
