"""Which call is which: whether what a client asks is a new call, or the one whose reply it never got.

A JSON-RPC id is used again after a reconnect and says nothing. What says something is what became of each reply:

* *delivered*: the client had it, because it said something afterwards on the same line. An equal call then is a new call.
* *lost*: the client was gone before anything was written to it, or it was only told that a person is waited for. An equal call
  within the window is this one again: it joins the call that still goes on, or is answered from the record.
* *unknown*: written, and no word from the client since; or the gateway died before it could write down which of the two it was.
  A tool that may be repeated is called again; of another one somebody has to say.

The book is a fold over what the run's journal holds: the same on every replay, in whichever process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from chargehand.contracts import digest_of

Again = Literal["same", "new"]
Kind = Literal["read", "effect", "final"]


class Said(BaseModel):
    """What a gateway says to the run of a session: a call that a client asks for, what became of replies, or that the session ends.

    `gateway` names the process, `request` the one request whose reply is owed, `at` the time in seconds since the epoch. What the
    configuration says is written down with it, because a replay has to decide alike: `window`, and `idle`, both in seconds.
    """

    kind: Literal["call", "replies", "end"]
    gateway: str
    at: float
    window: float
    idle: float
    request: str = ""
    client: str = ""
    tool: str = ""
    was: Kind = "final"
    repeatable: bool = False
    refused: str | None = None
    arguments: dict[str, Any] = {}
    again: Again | None = None
    written: list[str] = []
    delivered: list[str] = []
    lost: list[str] = []


class Answer(BaseModel):
    """What a call gave: the tool's result as MCP has it, when, and in which process of the gateway. `failed`: nothing came of it."""

    result: dict[str, Any]
    at: float
    by: str = ""
    failed: bool = False


@dataclass(slots=True)
class Holder:
    """The process that owes a reply, and whether it has written it."""

    gateway: str
    written: bool = False


@dataclass(slots=True)
class Owed:
    """One call of a session, and the requests whose reply it still owes."""

    number: int
    said: Said
    digest: str
    holders: dict[str, Holder] = field(default_factory=dict)
    answer: Answer | None = None
    delivered: bool = False
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a request belongs: to call `number`. `new`: it is to be made; `unclear`: unless it is this earlier call again."""

    number: int
    new: bool
    answer: Answer | None = None
    unclear: int | None = None


class Book:
    """The calls of one session. It forgets a call when nothing can be asked about it any more."""

    def __init__(self) -> None:
        self._calls: dict[int, Owed] = {}
        self._by_request: dict[str, Owed] = {}
        self._open: dict[str, list[Owed]] = {}
        self._count = 0

    @property
    def going_on(self) -> bool:
        """Say whether a call has no answer yet."""
        return any(call.answer is None for call in self._calls.values())

    def replies(self, said: Said) -> None:
        """Take down what became of replies."""
        for request in said.written:
            if request in self._by_request:
                self._by_request[request].holders[request].written = True
        for request in said.lost:
            call = self._by_request.pop(request, None)
            if call is not None:
                del call.holders[request]
        for request in said.delivered:
            call = self._by_request.get(request)
            if call is not None:
                self._deliver(call)

    def place(self, said: Said) -> Placed:
        """Say which call a request belongs to, and take down that its reply is owed."""
        self.replies(said)
        digest = digest_of([said.tool, said.arguments])
        unclear: Owed | None = None
        for call in list(self._open.get(digest, ())):
            if self._is_over(call, said):
                self._deliver(call)
                continue
            match self._is_this(call, said):
                case "this":
                    self._owe(call, said)
                    return Placed(call.number, False, call.answer)
                case "unclear" if unclear is None:
                    unclear = call
        self._count += 1
        made = self._calls[self._count] = Owed(self._count, said, digest)
        self._open.setdefault(digest, []).append(made)
        self._owe(made, said)
        if unclear is not None:
            unclear.disputed = True
        return Placed(made.number, True, None, None if unclear is None else unclear.number)

    def answered(self, number: int, answer: Answer) -> None:
        """Take down what a call gave."""
        call = self._calls[number]
        call.answer = answer
        if call.delivered:
            self._forget(call)

    def answer_of(self, number: int) -> Answer | None:
        """Return what a call gave."""
        call = self._calls.get(number)
        return None if call is None else call.answer

    def settled(self, number: int) -> None:
        """Take down that somebody said what an unclear call was: nobody is owed its reply any more."""
        call = self._calls.get(number)
        if call is not None:
            self._deliver(call)

    def _owe(self, call: Owed, said: Said) -> None:
        call.holders[said.request] = Holder(said.gateway)
        self._by_request[said.request] = call

    def _deliver(self, call: Owed) -> None:
        call.delivered = True
        if call.answer is not None:
            self._forget(call)

    def _forget(self, call: Owed) -> None:
        self._calls.pop(call.number, None)
        for request in call.holders:
            self._by_request.pop(request, None)
        alike = self._open.get(call.digest, [])
        if call in alike:
            alike.remove(call)
        if not alike:
            self._open.pop(call.digest, None)

    def _is_over(self, call: Owed, said: Said) -> bool:
        """Say whether a call is nobody's again: its window has passed, or the client says that it means a new one."""
        if self._is_held(call, said) or call.disputed:
            return False
        late = call.answer is not None and said.at - call.answer.at > said.window
        return said.again == "new" or (late and said.again != "same")

    @staticmethod
    def _is_held(call: Owed, said: Said) -> bool:
        """Say whether a request of this process still waits for the call's reply, so that a second one is a second call."""
        return any(holder.gateway == said.gateway and not holder.written for holder in call.holders.values())

    def _is_this(self, call: Owed, said: Said) -> Literal["this", "unclear", "no"]:
        """Say whether a request is an earlier call again."""
        answer = call.answer
        if call.delivered or call.disputed or self._is_held(call, said):
            return "no"
        if answer is None or said.again == "same" or not call.holders or answer.failed:
            return "this"
        if not any(holder.gateway == answer.by for holder in call.holders.values()):
            return "this"  # no process that owed the reply ever had the answer
        if call.said.was == "read" or call.said.repeatable:
            return "no"
        return "unclear"
