"""How an event reads in a golden script: its type, its path, and the facts that a rule is about."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from chargehand.events import Event
from chargehand.testing.clock import START


def told(event: Event) -> str:
    """Return an event as a line."""
    payload = event.payload
    facts = [tell(payload[name]) for name, tell in _FACTS.items() if _says_something(name, payload.get(name))]
    if event.type in ("effect.intended", "undo.intended", "effect.edited") and payload.get("generation", 1) > 1:
        facts.append(f"generation {payload['generation']}")
    return " ".join([event.type, *([event.path] if event.path else []), *[fact for fact in facts if fact]])


def in_full(value: Any) -> str:
    """Return everything a value holds as JSON; times since the start of the play are written with a plus."""

    def since(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {name: since(one) for name, one in sorted(part.items()) if one is not None}
        if isinstance(part, (list, tuple)):
            return [since(one) for one in part]
        return f"+{part - START:g}" if isinstance(part, float) and part >= START else part

    return json.dumps(since(value), ensure_ascii=False)


def _says_something(name: str, value: Any) -> bool:
    return value is not None and value != [] and value != {} and (value is not False or name == "v")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _person(by: Any) -> str:
    return f"by {by.get('id')}" if isinstance(by, Mapping) else f"by {by}"


def _verdicts(verdicts: Any) -> str:
    return "; ".join(f"{v['gate']} {v['outcome']}: {', '.join(v.get('reasons', ()))}" for v in verdicts if v["outcome"] != "pass")


def _failure(error: Any) -> str:
    if not error:
        return ""
    text = error.get("type", error.get("code"))
    return f"! {text}: {error.get('message', '')}".rstrip(": ")


_FACTS: dict[str, Callable[[Any], str]] = {
    "key": lambda key: f"[{key}]",
    "v": lambda value: f"= {_json(value)}",
    "args": _json,
    "e": _failure,
    "gate": str,
    "outcome": str,
    "reasons": ", ".join,
    "do": lambda do: f"-> {do}",
    "by": _person,
    "verdicts": _verdicts,
    "happened": str,
    "try": lambda number: f"try {number}" if number > 1 else "",
    "crashed": lambda _: "after a crash",
    "doubtful": lambda _: "doubtful",
    "shared": lambda _: "shared",
    "dry": lambda _: "dry",
    "why": str,
    "reason": lambda reason: f"because {reason}",
    "kept": lambda _: "came early",
    "due": lambda due: f"until +{due - START:g}",
    "accept": lambda paths: f"accepting {', '.join(paths)}",
    "again": lambda paths: f"again {', '.join(paths)}",
    "pivot": str,
    "standing": lambda paths: f"standing {', '.join(paths)}",
    "question": str,
    "answer": str,
    "edited": lambda _: "edited",
}
