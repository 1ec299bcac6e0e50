"""The catalogue: workflows that use everything a run may do, by name."""

from __future__ import annotations

from .example import Example
from .people import PEOPLE
from .runs import RUNS
from .teams import TEAMS
from .undoing import UNDOING

ALL: dict[str, Example] = {**RUNS, **UNDOING, **PEOPLE, **TEAMS}
