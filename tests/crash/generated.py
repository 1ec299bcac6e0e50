"""Workflows drawn by a seed: sequences, loops, branches, failures caught and not, sagas, children, agents, people, time.

A plan is data, and one workflow carries out any plan; so whatever a seed draws, its run dies and goes on like any other of the
catalogue. What a plan orders has a name of its own each time, so that the services' books tell one from the other.
"""

from __future__ import annotations

import random as dice_of
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chargehand import (
    Answer,
    Approve,
    BranchesFailed,
    Decision,
    DoneByHand,
    Failed,
    Failure,
    Finished,
    Reject,
    Waiting,
    ask_human,
    fail,
    gather,
    now,
    random,
    saga,
    sleep,
    start,
    uuid4,
    wait_signal,
    workflow,
)

from .example import Example
from .teams import buyer, leader, modest, quitter, stumbler
from .tools import book, charge, enter, note, open_account, order, plain_note, post, reserve, search, ship, wire
from .world import Fact, Trouble, World

Plan = list[Any]
"""A node: a word and what belongs to it, other nodes among it."""


# -- carrying a plan out ----------


@workflow(name="generated")
async def generated(plan: Plan) -> list[Any]:
    """Carry out a plan; return what it heard on the way."""
    heard: list[Any] = []
    await perform(plan, heard, "")
    return heard


@workflow(name="generated part")
async def generated_part(plan: Plan, turn: str) -> list[Any]:
    """A part of a plan, as a workflow inside the workflow."""
    heard: list[Any] = []
    await perform(plan, heard, turn)
    return heard


ORDERS: dict[str, Any] = {
    "note": note,
    "plain": plain_note,
    "search": search,
    "charge": charge,
    "ship": ship,
    "post": post,
    "enter": enter,
    "reserve": reserve,
    "book": book,
    "wire": wire,
    "account": open_account,
    "buyer": buyer,
    "modest": modest,
    "quitter": quitter,
    "leader": leader,
    "stumbler": stumbler,
}
"""What is ordered by a name alone."""


async def perform(node: Plan, heard: list[Any], turn: str) -> None:
    """Carry out one node. `turn` says which rounds of which loops this is."""
    match node:
        case ["all", *parts]:
            for part in parts:
                await perform(part, heard, turn)
        case ["loop", times, part]:
            for number in range(times):
                await perform(part, heard, f"{turn}.{number}")
        case ["either", one, other]:
            await perform(one if random() < 0.5 else other, heard, turn)
        case ["try", part, instead]:
            try:
                await perform(part, heard, turn)
            except (Failure, BranchesFailed) as failure:
                heard.append(type(failure).__name__)
                await perform(instead, heard, turn)
        case ["saga", part]:
            async with saga():
                await perform(part, heard, turn)
        case ["inside", part]:
            heard.append(await generated_part(part, turn))
        case ["gather", contain, at_once, *parts]:
            await perform_together(parts, heard, turn, contain, at_once)
        case _:
            heard.append(await perform_one(node, turn))


async def perform_together(parts: Sequence[Plan], heard: list[Any], turn: str, contain: bool, at_once: int | None) -> None:
    """Carry out branches."""
    branches = [generated_part(part, f"{turn}/{number}") for number, part in enumerate(parts)]
    if contain:
        ends = await gather(*branches, contain=True, at_once=at_once)
        heard += [
            end.value if isinstance(end, Finished) else type(end.error).__name__ for end in ends if isinstance(end, (Finished, Failed))
        ]
    else:
        heard.append(list(await gather(*branches, at_once=at_once)))


