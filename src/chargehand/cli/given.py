"""What people write on a command line: JSON, tags, times and durations, made into values or refused with a sentence."""

from __future__ import annotations

import datetime
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from chargehand.config import nearest
from chargehand.contracts import NESTING_MAX, VALUE_BYTES_MAX
from chargehand.durable import RUN_STATUSES, WAITING_KINDS, RunStatus, WaitingKind
from chargehand.errors import InvalidInput

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)?")


def json_given(text: str, what: str) -> Any:
    """Return the JSON value of ``TEXT``, ``@FILE`` or ``@-`` (standard input)."""
    source, where = text, what
    if text.startswith("@"):
        where = f"{what} in {text[1:]}"
        source = _read(text[1:], what, VALUE_BYTES_MAX)
    try:
        value = json.loads(source, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # half a character (a lone surrogate) has no UTF-8
        if source.count("[") + source.count("{") > NESTING_MAX:
            from_json(source)  # what is nested too deep the journal would not give back
        return value
    except (ValueError, RecursionError) as error:
        said = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        shown = source if len(source) <= 60 else source[:59] + "…"
        hint = " A text in JSON has double quotes." if source and source[0].isalpha() else ""
        raise InvalidInput(f"{where} is not JSON: {shown!r}: {said}.{hint}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _read(name: str, what: str, chars: int = -1) -> str:
    """Return a file's text. Raises `InvalidInput` when it has more than `chars` characters, before reading on."""
    try:
        if name == "-":
            text = sys.stdin.read(chars + 1 if chars >= 0 else -1)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(chars + 1 if chars >= 0 else -1)
        if 0 <= chars < len(text):
            raise InvalidInput(
                f"{what} in {name} has more than {chars:,} characters, which no journal takes. Store it elsewhere and pass its address."
            )
        return text
    except OSError as error:
        raise InvalidInput(f"{what} cannot be read: {name!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{what} cannot be read: {name!r} is not UTF-8: {error}.") from error


def tags_given(pairs: Sequence[str]) -> dict[str, str]:
    """Return tags from ``name=value`` words."""
    tags: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InvalidInput(f"This is no tag: {pair!r}. Write --tag name=value.")
        tags[name] = value
    return tags


def seconds_given(text: str | None, option: str) -> float | None:
    """Return the seconds of ``90``, ``90s``, ``15m``, ``2h``, ``7d``."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"{option} is no duration: {text!r}. Write 90s, 15m, 2h or 7d.")
    return _seconds(found, option)


def _seconds(found: re.Match[str], option: str) -> float:
    number = float(found[1]) * _UNITS[found[2] or "s"]
    if number == float("inf"):
        raise InvalidInput(f"{option} is longer than can be counted: {found[0][:60]!r}. Write 90s, 15m, 2h or 7d.")
    return number


def time_given(text: str | None, option: str, now: float) -> float | None:
    """Return seconds since the epoch of an ISO date or time (this machine's zone unless it says), or of so long ago."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text.strip())
    if found is not None and found[2]:
        return now - _seconds(found, option)
    try:
        return datetime.datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(f"{option} is no time: {text!r}. Write 2026-01-31, 2026-01-31T12:00, or 7d for seven days ago.") from None


def percent_given(text: str | None, option: str) -> float | None:
    """Return the share of ``5%`` or ``5``, as a number from 0 to 1."""
    if text is None:
        return None
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InvalidInput(f"{option} is no share: {text!r}. Write a percentage from 0% to 100%.")
    return share


def statuses_given(words: Sequence[str]) -> tuple[RunStatus, ...]:
    """Return statuses; ``rolling-back`` is understood, and ``unfinished`` stands for all that are not final."""
    found: list[RunStatus] = []
    for word in words:
        status = word.replace("-", " ").lower()
        if status == "unfinished":
            found += ["running", "waiting", "parked", "rolling back"]
        else:
            found.append(cast(RunStatus, _one_of(status, RUN_STATUSES, "--status", extra=("unfinished",))))
    return tuple(found)


def kinds_given(words: Sequence[str]) -> tuple[WaitingKind, ...]:
    """Return kinds of what waits for a person."""
    return tuple(cast(WaitingKind, _one_of(word.lower(), WAITING_KINDS, "--kind")) for word in words)


def _one_of(word: str, known: Sequence[str], option: str, extra: Sequence[str] = ()) -> str:
    if word in known:
        return word
    near = nearest(word, [*known, *extra])
    hint = f"Did you mean {near!r}?" if near else f"It is one of: {', '.join([*known, *extra])}."
    raise InvalidInput(f"{option} cannot be {word!r}. {hint}")


def json_lines(name: str, what: str) -> Iterator[tuple[int, Any]]:
    """Yield the JSON values of a file with one for each line (``-`` is standard input), with their line numbers."""
    for number, line in enumerate(_read(name, what).split("\n"), 1):
        if line.strip():
            yield number, json_given(line if not line.startswith("@") else f" {line}", f"line {number} of {name}")
