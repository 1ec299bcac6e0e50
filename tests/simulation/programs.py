"""Workflows as data: one generic workflow that interprets a program, and the seed's programs.

A program is a tree of JSON nodes. Because the workflow's input is the program, a replay has it too. What the run saw, in
the order in which its branches saw it, is the run's value: a replay that resumes branches in another order is noticed.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from random import Random
from typing import Any

from chargehand import (
    Failed,
    Failure,
    StillWaiting,
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

from .limited import BUDGET, ferry, metered, toll
from .team import AGENTS
from .tools import TOOLS, search, think

Node = dict[str, Any]

_trace: contextvars.ContextVar[list[str]] = contextvars.ContextVar("simulated_trace")


@workflow(name="simulated")
async def simulated(program: dict[str, Any]) -> list[str]:
    """Interpret a program; return what it saw."""
    trace: list[str] = []
    _trace.set(trace)
    await played(program, program.get("suffix", ""))
    return trace


@workflow(name="simulated, undoing over finals", after_final="undo")
async def simulated_undoing(program: dict[str, Any]) -> list[str]:
    """The same, but a failure after a final effect undoes what can be undone, unasked."""
    trace: list[str] = []
    _trace.set(trace)
    await played(program, program.get("suffix", ""))
    return trace


@workflow(name="simulated, thrifty", budget=BUDGET)
async def simulated_thrifty(program: dict[str, Any]) -> list[str]:
    """The same, with a bound on what it may spend."""
    trace: list[str] = []
    _trace.set(trace)
    await played(program, program.get("suffix", ""))
    return trace


@workflow(name="branch")
async def branch(node: dict[str, Any], suffix: str) -> str:
    """A part of a program as a scope of its own."""
    await played(node, suffix)
    return "branch"


WORKFLOWS: list[Any] = [simulated, simulated_undoing, simulated_thrifty, branch]


def _saw(text: str) -> None:
    _trace.get().append(text)


async def played(node: Node, suffix: str) -> None:
    """Interpret one node. `suffix` makes the names of a loop's rounds different."""
    await _NODES[node["do"]](node, suffix)


async def _seq(node: Node, suffix: str) -> None:
    for part in node["of"]:
        await played(part, suffix)


async def _loop(node: Node, suffix: str) -> None:
    for number in range(node["times"]):
        await played(node["of"], f"{suffix}-{number}")


async def _think(node: Node, suffix: str) -> None:
    _saw(await (search if node.get("read") else think)(node["ref"] + suffix))


async def _effect(node: Node, suffix: str) -> None:
    ref = node["ref"] if node.get("shared") else node["ref"] + suffix
    _saw(await TOOLS[node["tool"]](ref, node["amount"]))


async def _limited(node: Node, suffix: str) -> None:
    ref = node["ref"] + suffix
    _saw(await (toll(ref, node["amount"]) if node["who"] == "toll" else {"metered": metered, "ferry": ferry}[node["who"]](ref)))


async def _agent(node: Node, suffix: str) -> None:
    _saw(await AGENTS[node["who"]](suffixed(node["script"], suffix)))


def suffixed(script: dict[str, Any], suffix: str) -> dict[str, Any]:
    """Return a script whose orders belong to this round of a loop."""
    if not suffix:
        return script
    attempts = [{**part, "ops": [{**op, "ref": op["ref"] + suffix} for op in part["ops"]]} for part in script["attempts"]]
    return {**script, "ref": script["ref"] + suffix, "attempts": attempts}


async def _gather(node: Node, suffix: str) -> None:
    options = {name: node[name] for name in ("at_once", "stop_early", "contain", "within") if node.get(name)}
    ends = await gather(*(branch(part, suffix) for part in node["of"]), **options)
    for end in ends:
        match end:
            case Failed():
                _saw(f"contained {type(end.error).__name__}")
            case StillWaiting():
                _saw("still waiting")
            case _:
                _saw("joined")


