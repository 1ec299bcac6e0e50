"""The tables of ``docs/guides/gates.md``, made of what ``benchmarks/gates.py`` measured.

python benchmarks/gates.py --guide    # measure, and write them into the page
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "guides" / "gates.md"

Rows = Sequence[Mapping[str, Any]]

CREW_ROWS = (
    ("complete", "context omission"),
    ("consistent", "contradiction"),
    ("consistent", "numerical drift"),
    ("grounded", "ungrounded identifier"),
    ("grounded", "ungrounded number"),
    ("no_repeat", "step repetition"),
    ("any of them", "contradiction"),
    ("any of them", "numerical drift"),
)
SHOWN = {
    "grounded": "`grounded()`",
    "grounded, identifiers only": "`grounded(numbers=False, dates=False)`",
    "grounded, arguments trusted": '`grounded(arguments="trust")`',
    "grounded, derived any": '`grounded(derived="any")`',
    "no_repeat": "`no_repeat()`",
    "no_repeat, more than twice": "`no_repeat(calls_at_most=2)`",
    "any of them": "`grounded()`, `no_repeat()`",
}
SOURCES = {"incident": "crews", "invoices": "crews", "workbench, held out": "workbench", "tau": "tau"}
"""By source, the table that shows it."""


def lines_of(source: str, rows: Rows) -> list[str]:
    """Return a source's lines in its table."""
    found = {(row["gate"], row["hand-off"]): row for row in rows if row["source"] == source}
    if SOURCES[source] == "crews":
        return [
            f"| {source} | {'all four' if gate == 'any of them' else f'`{gate}`'} | {fault} | {_share(found[gate, fault])} | "
            f"{_share(found[gate, 'right'])} |"
            for gate, fault in CREW_ROWS
        ]
    faults = ("harmful run", "wrong run") if source.startswith("workbench") else ("wrong run",)
    return [f"| {shown} | {' | '.join(_share(found[gate, fault]) for fault in (*faults, 'right'))} |" for gate, shown in SHOWN.items()]


def _share(row: Mapping[str, Any]) -> str:
    return f"{row['rejected']:,} of {row['of']:,} | {row['low']:.1%} – {row['high']:.1%}"


def lines_in(table: str, page: str) -> list[str]:
    """Return the lines of a table of the page, its head left out."""
    found = re.search(_marks(table), page, re.DOTALL)
    assert found is not None, f"the page has no table {table!r}"
    return found[2].splitlines()


def written(page: str, rows: Rows) -> str:
    """Return the page with the tables of those sources that were measured."""
    measured = {row["source"] for row in rows}
    for table in dict.fromkeys(SOURCES.values()):
        sources = [source for source, where in SOURCES.items() if where == table]
        if measured.issuperset(sources):
            lines = [line for source in sources for line in lines_of(source, rows)]
            page = re.sub(_marks(table), lambda found, lines=lines: found[1] + "\n".join(lines) + "\n" + found[3], page, flags=re.DOTALL)
    return page


def _marks(table: str) -> str:
    return rf"(<!-- measured: {table} -->\n\|[^\n]*\n\|[^\n]*\n)(.*?)(<!-- end of measured -->)"
