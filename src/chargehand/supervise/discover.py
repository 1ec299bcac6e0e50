"""Finding the definitions that a workflow can reach, without running it.

A rollback undoes effects without resuming workflow code, so their definitions must be known beforehand. They are found
from the workflow's function: the names its module and its closure hold, the tools its agents use, the modules those
names come from. No global registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from chargehand.errors import DefinitionError
from chargehand.supervise.definitions import AgentDefinition, Definition, EffectDefinition


def reachable(roots: Iterable[Definition[..., Any]]) -> list[Definition[..., Any]]:
    """Return the definitions that these can reach, themselves included."""
    found: dict[int, Definition[..., Any]] = {}
    waiting: list[Any] = list(roots)
    seen_modules: set[int] = set()
    while waiting:
        thing = waiting.pop()
        if not isinstance(thing, Definition) or id(thing) in found:
            continue
        found[id(thing)] = thing
        if isinstance(thing, AgentDefinition):
            waiting.extend(thing.uses.values())
            waiting.extend(rung.to for rung in thing.ladder or () if rung.step == "reassign")
            waiting.extend(voter for gate in thing.gates for voter in gate.voters)
        waiting.extend(_named_by(thing.function, seen_modules))
    return list(found.values())


def _named_by(function: Any, seen: set[int]) -> Iterator[Any]:
    """Yield what a function's module and closure name: definitions, also those inside modules it names."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not isinstance(function, FunctionType):
        return
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue
    if id(function.__globals__) in seen:
        return
    seen.add(id(function.__globals__))
    for value in list(function.__globals__.values()):
        if isinstance(value, Definition):
            yield value
        elif isinstance(value, ModuleType) and id(value) not in seen and not value.__name__.startswith("chargehand."):
            seen.add(id(value))
            yield from (inner for inner in list(vars(value).values()) if isinstance(inner, Definition))


def effects_of(roots: Iterable[Definition[..., Any]]) -> dict[str, EffectDefinition[..., Any]]:
    """Return the reachable effects by full name. Raises `DefinitionError` when two share one."""
    effects: dict[str, EffectDefinition[..., Any]] = {}
    for definition in reachable(roots):
        if isinstance(definition, EffectDefinition):
            other = effects.setdefault(definition.full_name, definition)
            if other is not definition and other.function is not definition.function:
                raise DefinitionError(f"Two effects are called {definition.full_name!r}. Give one of them name=….")
    return effects
