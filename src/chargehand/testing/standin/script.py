"""A script of the model's stand-in: data that says what to answer to which request, and which faults to play.

A stand-in is no model: it decides nothing, it looks its answer up. Replies are tried from the first to the last; the first
that fits the request and is not used up is given. What is told to a request depends on the script and on the request
alone, not on when it came, but for replies that are given once and faults that are asked for by number.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from chargehand.testing.scripts import ScriptEnded
from chargehand.testing.standin.mangling import can_mangle, mangled

FaultKind = Literal[
    "rate_limit",
    "quota",
    "server_error",
    "overloaded",
    "context_length",
    "slow",
    "hang",
    "dropped",
    "cut",
    "garbled",
    "truncated",
    "wrong_schema",
    "wrong_content",
    "refusal",
    "content_filter",
]
"""The faults that can be played; the testing guide says what each one does."""

FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)
SPOKEN: frozenset[FaultKind] = frozenset({"truncated", "wrong_schema", "wrong_content", "refusal", "content_filter"})
"""The faults that are in what the model says; the others are the endpoint's."""

_CHARACTERS_A_TOKEN = 4

Finish = Literal["stop", "length", "tool_calls", "content_filter"]


class ScriptUnfit(AssertionError):
    """The script says something that no endpoint could: a tool that was not offered, a value against a strict schema."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Fault(_Data):
    """One fault. `seconds` is the `Retry-After` of "rate_limit" and "overloaded", and how long "slow" waits."""

    kind: FaultKind
    seconds: float | None = Field(default=None, ge=0)


class ToolUse(_Data):
    """A call of a tool: its name and its arguments; arguments that are text are sent as they are, JSON or not."""

    name: str
    arguments: JsonValue = Field(default_factory=dict)

    def text(self) -> str:
        """Return the arguments as they go over the wire."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


class When(_Data):
    """Which requests a reply is for. What is None is not asked for; texts are looked for within texts.

    Args:
        nth: the number of the request, from 1, as they arrive (refused ones are not counted).
        model: the model that is asked.
        user: text in the last user message.
        tool: a tool whose result ends the conversation.
        result: text in such a result, of that tool when both are given.
        anywhere: text in any message.
    """

    nth: int | None = None
    model: str | None = None
    user: str | None = None
    tool: str | None = None
    result: str | None = None
    anywhere: str | None = None


