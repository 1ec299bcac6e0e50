"""docs/promises.md: the ten sentences are the README's, and what proves them is there."""

from __future__ import annotations

import re

import pytest

from .generated import DOCS

ROOT = DOCS.parent
PAGE = (DOCS / "promises.md").read_text()
SECTIONS = re.findall(r"^## (\d+)\. (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)


def _plain(text: str) -> str:
    return re.sub(r"[*_`.,:;]", "", " ".join(text.split())).lower()


def test_there_are_ten() -> None:
    """The promises are numbered from 1 to 10, in order."""
    assert [int(number) for number, _, _ in SECTIONS] == list(range(1, 11))


@pytest.mark.parametrize(("number", "title", "section"), SECTIONS, ids=[number for number, _, _ in SECTIONS])
def test_a_promise_says_what_how_and_what_is_not_proven(number: str, title: str, section: str) -> None:
    """Each promise says what exactly, how, by which test it is proven, and what is not proven; in this order."""
    places = [section.find(mark) for mark in ("**Exactly.**", "**How.**", "**Proven by**", "**Not proven.**")]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize(("number", "title", "section"), SECTIONS, ids=[number for number, _, _ in SECTIONS])
def test_a_promise_names_its_test_file(number: str, title: str, section: str) -> None:
    """The first file that proves a promise is its own in tests/promises, and it is there."""
    proven = section.partition("**Proven by**")[2].partition("\n\n")[0]
    named = re.findall(r"`(tests/[\w./*]+)`", proven)
    assert named[0] == f"tests/promises/test_{int(number):02}_*.py"
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_every_promise_test_belongs_to_a_promise() -> None:
    """There is one file of tests for each promise and none besides."""
    numbers = [int(path.name.split("_")[1]) for path in sorted((ROOT / "tests" / "promises").glob("test_*.py"))]
    assert numbers == list(range(1, 11))


@pytest.mark.parametrize(("number", "title", "section"), SECTIONS, ids=[number for number, _, _ in SECTIONS])
def test_the_readme_makes_the_same_promise(number: str, title: str, section: str) -> None:
    """Each promise stands in the README as a sentence, under its number and with the same first words."""
    readme = (ROOT / "README.md").read_text().partition("## What it promises\n")[2]
    said = re.search(rf"^{number}\. \*\*(.*?)\*\*", readme, re.MULTILINE | re.DOTALL)
    assert said is not None
    assert _plain(said.group(1)) == _plain(title)
