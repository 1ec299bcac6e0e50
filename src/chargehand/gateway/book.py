"""Which call is which: whether what a client asks is a new call, or the one whose reply it never got.

A JSON-RPC id is used again after a reconnect and says nothing. What says something is what became of each reply:

* *delivered*: the client had it. An equal call afterwards is a new call.
* *lost*: nothing was written to the client before it was gone, or it was only told that a person is waited for. An equal call
  within the window is this one again: it joins the call that still goes on, or is answered from the record.
* *unknown*: the gateway died between the answer and the word that it was delivered. A tool that may be repeated is called again;
  of another one somebody has to say.

The book is a fold over what the run's journal holds: the same on every replay, in whichever process.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from chargehand.contracts import digest_of

Again = Literal["same", "new"]


class Said(BaseModel):
    """What a gateway says to the run of a session: a call that a client asks for, what became of replies, or that the session ends.

    `gateway` names the process, `request` the one request whose reply is owed, `at` the time in seconds since the epoch.
    """

    kind: Literal["call", "replies", "end"]
    gateway: str
    at: float
    request: str = ""
    connection: str = ""
    client: str = ""
    tool: str = ""
    was: Literal["read", "effect", "final"] = "final"
    repeatable: bool = False
    arguments: dict[str, Any] = {}
    again: Again | None = None
    delivered: list[str] = []
    lost: list[str] = []
    told: list[str] = []


class Answer(BaseModel):
    """What a call gave: the tool's result as MCP has it, when, and in which process of the gateway. `failed`: nothing was sent."""

    result: dict[str, Any]
    at: float
    by: str
    failed: bool = False


@dataclass(slots=True)
class Owed:
    """One call of a session, and the requests whose reply it still owes: by request, the gateway process that held it."""

    number: int
    said: Said
    holders: dict[str, str] = field(default_factory=dict)
    answer: Answer | None = None
    delivered: bool = False
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a request belongs: to call `number`. `new`: it is to be made; `unclear`: unless it is this earlier call."""

    number: int
    new: bool
    unclear: int | None = None


class Book:
    """The calls of one session.

    Args:
        window: for how many seconds after its answer a call whose reply was lost is answered from the record.
    """

    def __init__(self, window: float) -> None:
        self.calls: dict[int, Owed] = {}
        self._window = window
        self._by_request: dict[str, int] = {}
        self._open: dict[str, list[int]] = {}

    def replies(self, said: Said) -> None:
        """Take down what became of replies."""
        for request in said.delivered:
            call = self.calls.get(self._by_request.get(request, 0))
            if call is not None:
                self._delivered(call)
        for request in (*said.lost, *said.told):
            call = self.calls.get(self._by_request.get(request, 0))
            if call is not None:
                call.holders.pop(request, None)

    def place(self, said: Said) -> Placed:
        """Say which call a request belongs to, and take down that its reply is owed."""
        self.replies(said)
        digest = digest_of([said.tool, said.arguments])
        unclear: int | None = None
        for number in list(self._open.get(digest, ())):
            call = self.calls[number]
            if said.again == "new" and not self._is_held(call, said):
                self._delivered(call)
                continue
            match self._is_this(call, said):
                case "this":
                    call.holders[said.request] = said.gateway
                    self._by_request[said.request] = number
                    return Placed(number, False)
                case "unclear" if unclear is None:
                    unclear = number
        number = len(self.calls) + 1
        self.calls[number] = Owed(number, said, {said.request: said.gateway})
        self._by_request[said.request] = number
        self._open.setdefault(digest, []).append(number)
        if unclear is not None:
            self.calls[unclear].disputed = True
        return Placed(number, True, unclear)

    def answered(self, number: int, answer: Answer) -> None:
        """Take down what a call gave."""
        self.calls[number].answer = answer

    def settled(self, number: int) -> None:
        """Take down that somebody said what an unclear call was: nobody is owed its reply any more."""
        self._delivered(self.calls[number])

    @property
    def going_on(self) -> bool:
        """Say whether a call has no answer yet."""
        return any(call.answer is None for number in self._numbers() if (call := self.calls[number]))

    def _numbers(self) -> Iterable[int]:
        return (number for numbers in self._open.values() for number in numbers)

    def _delivered(self, call: Owed) -> None:
        call.delivered = True
        call.holders.clear()
        if call.answer is None:
            return
        digest = digest_of([call.said.tool, call.said.arguments])
        numbers = self._open.get(digest, [])
        if call.number in numbers:
            numbers.remove(call.number)
            if not numbers:
                del self._open[digest]

    def _is_held(self, call: Owed, said: Said) -> bool:
        """Say whether a request of this process still waits for the call's reply, so that a second one is a second call."""
        return any(gateway == said.gateway for gateway in call.holders.values())

    def _is_this(self, call: Owed, said: Said) -> Literal["this", "unclear", "no"]:
        """Say whether a request is an earlier call again."""
        if call.delivered or call.disputed or self._is_held(call, said):
            return "no"
        answer = call.answer
        if answer is None:
            return "this"
        if said.again == "same":
            return "this"
        if said.at - answer.at > self._window:
            return "no"
        if answer.by not in call.holders.values():
            return "this"  # no process that owed the reply ever had the answer
        if answer.failed or call.said.was == "read" or call.said.repeatable:
            return "no"
        return "unclear"
