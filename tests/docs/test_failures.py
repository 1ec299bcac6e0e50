"""docs/failures.md has one heading for each error, and no other."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from chargehand import errors
from chargehand.errors import ChargehandError, ControlSignal

from .generated import DOCS, documented_errors

PAGE = (DOCS / "failures.md").read_text()
SECTIONS = dict(re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_code_has_one_heading_and_no_heading_is_extra() -> None:
    """An error that is added, renamed or taken away changes this page."""
    headings = re.findall(r"^### `([\w-]+)`$", PAGE, re.MULTILINE)
    assert Counter(headings) == Counter(kind.code for kind in documented_errors())


def test_codes_are_stable_words_and_their_own() -> None:
    """Two classes never share a code, so that a code in a journal means one class."""
    codes = [kind.code for kind in documented_errors()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("kind", documented_errors(), ids=lambda kind: kind.code)
def test_a_section_says_what_happened_whose_doing_it_is_and_what_to_do(kind: type[ChargehandError]) -> None:
    """Each section names the class and its statuses, then says what happened, then what to do."""
    section = SECTIONS[kind.code]
    said, _, do = section.partition("**What to do:**")
    assert f"`{kind.__name__}` · whose doing: " in said
    assert "exit status" in said
    assert "HTTP status" in said
    happened = said.rpartition("-->")[2].strip()
    assert len(happened) > 20
    assert happened.endswith(".")
    assert do.strip().endswith((".", ")."))


@pytest.mark.parametrize("kind", documented_errors(), ids=lambda kind: kind.code)
def test_the_class_docstring_is_a_message(kind: type[ChargehandError]) -> None:
    """The class docstring is one sentence, because it is the message when none is given."""
    assert kind.__doc__ is not None
    assert kind.__doc__.strip().endswith(".")
    assert "\n" not in kind.__doc__.strip()


def test_the_control_signals_are_on_the_page() -> None:
    """The names of the signals that a user may see are explained."""
    signals = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, ControlSignal)]
    assert all(f"`{signal.__name__}`" in PAGE for signal in signals if signal is not ControlSignal)
