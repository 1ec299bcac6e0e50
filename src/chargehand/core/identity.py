"""Paths and keys: how a call is known, and under which key it is shown to the world.

In a workflow a call is known by its scope's path, its name and its occurrence there: ``analyst``, ``analyst#2``,
``gather.1/analyst``, ``saga/place_order``. Inside an agent it is known by its content, because a model words its calls
anew each time: ``buyer/place_order~3f2a….1``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from chargehand.errors import DefinitionError

_FORBIDDEN = frozenset("/\0#~@!\n")


def checked_segment(name: str, what: str = "name") -> str:
    """Return a name that may be part of a path. Raises `DefinitionError`."""
    if not name or any(char in _FORBIDDEN for char in name):
        raise DefinitionError(f"This {what} cannot be part of a path: {name!r}. Leave out / # ~ @ ! and line breaks.")
    return name


def join(scope: str, segment: str) -> str:
    """Return the path of a segment in a scope."""
    return f"{scope}/{segment}" if scope else segment


@dataclass(slots=True)
class Scope:
    """A path prefix that owns effects. `counts` numbers the calls of each name in it."""

    path: str
    kind: str = "workflow"
    counts: dict[str, int] = field(default_factory=dict)

    def next(self, name: str) -> str:
        """Return the path of the next call of this name."""
        number = self.counts.get(name, 0) + 1
        self.counts[name] = number
        return join(self.path, name if number == 1 else f"{name}#{number}")

    def covers(self, path: str) -> bool:
        """Say whether a path lies in this scope."""
        return not self.path or path.startswith(self.path + "/")


def content_segment(tool: str, digest: str, n: int) -> str:
    """Return the segment by which a call inside an agent is known: its tool, its arguments, and the n-th such ask."""
    return f"{tool}~{digest[:12]}.{n}"


def base_key(seed: str, path: str, business: str | None) -> str:
    """Return the key of generation 1: the business key, else 160 bits of SHA-256 over the run's seed and the path.

    The seed is drawn when the run is created, so a run id that is used again in another journal gives other keys.
    """
    if business is not None:
        return business
    return hashlib.sha256(f"{seed}\0{path}".encode()).hexdigest()[:40]


def key_of(base: str, generation: int) -> str:
    """Return the key handed out in a generation."""
    return base if generation == 1 else f"{base}~{generation}"


def undo_key(key: str) -> str:
    """Return the key of the undo of the effect made under `key`."""
    return f"{key}!undo"


def draw(seed: str, path: str, n: int = 0) -> bytes:
    """Return 32 bytes that depend on nothing but the run's seed, the path and `n`: the run's dice."""
    return hashlib.sha256(f"{seed}\0{path}\0{n}".encode()).digest()


def fraction(seed: str, path: str, n: int = 0) -> float:
    """Return a number in [0, 1) from the run's dice."""
    return int.from_bytes(draw(seed, path, n)[:7], "big") / 2**56
