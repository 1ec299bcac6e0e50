"""The code blocks of a page: which language, which file they are, and their text."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    title: str | None
    text: str


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page that name a language, in order."""
    return [Block(found["language"], found["title"], textwrap.dedent(found["text"])) for found in _BLOCK.finditer(page.read_text())]


def written_files(page: Path, folder: Path) -> None:
    """Write the titled blocks of a page as files."""
    for block in blocks_of(page):
        if block.title is not None:
            (folder / block.title).write_text(block.text)
