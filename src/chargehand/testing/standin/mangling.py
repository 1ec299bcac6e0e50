"""Wrong content, made from right content by a seed: against its schema, or well-formed and wrong."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"\w{2,}")


def can_mangle(kind: str, text: str) -> bool:
    """Say whether there is something to change: a schema needs an object or a list with something in it."""
    value = _parsed(text)
    if kind == "wrong_schema":
        return isinstance(value, (dict, list)) and bool(value)
    return any(True for _ in _leaves(value)) if isinstance(value, (dict, list)) else _WORD.search(text) is not None


def mangled(kind: str, text: str, dice: random.Random) -> str:
    """Return the text with one thing wrong.

    "wrong_schema": a field is missing, or has another type. "wrong_content": a figure, a yes or no, or a word is another.
    """
    value = _parsed(text)
    if kind == "wrong_schema":
        return json.dumps(_against_schema(value, dice), ensure_ascii=False)
    if isinstance(value, (dict, list)):
        places = list(_leaves(value))
        figures = [place for place in places if _at(value, place) is not None and not isinstance(_at(value, place), str)]
        return json.dumps(_changed(value, dice.choice(figures or places)), ensure_ascii=False)
    return _otherwise(text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _against_schema(value: Any, dice: random.Random) -> Any:
    if isinstance(value, dict):
        name = dice.choice(sorted(value))
        if dice.random() < 0.5:
            return {key: inner for key, inner in value.items() if key != name}
        return value | {name: _of_another_type(value[name])}
    place = dice.randrange(len(value))
    return [_of_another_type(inner) if number == place else inner for number, inner in enumerate(value)]


def _of_another_type(value: Any) -> Any:
    return {"unexpected": value} if not isinstance(value, dict) else "unexpected"


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        if isinstance(value, (int, float)) or (isinstance(value, str) and _WORD.search(value)):
            yield path
        return
    for key, one in inner:
        yield from _leaves(one, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _changed(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return not value if isinstance(value, bool) else value * 10 + 1 if isinstance(value, (int, float)) else _otherwise(value)
    if isinstance(value, dict):
        return value | {path[0]: _changed(value[path[0]], path[1:])}
    return [_changed(one, path[1:]) if number == path[0] else one for number, one in enumerate(value)]


def _otherwise(text: str) -> str:
    """Change the first figure of a text; without one, turn its first word round."""
    figure = _DIGITS.search(text)
    if figure is not None:
        return text[: figure.start()] + str(int(figure[0]) * 10 + 1) + text[figure.end() :]
    word = _WORD.search(text)
    assert word is not None
    turned = word[0][::-1] if word[0][::-1] != word[0] else f"not {word[0]}"
    return text[: word.start()] + turned + text[word.end() :]
