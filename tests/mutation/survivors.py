"""The list of the mutants that survive, and why: ``survivors.md``. A mutant is known by its function and its change."""

from __future__ import annotations

import re
from pathlib import Path

LIST = Path(__file__).with_name("survivors.md")
_ENTRY = re.compile(r"^- `(?P<function>[^`]+)` ``(?P<change>.+)``$", re.MULTILINE)

_TEXT = re.compile(r"""["']([^"']*)["']""")
_SPELLING = re.compile("xx")


def listed() -> set[tuple[str, str]]:
    """Return the function and the change of every mutant in the list."""
    return {(found["function"], found["change"]) for found in _ENTRY.finditer(LIST.read_text("utf-8"))}


def changed_lines(diff: str) -> str:
    """Return what a diff takes out and puts in, in one line."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    out, into = ([line[1:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
    return f"{' '.join(out)} → {' '.join(into)}"


def is_wording(change: str) -> bool:
    """Say whether a change touches nothing but the letters of a sentence: tests do not hold the wording of messages."""
    out, _, into = _SPELLING.sub("", change.lower()).partition(" → ")
    return out == into and any(len(text.split()) > 3 for text in _TEXT.findall(change))
