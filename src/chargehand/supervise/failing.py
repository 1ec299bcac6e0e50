"""Failures between Python and the journal: what counts as one, how it is recorded, how it is raised again.

A *failure* came from a call. Anything else that leaves workflow code is a bug. Exceptions of the user's own that a call
declares in ``raises=(…)`` are recorded by registered name and made again from the definition's list, never from a name
that the journal happens to contain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chargehand.errors import BranchesFailed, CallFailed, Failure, failure_from_record

MESSAGE_CHARACTERS_MAX = 4000
_MARK = "__chargehand_path__"


def is_failure(error: BaseException) -> bool:
    """Say whether an exception came from a call."""
    return isinstance(error, Failure) or hasattr(error, _MARK)


def recorded_failure(error: BaseException, raises: Sequence[type[Exception]] = ()) -> dict[str, Any]:
    """Return the JSON form in which the journal keeps an exception of a call."""
    if isinstance(error, BranchesFailed):
        branches = [recorded_failure(branch) for branch in error.failures]
        return {"code": error.code, "message": error.message, "branches": branches}
    if isinstance(error, Failure):
        return {name: _text(value) if isinstance(value, str) else value for name, value in error.record().items()}
    for kind in raises:
        if isinstance(error, kind):
            return {"code": "raised", "type": kind.__name__, "message": _text(str(error))}
    if hasattr(error, _MARK):
        return {"code": "raised", "type": type(error).__name__, "message": _text(str(error))}
    return CallFailed(type(error).__name__, _text(str(error))).record()


def _text(message: str) -> str:
    """Return a message that the journal can hold: of a bounded length, and with half surrogate pairs spelled out."""
    return message[:MESSAGE_CHARACTERS_MAX].encode("utf-8", "backslashreplace").decode()


def failure_of(call: Any, form: dict[str, Any], path: str) -> Exception:
    """Make the exception of a recorded failure again, marked with where it came from."""
    error: Exception
    definition = getattr(call, "definition", None)
    if form.get("code") == "raised":
        error = _raised(form, getattr(definition, "raises", None) or getattr(getattr(definition, "options", None), "raises", None) or ())
    else:
        error = failure_from_record(form)
    setattr(error, _MARK, path)
    return error


def _raised(form: dict[str, Any], raises: Sequence[type[Exception]]) -> Exception:
    for kind in raises:
        if kind.__name__ == form.get("type"):
            try:
                return kind(form.get("message", ""))
            except Exception:  # its constructor wants more than a message
                break
    return CallFailed(str(form.get("type")), str(form.get("message", "")))


def paths_of(error: BaseException) -> list[str]:
    """Return the paths of the calls that an exception came from."""
    if isinstance(error, BranchesFailed):
        return [path for branch in error.failures for path in paths_of(branch)]
    path = getattr(error, _MARK, None)
    return [] if path is None else [path]