async def perform_one(node: Plan, turn: str) -> Any:
    """Carry out a node that is one call."""
    match node:
        case ["fail", reason]:
            fail(reason)
        case ["sleep", seconds]:
            return await sleep(seconds)
        case ["now"]:
            await plain_note(now().isoformat())  # a replay that read another time would diverge here
            return "the time"
        case ["uuid"]:
            return uuid4().hex
        case ["signal", name]:
            return await wait_signal(name, str)
        case ["ask", question]:
            return await ask_human(f"{question}{turn}", str)
        case ["order", ref]:
            return await order(f"{ref}{turn}", 100)
        case ["start", part]:
            return (await start(generated_part(part, "/child"), id="run-child")) and "started"
        case [word, ref]:
            return await ORDERS[word](ref if word == "account" else f"{ref}{turn}")
    raise AssertionError(node)


def people(entry: Waiting, world: World) -> Decision | None:
    """Decide about what a plan orders by its name, and answer its questions."""
    if entry.kind == "question":
        return Answer(f"answer to {entry.shows['question']}" if "question" in entry.shows else "answer")
    if entry.kind != "approval":
        return None
    ref = entry.shows["arguments"]["ref"]
    if ref.startswith("refused"):
        return Reject("not that")
    if ref.startswith("by hand"):
        return DoneByHand("a receipt by hand")
    return Approve(edit={"ref": f"edited {ref}", "amount": 7}) if ref.startswith("changed") else Approve()


# -- drawing a plan ----------

TROUBLES: dict[str, list[Sequence[Trouble]]] = {
    "note": [("broken",), ("broken", "broken")],
    "charge": [("refused",), ("busy", "refused"), ("lost",), ("broken", "broken"), ("broken",) * 4],
    "ship": [("refused",), ("lost",), ("busy",)],
    "post": [("refused",), ("busy",), ("lost",), ("broken",)],
    "reserve": [("refused",), ("lost",)],
    "charge!undo": [("lost",), ("refused", "lost"), ("broken",) * 4],
    "ship!undo": [("refused",), ("lost",)],
    "post!undo": [("refused",), ("lost",)],
}
"""What may go wrong at a service. `book` is the one whose refusal is raised into the workflow."""

LEAVES = ["note", "plain", "search", "charge", "ship", "post", "enter", "reserve", "book", "order", "ask", "sleep", "now", "uuid"]
EFFECTS = ["charge", "ship", "post", "enter", "charge"]
AGENTS = ["buyer", "modest", "quitter", "leader", "stumbler"]
INNER = ["all", "loop", "either", "try", "saga", "inside", "gather"]


class Named(dict[tuple[str, str], Sequence[Trouble]]):
    """Troubles by the name in a plan: whatever bears it has them anew in each round of a loop and in each branch."""

    def get(self, place: tuple[str, str], default: Any = ()) -> Any:
        """Return the troubles of a service with an order."""
        tool, ref = place
        return super().get((tool, re.split(r"[./]", ref)[0]), default)


