"""docs/reference.md: every public name is on it once, and each of its examples runs as a script."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, get_overloads

import pytest

import chargehand

from .blocks import Block, blocks_of
from .generated import DOCS, GROUPS

PAGE = DOCS / "reference.md"
EXAMPLES = [block for block in blocks_of(PAGE) if block.title is not None]


def test_every_public_name_is_in_one_group() -> None:
    """A name that is added to ``__all__`` or taken away changes the page."""
    assert Counter(" ".join(GROUPS.values()).split()) == Counter(chargehand.__all__)


def test_every_public_name_has_one_heading() -> None:
    """The page has a heading for each name and for no other."""
    assert Counter(re.findall(r"^### `(\w+)`$", PAGE.read_text(), re.MULTILINE)) == Counter(chargehand.__all__)


@pytest.mark.parametrize("name", chargehand.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    """Each entry has a signature and a sentence of its own."""
    section = PAGE.read_text().partition(f"### `{name}`\n")[2].partition("\n##")[0]
    signature, _, said = section.partition("\n```\n")
    assert f"```python\n{name}(" in signature
    assert re.search(r"[a-z]{2}.*\.", said)


def _options(thing: Any) -> set[str]:
    """Return what a decorator or class can be told, over all ways of calling it; what it is used on does not count."""
    ways = get_overloads(thing) or [thing.__init__ if isinstance(thing, type) else thing]
    found = {p.name for way in ways for p in inspect.signature(way).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    return found - {"self"} - (set() if isinstance(thing, type) else {"function"})


@pytest.mark.parametrize("name", ["step", "read", "effect", "agent", "workflow", "gate", "Supervisor", "Resource"])
def test_every_option_is_explained(name: str) -> None:
    """What a decorator, the supervisor or a resource can be told has a sentence among its arguments."""
    thing = getattr(chargehand, name)
    explained: set[str] = set()
    for line in (inspect.getdoc(thing) or "").partition("Args:")[2].splitlines():
        if re.match(r"    \w+(, \w+)*: ", line):
            explained |= set(line.strip().partition(":")[0].split(", "))
    assert _options(thing) - explained == set()


def test_every_group_has_one_example() -> None:
    """Between the heading of a group and its entries stands one whole script."""
    for group in GROUPS:
        before = PAGE.read_text().partition(f"<!-- generated: reference {group} -->")[0].rpartition("\n## ")[2]
        assert before.count('```python title="') == 1


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: block.title)
def test_an_example_runs_as_a_script(block: Block, tmp_path: Path) -> None:
    """The script, alone in an empty folder, ends well: what it asserts holds."""
    script = tmp_path / f"the_{block.title}"
    script.write_text(block.text)
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