class Reply(_Data):
    """What to answer: text, a value as JSON, tool calls, or a refusal; and to which requests.

    Args:
        text: what the model says.
        value: what it gives as JSON (structured output).
        tools: the tools that it calls.
        refusal: why it will not.
        when: the requests that it is for.
        times: how many of them, None for all.
        fault: a fault to play each time with this reply.
        wrong: what the fault "wrong_content" says instead; without it one figure or word of the reply is changed.
    """

    text: str | None = None
    value: JsonValue = None
    tools: tuple[ToolUse, ...] = ()
    refusal: str | None = None
    when: When = When()
    times: int | None = Field(default=1, ge=1)
    fault: Fault | None = None
    wrong: JsonValue = None

    @field_validator("fault", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _says_something(self) -> Reply:
        said = [self.text is not None, self.value is not None, bool(self.tools), self.refusal is not None]
        if not any(said) and self.fault is None:
            raise ValueError("A reply has a text, a value, tools, a refusal or a fault.")
        if (said[0] and said[1]) or (said[3] and any(said[:3])):
            raise ValueError("A reply has either a text or a value, and nothing beside a refusal.")
        return self


class FaultPlan(_Data):
    """Faults that come by themselves.

    Args:
        seed: what the draws come from. The same seed plays the same faults to the same requests, in whatever order they come.
        shares: how often each kind comes, from 0 to 1; together at most 1.
        at: a fault for the n-th request, from 1 (refused ones are not counted).
        in_a_row: how many drawn faults equal requests get before they are answered.
        seconds: the `Retry-After` of "rate_limit" and "overloaded", and how long "slow" waits, unless a fault says otherwise.
    """

    seed: int = 0
    shares: Mapping[FaultKind, float] = Field(default_factory=dict)
    at: Mapping[int, Fault] = Field(default_factory=dict)
    in_a_row: int = Field(default=2, ge=0)
    seconds: float = Field(default=1.0, ge=0)

    @field_validator("at", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return {nth: {"kind": fault} if isinstance(fault, str) else fault for nth, fault in dict(given).items()}

    @field_validator("shares")
    @classmethod
    def _shares(cls, given: Mapping[FaultKind, float]) -> Mapping[FaultKind, float]:
        if any(share < 0 for share in given.values()) or sum(given.values()) > 1:
            raise ValueError("Shares are from 0 to 1, and together at most 1.")
        return given


class ModelScript(_Data):
    """What a stand-in plays.

    Args:
        replies: tried in order.
        faults: faults that come by themselves.
        models: the names that it answers to. Each begins with ``stand-in``, so that nobody takes it for a model.
        context_tokens: the longest input, in estimated tokens (four characters each).
    """

    replies: tuple[Reply, ...]
    faults: FaultPlan = FaultPlan()
    models: tuple[str, ...] = ("stand-in",)
    context_tokens: int = Field(default=128_000, ge=1)

    @field_validator("models")
    @classmethod
    def _named_as_what_it_is(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in given if not name.startswith("stand-in")]
        if wrong or not given:
            raise ValueError(f"A stand-in is named as one: {wrong} must begin with 'stand-in'.")
        return given


def says(text: str, *, times: int | None = 1, fault: FaultKind | None = None, wrong: str | None = None, **when: Any) -> Reply:
    """Return a reply that is text. Further names are those of `When`."""
    return Reply(text=text, times=times, fault=_fault(fault), wrong=wrong, when=When(**when))


def gives(value: JsonValue, *, times: int | None = 1, fault: FaultKind | None = None, wrong: JsonValue = None, **when: Any) -> Reply:
    """Return a reply that is a value, as JSON. Further names are those of `When`."""
    return Reply(value=value, times=times, fault=_fault(fault), wrong=wrong, when=When(**when))


def calls(*tools: ToolUse | tuple[str, JsonValue], times: int | None = 1, fault: FaultKind | None = None, **when: Any) -> Reply:
    """Return a reply that calls tools, each a name with its arguments. Further names are those of `When`."""
    used = tuple(tool if isinstance(tool, ToolUse) else ToolUse(name=tool[0], arguments=tool[1]) for tool in tools)
    return Reply(tools=used, times=times, fault=_fault(fault), when=When(**when))


def refuses(why: str, *, times: int | None = 1, **when: Any) -> Reply:
    """Return a reply that is a refusal. Further names are those of `When`."""
    return Reply(refusal=why, times=times, when=When(**when))


def fails(fault: FaultKind, *, seconds: float | None = None, times: int | None = 1, **when: Any) -> Reply:
    """Return a reply that is nothing but a fault of the endpoint. Further names are those of `When`."""
    return Reply(fault=Fault(kind=fault, seconds=seconds), times=times, when=When(**when))


def _fault(kind: FaultKind | None) -> Fault | None:
    return None if kind is None else Fault(kind=kind)


# -- playing it ----------


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks, whichever API it came by.

    `results` are the tool results that end the conversation: the tool's name and the text.
    """

    model: str
    texts: tuple[str, ...]
    user: str
    results: tuple[tuple[str, str], ...]
    digest: str

    @property
    def tokens(self) -> int:
        """The estimated tokens of the input."""
        return sum(tokens_in(text) for text in self.texts)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says: text or a refusal, tool calls, and why it stopped. `tag` makes the ids of what is answered."""

    number: int
    tag: str
    text: str | None
    tools: tuple[ToolUse, ...]
    refusal: str | None
    finish: Finish
    fault: Fault | None = None
    loose: bool = False
    """The content is wrong on purpose: it is not held against schemas."""

    def within(self, tokens: int | None) -> Answer:
        """Return what fits into so many tokens; what does not is cut off, as the limit of a request does."""
        room = None if tokens is None else tokens * _CHARACTERS_A_TOKEN
        if room is None or self.text is None or len(self.text) <= room:
            return self
        return replace(self, text=self.text[:room], finish="length", loose=True)


def tokens_in(text: str) -> int:
    """Return an estimate: four characters to the token. No tokenizer is asked."""
    return -(-len(text) // _CHARACTERS_A_TOKEN)


class Playing:
    """A script that is being played: which replies are used up, which requests have been seen. Safe among threads."""

    def __init__(self, script: ModelScript) -> None:
        self.script = script
        self._lock = threading.Lock()
        self._number = 0
        self._given: Counter[int] = Counter()
        self._seen: Counter[str] = Counter()

    def answer(self, asked: Asked) -> Answer:
        """Return what to answer. Raises `ScriptEnded` when no reply fits, `ScriptUnfit` for a fault that the reply cannot have."""
        with self._lock:
            self._number += 1
            self._seen[asked.digest] += 1
            number, times = self._number, self._seen[asked.digest]
            index = self._fitting(asked, number)
            reply = self.script.replies[index]
            dice = random.Random(f"{self.script.faults.seed}/{asked.digest}/{times}")
            drawn = self._drawn(number, times, reply, dice)
            if reply.fault is not None or drawn is None or drawn.kind == "slow":
                self._given[index] += 1  # a fault that comes by itself uses no reply up: whoever asks again gets it
        fault = reply.fault if reply.fault is not None else drawn
        tag = hashlib.sha256(f"{self.script.faults.seed}/{asked.digest}/{times}".encode()).hexdigest()[:24]
        return spoken(_answer(number, tag, reply), fault, reply.wrong, dice)

    def _fitting(self, asked: Asked, number: int) -> int:
        for index, reply in enumerate(self.script.replies):
            if (reply.times is None or self._given[index] < reply.times) and _fits(reply.when, asked, number):
                return index
        raise ScriptEnded(
            f"No reply of the stand-in's script fits request {number} to {asked.model!r}, which ends with "
            f"{(asked.results[-1] if asked.results else asked.user)!r}. Add a reply, or give one with times=None."
        )

    def _drawn(self, number: int, times: int, reply: Reply, dice: random.Random) -> Fault | None:
        plan = self.script.faults
        if number in plan.at:
            return _timed(plan.at[number], plan)
        if times > plan.in_a_row or reply.fault is not None:
            return None
        point, bound = dice.random(), 0.0
        for kind, share in plan.shares.items():
            bound += share
            if point < bound:
                return Fault(kind=kind, seconds=plan.seconds) if _can_have(reply, kind) else None
        return None


def _timed(fault: Fault, plan: FaultPlan) -> Fault:
    return fault if fault.seconds is not None else fault.model_copy(update={"seconds": plan.seconds})


def _can_have(reply: Reply, kind: FaultKind) -> bool:
    if kind not in SPOKEN or kind in ("refusal", "content_filter"):
        return True
    answer = _answer(0, "", reply)
    return reply.wrong is not None if kind == "wrong_content" and answer.tools == () and answer.text is None else _mangles(answer, kind)


def _mangles(answer: Answer, kind: FaultKind) -> bool:
    return kind == "truncated" or can_mangle(kind, _payload(answer))


def _payload(answer: Answer) -> str:
    return answer.tools[0].text() if answer.tools else answer.text or ""


def _fits(when: When, asked: Asked, number: int) -> bool:
    return (
        (when.nth is None or when.nth == number)
        and (when.model is None or when.model == asked.model)
        and (when.user is None or when.user in asked.user)
        and (when.tool is None or any(when.tool == name for name, _ in asked.results))
        and (when.result is None or any(when.result in text and when.tool in (None, name) for name, text in asked.results))
        and (when.anywhere is None or any(when.anywhere in text for text in asked.texts))
    )


def _answer(number: int, tag: str, reply: Reply) -> Answer:
    text = reply.text if reply.value is None else json.dumps(reply.value, ensure_ascii=False)
    return Answer(number, tag, text, reply.tools, reply.refusal, "tool_calls" if reply.tools else "stop")


def spoken(answer: Answer, fault: Fault | None, wrong: JsonValue, dice: random.Random) -> Answer:
    """Return the answer with its fault, and the content changed when the fault is in what the model says."""
    if fault is None or fault.kind not in SPOKEN:
        return replace(answer, fault=fault)
    if fault.kind == "refusal":
        return replace(answer, text=None, tools=(), refusal=answer.refusal or "I can't help with that.", finish="stop", fault=fault)
    if fault.kind == "content_filter":
        return replace(answer, text="", tools=(), refusal=None, finish="content_filter", fault=fault)
    payload = _payload(answer)
    if fault.kind == "truncated":
        changed = payload[: max(1, len(payload) // 2)]
    elif fault.kind == "wrong_content" and wrong is not None:
        changed = wrong if isinstance(wrong, str) else json.dumps(wrong, ensure_ascii=False)
    elif can_mangle(fault.kind, payload):
        changed = mangled(fault.kind, payload, dice)
    else:
        raise ScriptUnfit(f"The fault {fault.kind!r} needs a reply with something to change, not {payload!r}.")
    finish: Finish = "length" if fault.kind == "truncated" else answer.finish
    if answer.tools:
        first = answer.tools[0].model_copy(update={"arguments": changed})
        return replace(answer, tools=(first, *answer.tools[1:]), finish=finish, fault=fault, loose=True)
    return replace(answer, text=changed, finish=finish, fault=fault, loose=True)