async def _nested(node: Node, suffix: str) -> None:
    _saw(await branch(node["of"], suffix))


async def _try(node: Node, suffix: str) -> None:
    try:
        await played(node["of"], suffix)
    except Failure as error:
        _saw(f"caught {error.code}")
        await played(node["then"], suffix)


async def _saga(node: Node, suffix: str) -> None:
    async with saga():
        await played(node["of"], suffix)


async def _sleep(node: Node, suffix: str) -> None:
    await sleep(node["seconds"])
    _saw("slept")


async def _signal(node: Node, suffix: str) -> None:
    _saw(f"heard {await wait_signal(node['name'], str, within=node.get('within'))}")


async def _ask(node: Node, suffix: str) -> None:
    _saw(f"told {await ask_human(node['ref'] + suffix, str, within=node.get('within'))}")


async def _dice(node: Node, suffix: str) -> None:
    side = int(random() * len(node["of"]))
    _saw(f"threw {side} {uuid4().hex[:4]}")
    await played(node["of"][side], suffix)


async def _now(node: Node, suffix: str) -> None:
    _saw(f"at {now().timestamp():.3f}")


async def _child(node: Node, suffix: str) -> None:
    _saw(await start(simulated(node["of"] | {"suffix": suffix}), id=node["ref"] + suffix))


async def _fail(node: Node, suffix: str) -> None:
    fail(f"{node['ref']} fails")


_NODES: dict[str, Callable[[Node, str], Any]] = {
    "seq": _seq,
    "loop": _loop,
    "think": _think,
    "effect": _effect,
    "agent": _agent,
    "limited": _limited,
    "gather": _gather,
    "nested": _nested,
    "try": _try,
    "saga": _saga,
    "sleep": _sleep,
    "signal": _signal,
    "ask": _ask,
    "dice": _dice,
    "now": _now,
    "child": _child,
    "fail": _fail,
}


# -- making programs ----------

_LEAVES = (("effect", 10), ("think", 2), ("sleep", 2), ("signal", 2), ("ask", 1), ("now", 1), ("fail", 1), ("agent", 3))
_INNER = (("gather", 4), ("try", 4), ("saga", 2), ("loop", 1), ("nested", 1), ("dice", 1))
_OWN = ("charge", "ship", "post", "order", "transfer", "enter", "pay", "book", "reserve", "fee", "parcel", "rent")
_SHARED = ("account", "license")
_FINAL = ("wire", "announce")


