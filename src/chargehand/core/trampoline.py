"""The trampoline: runs a workflow's coroutines one at a time and resumes them only by journaled events.

The order is the whole point. Two branches may share variables, so a replay has to resume them in the very order in
which they were resumed live:

1. All branches run, in the order they became ready, until each waits for a call (an `Ask`).
2. A waiting branch is resumed only by the event that settles its call, one at a time, in `seq` order.
3. After each resumption all branches run to their next wait before the next event is delivered.
4. On replay the recorded event with the lowest seq *whose call has been asked* is delivered next; a new call is held
   until nothing recorded is left to deliver.

Live and replay obey the same rules, so they cannot differ. The driver owns rules 2 and 4 (it knows the journal); this
module owns 1 and 3. Alternatives rejected: one task per branch (asyncio's own order is not recorded anywhere), and
recording a scheduling decision per wake-up (an event for each, for what the rule gives for free).
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Literal

from chargehand.core.identity import Scope
from chargehand.core.leaving import is_of_host
from chargehand.errors import ControlSignal, ForeignAwait, Unloading


class Stopping(ControlSignal):
    """This branch starts nothing new because another branch failed. Catch `Exception`, never `BaseException`."""


@dataclass(slots=True, eq=False)
class Ask:
    """One durable call that a branch waits for. `what` is the driver's to read; `branch` is who waits."""

    path: str
    kind: str
    what: Any
    digest: str = ""
    branch: Branch | None = None
    scope: Scope | None = None
    group: Group | None = None


@dataclass(slots=True, eq=False)
class Group:
    """The branches of one gather, and the branch that waits for them."""

    parent: Branch
    branches: list[Branch]
    at_once: int | None
    stop_early: bool
    started: int = 0
    ended: int = 0
    stopping: bool = False
    alarm: Ask | None = None
    closed: bool = False


@dataclass(slots=True, eq=False)
class Branch:
    """One coroutine with its own context and its own stack of scopes."""

    coroutine: Coroutine[Any, Any, Any]
    scope: Scope
    context: contextvars.Context
    group: Group | None = None
    ended: bool = False
    ok: bool = False
    value: Any = None
    stopped: bool = False
    waits: Ask | Group | JoinAsk | None = None

    def settle(self, ok: bool, value: Any) -> None:
        """Note how the branch ended."""
        self.ended, self.ok, self.value = True, ok, value


@dataclass(slots=True)
class GatherAsk:
    """Yielded by `gather`: make these branches and wait for all of them."""

    bodies: list[Callable[[], Coroutine[Any, Any, Any]]]
    scopes: list[Scope]
    at_once: int | None
    stop_early: bool
    alarm: Ask | None = None


@dataclass(slots=True)
class JoinAsk:
    """Yielded by a scope that fails: stop the branches inside it that outlived their gather, and wait until they have ended."""

    scope: Scope
    kind: str = "join"


UNFINISHED: Any = object()
"""What a gather with an alarm gives for a branch that has not ended when the alarm goes off; the branch goes on."""


current_branch: contextvars.ContextVar[Branch | None] = contextvars.ContextVar("chargehand_branch", default=None)
_stepping: list[Branch] = []


def stepping() -> Branch | None:
    """Return the branch that the trampoline runs at this very moment, None outside."""
    return _stepping[-1] if _stepping else None


WAITS = frozenset({"timer", "signal", "question"})
"""Kinds of asks that send nothing: they can be withdrawn at any moment, live and on replay alike."""

_OURS = frozenset({"rollback", "diverged", "join"})
"""Kinds of asks that the code did not make: they are never withdrawn."""

Resume = tuple[Literal["send", "throw"], Any]


