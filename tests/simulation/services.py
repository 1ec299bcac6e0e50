"""The outside world: services that keep books of their own, whatever the journal says.

A request is out of the worker's hands once it is sent: the service carries it out even when the worker dies or stands
still meanwhile. What a service does with the n-th arrival of an order depends on the seed, the order and n alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from chargehand import NotDone

from .loop import Place, SeededLoop, current_place

TROUBLES = ("refused", "never", "busy", "broken", "lost", "reset", "hangs", "garbage", "late")
"""What goes wrong with one arrival: "refused" and "never" (for good) say that nothing happened, "busy" is HTTP 429. "broken" is an
HTTP 500 without, "lost" one with the thing done; "reset" breaks the connection after it is done; "hangs" does so after a long
time; "garbage" is an unreadable answer; "late" a late one. Apart from these a service may be slow: it takes the request at once and
carries it out later, unless whoever sent it hangs up."""

KEY_SLACK_SECONDS = 600.0
"""For so much longer than promised a service remembers a key: what was checked in time may arrive a little later."""


class HttpError(Exception):
    """What an HTTP client raises for a status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status_code = status


@dataclass
class Fact:
    """One line of the book."""

    time: float
    what: str
    tool: str
    ref: str
    key: str = ""
    amount: int = 0
    note: str = ""

    def __str__(self) -> str:
        return f"{self.time:10.2f} {self.what:10} {self.tool}({self.ref}, {self.amount}) key={self.key[-12:]} {self.note}"


@dataclass(eq=False)
class Request:
    """One request on its way."""

    what: str
    tool: str
    ref: str
    key: str
    amount: int
    place: Place | None
    answer: asyncio.Future[Any]
    arrived: bool = False
    dropped: bool = False
    task: asyncio.Task[None] | None = None


