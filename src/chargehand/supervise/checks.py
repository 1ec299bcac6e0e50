"""The built-in gates that need no model: `consistent`, `complete`, `grounded` and `no_repeat`.

Each finds one class of the errors that travel between agents, deterministically, and is blind to all others; the
figures for each are measured by ``benchmarks/gates.py``. They are sync, run inline on the loop, and cost no model call.

Each rejection says what is wrong, with the value, where it should have come from and what to do: it is feedback for the
agent's next attempt. A gate abstains where it cannot do what it was asked for (an agent that declares no facts), and
passes where there is nothing to object to (the first agent of a run contradicts nobody).

===========  =================================================  =======  ==============================================
gate         rejects                                            mode     why this mode (MAST, arXiv 2503.13657)
===========  =================================================  =======  ==============================================
consistent   a fact that contradicts or drifts from a released  FM-2.5   it ignores what another agent established
complete     an item of the input that is not carried over      FM-2.4   what the next agent needs is withheld
grounded     an identifier or number that occurs nowhere        FM-3.2   it was stated, and not verified
no_repeat    the same tool call, or the same output, once more  FM-1.3   it repeats a step
===========  =================================================  =======  ==============================================
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic_core import to_json, to_jsonable_python

from chargehand.errors import DefinitionError
from chargehand.supervise.facts import claim_of, disagreement, disagrees, evidence_of, plain, topic_of
from chargehand.supervise.findings import as_text, rejection
from chargehand.supervise.gates import Gate
from chargehand.supervise.grounding import grounded
from chargehand.supervise.mentions import Mention, fields_of, items_of, leaves
from chargehand.supervise.sources import Sources, lists_in
from chargehand.supervise.units import last_digit_of, number_of
from chargehand.verdicts import Fact, Feedback, GateContext, ReleasedFact, Verdict

Selector = str | Callable[[Any], Iterable[Any]]
"""A path such as ``"evidence.observations.id"`` (lists are walked through), or a function that returns the items."""


# -- consistent ----------


def consistent(
    *,
    tolerance: float | Mapping[str, float] = 0.0,
    rounding: bool = True,
    ignore: Collection[str] = (),
    inputs: bool = False,
    name: str = "consistent",
    detects: str = "FM-2.5",
) -> Gate:
    """Return a gate that holds the facts of an output against those released earlier in the run.

    The agent declares its facts with ``facts=``; without that the gate abstains. Facts are about the same thing when
    subject and attribute are equal, whatever their case. The newest released fact counts. Units are converted; money is
    not. Facts of one output must not contradict one another either.

    Args:
        tolerance: The relative deviation allowed for numbers, for all attributes or by attribute.
        rounding: Accept a number that is the other rounded to the digits it shows, up to a deviation of 5 %.
        ignore: Attributes that may change during a run, such as a status.
        inputs: What the agent was given asserts facts too: the function given as ``facts=`` is asked about each input.
        name: The gate's name.
        detects: The failure mode of its rejections.
    """
    tolerances = _tolerances(tolerance)
    ignored = {attribute.casefold() for attribute in ignore}

    def check(output: Any, context: GateContext) -> Verdict | None:
        facts_of = context.facts_of
        if facts_of is None:
            return Verdict.abstain("There is nothing to compare: the agent declares no facts. Give it facts=….")
        known = {topic_of(one.fact): one for one in (*_input_facts(context, inputs), *context.facts)}
        findings: list[tuple[str, Fact, ReleasedFact]] = []
        unclear: list[str] = []
        for fact in facts_of(output):
            topic = topic_of(fact)
            if topic[1] in ignored:
                continue
            earlier = known.setdefault(topic, ReleasedFact(fact, ""))
            kind = disagreement(fact, earlier.fact, tolerances(topic[1]), rounding)
            if kind == "unclear":
                unclear.append(f"{claim_of(fact)} cannot be compared with {as_text(earlier.fact.value, earlier.fact.unit)}.")
            elif kind is not None:
                findings.append((kind, fact, earlier))
        if findings:
            return rejection([disagrees(*one) for one in findings], "facts disagree", detects, evidence_of(findings))
        return Verdict.abstain(*unclear) if unclear else None

    return Gate(name=name, check=check, detects=detects)


def _input_facts(context: GateContext, wanted: bool) -> Iterator[ReleasedFact]:
    facts_of = context.facts_of
    for name, value in context.inputs.items() if wanted else ():
        if facts_of is not None and not isinstance(value, Feedback):
            yield from (ReleasedFact(fact, f"input {name}") for fact in facts_of(value))


def _tolerances(tolerance: float | Mapping[str, float]) -> Callable[[str], Decimal]:
    given = tolerance if isinstance(tolerance, Mapping) else {"": tolerance}
    if any(value < 0 for value in given.values()):
        raise DefinitionError(f"tolerance={tolerance!r} is a relative deviation and cannot be negative.")
    table = {attribute.casefold(): Decimal(repr(value)) for attribute, value in given.items()}
    default = table.get("", Decimal(0))
    return lambda attribute: table.get(attribute, default)


# -- complete ----------


def complete(
    required: Selector | Sequence[Selector] | None = None,
    carried: Selector | None = None,
    *,
    name: str = "complete",
    detects: str = "FM-2.4",
) -> Gate:
    """Return a gate that finds what the input has and the output has lost.

    Args:
        required: What must be carried over: a path such as ``"evidence.observations.id"`` into the inputs (by parameter
            name), ``"tools.NAME…"`` into what a tool returned, a function of the `GateContext`, or several of these.
            By default every item of every list in the inputs: records by their identifying field, and short plain items
            by themselves. That suits an agent that turns lists into lists; for one that condenses, say what has to
            survive.
        carried: Where it must be: a path into the output, or a function of the output. By default anywhere, also inside
            a text.
        name: The gate's name.
        detects: The failure mode of its rejections.

    It abstains when nothing is required: by default when the inputs hold no list, and when a path leads nowhere.
    """

    selectors = () if required is None else (required,) if isinstance(required, str) or callable(required) else tuple(required)

    def check(output: Any, context: GateContext) -> Verdict | None:
        wanted = dict(_required(selectors, context))
        if not wanted and (lost_path := _leading_nowhere(selectors, context)) is not None:
            return Verdict.abstain(f"There is nothing to carry over: {lost_path}. Say what with complete(required=…).")
        held = output if carried is None else _selected(carried, output)
        keys = {_key(leaf.value) for leaf in leaves(held)}
        texts = Sources([("", held)]) if any(key not in keys for key in wanted) else None
        lost = [(item, path) for key, (item, path) in wanted.items() if key not in keys and not _within(item, texts)]
        if not lost:
            return None
        rest = f"Carry over all {len(wanted)}, or say why not." if len(wanted) > 1 else "Carry it over, or say why not."
        findings = [f"{as_text(item)} from {path} is missing from the output. {rest}" for item, path in lost]
        evidence = {"missing": [to_jsonable_python(item, fallback=str) for item, _ in lost], "required": len(wanted)}
        return rejection(findings, "items are missing", detects, evidence)

    return Gate(name=name, check=check, detects=detects)


_IDENTIFYING = ("id", "key", "number", "code", "sku", "uuid", "reference", "name", "title")
_ITEM_AT_MOST = 80
"""Characters up to which a plain text in a list is an item and not a paragraph."""


def _required(selectors: tuple[Selector, ...], context: GateContext) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Yield each item that must be carried over: its key, and with it the item and where it comes from."""
    if not selectors:
        for parameter, value in context.inputs.items():
            if not isinstance(value, Feedback):
                yield from ((_key(item), (item, path)) for item, path in _list_items(value, parameter))
        return
    root = _root_of(context)
    for selector in selectors:
        if callable(selector):
            where = getattr(selector, "__name__", "required").replace("<lambda>", "what is required")
            yield from ((_key(item), (item, where)) for item in selector(context))
        else:
            yield from ((_key(item), (item, selector)) for item in _at(root, selector.split(".")))


