"""Which tests run the line that a mutant changes: measured on the unmutated copy of its function."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

_ORIGINAL = "__mutmut_orig"


def noting_lines(note: Callable[[str], None]) -> None:
    """Have every line of every function that has mutants noted, as ``function:line``, the line counted from its ``def``."""

    def line(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            code = frame.f_code
            note(f"{frame.f_globals['__name__']}.{code.co_name.removesuffix(_ORIGINAL)}:{frame.f_lineno - code.co_firstlineno}")
        return line

    def call(frame: FrameType, event: str, arg: Any) -> Any:
        return line if frame.f_code.co_name.endswith(_ORIGINAL) else None

    threading.settrace(call)
    sys.settrace(call)


@lru_cache
def _file(path: str) -> tuple[list[str], dict[str, tuple[int, int]]]:
    return Path(path).read_text("utf-8").splitlines(), json.loads(Path(path + ".spans").read_text("utf-8"))["spans"]


def _function(path: str, name: str) -> list[str]:
    lines, spans = _file(path)
    found = lines[spans[name][0] - 1 : spans[name][1]]
    begin = next(number for number, line in enumerate(found) if line.lstrip().startswith(("def ", "async def ")))
    return [line.replace(name, "") for line in found[begin:]]


def users(name: str, path: str, runs: dict[str, list[str]]) -> list[str]:
    """Return the tests that run what a mutant changes: the line, or else the last line before it that any test runs."""
    module, _, mutant = name.rpartition(".")
    function = mutant.rpartition("__mutmut_")[0]
    original, changed = _function(path, function + _ORIGINAL), _function(path, mutant)
    first = next((number for number, (one, other) in enumerate(zip(original, changed, strict=False)) if one != other), 0)
    for number in range(first, 0, -1) if len(original) == len(changed) else ():  # where lines are gone, all of the function counts
        if tests := runs.get(f"{module}.{function}:{number}"):
            return tests
    return runs.get(f"{module}.{function}", [])
