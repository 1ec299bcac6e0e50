"""Lineage: which released value went into which call. Pure: values in, edges out; computed when somebody asks.

What a call was given is compared with what was there to be given, whole and by part. An edge says how much that proves:

* ``exact``: the whole value of the source is among the target's arguments, and no other source has it;
* ``part``: something telling out of the source's value is there, and no other source has it;
* ``possible``: several sources have it, or only the order of events speaks for it.

Values that occur everywhere prove nothing: truth values, small numbers, short plain words. They count only inside a record
that is equal as a whole. What code computes from a value (a sum, a decision) leaves no trace in the arguments: that edge is
missing, and nothing here says that a call did *not* depend on another.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

Strength = Literal["exact", "part", "possible"]

STRENGTHS: tuple[Strength, ...] = ("exact", "part", "possible")
"""From the strongest to the weakest."""

TELLING_DIGITS = 4
"""A number with so many significant digits is rarely there by chance."""
TELLING_WORD = 12
"""A plain word with so many letters is rarely there by chance; with a digit or a sign in it, `TELLING_CODE` characters do."""
TELLING_CODE = 5
TELLING_TEXT = 20
"""A text of so many characters is looked for inside longer texts, and longer texts in it."""
TELLING_LEAVES = 3
"""A record or list with so many values that are neither truth values nor empty is telling as a whole."""

_TOKEN = re.compile(r"[^\s,;:!?\"'()\[\]{}<>]+")


@dataclass(frozen=True, slots=True)
class Node:
    """One call of a run, its input or its result.

    `asked`: the seq of the last event that was told to the code before it asked. `arguments`: what it was given, as JSON by
    name; None where that is not known. `seq` and `value`: the event that settled it and what it gave, the input's values by
    name; None while it has not.
    `inside`: the path of the agent that made the call, None for a call of the workflow.
    """

    path: str
    kind: str
    asked: int = 0
    arguments: Mapping[str, Any] | None = None
    seq: int | None = None
    value: Any = None
    inside: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """The target was given something of the source. `at`: where in the target's arguments, as ``name.field.0``."""

    source: str
    target: str
    strength: Strength
    at: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lineage:
    """The calls of a run in the order in which they were asked, and who was given what of whom."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def forward(self, path: str) -> dict[str, Strength]:
        """Return what the value at a path may have reached, each with the weakest edge of the strongest way to it."""
        return self._reach(path, [(edge.source, edge.target, edge.strength) for edge in self.edges])

    def backward(self, path: str) -> dict[str, Strength]:
        """Return what may have gone into the call at a path, each with the weakest edge of the strongest way from it."""
        return self._reach(path, [(edge.target, edge.source, edge.strength) for edge in self.edges])

    def _reach(self, path: str, ways: Sequence[tuple[str, str, Strength]]) -> dict[str, Strength]:
        by_start: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for start, end, strength in ways:
            by_start[start].append((end, STRENGTHS.index(strength)))
        found: dict[str, int] = {}
        for worst in range(len(STRENGTHS)):  # the strongest ways first: what they reach needs no weaker one
            open = [path, *found]
            while open:
                for end, rank in by_start[open.pop()]:
                    if rank <= worst and end not in found and end != path:
                        found[end] = worst
                        open.append(end)
        return {node.path: STRENGTHS[found[node.path]] for node in self.nodes if node.path in found}


def lineage_of(nodes: Iterable[Node]) -> Lineage:
    """Return who was given what of whom. Nodes of one run, in any order."""
    ordered = sorted(nodes, key=lambda node: (node.asked, node.seq or 0))
    edges = _Edges(ordered)
    to_come = [(node.seq, node.path) for node in ordered if node.inside is None and node.seq is not None]
    heapq.heapify(to_come)
    seen: set[str] = set()
    for node in ordered:
        while to_come and to_come[0][0] <= node.asked:
            seen.add(heapq.heappop(to_come)[1])
        if node.inside is None:
            edges.into(node, seen)
    for node in ordered:
        if node.inside is not None:
            edges.into_inner(node)
    return Lineage(tuple(ordered), edges.found())


@dataclass(slots=True)
class _Held:
    """Which values hold a telling thing: by path, whether it is their whole value."""

    whole: dict[str, bool] = field(default_factory=dict)

    def add(self, path: str, whole: bool) -> None:
        self.whole[path] = self.whole.get(path, False) or whole


class _Edges:
    """Collects edges."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = {node.path: node for node in nodes}
        self._held: dict[str, _Held] = defaultdict(_Held)
        self._texts: list[tuple[str, str, bool]] = []
        self._edges: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self._inner: dict[str, list[Node]] = defaultdict(list)
        self._given: dict[str, set[str]] = defaultdict(set)
        for node in nodes:
            if node.seq is not None:
                self._hold(node)
                if node.inside is not None:
                    self._inner[node.inside].append(node)

    def _hold(self, node: Node) -> None:
        several = isinstance(node.value, Mapping) and node.kind == "input"
        for given in node.value.values() if several else [node.value]:
            for _, value, whole in parts_of(given):
                if (key := telling(value)) is not None:
                    self._held[key].add(node.path, whole)
                    if isinstance(value, str) and len(value) >= TELLING_TEXT:
                        self._texts.append((value, node.path, whole))

    def into(self, node: Node, seen: set[str]) -> None:
        """Find what a call of the workflow was given. Where that is not known its own value speaks for it, and proves nothing."""
        if node.arguments is not None:
            self._match(node.path, node.arguments, seen)
        elif node.seq is not None:
            self._match(node.path, {"": node.value}, seen, known=False)

    def into_inner(self, node: Node) -> None:
        """Find what a call inside an agent was given, and that the agent saw what it gave."""
        agent = node.inside
        assert agent is not None
        if node.arguments is not None:
            given = set(self._given[agent])
            earlier = {other.path for other in self._inner[agent] if (other.seq or 0) <= node.asked}
            if not self._match(node.path, node.arguments, given | earlier | self._unknown(agent)):
                for source in sorted(given):
                    self._add(source, node.path, "possible", "")
        owner = self._nodes.get(agent)
        if owner is None or owner.seq is None or node.seq is None or node.seq > owner.seq:
            return
        self._match(agent, {"": owner.value}, {node.path})
        self._add(node.path, agent, "possible", "")

    def _unknown(self, agent: str) -> set[str]:
        """Return what an agent may have been given when nobody knows what it was: all that was there."""
        owner = self._nodes.get(agent)
        if owner is None or owner.arguments is not None:
            return set()
        return {node.path for node in self._nodes.values() if node.inside is None and node.seq is not None and node.seq <= owner.asked}

    def _match(self, target: str, arguments: Mapping[str, Any], seen: set[str], *, known: bool = True) -> bool:
        """Link every telling thing in the arguments with who had it. Says whether there was any."""
        found = False
        for name, value in arguments.items():
            for at, held in self._search(value, name, seen):
                found = True
                for source, whole in held.items():
                    strength: Strength = "possible" if len(held) > 1 or not known else "exact" if whole else "part"
                    self._add(source, target, strength, at)
        return found

    def _search(self, value: Any, at: str, seen: set[str]) -> Iterator[tuple[str, dict[str, bool]]]:
        """Go through a value from the whole to its leaves; what is found as a whole is not looked into."""
        key = telling(value)
        if key is not None and (held := self._holders(key, seen)):
            yield at, held
        elif isinstance(value, str):
            yield from self._search_text(value, at, seen)
        elif isinstance(value, Mapping):
            for name, part in value.items():
                yield from self._search(part, f"{at}.{name}" if at else str(name), seen)
        elif isinstance(value, list):
            for number, part in enumerate(value):
                yield from self._search(part, f"{at}.{number}" if at else str(number), seen)

    def _search_text(self, text: str, at: str, seen: set[str]) -> Iterator[tuple[str, dict[str, bool]]]:
        """Look for telling texts and codes in a text, and for the text in longer ones."""
        covered = text
        for other, path, whole in self._texts:
            if path not in seen:
                continue
            if other in text:
                yield at, {path: whole}
                covered = covered.replace(other, " ")
            elif len(text) >= TELLING_TEXT and text in other:
                yield at, {path: False}
                return
        for token in dict.fromkeys(_TOKEN.findall(covered)):
            key = telling(token.rstrip("."))
            if key is not None and (held := self._holders(key, seen)):
                yield at, held

    def _holders(self, key: str, seen: set[str]) -> dict[str, bool]:
        held = self._held.get(key)
        return {} if held is None else {path: whole for path, whole in held.whole.items() if path in seen}

    def _add(self, source: str, target: str, strength: Strength, at: str) -> None:
        if self._nodes[source].inside is None:
            self._given[target].add(source)
        rank, places = self._edges.get((source, target), (len(STRENGTHS), []))
        if at and at not in places:
            places.append(at)
        self._edges[source, target] = (min(rank, STRENGTHS.index(strength)), places)

    def found(self) -> tuple[Edge, ...]:
        """Return the edges, the strongest that was found of each."""
        order = {path: number for number, path in enumerate(self._nodes)}
        ends = sorted(self._edges, key=lambda ends: (order[ends[1]], order[ends[0]]))
        return tuple(Edge(s, t, STRENGTHS[self._edges[s, t][0]], tuple(self._edges[s, t][1])) for s, t in ends)


