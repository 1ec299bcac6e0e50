"""The outside world: services that keep books of their own, whatever the journal says.

A book is a list of facts. What a service answers depends on nothing but its book and its troubles, so a copy of the book
is the state of the world: a test may go back to any moment of a run by cutting the list there.

Two books: `Book` in memory, and `FileBook` in a file that many processes share and that survives SIGKILL.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from chargehand import NotDone

Trouble = str
"""What goes wrong with one arrival:

"refused": nothing happens and the service says so. "busy": HTTP 429. "broken": HTTP 500, nothing happened, but nobody
can know. "lost": it happens, and the answer is lost. "hangs": it happens, and the answer never comes. "garbage": it
happens, and the answer is unreadable. "never": refused, and so is every later arrival. "once more": refused for good
under the first key, whatever arrives under another one is done.
"""


class Fact(NamedTuple):
    """One line of a book: what happened to which order (`ref`) at which service (`tool`), under which key."""

    what: str
    tool: str
    ref: str
    key: str = ""


class Book:
    """A list of facts."""

    def __init__(self, facts: Sequence[Fact] = ()) -> None:
        self._facts = list(facts)

    def facts(self) -> list[Fact]:
        """Return all facts so far, oldest first."""
        return list(self._facts)

    @contextmanager
    def writing(self) -> Iterator[list[Fact]]:
        """Lend the facts to one service; what it appends is kept. Nobody else writes meanwhile."""
        yield self._facts


class FileBook(Book):
    """A list of facts in a file, one JSON line each. Appended under a lock; no process's death loses a line."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._read = 0

    def facts(self) -> list[Fact]:
        """Return all facts so far, oldest first."""
        self._catch_up()
        return list(self._facts)

    def _catch_up(self) -> None:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._read)
                new = file.read()
                new = new[: new.rfind(b"\n") + 1]  # somebody may be writing
        except FileNotFoundError:
            return
        self._read += len(new)
        self._facts += [Fact(*json.loads(line)) for line in new.splitlines()]

    @contextmanager
    def writing(self) -> Iterator[list[Fact]]:
        """Lend the facts to one service; what it appends is kept. Nobody else writes meanwhile."""
        with open(self._path + "-lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._catch_up()
            known = len(self._facts)
            try:
                yield self._facts
            finally:
                text = "".join(json.dumps(fact) + "\n" for fact in self._facts[known:]).encode()
                with open(self._path, "ab") as file:
                    self._read += os.write(file.fileno(), text)  # one write: a reader sees a line whole or not at all


class HttpError(Exception):
    """What an HTTP client raises for a status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status_code = status


@dataclass
class World:
    """The services, as one process sees them.

    `seen` is called with every new fact. `dead` says that the process which holds this handle has died: from then on it
    reaches nobody, and whatever it still does waits for ever. `slow` is how long a journey takes. `hanging` counts the
    calls that wait for an answer which never comes.
    """

    book: Book
    troubles: Mapping[tuple[str, str], Sequence[Trouble]] = field(default_factory=dict)
    seen: Callable[[Fact], None] | None = None
    dead: bool = False
    slow: float = 0.0
    hanging: int = 0

    async def journey(self) -> None:
        """Travel to a service or back: other branches run meanwhile."""
        await asyncio.sleep(self.slow)
        while self.dead:
            await asyncio.get_running_loop().create_future()

    @contextmanager
    def _writing(self) -> Iterator[list[Fact]]:
        new: list[Fact] = []
        try:
            with self.book.writing() as facts:
                known = len(facts)
                try:
                    yield facts
                finally:
                    new = facts[known:]
        finally:  # a service that refuses has a new fact as well
            if new and self.seen is not None:
                self.seen(new[-1])

    def _trouble(self, facts: Sequence[Fact], tool: str, ref: str, key: str = "") -> Trouble:
        plan = self.troubles.get((tool, ref), ())
        if plan == ("once more",):
            return "" if "~" in key else "never"
        arrivals = sum(1 for fact in facts if fact.what == "arrived" and (fact.tool, fact.ref) == (tool, ref))
        if "never" in plan[:arrivals]:
            return "never"
        return plan[arrivals - 1] if arrivals <= len(plan) else ""

    async def ask(self, what: str, tool: str, ref: str, key: str) -> str:
        """Have a service do (`what` is "happened") or take back ("undone") something. A known key does nothing again."""
        await self.journey()
        place = tool if what == "happened" else f"{tool}!undo"
        with self._writing() as facts:
            facts.append(Fact("arrived", place, ref, key))
            trouble = self._trouble(facts, place, ref, key)
            if trouble in ("refused", "never"):
                raise NotDone(f"{place} {ref} was refused", permanent=trouble == "never")
            if trouble in ("busy", "broken"):
                raise HttpError(429 if trouble == "busy" else 500)
            if not (key and Fact(what, tool, ref, key) in facts):
                facts.append(Fact(what, tool, ref, key))
        await self.journey()
        if trouble == "lost":
            raise ConnectionResetError("the connection was reset")
        if trouble == "hangs":
            await self._hang()
        return b"\xff" if trouble == "garbage" else f"{tool}-{ref}-receipt"  # type: ignore[return-value]

    async def _hang(self) -> None:
        self.hanging += 1
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.hanging -= 1

    async def make(self, tool: str, ref: str, key: str = "") -> str:
        """Have a service do something."""
        return await self.ask("happened", tool, ref, key)

    async def take_back(self, tool: str, ref: str, key: str = "") -> None:
        """Have a service take something back."""
        await self.ask("undone", tool, ref, key)

    async def find(self, tool: str, ref: str) -> str:
        """Look up whether something happened and was not taken back. Raises `NotDone`."""
        await self.journey()
        with self._writing() as facts:
            facts.append(Fact("looked up", tool, ref))
            if net(facts)[(tool, ref)] <= 0:
                raise NotDone(f"{tool} knows nothing of {ref}")
        return f"{tool}-{ref}-receipt"

    async def ran(self, label: str) -> str:
        """Note that a step ran. Raises what its troubles say."""
        await self.journey()
        with self._writing() as facts:
            facts.append(Fact("arrived", "step", label))
            facts.append(Fact("ran", "step", label))
            trouble = self._trouble(facts, "step", label)
        await self.journey()
        if trouble == "broken":
            raise HttpError(503)
        if trouble == "never":
            raise NotDone(f"{label} never works", permanent=True)
        return label

    def stands(self, tool: str, ref: str) -> bool:
        """Say what a person who looks into the service's books sees: it happened and was not taken back."""
        return net(self.book.facts())[(tool, ref)] > 0


def gross(facts: Sequence[Fact], what: str = "happened") -> Counter[tuple[str, str]]:
    """Count how often each thing happened."""
    return Counter((fact.tool, fact.ref) for fact in facts if fact.what == what)


def net(facts: Sequence[Fact]) -> Counter[tuple[str, str]]:
    """Count what stands: how often each thing happened, less how often it was taken back."""
    total = gross(facts)
    total.subtract(gross(facts, "undone"))
    return total
