"""What may be printed: foreign text without terminal control, values without what is redacted.

Agents, services and error messages write what they like. An escape sequence in it could colour, move or hide what a
person is about to approve, so nothing foreign reaches the terminal before it went through here.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"
_LONG_BYTES = 1000
"""From here on a value that is cut is shown with its size."""
_SHORT_KEY_CHARS = 100

_ESCAPES = re.compile(
    r"""
    (?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)          # OSC: titles, links, the clipboard
    | (?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)  # DCS, SOS, PM, APC
    | (?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?                          # CSI: colours, cursor, erasing
    | \x1b[ -/]*[0-~]?                                           # other escapes, and those that never end: what follows is kept
    """,
    re.VERBOSE,
)
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tabs and line breaks
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # what turns the direction of reading, and the other line breaks
    "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # what is there and cannot be seen
    "\ud800-\udfff]"  # halves of characters, which no terminal takes
)
"""What is left of control characters, and what would show a text as another than it is: shown as a mark."""


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
"""Made once: `json.dumps` makes one for each call that is not by its defaults."""


def plain(text: object) -> str:
    """Return foreign text as it may be printed: no escape sequences, no control characters but line breaks and tabs."""
    return _CONTROLS.sub("\ufffd", _ESCAPES.sub("", str(text).replace("\r\n", "\n")))


def one_line(text: object, limit: int | None = None) -> str:
    """Return foreign text as it may be printed within a line, cut to `limit` characters."""
    line = " ".join(plain(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON text that a terminal may print: control characters are written as escapes of JSON."""
    text = _ENCODER.encode(value) if indent is None else json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return _CONTROLS.sub(lambda found: json.dumps(found[0])[1:-1], text)


def short_json(value: Any, limit: int = 160) -> str:
    """Return JSON for one line of a list: its first `limit` characters and, of a long one, how many bytes the whole has."""
    text = as_json(value)
    if len(text) <= limit:
        return text
    size = len(text.encode())
    return f"{text[: limit - 1]}…" + (f" ({size:,} bytes)" if size >= _LONG_BYTES else "")


def redacted(value: Any, names: Collection[str]) -> Any:
    """Return a JSON value in which the values of these keys, and of keys that end in them, are replaced by a mark."""
    return _redacted(value, _keys(tuple(names)))


def _redacted(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, (str, int, float)):  # most values; asked first, because `Mapping` takes long to ask for
        return value
    if isinstance(value, (dict, Mapping)):
        return {key: REDACTED if item is not None and _hidden(str(key), names) else _redacted(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item, names) for item in value]
    return value


@lru_cache(maxsize=8)
def _keys(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_key(name) for name in names)


def _key(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").replace(" ", "_").replace(".", "_").lower()


def _hidden(name: str, names: frozenset[str]) -> bool:
    return _short_is_hidden(name, names) if len(name) <= _SHORT_KEY_CHARS else _is_hidden(name, names)


def _is_hidden(name: str, names: frozenset[str]) -> bool:
    key = _key(name)
    return key in names or any(key.endswith("_" + hidden) for hidden in names)


_short_is_hidden = lru_cache(maxsize=4096)(_is_hidden)
"""An export asks for the same few names a million times. Long names are foreign and not worth their memory."""


def holds_mark(value: Any) -> bool:
    """Say whether a value contains the mark of redaction: such a value was copied from what is shown."""
    if isinstance(value, Mapping):
        return any(holds_mark(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(holds_mark(item) for item in value)
    return bool(value == REDACTED)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return so many of something: 1 run, 2 runs."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


# -- times ----------


def moment(time: float) -> str:
    """Return a time as this machine's own zone writes it."""
    return datetime.datetime.fromtimestamp(_on_the_calendar(time), datetime.UTC).astimezone().isoformat(sep=" ", timespec="seconds")


def iso(time: float | None) -> str | None:
    """Return a time in UTC for JSON."""
    if time is None:
        return None
    return datetime.datetime.fromtimestamp(_on_the_calendar(time), datetime.UTC).isoformat().replace("+00:00", "Z")


_FIRST, _LAST = -62_135_510_400.0, 253_402_214_400.0
"""2 January of the year 1 and 31 December 9999, in UTC: a day less than calendars have, for the sake of time zones."""


def _on_the_calendar(time: float) -> float:
    """Return a time that calendars have: a deadline in a million years is one all the same."""
    return min(max(time, _FIRST), _LAST)


def duration(seconds: float) -> str:
    """Return a duration as a person reads it."""
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
