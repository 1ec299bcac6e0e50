"""`grounded`: what an output mentions must come from somewhere.

Agents do not often invent identifiers in their answers; they invent them in the arguments of their calls. On the
recorded WorkBench runs (models of 2023) holding arguments against inputs and *earlier* results rejects about half of
the harmful runs and six of a hundred right ones. The order matters: a look-up that comes afterwards excuses no guess.

The other side of it: in the tau-bench conversations of newer agents nothing that went wrong was ungrounded, and this
gate finds fault with six of a hundred right messages, most of them sums. So two rules lean to the agent's side: what it
made of grounded figures that stand beside the result is accepted, and small counts need no source. Alternatives tried:
to accept whatever can be made of the sources' numbers (one seeded wrong number in three passes then), and to ask a
source for every derived figure (twice the false alarms). ``benchmarks/gates.py`` has the figures.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any, Literal

from chargehand.errors import DefinitionError
from chargehand.supervise.findings import rejection
from chargehand.supervise.gates import Gate
from chargehand.supervise.mentions import Mention, leaves, mentions_of
from chargehand.supervise.sources import Sources, combined, near, sources_of, ungrounded_arguments
from chargehand.verdicts import GateContext, Verdict

Arguments = Literal["check", "trust", "ignore"]
Derived = Literal["none", "shown", "any"]


def grounded(
    *,
    numbers: bool = True,
    dates: bool = True,
    tolerance: float = 0.0,
    derived: Derived = "shown",
    released: bool = False,
    arguments: Arguments = "check",
    ignore: Collection[str] = (),
    small: int = 9,
    blocking: bool = False,
    name: str = "grounded",
    detects: str = "FM-3.2",
) -> Gate:
    """Return a gate that finds identifiers, numbers and dates which no source has.

    Sources are the inputs and what the tools of this attempt returned. Numbers are compared by value (1,200 is 1200.0),
    rounded to the digits they show, and in any unit of their dimension; dates and times by day and minute. Names and
    words are not looked at. An output that mentions none of these passes.

    Args:
        numbers: Look at numbers.
        dates: Look at dates and times of day.
        tolerance: The relative deviation allowed for numbers.
        derived: Accept numbers that are made of others: differences, sums, shares and growth in percent. "shown": of two
            that are grounded and stand beside it, in the same text or record. "any": also of the sources' numbers that
            belong together (sums and means of a column, subtotals, differences, the time between two dates). That
            weakens the gate: of a few numbers many can be made. "none": none.
        released: Outputs released earlier in the run are sources too, not only those that were passed on.
        arguments: What this attempt passed to its tools. "check": identifiers in it must come from an input or from an
            earlier result; then it is a source, so that an agent may say what it did. "trust": it is a source.
            "ignore": it is not. Use "trust" for tools that are given new names (files to create, queries to run).
        ignore: Fields of the output that are not looked at, by the last name on their path.
        small: Whole numbers up to this one, without unit, are not looked at; neither are the lengths of lists, 0 % and
            100 %.
        blocking: Run in a thread. It takes milliseconds to read the sources, tens of them when these are large.
        name: The gate's name.
        detects: The failure mode of its rejections.
    """
    if arguments not in ("check", "trust", "ignore"):
        raise DefinitionError(f"arguments={arguments!r} is not one of 'check', 'trust', 'ignore'.")
    if derived not in ("none", "shown", "any"):
        raise DefinitionError(f"derived={derived!r} is not one of 'none', 'shown', 'any'.")
    rules = _Rules(numbers, dates, Decimal(repr(tolerance)), derived, released, arguments, frozenset(ignore), small, detects)
    return Gate(name=name, check=rules.check, detects=detects, blocking=blocking)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What `grounded` was told to look at."""

    numbers: bool
    dates: bool
    tolerance: Decimal
    derived: Derived
    released: bool
    arguments: Arguments
    ignore: frozenset[str]
    small: int
    mode: str

    def check(self, output: Any, context: GateContext) -> Verdict | None:
        """Hold everything that the output mentions against the sources."""
        sources = Sources(sources_of(context, released=self.released, arguments=self.arguments != "ignore"))
        read = [leaf for leaf in leaves(output) if _last_name(leaf.path) not in self.ignore]
        mentions = [mention for leaf in read for mention in mentions_of(leaf, sources.skeletons)]
        findings = [mention for mention in mentions if not self.is_grounded(mention, sources)]
        if self.derived != "none" and findings:
            findings = [one for one in findings if not _made_of_neighbours(one, mentions, findings)]
        invented: dict[Mention, str] = {}
        if self.arguments == "check":
            invented = {one: tool for tool, one in ungrounded_arguments(context, sources.skeletons)}
        if not findings and not invented:
            return None
        findings = list(dict.fromkeys(findings))
        reasons = [_ungrounded(one, sources) for one in findings]
        reasons += [_invented(one, tool) for one, tool in invented.items()]
        evidence = [{"kind": one.kind, "text": one.text, "where": one.where} for one in findings]
        evidence += [{"kind": one.kind, "text": one.text, "tool": tool} for one, tool in invented.items()]
        return rejection(reasons, "mentions have no source", self.mode, evidence)

    def is_grounded(self, mention: Mention, sources: Sources) -> bool:
        """Say whether a mention has a source, or needs none."""
        if mention.kind == "identifier":
            return sources.has_identifier(mention.text) or _are_alternatives(mention.text, sources)
        if mention.kind == "date":
            return not self.dates or any(sources.has_date(reading) for reading in mention.readings)
        if mention.kind == "time":
            return not self.dates or any(one in sources.times or one == (0, 0) for one in mention.readings)
        if not self.numbers or _goes_without_saying(mention, self.small):
            return True
        if sources.has_number(mention, tolerance=self.tolerance, derived=self.derived == "any"):
            return True
        as_code = len(mention.text) >= _LONG and sources.has_identifier(mention.text)
        return as_code or sources.has_year(mention.readings[0])


