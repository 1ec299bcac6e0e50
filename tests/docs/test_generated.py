"""What the documentation takes from the code is what the code says today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chargehand.core.lifecycle import EFFECT_MOVES

from .generated import DOCS, PARTS, effect_life, pages, renewed

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _written_pages() -> list[Path]:
    return [DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_generated_parts_are_up_to_date(page: Path) -> None:
    """Each part between two marks is what its generator makes; ``python tests/docs/generated.py --write`` renews it."""
    assert page.read_text() == renewed(page.read_text())


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_part_stands_on_a_page(name: str) -> None:
    """Nothing is generated that no page shows."""
    assert any(f"<!-- generated: {name} -->" in page.read_text() for page in pages())


def test_the_diagram_has_every_move() -> None:
    """The Mermaid diagram has an arrow for each move of the table, and no stage that the table lacks."""
    diagram = effect_life()
    arrows = {
        (start, event) for start, events in re.findall(r"^    (\w+) --> \w+: (.*)$", diagram, re.MULTILINE) for event in events.split(", ")
    }
    assert arrows == {(stage.replace(" ", "_"), event) for stage, event in EFFECT_MOVES}


@pytest.mark.parametrize("page", _written_pages(), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a file of the repository names a file that is there, and a heading that it has."""
    broken = []
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        aim = (page.parent / name).resolve() if name else page
        if not aim.exists() or (anchor and aim.suffix == ".md" and anchor not in _anchors(aim)):
            broken.append(target)
    assert broken == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _written_pages(), ids=lambda page: page.name)
def test_every_file_named_is_there(page: Path) -> None:
    """A path of this repository in a code span names a file or folder that exists."""
    root = DOCS.parent
    spans = re.findall(r"`((?:src|tests|docs|examples|benchmarks)/[\w./*-]+)`", page.read_text())
    assert [span for span in spans if not any(True for _ in root.glob(span.rstrip("/")))] == []