def parts_of(value: Any, at: str = "", whole: bool = True) -> Iterator[tuple[str, Any, bool]]:
    """Return a JSON value and everything in it: where, what, and whether it is the whole."""
    yield at, value, whole
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from parts_of(part, f"{at}.{name}" if at else str(name), False)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from parts_of(part, f"{at}.{number}" if at else str(number), False)


def telling(value: Any) -> str | None:
    """Return the text by which an equal value is found again; None when it is too common to prove anything."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return _telling_number(Decimal(str(value)))
    if isinstance(value, str):
        number = _as_number(value)
        if number is not None:
            return _telling_number(number)
        enough = TELLING_WORD if value.isalpha() else TELLING_CODE
        return f"s:{value}" if len(value) >= enough else None
    leaves = [leaf for _, leaf, _ in parts_of(value) if leaf is not None and not isinstance(leaf, (bool, Mapping, list)) and leaf != ""]
    if len(leaves) >= TELLING_LEAVES or any(telling(leaf) is not None for leaf in leaves):
        return f"j:{json.dumps(_with_plain_numbers(value), sort_keys=True, ensure_ascii=False)}"
    return None


def _telling_number(number: Decimal) -> str | None:
    if not number.is_finite():
        return None
    plain = number.normalize()
    return f"n:{plain}" if len(plain.as_tuple().digits) >= TELLING_DIGITS else None


def _as_number(text: str) -> Decimal | None:
    """Return the number that a text spells, so that ``"1363.20"`` and ``1363.2`` are the same."""
    if not text or not (text[0].isdigit() or (text[0] in "+-." and len(text) > 1)):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _with_plain_numbers(value: Any) -> Any:
    """Spell equal numbers alike, also where one side has them as text."""
    if isinstance(value, Mapping):
        return {name: _with_plain_numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_plain_numbers(part) for part in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and (number := _as_number(value)) is not None and number.is_finite():
        return str(number.normalize())
    return value