class Author:
    """Writes the programs of one seed. `finals`: how likely a run has final effects at all; `limited`: how likely a leaf is a call
    that a budget, a rate or a breaker bounds."""

    def __init__(self, dice: Random, run: str, *, size: int, finals: float = 0.3, limited: float = 0.0) -> None:
        self.limited = limited
        self.dice, self.run, self.left = dice, run, size
        self.names = 0
        self.finals = dice.random() < finals
        self.in_child = False

    def ref(self) -> str:
        """Return the next name."""
        self.names += 1
        return f"{self.run}.{self.names}"

    def program(self) -> Node:
        """Return a whole program."""
        parts: list[Node] = []
        while self.left > 0:
            parts.append(self.node(0))
        if self.dice.random() < 0.35:
            parts.append({"do": "fail", "ref": self.ref()})
        return {"do": "seq", "of": parts}

    def node(self, depth: int) -> Node:
        """Return one node."""
        self.left -= 1
        if depth < 3 and self.dice.random() < 0.35:
            return self._inner(depth)
        return self._leaf()

    def _some(self, depth: int, most: int) -> Node:
        return {"do": "seq", "of": [self.node(depth + 1) for _ in range(self.dice.randint(1, most))]}

    def _inner(self, depth: int) -> Node:
        dice = self.dice
        match dice.choices([name for name, _ in _INNER], [weight for _, weight in _INNER])[0]:
            case "gather":
                node: Node = {"do": "gather", "of": [self._some(depth, 2) for _ in range(dice.randint(2, 3))]}
                match dice.randrange(5):
                    case 0:
                        node["stop_early"] = True
                    case 1:
                        node["at_once"] = 1
                    case 2:
                        node["contain"] = True
                    case 3:
                        node |= {"contain": True, "within": dice.choice([5.0, 60.0])}
                return node
            case "try":
                of = self._some(depth, 3)
                if dice.random() < 0.6:
                    of["of"].append({"do": "fail", "ref": self.ref()})
                if dice.random() < 0.6:
                    of = {"do": dice.choice(["saga", "nested"]), "of": of}
                return {"do": "try", "of": of, "then": self._some(depth, 1)}
            case "loop":
                return {"do": "loop", "times": dice.randint(2, 3), "of": self._some(depth, 2)}
            case "dice":
                return {"do": "dice", "of": [self._some(depth, 2) for _ in range(2)]}
            case kind:
                return {"do": kind, "of": self._some(depth, 3)}

    def _leaf(self) -> Node:
        dice = self.dice
        if self.limited and dice.random() < self.limited:
            return {"do": "limited", "who": dice.choice(["metered", "ferry", "toll"]), "ref": self.ref(), "amount": dice.randint(1, 99)}
        match dice.choices([name for name, _ in _LEAVES], [weight for _, weight in _LEAVES])[0]:
            case "effect":
                return self.effect()
            case "think":
                return {"do": "think", "ref": self.ref(), "read": dice.random() < 0.5}
            case "sleep":
                return {"do": "sleep", "seconds": dice.choice([0.0, 1.0, 30.0, 200.0, 1500.0])}
            case "signal":
                node: Node = {"do": "signal", "name": dice.choice(["go", "news"])}
                return node | ({"within": dice.choice([20.0, 300.0])} if dice.random() < 0.5 else {})
            case "ask":
                return {"do": "ask", "ref": self.ref()} | ({"within": 120.0} if dice.random() < 0.4 else {})
            case "fail" if dice.random() < 0.7:
                return {"do": "try", "of": {"do": "fail", "ref": self.ref()}, "then": self.effect()}
            case "agent":
                return self._agent()
            case "now" if not self.in_child and dice.random() < 0.3:
                return self._child()
            case _:
                return {"do": "now"}

    def effect(self) -> Node:
        """Return an effect in workflow code."""
        dice = self.dice
        if self.finals and dice.random() < 0.25:
            return {"do": "effect", "tool": dice.choice(_FINAL), "ref": self.ref(), "amount": dice.randint(1, 99)}
        if dice.random() < 0.25:
            amount = 7 if dice.random() < 0.9 else 8
            return {"do": "effect", "tool": dice.choice(_SHARED), "ref": dice.choice(["red", "blue"]), "amount": amount, "shared": True}
        return {"do": "effect", "tool": dice.choice(_OWN), "ref": self.ref(), "amount": dice.randint(1, 99)}

    def _agent(self) -> Node:
        dice = self.dice
        who = dice.choice(list(AGENTS))
        pool = [{"tool": dice.choice(_OWN), "ref": self.ref(), "amount": dice.randint(1, 99)} for _ in range(dice.randint(1, 3))]
        says = ["good", "draft", "draft", "raise"] + (["unpolished"] if who in ("modest", "helped") else [])
        says += ["ask", "hang"] if who == "watched" else []
        attempts = [
            {
                "ops": dice.sample(pool, dice.randint(0, len(pool))),
                "say": dice.choice(says),
                "side_by_side": dice.random() < 0.3,
                "look": dice.random() < 0.2,
            }
            for _ in range(dice.randint(1, 3))
        ]
        attempts[-1]["say"] = dice.choice(["good", "good", "draft"])
        return {"do": "agent", "who": who, "script": {"ref": self.ref(), "attempts": attempts}}

    def _child(self) -> Node:
        author = Author(self.dice, f"{self.ref().replace('.', 'c')}", size=2, finals=0.0)
        author.in_child = True
        return {"do": "child", "ref": author.run, "of": author.program()}
