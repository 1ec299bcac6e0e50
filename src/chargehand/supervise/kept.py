"""Which effects of an agent its released output stands on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from chargehand.contracts import canonical
from chargehand.core.states import EffectState

_SHORTEST_IDENTIFIER = 4


def kept(found: Sequence[EffectState], used: Collection[str]) -> set[str]:
    """Return the paths to keep: what the released attempt asked for and, transitively, what those effects were built on.

    An effect is built on another when that one's result occurs in its arguments: the whole result as a part of them, or a
    text of it of at least four characters (an identifier) as one of theirs.
    """
    keep = {effect.path for effect in found if any(effect.path == path or effect.path.startswith(path + "/") for path in used)}
    by_path = {effect.path: effect for effect in found}
    waiting = list(keep)
    while waiting:
        consumer = by_path[waiting.pop()]
        parts, texts = _parts(consumer.arguments)
        for effect in found:
            if effect.path not in keep and _occurs(effect.result, parts, texts):
                keep.add(effect.path)
                waiting.append(effect.path)
    return keep


def _occurs(result: Any, parts: set[str], texts: set[str]) -> bool:
    if isinstance(result, (dict, list)) and canonical(result) in parts:
        return True
    return bool(_parts(result)[1] & texts)


def _parts(value: Any) -> tuple[set[str], set[str]]:
    """Return the canonical forms of all parts of a JSON value, and its texts that may be identifiers."""
    parts: set[str] = set()
    texts: set[str] = set()
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            parts.add(canonical(part))
            stack.extend(part.values())
        elif isinstance(part, list):
            parts.add(canonical(part))
            stack.extend(part)
        elif isinstance(part, str) and len(part) >= _SHORTEST_IDENTIFIER:
            texts.add(part)
    return parts, texts
