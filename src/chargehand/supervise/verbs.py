"""What workflow code says besides calling agents, reads and effects: gather, sleep, signals, sagas, time and dice."""

from __future__ import annotations

import datetime
import random as dice
import uuid
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Generic, Literal, NoReturn, TypeVar, overload

from chargehand.contracts import Codec, digest_of
from chargehand.core.identity import Scope, draw, fraction
from chargehand.core.trampoline import UNFINISHED, Ask, Branch, GatherAsk, Stopping, current_branch, stepping
from chargehand.errors import BranchesFailed, ForeignAwait, OutsideRun, RunFailed
from chargehand.limits import Seconds, seconds
from chargehand.supervise.call import Call, current_body, current_host
from chargehand.supervise.decorators import step
from chargehand.supervise.failing import is_failure
from chargehand.supervise.steps import Wanted

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """A contained branch ended with a value."""

    value: T


@dataclass(frozen=True, slots=True)
class Failed:
    """A contained branch failed; its effects are undone."""

    error: Exception


@dataclass(frozen=True, slots=True)
class StillWaiting:
    """A contained branch had not ended in time. It goes on by itself, and the run does not end before it has."""


def _here(what: str) -> tuple[Any, Branch]:
    """Return the run and the branch that workflow code runs in."""
    host, branch = current_host.get(), stepping()
    if host is None or branch is None or current_body.get() is not None:
        if current_branch.get() is not None:
            raise ForeignAwait(f"{what} was awaited in a task of asyncio's own. A replay could not order it. Use gather(…) of chargehand.")
        raise OutsideRun(f"{what} belongs in the code of a workflow that a Supervisor runs.")
    return host, branch


class Waits(Generic[T]):
    """An awaitable of workflow code."""

    __slots__ = ("_begin",)

    def __init__(self, begin: Callable[[], Generator[Any, Any, T]]) -> None:
        self._begin = begin

    def __await__(self) -> Generator[Any, Any, T]:
        return self._begin()


# -- gather ----------


@overload
def gather(a: Call[T1], b: Call[T2], /, *, at_once: int | None = None, stop_early: bool = False) -> Waits[tuple[T1, T2]]: ...
@overload
def gather(
    a: Call[T1], b: Call[T2], c: Call[T3], /, *, at_once: int | None = None, stop_early: bool = False
) -> Waits[tuple[T1, T2, T3]]: ...
@overload
def gather(
    a: Call[T1], b: Call[T2], c: Call[T3], d: Call[T4], /, *, at_once: int | None = None, stop_early: bool = False
) -> Waits[tuple[T1, T2, T3, T4]]: ...
@overload
def gather(
    a: Call[T1],
    b: Call[T2],
    c: Call[T3],
    d: Call[T4],
    e: Call[T5],
    /,
    *,
    at_once: int | None = None,
    stop_early: bool = False,
) -> Waits[tuple[T1, T2, T3, T4, T5]]: ...
@overload
def gather(*calls: Call[T], at_once: int | None = None, stop_early: bool = False) -> Waits[tuple[T, ...]]: ...
@overload
def gather(*calls: Call[T], contain: Literal[True], at_once: int | None = None) -> Waits[tuple[Finished[T] | Failed, ...]]: ...
@overload
def gather(
    *calls: Call[T], contain: Literal[True], within: Seconds, at_once: int | None = None
) -> Waits[tuple[Finished[T] | Failed | StillWaiting, ...]]: ...
def gather(
    *calls: Call[Any], at_once: int | None = None, stop_early: bool = False, contain: bool = False, within: Seconds | None = None
) -> Any:
    """Make calls side by side and return their values in order. Each branch is a scope that undoes its own effects.

    Every branch ends, then one `BranchesFailed` lists the failures. `at_once` bounds how many run at the same time.
    `stop_early`: after the first failure the others start nothing new. `contain`: each branch ends as `Finished` or `Failed`.
    `within` seconds (with `contain`): a branch that has not ended by then is `StillWaiting`. It goes on by itself, and the run
    does not end before it has; if the scope around the gather fails meanwhile, the branch is stopped and undone with it.
    """
    if within is not None and not contain:
        raise ValueError("within= goes with contain=True: a branch that has not ended in time has no value to give.")
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once is at least 1, not {at_once}.")

    def alarm(path: str) -> Ask | None:
        if within is None:
            return None
        return Ask(f"{path}.within", "timer", Wanted("within", due_in=seconds(within)), digest_of(seconds(within)))

    def begin() -> Generator[Any, Any, Any]:
        host, branch = _here("gather(…)")
        for call in calls:
            host.used(call)
        path = branch.scope.next("gather")
        bodies: list[Callable[[], Coroutine[Any, Any, Any]]] = [
            _body(host, call, Scope(f"{path}.{number}", "branch")) for number, call in enumerate(calls, 1)
        ]
        ends: list[tuple[bool, Any]] = yield GatherAsk(bodies, [Scope("")] * len(calls), at_once, stop_early, alarm(path))
        return _joined(ends, contain)

    return Waits(begin)


