"""Workflows whose true graph is known: each call says what it was really given."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from pydantic import BaseModel, JsonValue

from chargehand import step, workflow

MODES = ("whole", "field", "number", "text", "quoted", "list", "computed", "common", "nothing")
"""How a call is given something: the last three leave no trace in its arguments."""
TRACELESS = ("computed", "common", "nothing")


class Giving(BaseModel):
    """What one call is given of an earlier one."""

    source: int
    mode: str


class Plan(BaseModel):
    """One workflow: for each call what it is given. The seed makes its values."""

    seed: int
    calls: list[list[Giving]]


@dataclass
class Truth:
    """The true edges of a plan, and those that leave a trace in the arguments."""

    edges: set[tuple[str, str]] = field(default_factory=set)
    traced: set[tuple[str, str]] = field(default_factory=set)


def plan_of(seed: int, calls: int = 12) -> tuple[Plan, Truth]:
    """Draw a plan and its truth."""
    dice, truth, drawn = random.Random(seed), Truth(), []
    for number in range(calls):
        sources = dice.sample(range(number), min(number, dice.randint(0, 3)))
        given = [Giving(source=source, mode=dice.choice(MODES)) for source in sorted(sources)]
        drawn.append(given)
        for one in given:
            edge = (path_of(one.source), path_of(number))
            truth.edges |= {edge} if one.mode != "nothing" else set()
            truth.traced |= {edge} if one.mode not in TRACELESS else set()
    return Plan(seed=seed, calls=drawn), truth


def path_of(number: int) -> str:
    """Return the path of a plan's n-th call."""
    return "make" if number == 0 else f"make#{number + 1}"


@step(name="make")
async def make(number: int, seed: int, given: list[JsonValue]) -> dict[str, JsonValue]:
    """Return a value with telling and with common things in it. What was given is looked at and not handed on."""
    dice = random.Random(f"{seed} {number}")
    return {
        "id": f"case-{dice.getrandbits(40):010x}",
        "amount": f"{dice.randint(100_000, 999_999) / 100:.2f}",
        "note": f"The {dice.getrandbits(32):08x} of this case was seen by nobody else.",
        "count": dice.randint(0, 9),
        "open": dice.random() < 0.5,
        "state": dice.choice(["placed", "open", "closed"]),
        "lines": [{"sku": f"M{dice.getrandbits(24):06x}", "pieces": dice.randint(1, 9)} for _ in range(2)],
    }


def taken(value: dict[str, JsonValue], mode: str) -> list[JsonValue]:
    """Return what a call gets of an earlier value."""
    lines = value["lines"]
    assert isinstance(lines, list)
    match mode:
        case "whole":
            return [value]
        case "field":
            return [value["id"]]
        case "number":
            return [float(str(value["amount"]))]
        case "text":
            return [f"Report about {value['id']}: pay {value['amount']} please."]
        case "quoted":
            return [f"It says: {value['note']} That is all."]
        case "list":
            return [lines[0]]
        case "computed":
            return [len(str(value["note"])) * 3]
        case "common":
            return [value["count"], value["open"], value["state"]]
        case _:
            return []


@workflow(name="planned")
async def planned(plan: Plan) -> int:
    """Make the calls of a plan, each given what the plan says."""
    values: list[dict[str, JsonValue]] = []
    for number, givings in enumerate(plan.calls):
        given = [thing for giving in givings for thing in taken(values[giving.source], giving.mode)]
        values.append(await make(number, plan.seed, given))
    return len(values)
