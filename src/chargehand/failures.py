"""How failures are named, and what an exception says about whether something happened.

The 14 modes in 3 categories are MAST's (Cemri et al., "Why Do Multi-Agent LLM Systems Fail?", arXiv 2503.13657 v3).
Failures of machines and services are no failure of an agent and have a *system class* instead.
"""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Literal

from chargehand.errors import NotDone

MAST: dict[str, str] = {
    "FM-1.1": "disobeys the task specification",
    "FM-1.2": "disobeys its role",
    "FM-1.3": "repeats a step",
    "FM-1.4": "loses conversation history",
    "FM-1.5": "does not know when to stop",
    "FM-2.1": "resets the conversation",
    "FM-2.2": "does not ask for clarification",
    "FM-2.3": "derails from the task",
    "FM-2.4": "withholds information",
    "FM-2.5": "ignores another agent's input",
    "FM-2.6": "acts otherwise than it reasons",
    "FM-3.1": "ends too early",
    "FM-3.2": "does not verify, or not fully",
    "FM-3.3": "verifies wrongly",
}

SYSTEM: dict[str, str] = {
    "SYS-crash": "the process died",
    "SYS-timeout": "a call did not end in time",
    "SYS-transient": "a service failed in a way that repeating may mend",
    "SYS-permanent": "a service refused, and will again",
    "SYS-schema": "a value does not fit its type",
    "SYS-limit": "a budget, rate or breaker stopped it",
    "SYS-person": "a person said no, or did not answer",
    "SYS-code": "a defect in the workflow's own code",
}

Happened = Literal["did not happen", "may have happened"]


@dataclass(frozen=True, slots=True)
class Classified:
    """What one exception of a try says: did it happen, and may repeating mend it. `retry_after` in seconds."""

    happened: Happened
    transient: bool
    mode: str
    retry_after: float | None = None


_NOT_SENT_STATUS = frozenset({400, 401, 403, 404, 409, 422, 429})
"""HTTP statuses by which a server says that it refused the request instead of carrying it out."""

_NOT_SENT_ERRNO = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})

_NOT_SENT_NAMES = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "ConnectionRefusedError",
        "ClientConnectorError",
        "UnsupportedProtocol",
        "InvalidURL",
    }
)
"""Exception class names of HTTP clients (httpx, httpcore, aiohttp) that are raised before a request is sent."""

_PERMANENT_NAMES = frozenset({"ValidationError", "UnsupportedProtocol", "InvalidURL"})
_PERMANENT_TYPES = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    AssertionError,
    PermissionError,
    NotImplementedError,
    ZeroDivisionError,
)


def _status_of(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    for holder, name in (
        (response, "status_code"),
        (response, "status"),
        (error, "status_code"),
        (error, "status"),
        (error, "code"),
    ):
        value = getattr(holder, name, None)
        if isinstance(value, int) and 100 <= value <= 599:
            return value
    return None


def _retry_after_of(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    if headers is None or not hasattr(headers, "get"):
        return None
    value = headers.get("Retry-After") or headers.get("retry-after")
    try:
        return max(0.0, float(value))
    except (TypeError, ValueError):
        return None


def _before_sending(error: BaseException) -> bool:
    if isinstance(error, (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)):
        return True
    if isinstance(error, OSError) and error.errno in _NOT_SENT_ERRNO:
        return True
    return any(kind.__name__ in _NOT_SENT_NAMES for kind in type(error).__mro__)


def classify(error: BaseException) -> Classified:
    """Say whether an effect that raised `error` may have happened, and whether repeating may mend it.

    The table is closed: an exception that it does not name *may have happened*. Causes are looked at only for clients
    that wrap the socket's own error (``raise … from``).
    """
    if isinstance(error, NotDone):
        return Classified(
            "did not happen",
            not error.permanent,
            "SYS-permanent" if error.permanent else "SYS-transient",
            error.retry_after,
        )
    status = _status_of(error)
    if status is not None:
        transient = status in (408, 425, 429) or status >= 500
        happened: Happened = "did not happen" if status in _NOT_SENT_STATUS else "may have happened"
        return Classified(happened, transient, "SYS-transient" if transient else "SYS-permanent", _retry_after_of(error))
    if _before_sending(error) or (error.__cause__ is not None and _before_sending(error.__cause__)):
        permanent = any(kind.__name__ in _PERMANENT_NAMES for kind in type(error).__mro__)
        return Classified("did not happen", not permanent, "SYS-permanent" if permanent else "SYS-transient")
    if isinstance(error, TimeoutError):
        return Classified("may have happened", True, "SYS-timeout")
    permanent = isinstance(error, _PERMANENT_TYPES) or any(kind.__name__ in _PERMANENT_NAMES for kind in type(error).__mro__)
    return Classified("may have happened", not permanent, "SYS-permanent" if permanent else "SYS-transient")