def _body(host: Any, call: Call[Any], scope: Scope) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def body() -> Any:
        branch = stepping()
        assert branch is not None
        branch.scope = scope
        try:
            return await call
        except Stopping:
            await Waits(lambda: host.roll_back(scope, Stopping()))
            raise
        except Exception as error:
            if is_failure(error):
                caught = error
                await Waits(lambda: host.roll_back(scope, caught))
            raise

    return body


def _joined(ends: list[tuple[bool, Any]], contain: bool) -> Any:
    bugs = [error for ok, error in ends if not ok and not is_failure(error) and not isinstance(error, Stopping)]
    if bugs:
        raise bugs[0]
    if contain:
        return tuple(StillWaiting() if value is UNFINISHED else Finished(value) if ok else Failed(value) for ok, value in ends)
    failures = [error for ok, error in ends if not ok and not isinstance(error, Stopping)]
    if failures:
        raise BranchesFailed(f"{len(failures)} of {len(ends)} branches failed", failures)
    return tuple(value for _, value in ends)


# -- sagas ----------


class Saga:
    """``async with saga():`` a scope whose effects are undone together when its block fails."""

    def __init__(self) -> None:
        self._outer: Scope | None = None
        self._branch: Branch | None = None

    async def __aenter__(self) -> Saga:
        _, branch = _here("saga()")
        self._branch = branch
        self._outer, branch.scope = branch.scope, Scope(branch.scope.next("saga"), "saga")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        branch = stepping()
        host: Any = current_host.get()
        if branch is None or branch is not self._branch or host is None or self._outer is None:
            return
        scope = branch.scope
        try:
            if error is None:
                await Waits(lambda: host.leave_scope(scope))
            elif is_failure(error):
                failed = error
                await Waits(lambda: host.roll_back(scope, failed))
        finally:
            branch.scope = self._outer


def saga() -> Saga:
    """Open a smaller saga inside the workflow's own."""
    return Saga()


# -- waiting ----------


def _ask(what: str, kind: str, name: str, wanted: Wanted, identity: Any) -> Waits[Any]:
    def begin() -> Generator[Any, Any, Any]:
        _, branch = _here(what)
        path = branch.scope.next(name)
        return (yield Ask(path, kind, wanted, digest_of(identity), scope=branch.scope))

    return Waits(begin)


def sleep(duration: Seconds) -> Waits[None]:
    """Sleep so many seconds, durably: the time is on disk, and a restart does not begin it anew."""
    return _ask("sleep(…)", "timer", "sleep", Wanted("sleep", due_in=seconds(duration)), seconds(duration))


def wait_signal(name: str, type: type[T], within: Seconds | None = None) -> Waits[T]:
    """Wait until somebody sends this run a signal of this name, also one that came earlier. Raises `TimedOut` after `within`."""
    wanted = Wanted(name, Codec(type, f"the signal {name!r}"), None if within is None else seconds(within))
    return _ask("wait_signal(…)", "signal", "wait_signal", wanted, [name, wanted.due_in])


def ask_human(question: str, type: type[T], *, role: str | None = None, within: Seconds | None = None, about: Any = None) -> Waits[T]:
    """Ask a person and wait for the answer, checked against `type`. Raises `Denied` when nobody answers `within`."""
    shown = None if about is None else Codec(Any, "about").to_json(about)
    wanted = Wanted(question, Codec(type, f"the answer to {question!r}"), None if within is None else seconds(within), role, shown)
    return _ask("ask_human(…)", "question", "ask_human", wanted, [question, role])


def start(call: Call[Any], id: str | None = None) -> Call[str]:
    """Start a run of its own that is no part of this one, and return its id. Idempotent: the id defaults to this call's path.

    Awaited in workflow code it is a step; if the process dies inside, the same id is started again, which changes nothing.
    """
    host, branch = _here("start(…)")
    host.used(call)
    chosen = id if id is not None else f"{host.row.id}:{branch.scope.next('start').replace('/', '.')}"

    async def begin() -> str:
        await host.site.start(call, chosen)
        return chosen

    return step("start", begin, into=str).at("start")


def fail(reason: str) -> NoReturn:
    """Fail the run: its effects are undone."""
    raise RunFailed(reason)


# -- time and dice ----------


def now() -> datetime.datetime:
    """Return the time in UTC, the same on every replay."""
    if current_body.get() is not None:
        return datetime.datetime.now(datetime.UTC)
    host, branch = _here("now()")
    path = branch.scope.next("now")
    return datetime.datetime.fromtimestamp(host.read_clock(path), datetime.UTC)


def uuid4() -> uuid.UUID:
    """Return a random UUID, the same on every replay: derived from the run's seed and the path."""
    if current_body.get() is not None:
        return uuid.uuid4()
    host, branch = _here("uuid4()")
    return uuid.UUID(bytes=draw(host.seed, branch.scope.next("uuid4"))[:16], version=4)


def random() -> float:
    """Return a random number in [0, 1), the same on every replay: derived from the run's seed and the path."""
    if current_body.get() is not None:
        return dice.random()
    host, branch = _here("random()")
    return fraction(host.seed, branch.scope.next("random"))
