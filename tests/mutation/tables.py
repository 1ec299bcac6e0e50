"""Mutants of the core's tables: one entry less."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

_TABLES = {
    "chargehand.core.lifecycle": ("EFFECT_MOVES", "SETTLED_STAGES", "OPEN_STAGES", "UNDOING_STAGES", "STANDING_STAGES"),
    "chargehand.core.folding": ("HANDLERS",),
    "chargehand.core.history": ("_MADE_ANEW", "_FOR_PEOPLE"),
    "chargehand.core.trampoline": ("WAITS", "_OURS"),
    "chargehand.core.identity": ("_FORBIDDEN",),
    "chargehand.core.account": ("_ASKS", "_STAYS_ASKED", "_FAILED_TRIES", "_ENDS", "_RUN_ENDS"),
}


def tables() -> Iterator[tuple[str, Any]]:
    """Give a name to every entry of every table."""
    for module, names in _TABLES.items():
        for name in names:
            for key in sorted(getattr(importlib.import_module(module), name), key=repr):
                yield f"{module}.{name}[{key!r}]", key


def shortened(entry: str, key: Any) -> Callable[[], None]:
    """Return what takes an entry out of its table, wherever the table was imported."""

    def begin() -> None:
        module, _, name = entry.partition("[")[0].rpartition(".")
        table = getattr(sys.modules[module], name)
        if isinstance(table, dict):
            del table[key]
            return
        for other in [other for known, other in sys.modules.items() if known.startswith("chargehand")]:
            for own, value in list(vars(other).items()):
                if value is table:
                    setattr(other, own, type(table)(table - {key}))

    return begin