@dataclass
class Drawing:
    """A plan being drawn. `names` counts the names given out; `alike`: whether undos come in one order only."""

    dice: dice_of.Random
    names: int = 0
    alike: bool = True
    troubles: Named = field(default_factory=Named)
    signals: list[tuple[str, str]] = field(default_factory=list)
    accounts: list[str] = field(default_factory=lambda: ["one", "two"])
    agents: int = 2

    def name(self, word: str = "n") -> str:
        """Return a name that nothing else has."""
        self.names += 1
        return f"{word}{self.names}"

    def leaf(self, words: Sequence[str] = LEAVES) -> Plan:
        """Draw one call."""
        dice, word = self.dice, self.dice.choice(words)
        if self.agents and words is LEAVES and dice.random() < 0.12:
            self.agents -= 1
            return [dice.choice(AGENTS), self.name("a")]
        if self.accounts and dice.random() < 0.05:
            return ["account", self.accounts.pop()]
        match word:
            case "now" | "uuid":
                return [word]
            case "sleep":
                return ["sleep", dice.choice([1, 60, 4000])]
            case "ask":
                return ["ask", self.name("q")]
            case "order":
                return ["order", self.name(dice.choice(["yes", "refused", "by hand", "changed"]))]
        name = self.name()
        self._trouble(word, name)
        return [word, name]

    def _trouble(self, word: str, name: str) -> None:
        dice = self.dice
        if word in TROUBLES and dice.random() < 0.25:
            self.troubles[("step" if word == "note" else word, name)] = dice.choice(TROUBLES[word])
        if f"{word}!undo" in TROUBLES and dice.random() < 0.25:
            self.troubles[(f"{word}!undo", name)] = dice.choice(TROUBLES[f"{word}!undo"])
        if word == "book" and dice.random() < 0.5:
            self.troubles[("book", name)] = ("never",)

    def failing(self) -> Plan:
        """Draw something that fails for sure."""
        name = self.name()
        match self.dice.choice(["fail", "book", "note", "order"]):
            case "fail":
                return ["fail", f"because {name}"]
            case "book":
                self.troubles[("book", name)] = ("never",)
                return ["book", name]
            case "note":
                self.troubles[("step", name)] = ("never",)
                return ["note", name]
        return ["order", f"refused{name}"]

    def parts(self, depth: int, most: int = 3) -> list[Plan]:
        """Draw some nodes."""
        return [self.node(depth - 1) for _ in range(self.dice.randrange(1, most + 1))]

    def node(self, depth: int) -> Plan:
        """Draw a node."""
        dice = self.dice
        if depth <= 0 or dice.random() < 0.45:
            return self.leaf()
        match dice.choice(INNER):
            case "all":
                return ["all", *self.parts(depth)]
            case "loop":
                return ["loop", dice.randrange(1, 4), self.node(depth - 1)]
            case "either":
                return ["either", self.node(depth - 1), self.node(depth - 1)]
            case "inside":
                return ["inside", ["all", *self.parts(depth)]]
            case "gather":
                self.alike = False
                branches = [["all", *self.parts(depth, 2)] for _ in range(dice.randrange(2, 4))]
                return ["try", ["gather", dice.random() < 0.4, dice.choice([None, 2]), *branches], self.leaf()]
            case word:
                body = ["all", self.leaf(EFFECTS), *self.parts(depth, 2)]
                if dice.random() < 0.6:
                    body.append(self.failing())
                return ["try", ["saga", body] if word == "saga" else body, self.leaf()]


def drawn(seed: int) -> Example:
    """Draw a workflow with its troubles, its people and its signals."""
    drawing = Drawing(dice_of.Random(f"generated {seed}"))
    dice = drawing.dice
    children: dict[str, Any] = {}
    parts = [drawing.leaf(EFFECTS)]
    if dice.random() < 0.2:
        parts.insert(0, ["start", ["all", drawing.leaf(EFFECTS), drawing.leaf(EFFECTS)]])
        children["run-child"] = generated_part
    for _ in range(dice.randrange(2, 6)):
        parts.append(drawing.node(3))
        if dice.random() < 0.15:
            drawing.signals.append((drawing.name("s"), drawing.name("said")))
            parts.append(["signal", drawing.signals[-1][0]])
    cancelled = None
    match dice.choice(["end", "end", "fail", "fail", "final", *(["cancel"] if not children else [])]):
        case "fail":
            parts += [drawing.leaf(EFFECTS), drawing.failing()]
        case "cancel":
            name = drawing.name()
            parts += [["charge", name], drawing.leaf(EFFECTS), ["sleep", 500]]
            cancelled = Fact("happened", "charge", name)
        case "final":
            parts += [["wire", drawing.name()], drawing.leaf(EFFECTS)]
            parts += [drawing.failing()] if dice.random() < 0.5 else []
    plan: Plan = ["all", *parts]
    return Example(
        lambda: generated(plan),
        drawing.troubles,
        people,
        signals=drawing.signals,
        cancel_when=cancelled,
        gross_varies=cancelled is not None,
        ordered=drawing.alike and cancelled is None,
        children=children,
    )
