"""Mutants of the core's tables: one entry less."""

from __future__ import annotations

import importlib
import os
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


class Noted(dict[Any, Any]):
    """A table that notes which of its entries are looked up."""

    def __init__(self, name: str, table: dict[Any, Any], note: Callable[[str], None]) -> None:
        super().__init__(table)
        self.name, self.note = name, note

    def __getitem__(self, key: Any) -> Any:
        self.note(f"{self.name}[{key!r}]")
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """Look an entry up."""
        self.note(f"{self.name}[{key!r}]")
        return super().get(key, default)

    def __iter__(self) -> Iterator[Any]:
        for key in super().__iter__():
            self.note(f"{self.name}[{key!r}]")
            yield key

    def items(self) -> Any:
        """Give all entries."""
        return [(key, super(Noted, self).__getitem__(key)) for key in self]


def tables() -> Iterator[tuple[str, Any]]:
    """Give a name to every table."""
    for module, names in _TABLES.items():
        for name in names:
            yield f"{module}.{name}", getattr(importlib.import_module(module), name)


def entries() -> dict[str, Callable[[], None]]:
    """Return every entry of every table, with what takes it out."""
    return {f"{name}[{key!r}]": _shortened(table, key) for name, table in tables() for key in sorted(table, key=repr)}


def known_users(name: str) -> bool:
    """Say whether measuring tells which tests use this mutant: not for the sets."""
    return "[" not in name or any(name.startswith(f"{table}[") for table, value in tables() if isinstance(value, dict))


def noting(note: Callable[[str], None]) -> None:
    """Have every look-up in a dictionary noted."""
    for name, table in tables():
        if isinstance(table, dict):
            _replaced(table, Noted(name, table, note))


def _shortened(table: Any, key: Any) -> Callable[[], None]:
    def begin() -> None:
        _replaced(table, {one: table[one] for one in table if one != key} if isinstance(table, dict) else type(table)(table - {key}))

    return begin


def _replaced(table: Any, by: Any) -> None:
    """Put another table in the place of one, wherever it was imported."""
    for module in [module for module in sys.modules.values() if (getattr(module, "__file__", None) or "").startswith(os.getcwd())]:
        for name, value in list(vars(module).items()):
            if value is table:
                setattr(module, name, by)
