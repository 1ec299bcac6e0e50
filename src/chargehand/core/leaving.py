"""Code that asks the process to end (`sys.exit`). The process belongs to every run in it, so it is not for one call to end it."""

from __future__ import annotations

import signal
from types import TracebackType

from chargehand.errors import CallFailed


def failure_in(leaving: SystemExit) -> CallFailed:
    """Return the failure of a call that asked the process to end. Raises `leaving` again when it was not the call's own doing."""
    if is_of_host(leaving):
        raise leaving
    return CallFailed("SystemExit", f"it asked the process to end: sys.exit({leaving.code!r})")


def is_of_host(leaving: SystemExit) -> bool:
    """Say whether a handler of a signal raised it, in the middle of whatever ran: then the host ends its process."""
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()} - {None}
    return bool(handlers) and any(frame.tb_frame.f_code in handlers for frame in _frames(leaving.__traceback__))


def _frames(trace: TracebackType | None) -> list[TracebackType]:
    found: list[TracebackType] = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found
