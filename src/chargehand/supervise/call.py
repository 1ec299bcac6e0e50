"""`Call`: what calling a decorated function makes, and where awaiting it leads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Generator
from typing import Any, Generic, Protocol, TypeVar

from chargehand.contracts import Arguments
from chargehand.core.identity import checked_segment
from chargehand.core.trampoline import Branch, current_branch, stepping
from chargehand.errors import ForeignAwait, InsideLoop, OutsideRun

T_co = TypeVar("T_co", covariant=True)


class Body(Protocol):
    """The body of an agent that runs now: where its durable calls go."""

    loop_thread: int

    def perform(self, call: Call[Any]) -> Generator[Any, Any, Any]:
        """Do a call of this body."""

    def perform_from_thread(self, call: Call[Any]) -> Any:
        """Do a call of this body from a thread of its own."""


class Host(Protocol):
    """The run that drives workflow code: where a workflow's calls go."""

    def awaited(self, call: Call[Any], branch: Branch) -> Generator[Any, Any, Any]:
        """Do a call of workflow code, in the branch that runs."""

    def made(self, call: Call[Any]) -> None:
        """Note a call that workflow code has made and not awaited yet."""

    def used(self, call: Call[Any]) -> None:
        """Note that a call is awaited, gathered, started or replaced by a labelled one."""


current_body: contextvars.ContextVar[Body | None] = contextvars.ContextVar("chargehand_body", default=None)
current_host: contextvars.ContextVar[Host | None] = contextvars.ContextVar("chargehand_host", default=None)


class Call(Generic[T_co]):
    """A durable call that has not been made yet. Await it in a run, or give it to `gather` or `start`."""

    __slots__ = ("arguments", "definition", "label")

    def __init__(self, definition: Any, arguments: Arguments, label: str | None = None) -> None:
        self.definition = definition
        self.arguments = arguments
        self.label = label

    def at(self, label: str) -> Call[T_co]:
        """Name this call explicitly, so that it keeps its identity when the code around it changes."""
        labelled: Call[T_co] = Call(self.definition, self.arguments, checked_segment(label, "label"))
        host = current_host.get()
        if host is not None and stepping() is not None:
            host.used(self)
            host.made(labelled)
        return labelled

    @property
    def name(self) -> str:
        """The name under which the call appears in paths."""
        return self.label or self.definition.name

    def __await__(self) -> Generator[Any, Any, T_co]:
        body = current_body.get()
        if body is not None:
            return body.perform(self)
        host, branch = current_host.get(), stepping()
        if host is not None and branch is not None:
            return host.awaited(self, branch)
        if current_branch.get() is not None:
            raise ForeignAwait(
                f"{self.definition.name}(…) was awaited in a task of asyncio's own. A replay could not order it. Use gather(…) of chargehand."
            )
        raise OutsideRun(
            f"{self.definition.name}(…) was awaited outside a supervised run. Start the workflow with a Supervisor, or call .function for the plain function."
        )

    def wait(self) -> T_co:
        """Make the call from a sync body that runs in a thread of its own; blocks that thread only."""
        body = current_body.get()
        if body is None:
            raise OutsideRun(f"{self.definition.name}(…).wait() was called outside the body of an agent.")
        if threading.get_ident() == body.loop_thread:
            raise InsideLoop(f"{self.definition.name}(…).wait() would block the event loop. In an async body, await the call.")
        value: T_co = body.perform_from_thread(self)
        return value

    def __repr__(self) -> str:
        return f"<call of {self.definition.name}>"