_LONG = 5
"""Characters from which the digits of a number are also looked for as they stand, as those of a code."""


_BESIDE_AT_MOST = 40
"""Numbers of one text or record that are combined at most."""


def _are_alternatives(text: str, sources: Sources) -> bool:
    """Say whether a token is several with slashes between them (``i5/32GB/256GB``), each of which has a source."""
    parts = text.split("/")
    named = len(parts) > 1 and all(any(sign.isalpha() for sign in part) for part in parts)
    return named and all(sources.has_identifier(part) for part in parts)


def _goes_without_saying(mention: Mention, small: int) -> bool:
    """Say whether a number claims too little to need a source: a small count, or all and none in percent."""
    number = mention.readings[0]
    if mention.unit is None:
        return bool(number <= small and number == number.to_integral_value())
    return number in (0, 100) and mention.unit in ("%", "percent")


def _made_of_neighbours(mention: Mention, mentions: Sequence[Mention], ungrounded: Sequence[Mention]) -> bool:
    """Say whether a number is made of two grounded ones of the same text, or else of the same record."""
    if mention.kind != "number":
        return False
    in_text = sum(one.where == mention.where for one in mentions) > 1
    beside = [
        float(one.readings[0])
        for one in mentions
        if one.kind == "number"
        and one not in ungrounded
        and (one.where == mention.where if in_text else _record_of(one) == _record_of(mention))
    ]
    if mention.unit in ("%", "percent"):
        beside.append(100.0)
    made = sorted(made for one, other in combinations(beside[:_BESIDE_AT_MOST], 2) for made in combined(one, other))
    return near(made, abs(mention.readings[0]), mention.last_digit, Decimal(0))


def _record_of(mention: Mention) -> str:
    return mention.where.rpartition(".")[0]


def _last_name(path: str) -> str:
    return path.rpartition(".")[2].partition("[")[0]


def _ungrounded(mention: Mention, sources: Sources) -> str:
    where = f" at {mention.where}" if mention.where else ""
    nearest = sources.nearest(mention)
    if nearest is None:
        known = ", ".join(dict.fromkeys(name for name, _ in sources.values)) or "nothing"
        nearest = f"Known are: {known}"
    return f"The {mention.kind} {mention.text!r}{where} occurs in no source. {nearest}. Take it from there, look it up, or leave it out."


def _invented(mention: Mention, tool: str) -> str:
    return (
        f"The identifier {mention.text!r} was passed to {tool} as {mention.where}, but no input and no earlier "
        f"result has it. Look it up first, or ask for it."
    )