@dataclass
class Services:
    """All services of one seed.

    `sent` is called, in the worker, at the moment something is sent. `trouble` is how likely each arrival meets trouble,
    `lies` how likely a look-up says "not found" about what is there (a lie is kept in `lied`).
    """

    loop: SeededLoop
    seed: str
    trouble: float = 0.0
    lies: float = 0.0
    remembered: dict[str, float] = field(default_factory=dict)
    sent: Callable[[Request], None] = lambda request: None
    complain: Callable[[str], None] = lambda text: None
    facts: list[Fact] = field(default_factory=list)
    lied: set[str] = field(default_factory=set)
    healed: bool = False
    forgets_after: Callable[[str], float | None] = lambda tool: None
    limits: Any = None

    def __post_init__(self) -> None:
        self._net: Counter[tuple[str, str]] = Counter()
        self._made: Counter[tuple[str, str]] = Counter()
        self._arrivals: Counter[tuple[str, str, str]] = Counter()
        self._never: set[tuple[str, str, str]] = set()
        self._keys: dict[tuple[str, str], tuple[str, int, float, str]] = {}
        self._under_way: list[Request] = []
        self._by_ref: defaultdict[str, list[Fact]] = defaultdict(list)

    # -- what anybody can see ----------

    def stands(self, tool: str, ref: str) -> bool:
        """Say what a person who looks into the service's books sees."""
        return self._net[(tool, ref)] > 0

    def net(self, tool: str, ref: str) -> int:
        """Return how often a thing was done, less how often it was taken back."""
        return self._net[(tool, ref)]

    def made(self, tool: str, ref: str) -> int:
        """Return how often a thing was done at all."""
        return self._made[(tool, ref)]

    def under_way(self, ref: str) -> bool:
        """Say whether a request about this is still on its way."""
        return any(request.ref == ref for request in self._under_way)

    def facts_of(self, ref: str) -> list[Fact]:
        """Return the lines about one order."""
        return self._by_ref[ref]

    # -- from inside a worker ----------

    async def make(self, tool: str, ref: str, amount: int, key: str = "") -> str:
        """Have a service do something."""
        receipt: str = await self._ask("do", tool, ref, amount, key)
        return receipt

    async def take_back(self, tool: str, ref: str, key: str = "") -> None:
        """Have a service take something back."""
        await self._ask("undo", tool, ref, 0, key)

    async def find(self, tool: str, ref: str) -> str:
        """Ask a service whether something was done. Raises `NotDone`."""
        receipt: str = await self._ask("look", tool, ref, 0, "")
        return receipt

    async def think(self, ref: str) -> str:
        """Run a step."""
        text: str = await self._ask("think", "step", ref, 0, "")
        return text

    def by_hand(self, what: str, tool: str, ref: str) -> None:
        """A person does something, or takes it back, without chargehand."""
        self._count(what, tool, ref, 1 if what == "do" else -1)
        self._note(what, tool, ref, note="by hand")

    async def _ask(self, what: str, tool: str, ref: str, amount: int, key: str) -> Any:
        place = current_place.get()
        request = Request(what, tool, ref, key, amount, place, self.loop.create_future())
        self.sent(request)
        self._under_way.append(request)
        request.task = self.loop.world.spawn(self._serve(request))
        try:
            return await request.answer
        finally:
            if not request.arrived:
                self._cut(request)

    def cut_off(self, place: Place) -> None:
        """A process has died: what it had sent arrives at this moment, or never."""
        for request in list(self._under_way):
            if request.place is place and not request.arrived:
                self._cut(request)

    def _cut(self, request: Request) -> None:
        if request.dropped:
            return
        if self._dice(request).random() < 0.5:
            request.dropped = True
            self._under_way.remove(request)
        else:
            self._arrive(request)

    # -- inside a service ----------

    async def _serve(self, request: Request) -> None:
        dice = self._dice(request)
        troubled = request.place is not None and (request.place.frozen or request.place.wants_freeze)
        slow = not self.healed and dice.random() < (0.6 if troubled else self.trouble / 4)
        await asyncio.sleep(dice.uniform(5, 150) if slow else dice.choice((0.0, 0.01, 0.2, 1.0)))
        if request.dropped:
            return
        if not request.arrived:
            self._arrive(request)
        trouble, value, error = request.outcome  # type: ignore[attr-defined]
        await asyncio.sleep({"late": dice.uniform(5, 150), "hangs": dice.uniform(200, 900)}.get(trouble, dice.choice((0.0, 0.01, 0.5))))
        if request.answer.done() or (request.place is not None and request.place.dead):
            return
        if error is None:
            request.answer.set_result(value)
        else:
            request.answer.set_exception(error)

    def _arrive(self, request: Request) -> None:
        request.arrived = True
        self._under_way.remove(request)
        request.outcome = self._carried_out(request)  # type: ignore[attr-defined]

    def _dice(self, request: Request) -> Random:
        number = self._arrivals[(request.what, request.tool, request.ref)]
        return Random(f"{self.seed}/{request.what}/{request.tool}/{request.ref}/{number}")

    def _trouble(self, request: Request) -> str:
        place = (request.what, request.tool, request.ref)
        dice = self._dice(request)
        self._arrivals[place] += 1
        if self.healed:
            return ""
        if place in self._never:
            return "never"
        chance = self.trouble / 3 if request.what in ("look", "think") else self.trouble
        trouble = dice.choice(TROUBLES) if dice.random() < chance else ""
        if trouble == "never":
            self._never.add(place)
        return trouble

    def _carried_out(self, request: Request) -> tuple[str, Any, Exception | None]:
        trouble = self._trouble(request)
        if trouble in ("refused", "never"):
            self._note(request.what, request.tool, request.ref, request, trouble)
            if request.what == "look":
                return trouble, None, HttpError(503)
            return trouble, None, NotDone(f"{request.tool} {request.ref} was refused", permanent=trouble == "never")
        if trouble in ("busy", "broken"):
            self._note(request.what, request.tool, request.ref, request, trouble)
            return trouble, None, HttpError(429 if trouble == "busy" else 500)
        value, error = self._done(request, trouble)
        if trouble == "lost":
            return trouble, None, HttpError(502)
        if trouble in ("reset", "hangs"):
            return trouble, None, ConnectionResetError("the connection was reset")
        if trouble == "garbage" and request.what == "do":
            return trouble, b"\xff", None
        return trouble, value, error

    def _done(self, request: Request, trouble: str) -> tuple[Any, Exception | None]:
        match request.what:
            case "do":
                return self._make(request, trouble), None
            case "undo":
                self._take_back(request, trouble)
                return None, None
            case "look":
                return self._find(request)
        self._note("think", request.tool, request.ref, request, trouble)
        return f"thought {request.ref}", None

    def _make(self, request: Request, trouble: str) -> str:
        tool, ref, key = request.tool, request.ref, request.key
        receipt = f"{tool}-{ref}-receipt"
        if key:
            known = self._keys.get((tool, key))
            window = self.forgets_after(tool)
            if known is not None and window is not None and self.loop.time() - known[2] > window + KEY_SLACK_SECONDS:
                known = None
            if known is not None:
                if known[:2] != (ref, request.amount):
                    self.complain(f"the key {key} of {tool} came with {(ref, request.amount)} after {known[:2]}")
                self._note("known", tool, ref, request, trouble)
                return known[3]
            self._keys[(tool, key)] = (ref, request.amount, self.loop.time(), receipt)
        self._count("do", tool, ref, 1)
        self._note("do", tool, ref, request, trouble)
        return receipt

    def _take_back(self, request: Request, trouble: str) -> None:
        tool, ref, key = request.tool, request.ref, request.key
        if key and (tool, key) in self._keys:
            self._note("known", tool, ref, request, trouble)
            return
        if key:
            self._keys[(tool, key)] = (ref, 0, self.loop.time(), "")
        if tool == "reserve" and self._net[(tool, ref)] == 0:
            self._note("nothing", tool, ref, request, trouble)
            return
        self._count("undo", tool, ref, -1)
        self._note("undo", tool, ref, request, trouble)

    def _find(self, request: Request) -> tuple[Any, Exception | None]:
        tool, ref = request.tool, request.ref
        there = self.stands(tool, ref)
        if there and not self.healed and self.lies and self._dice(request).random() < self.lies:
            self.lied.add(ref)
            there = False
        self._note("look", tool, ref, request, "found" if there else "not found")
        return (f"{tool}-{ref}-receipt", None) if there else (None, NotDone(f"{tool} knows nothing of {ref}"))

    def _count(self, what: str, tool: str, ref: str, change: int) -> None:
        self._net[(tool, ref)] += change
        if what == "do":
            self._made[(tool, ref)] += 1

    def _note(self, what: str, tool: str, ref: str, request: Request | None = None, note: str = "") -> None:
        key, amount = (request.key, request.amount) if request is not None else ("", 0)
        if request is not None and request.place is not None:
            note = f"{note} from {request.place.name}"
        fact = Fact(self.loop.time(), what, tool, ref, key, amount, note)
        self.facts.append(fact)
        self._by_ref[ref].append(fact)