class Trampoline:
    """Drives the branches of one run. `is_new` says whether a call was not begun: it is not recorded and no operation does it."""

    def __init__(self, is_new: Callable[[Ask], bool] = lambda ask: False) -> None:
        self._is_new = is_new
        self.ready: deque[tuple[Branch, Resume]] = deque()
        """Branches that could run on now, and with what."""
        self._asks: list[Ask] = []
        self.branches: set[Branch] = set()
        self._joins: list[tuple[Branch, set[Branch]]] = []
        self.withdrawn: list[Ask] = []
        self.late: list[Branch] = []
        self.root: Branch | None = None

    def start(self, coroutine: Coroutine[Any, Any, Any], scope: Scope) -> Branch:
        """Make the root branch ready."""
        self.root = self._branch(coroutine, scope, contextvars.copy_context())
        return self.root

    def _branch(self, coroutine: Coroutine[Any, Any, Any], scope: Scope, context: contextvars.Context) -> Branch:
        branch = Branch(coroutine, scope, context)
        context.run(current_branch.set, branch)
        self.branches.add(branch)
        self.ready.append((branch, ("send", None)))
        return branch

    def run(self) -> list[Ask]:
        """Run every ready branch to its next wait; return the calls that were asked, in order."""
        while self.ready:
            branch, resume = self.ready.popleft()
            if not branch.ended:
                self._step(branch, resume)
        asks, self._asks = self._asks, []
        return asks

    def deliver(self, ask: Ask, ok: bool, value: Any) -> None:
        """Resume the branch that waits for `ask`: send the value, or throw the failure."""
        if ask.group is not None:
            self._close(ask.group)
            return
        branch = ask.branch
        if branch is None or branch.waits is not ask:
            return
        branch.waits = None
        self.ready.append((branch, ("send" if ok else "throw", value)))

    def _step(self, branch: Branch, resume: Resume) -> None:
        _stepping.append(branch)
        try:
            how, value = resume
            send = branch.coroutine.send if how == "send" else branch.coroutine.throw
            yielded = branch.context.run(send, value)
        except StopIteration as stop:
            self._end(branch, True, stop.value)
            return
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, SystemExit) and is_of_host(error):
                raise
            self._end(branch, False, error)
            return
        finally:
            _stepping.pop()
        self._wait(branch, yielded)

    def inside(self, scope: Scope) -> list[Branch]:
        """Return the branches that run inside a scope, but for the one that runs now, in an order that every replay has."""
        here = stepping()
        found = [branch for branch in self.branches if branch is not here and scope.covers(branch.scope.path)]
        return sorted(found, key=lambda branch: branch.scope.path)

    def _wait(self, branch: Branch, yielded: Any) -> None:
        if isinstance(yielded, Ask):
            if branch.stopped and yielded.kind != "rollback":
                self.ready.append((branch, ("throw", Stopping())))
                return
            yielded.branch = branch
            branch.waits = yielded
            self._asks.append(yielded)
        elif isinstance(yielded, JoinAsk):
            self._join(branch, yielded)
        elif isinstance(yielded, GatherAsk) and branch.stopped:
            self.ready.append((branch, ("throw", Stopping())))
        elif isinstance(yielded, GatherAsk):
            self._open(branch, yielded)
        else:
            self.ready.append((branch, ("throw", _foreign(yielded))))

    def _join(self, branch: Branch, ask: JoinAsk) -> None:
        inside = self.inside(ask.scope)
        if not inside:
            self.ready.append((branch, ("send", None)))
            return
        branch.waits = ask
        self._joins.append((branch, set(inside)))
        for other in inside:
            if other.group is not None and other.group.closed:
                other.group.stopping = True
            self._stop(other)

    def _end_joins(self, ended: Branch) -> None:
        """Resume the scopes that waited for this branch last."""
        for join in list(self._joins):
            waiting, left = join
            left.discard(ended)
            if not left:
                self._joins.remove(join)
                waiting.waits = None
                self.ready.append((waiting, ("send", None)))

    def _open(self, branch: Branch, ask: GatherAsk) -> None:
        group = Group(branch, [], ask.at_once, ask.stop_early)
        branch.waits = group
        if ask.alarm is not None:
            group.alarm, ask.alarm.group = ask.alarm, group
            self._asks.append(ask.alarm)
        for body, scope in zip(ask.bodies, ask.scopes, strict=True):
            context = branch.context.copy()
            child = Branch(body(), scope, context, group)
            context.run(current_branch.set, child)
            group.branches.append(child)
        if not group.branches:
            self._close(group)
        else:
            self._fill(group)

    def _fill(self, group: Group) -> None:
        """Start branches as far as `at_once` allows."""
        while group.started < len(group.branches):
            running = group.started - group.ended
            if group.at_once is not None and running >= group.at_once:
                return
            child = group.branches[group.started]
            group.started += 1
            if group.stopping:
                child.coroutine.close()
                child.settle(False, Stopping())
                group.ended += 1
                continue
            self.branches.add(child)
            self.ready.append((child, ("send", None)))

    def _end(self, branch: Branch, ok: bool, value: Any) -> None:
        branch.settle(ok, value)
        self.branches.discard(branch)
        self._end_joins(branch)
        group = branch.group
        if group is None:
            return
        group.ended += 1
        if not ok and group.stop_early and not group.stopping:
            group.stopping = True
            for other in group.branches:
                self._stop(other)
        self._fill(group)
        if group.closed:
            self.late.append(branch)
        elif group.ended == len(group.branches):
            self._close(group)

    def _stop(self, branch: Branch) -> None:
        """Have a branch, and the branches it waits for, start nothing new. What only waits, or is not begun, is withdrawn; a call in flight settles."""
        branch.stopped = True
        waits = branch.waits
        if isinstance(waits, Group):
            waits.stopping = True
            for child in waits.branches:
                self._stop(child)
        elif isinstance(waits, Ask) and (waits.kind in WAITS or (waits.kind not in _OURS and self._is_new(waits))):
            branch.waits = None
            self.withdrawn.append(waits)
            self.ready.append((branch, ("throw", Stopping())))

    def _close(self, group: Group) -> None:
        """Resume who waits for a group: every branch has ended, or its alarm went off and the rest goes on by itself."""
        if group.closed:
            return
        group.closed = True
        group.parent.waits = None
        if group.alarm is not None and group.ended == len(group.branches):
            self.withdrawn.append(group.alarm)
        ends = [(child.ok, child.value) if child.ended else (True, UNFINISHED) for child in group.branches]
        self.ready.append((group.parent, ("send", ends)))

    def unload(self) -> None:
        """End every coroutine with `Unloading`; whatever the code awaits meanwhile raises it again."""
        for branch in list(self.branches):
            if isinstance(branch.waits, Group):
                for child in branch.waits.branches[branch.waits.started :]:
                    child.coroutine.close()  # never begun
            _unload(branch)
        self.branches.clear()
        self._joins.clear()
        self.ready.clear()


def _unload(branch: Branch) -> None:
    _stepping.append(branch)
    try:
        for _ in range(1000):
            branch.context.run(branch.coroutine.throw, Unloading())
    except BaseException:
        pass  # the coroutine has ended; whatever it raised while leaving memory is dropped
    finally:
        _stepping.pop()
        branch.ended = True


def wait_for(ask: Ask | GatherAsk) -> Generator[Any, Any, Any]:
    """Wait in workflow code: hand the ask to the trampoline, return what it delivers."""
    return (yield ask)


def _foreign(yielded: Any) -> ForeignAwait:
    what = type(yielded).__name__ if yielded is not None else "a bare yield (asyncio.sleep(0)?)"
    return ForeignAwait(
        f"Workflow code awaited something that is not durable: {what}. A replay could not give it back. "
        "Use sleep(…) for asyncio.sleep, gather(…) for asyncio.gather, wait_signal(…) for events, "
        'and step("name", function, …) or an @read for anything that talks to the world.'
    )


__all__ = ["Ask", "Branch", "GatherAsk", "Group", "JoinAsk", "Stopping", "Trampoline", "current_branch", "stepping", "wait_for"]
