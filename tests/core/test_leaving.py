"""Whose will a SystemExit is: the call's that raised it, or the host's, whose signal handler raised it in the middle of the call."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from chargehand.core.leaving import failure_in, is_of_host
from chargehand.errors import CallFailed


@pytest.fixture
def handled() -> Iterator[None]:
    """Have a handler of the host's that ends the process, as many programs install it; put the old one back."""

    def handler(number: int, frame: object) -> None:
        deeper(number)

    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


def deeper(number: int) -> None:
    """Leave, some calls below the handler."""
    sys.exit(number)


def by_itself() -> None:
    """Leave, as a library does that parses arguments."""
    sys.exit(3)


def by_a_signal() -> None:
    """Receive a signal in the middle of something."""
    os.kill(os.getpid(), signal.SIGUSR1)
    for _ in range(1000):  # the handler runs between two instructions
        pass


def raised(function: Callable[[], None]) -> SystemExit:
    """Return what a function leaves with."""
    with pytest.raises(SystemExit) as left:
        function()
    return left.value


def test_a_call_that_leaves_has_failed(handled: None) -> None:
    """A SystemExit of the call's own is a failure that tells its status, also where the host handles signals."""
    leaving = raised(by_itself)
    assert not is_of_host(leaving)
    failure = failure_in(leaving)
    assert isinstance(failure, CallFailed)
    assert (failure.type_name, failure.detail) == ("SystemExit", "it asked the process to end: sys.exit(3)")


def test_a_handler_of_the_host_is_let_through(handled: None) -> None:
    """What a handler raised, or something that it called, is the host's: it is raised again as it came."""
    leaving = raised(by_a_signal)
    assert is_of_host(leaving)
    with pytest.raises(SystemExit) as again:
        failure_in(leaving)
    assert again.value is leaving


def test_without_a_handler_nobody_else_can_have_raised_it() -> None:
    """One that was never raised has no frames, and is nobody's of the host."""
    assert not is_of_host(SystemExit(1))
    assert failure_in(SystemExit(1)).detail.endswith("sys.exit(1)")
