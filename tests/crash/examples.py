"""All examples of the catalogue, by name."""

from __future__ import annotations

from .catalogue import EXAMPLES, Example
from .teams import TEAMS

ALL: dict[str, Example] = EXAMPLES | TEAMS
