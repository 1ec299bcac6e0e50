"""What a run did to the world, read from its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargehand.core.history import History
from chargehand.events import Event


@dataclass(frozen=True, slots=True)
class Line:
    """One doing: what was done, with which arguments (as JSON), under which key, at which path."""

    what: str
    arguments: Mapping[str, Any]
    key: str
    path: str

    def __str__(self) -> str:
        return f"{self.what} {dict(self.arguments)}"


def lines_of(events: Sequence[Event]) -> list[Line]:
    """Return the doings that the events tell of, in order; what is in doubt stands where it was sent."""
    history = History()
    lines: dict[int, Line] = {}
    for event in events:
        history.fold(event)
        if not event.type.startswith(("effect.", "undo.")):
            continue
        effect = history.effect(event.path)
        name = effect.tool.rpartition(".")[2]
        arguments = effect.arguments or {}
        if event.type == "effect.done":
            mark = " (shared)" if effect.shared else " (dry)" if effect.dry else ""
            lines[event.seq] = Line(name + mark, arguments, effect.key, event.path)
        elif event.type == "undo.done":
            lines[event.seq] = Line(f"undo {name}", arguments, f"{effect.key}!undo", event.path)
    for effect in history.effects():
        if effect.stage in ("intended", "doubt") or (effect.stage == "backoff" and effect.doubtful):
            name = effect.tool.rpartition(".")[2]
            lines[history.seq + 1 + len(lines)] = Line(f"{name} (in doubt)", effect.arguments or {}, effect.key, effect.path)
    return [lines[seq] for seq in sorted(lines)]


def same(found: Sequence[Line], expected: Sequence[Any]) -> bool:
    """Say whether doings are the expected ones: names, or pairs of a name and some arguments. Raises `TypeError` for anything else."""
    for item in expected:
        _checked(item)
    return len(found) == len(expected) and all(_fits(line, item) for line, item in zip(found, expected, strict=True))


def _checked(item: Any) -> None:
    match item:
        case str() | (str(), Mapping()):
            return
    raise TypeError(
        f"This names no effect: {item!r}. Give the tool's name, or a pair of it and of some arguments: ('charge', {{'amount': 3}})."
    )


def _fits(line: Line, item: Any) -> bool:
    if isinstance(item, str):
        return line.what == item
    what, arguments = item
    return line.what == what and all(name in line.arguments and line.arguments[name] == value for name, value in arguments.items())
