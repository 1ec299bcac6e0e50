"""docs/security.md: each threat says what is done, what is not, and which tests try it; the tests are there."""

from __future__ import annotations

import re

import pytest

from .generated import DOCS

ROOT = DOCS.parent
PAGE = (DOCS / "security.md").read_text()
THREATS = re.findall(r"^### T(\d+)\. (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)


def test_threats_are_numbered() -> None:
    """The threats are numbered from 1, in order, so that a commit or an issue can name one."""
    assert [int(number) for number, _, _ in THREATS] == list(range(1, len(THREATS) + 1))


@pytest.mark.parametrize(("number", "title", "section"), THREATS, ids=[number for number, _, _ in THREATS])
def test_a_threat_says_what_is_done_and_what_is_not(number: str, title: str, section: str) -> None:
    """In this order: what the product does, what it does not, which tests try it; and each of these is there."""
    places = [section.find(mark) for mark in ("**Does.**", "**Does not.**", "**Tried by**")]
    assert -1 not in places
    assert places == sorted(places)
    named = re.findall(r"`(tests/[\w./*]+)`", section.partition("**Tried by**")[2])
    assert named
    assert [name for name in named if not list(ROOT.glob(name))] == []


def test_every_test_of_security_belongs_to_a_threat() -> None:
    """No file of tests/security is left out of the page."""
    assert {path.name for path in (ROOT / "tests" / "security").glob("test_*.py")} - set(
        re.findall(r"tests/security/(test_\w+\.py)", PAGE)
    ) == set()