def _root_of(context: GateContext) -> dict[str, Any]:
    tools: dict[str, list[Any]] = {}
    for call in context.tools:
        tools.setdefault(call.tool, []).append(call.result)
    return {**context.inputs, "tools": tools, "released": context.released}


def _leading_nowhere(selectors: tuple[Selector, ...], context: GateContext) -> str | None:
    """Say why nothing is required when that is no answer: no list, or a path that leads nowhere. An empty list is one."""
    root = _root_of(context)
    if not selectors:
        inputs = [value for value in context.inputs.values() if not isinstance(value, Feedback)]
        return None if any(True for value in inputs for _ in lists_in(value)) else "no list in the inputs"
    paths = [selector for selector in selectors if isinstance(selector, str)]
    nowhere = [path for path in paths if not _reaches(root, path.split("."))]
    return f"nothing at {', '.join(map(repr, nowhere))}" if nowhere else None


def _reaches(value: Any, steps: list[str]) -> bool:
    items, fields = items_of(value), fields_of(value)
    if items is not None:
        return not items or any(_reaches(item, steps) for item in items)
    return not steps or (fields is not None and steps[0] in fields and _reaches(fields[steps[0]], steps[1:]))


def _list_items(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    fields, items = fields_of(value), items_of(value)
    for name, inner in (fields or {}).items():
        yield from _list_items(inner, f"{path}.{name}")
    for item in items or ():
        record = fields_of(item)
        if record is None:
            if (isinstance(item, str) and len(item) <= _ITEM_AT_MOST) or number_of(item) is not None:
                yield item, path
            continue
        identifying = _identifying_field(record)
        if identifying is not None:
            yield record[identifying], f"{path}.{identifying}"


def _identifying_field(record: Mapping[Any, Any]) -> str | None:
    names = [name for name, value in record.items() if isinstance(value, (str, int)) and not isinstance(value, bool)]
    for wanted in _IDENTIFYING:
        for name in names:
            if str(name).casefold() == wanted or (wanted in ("id", "key", "code") and str(name).endswith(f"_{wanted}")):
                return str(name)
    return None


def _at(value: Any, steps: list[str]) -> Iterator[Any]:
    """Yield what lies at a path; lists are walked through."""
    items = items_of(value)
    if items is not None:
        for item in items:
            yield from _at(item, steps)
    elif not steps:
        if value is not None:
            yield value
    else:
        fields = fields_of(value)
        if fields is not None and steps[0] in fields:
            yield from _at(fields[steps[0]], steps[1:])


def _selected(selector: Selector, output: Any) -> list[Any]:
    return list(selector(output)) if callable(selector) else list(_at(output, selector.split(".")))


def _key(value: Any) -> str:
    value = value.value if isinstance(value, Enum) else value
    number = number_of(value)
    if number is not None:
        return f"{number.normalize():f}"
    return value.isoformat() if isinstance(value, date) else plain(value)


def _within(item: Any, texts: Sources | None) -> bool:
    """Say whether an item occurs inside a text of the output."""
    if texts is None:
        return False
    number = number_of(item)
    if number is None:
        return texts.has_identifier(" ".join(str(_key(item)).split()))
    mention = Mention("number", str(item), "", (number,), None, last_digit_of(number))
    return texts.has_number(mention, tolerance=Decimal(0), derived=False)


# -- no_repeat ----------


def no_repeat(
    *,
    calls_at_most: int | None = 1,
    outputs: bool = True,
    polling: Collection[str] = (),
    shortest: int = 40,
    name: str = "no_repeat",
    detects: str = "FM-1.3",
) -> Gate:
    """Return a gate that finds a tool call, or an output, that was there before.

    Args:
        calls_at_most: How often this attempt may make the same call: the same tool with the same arguments. None does
            not count calls.
        outputs: Look at the output: equal to the rejected one, or to one that the same agent released in this run.
        polling: Tools that may be asked the same again, because they answer differently in time.
        shortest: Characters of JSON from which an output that equals a released one counts as repeated: a yes, a number
            or a name may well come twice. A rejected output counts whatever its length.
        name: The gate's name.
        detects: The failure mode of its rejections.
    """
    may_repeat = frozenset(polling)

    def check(output: Any, context: GateContext) -> Verdict | None:
        findings: list[str] = []
        evidence: list[dict[str, Any]] = []
        if calls_at_most is not None:
            for tool, arguments, times in _repeated_calls(context, may_repeat, calls_at_most):
                shown = ", ".join(f"{key}={as_text(value)}" for key, value in arguments.items())
                findings.append(f"{tool}({shown}) was called {times} times. Use the first result instead of asking again.")
                evidence.append({"tool": tool, "arguments": dict(arguments), "times": times})
        if outputs:
            again = _again(output, context, shortest)
            if again is not None:
                findings.append(f"The output equals {again}. Change what was objected to, or say why nothing changes.")
                evidence.append({"output": again})
        return rejection(findings, "repetitions", detects, evidence) if findings else None

    return Gate(name=name, check=check, detects=detects)


def _repeated_calls(context: GateContext, may_repeat: Collection[str], at_most: int) -> list[tuple[str, Mapping[str, Any], int]]:
    counts: dict[tuple[str, bytes], int] = {}
    first: dict[tuple[str, bytes], Mapping[str, Any]] = {}
    for call in context.tools:
        if call.tool not in may_repeat:
            key = (call.tool, _canonical(call.arguments))
            counts[key] = counts.get(key, 0) + 1
            first.setdefault(key, call.arguments)
    return [(key[0], first[key], times) for key, times in counts.items() if times > at_most]


def _canonical(value: Any) -> bytes:
    return to_json(_sorted(to_jsonable_python(value, fallback=str)), inf_nan_mode="strings")


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _again(output: Any, context: GateContext, shortest: int) -> str | None:
    """Return what the output equals: the rejected output, or one that the same agent released."""
    said = _canonical(output)
    if any(_canonical(rejected) == said for rejected in _rejected_in(context)):
        return "an output that was rejected before"
    if len(said) < shortest:
        return None
    agent = _agent_of(context.path)
    for path, released in context.released.items():
        if path != context.path and _agent_of(path) == agent and _canonical(released) == said:
            return f"what {path!r} released before"
    return None


def _rejected_in(context: GateContext) -> list[Any]:
    """Return the outputs of earlier attempts that the context, or the feedback among the inputs, knows."""
    known = list(getattr(context, "rejected", ()))
    feedback = [value.output for value in context.inputs.values() if isinstance(value, Feedback)]
    return known + [output for output in feedback if output is not None]


def _agent_of(path: str) -> str:
    return path.rpartition("/")[2].partition("#")[0]


__all__ = ["complete", "consistent", "grounded", "no_repeat"]
