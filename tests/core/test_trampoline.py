"""The trampoline: branches are resumed one at a time, and always in the order of the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

import pytest

from chargehand.core.identity import Scope
from chargehand.core.trampoline import UNFINISHED, Ask, GatherAsk, JoinAsk, Stopping, Trampoline, current_branch, stepping
from chargehand.errors import ForeignAwait, Unloading

LOG: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests logged."""
    LOG.clear()


class Wait:
    """An await that hands its question to the trampoline."""

    def __init__(self, ask: Ask | GatherAsk | JoinAsk) -> None:
        self._ask = ask

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._ask)


def ask(path: str) -> Wait:
    """Ask for a step."""
    return Wait(Ask(path, "step", None))


def gather(*bodies: Any, at_once: int | None = None, stop_early: bool = False) -> Wait:
    """Run bodies side by side."""
    return Wait(GatherAsk(list(bodies), [Scope("")] * len(bodies), at_once, stop_early))


def started(body: Coroutine[Any, Any, Any]) -> tuple[Trampoline, list[Ask]]:
    """Start a coroutine and run it to its first waits."""
    trampoline = Trampoline()
    trampoline.start(body, Scope(""))
    return trampoline, trampoline.run()


async def worker(name: str, steps: int) -> str:
    for number in range(steps):
        LOG.append(f"{name} asks {number}")
        LOG.append(f"{name} got {await ask(f'{name}{number}')}")
    return name


def test_all_branches_run_to_their_next_wait_in_order() -> None:
    """What is asked comes in the order of the branches, and each is resumed alone."""

    async def main() -> Any:
        return await gather(lambda: worker("a", 2), lambda: worker("b", 1))

    trampoline, asks = started(main())
    assert [one.path for one in asks] == ["a0", "b0"]
    trampoline.deliver(asks[1], True, "B")
    assert [one.path for one in trampoline.run()] == []
    trampoline.deliver(asks[0], True, "A")
    (last,) = trampoline.run()
    assert LOG == ["a asks 0", "b asks 0", "b got B", "a got A", "a asks 1"]
    trampoline.deliver(last, True, "A1")
    trampoline.run()
    assert trampoline.root is not None
    assert (trampoline.root.ended, trampoline.root.value) == (True, [(True, "a"), (True, "b")])


def test_a_failure_is_thrown_where_it_is_waited_for() -> None:
    """The branch gets the exception at its await and may go on."""

    async def main() -> str:
        try:
            await ask("one")
        except ValueError as error:
            LOG.append(str(error))
        return str(await ask("two"))

    trampoline, (one,) = started(main())
    trampoline.deliver(one, False, ValueError("no"))
    (two,) = trampoline.run()
    trampoline.deliver(two, True, "yes")
    trampoline.run()
    assert trampoline.root is not None
    assert (LOG, trampoline.root.value) == (["no"], "yes")


def test_an_answer_is_delivered_once() -> None:
    """A second delivery to the same question resumes nobody."""

    async def main() -> list[Any]:
        return [await ask("one"), await ask("two")]

    trampoline, (one,) = started(main())
    trampoline.deliver(one, True, 1)
    (two,) = trampoline.run()
    trampoline.deliver(one, True, "again")
    assert trampoline.run() == []
    trampoline.deliver(two, True, 2)
    trampoline.run()
    assert trampoline.root is not None
    assert trampoline.root.value == [1, 2]


def test_at_once_bounds_the_branches() -> None:
    """The third branch begins when one of the first two has ended."""

    async def main() -> Any:
        return await gather(*[lambda name=name: worker(name, 1) for name in "abc"], at_once=2)

    trampoline, asks = started(main())
    assert [one.path for one in asks] == ["a0", "b0"]
    trampoline.deliver(asks[1], True, "B")
    assert [one.path for one in trampoline.run()] == ["c0"]


def test_stop_early_throws_at_the_next_question() -> None:
    """A branch that was told to stop gets `Stopping` instead of an answer to anything new, and what never began never begins."""

    async def stubborn() -> str:
        await ask("slow")
        try:
            await ask("more")
        except Stopping:
            LOG.append("stopped")
            raise
        return "went on"

    async def failing() -> None:
        await ask("bad")
        raise ValueError("no")

    async def main() -> Any:
        return await gather(stubborn, failing, lambda: worker("never", 1), at_once=2, stop_early=True)

    trampoline, (slow, bad) = started(main())
    trampoline.deliver(bad, True, None)
    trampoline.run()
    trampoline.deliver(slow, True, None)
    assert trampoline.run() == []
    assert LOG == ["stopped"]
    assert trampoline.root is not None
    assert [ok for ok, _ in trampoline.root.value] == [False, False, False]


def test_no_branches_is_an_empty_answer() -> None:
    """gather() of nothing does not wait for ever."""

    async def main() -> Any:
        return await gather()

    trampoline, asks = started(main())
    assert asks == []
    assert trampoline.root is not None
    assert trampoline.root.value == []


@pytest.mark.parametrize(
    ("awaited", "named"),
    [(lambda: asyncio.sleep(0), "durable: a bare yield"), (lambda: Wait("nonsense"), "durable: str.")],  # type: ignore[arg-type]
)
def test_a_foreign_await_is_thrown_back(awaited: Any, named: str) -> None:
    """What no journal could give back is refused, and names the durable ways."""

    async def main() -> str:
        try:
            await awaited()
        except ForeignAwait as error:
            return str(error)
        return "went through"

    trampoline, asks = started(main())
    assert asks == []
    assert trampoline.root is not None
    assert "gather" in trampoline.root.value
    assert named in trampoline.root.value


def test_unloading_ends_every_branch_and_drops_what_it_says() -> None:
    """Each wait raises `Unloading`, again and again, until the coroutine has ended; what it asks meanwhile goes nowhere."""

    async def clinging(name: str) -> str:
        for number in range(3):
            try:
                await ask(f"{name}{number}")
            except Unloading:
                assert stepping() is current_branch.get()
                LOG.append(f"{name} unloads")
        return "ended"

    async def main() -> Any:
        return await gather(lambda: clinging("a"), lambda: clinging("b"))

    trampoline, asks = started(main())
    assert len(asks) == 2
    trampoline.unload()
    assert sorted(LOG) == ["a unloads"] * 3 + ["b unloads"] * 3
    assert {one.branch.ended for one in asks if one.branch is not None} == {True}
    assert trampoline.run() == []


def here(path: str) -> None:
    """Have the branch that runs now lie in a scope."""
    branch = stepping()
    assert branch is not None
    branch.scope = Scope(path)


def late(body: Any, alarm: str) -> Wait:
    """Run a body that the gather does not wait for once its alarm goes off."""
    return Wait(GatherAsk([body], [Scope("")], None, False, Ask(alarm, "timer", None)))


def test_a_scope_waits_for_a_branch_that_itself_waits_for_another() -> None:
    """A failing scope goes on when all in it has ended, not when a branch in it begins to wait for a branch of its own."""

    async def inner() -> None:
        here("saga/a/b")
        await ask("b1")
        await ask("b2")

    async def outer() -> None:
        here("saga/a")
        await late(inner, "a.within")
        try:
            await ask("a1")
            await ask("a2")
        except Stopping:
            await Wait(JoinAsk(Scope("saga/a")))
            await Wait(Ask("a!rollback", "rollback", None))
            LOG.append("a is rolled back")
            raise

    async def root() -> None:
        here("saga")
        await late(outer, "saga.within")
        await Wait(JoinAsk(Scope("saga")))
        LOG.append("the saga goes on")

    trampoline, asks = started(root())
    asked = {one.path: one for one in asks}
    for path in ("a.within", "saga.within", "a1", "b1", "a!rollback"):
        assert LOG == []
        trampoline.deliver(asked[path], True, None)
        asked |= {one.path: one for one in trampoline.run()}
    assert LOG == ["a is rolled back", "the saga goes on"]


def test_the_branch_that_runs_is_not_among_those_inside() -> None:
    """A scope that ends waits for the others in it, never for the branch that ends it; they come in the order of their paths."""

    async def other(path: str) -> None:
        here(path)
        await ask(path)

    async def main() -> None:
        await late(lambda: other("s/z"), "first")
        await late(lambda: other("s/a"), "second")
        LOG.extend(branch.scope.path for branch in trampoline.inside(Scope("")))
        LOG.append("and " + ", ".join(branch.scope.path for branch in trampoline.inside(Scope("s"))))

    trampoline, asks = started(main())
    while alarms := [one for one in asks if one.kind == "timer"]:
        trampoline.deliver(alarms[0], True, None)
        asks = trampoline.run()
    assert LOG == ["s/a", "s/z", "and s/a, s/z"]


async def failing() -> None:
    await ask("bad")
    raise ValueError("no")


def results(trampoline: Trampoline) -> list[Any]:
    """Return how the branches of the root's gather ended: the value, or the type of what was raised."""
    assert trampoline.root is not None
    assert trampoline.root.ended
    return [value if ok else type(value) for ok, value in trampoline.root.value]


def test_a_failure_alone_stops_nobody() -> None:
    """Without stop_early the others go on to their ends."""

    async def main() -> Any:
        return await gather(failing, lambda: worker("a", 2))

    trampoline, (bad, a0) = started(main())
    trampoline.deliver(bad, True, None)
    assert trampoline.run() == []
    trampoline.deliver(a0, True, "A")
    (a1,) = trampoline.run()
    trampoline.deliver(a1, True, "A")
    trampoline.run()
    assert results(trampoline) == [ValueError, "a"]


def test_none_of_those_that_never_began_begins() -> None:
    """All of them end with `Stopping`, and the gather ends."""

    async def main() -> Any:
        return await gather(failing, lambda: worker("b", 1), lambda: worker("c", 1), at_once=1, stop_early=True)

    trampoline, (bad,) = started(main())
    trampoline.deliver(bad, True, None)
    assert trampoline.run() == []
    assert results(trampoline) == [ValueError, Stopping, Stopping]
    assert LOG == []


@pytest.mark.parametrize(
    ("kind", "new", "withdrawn"),
    [
        *[(kind, new, True) for kind in ("timer", "signal", "question") for new in (True, False)],
        *[(kind, new, False) for kind in ("rollback", "diverged", "join") for new in (True, False)],
        ("step", True, True),
        ("step", False, False),
    ],
)
def test_what_a_stop_withdraws(kind: str, new: bool, withdrawn: bool) -> None:
    """What only waits, and what was not begun; a call in flight settles, and what the code did not ask is never withdrawn."""

    async def waiting() -> None:
        await Wait(Ask("waits", kind, None))

    async def main() -> Any:
        return await gather(waiting, failing, stop_early=True)

    trampoline = Trampoline(lambda ask: new)
    assert trampoline.root is None
    trampoline.start(main(), Scope(""))
    waits, bad = trampoline.run()
    trampoline.deliver(bad, True, None)
    trampoline.run()
    assert trampoline.withdrawn == ([waits] if withdrawn else [])
    if withdrawn:
        assert results(trampoline) == [Stopping, ValueError]
    else:
        assert trampoline.root is not None
        assert not trampoline.root.ended


def test_a_stopped_branch_gathers_nothing() -> None:
    """It gets `Stopping` at a gather as at any other call, and so does what it waits for: what never began there never begins."""

    async def gathers_next() -> Any:
        await ask("slow")
        return await gather(lambda: worker("never", 1))

    async def gathers_now() -> Any:
        inner = await gather(lambda: worker("in flight", 1), lambda: worker("not begun", 1), at_once=1)
        return [value if ok else type(value) for ok, value in inner]

    async def main() -> Any:
        return await gather(gathers_next, gathers_now, failing, stop_early=True)

    trampoline, asks = started(main())
    asked = {one.path: one for one in asks}
    for path in ("bad", "slow", "in flight0"):
        trampoline.deliver(asked[path], True, None)
        assert trampoline.run() == []
    assert results(trampoline) == [Stopping, ["in flight", Stopping], ValueError]
    assert LOG == ["in flight asks 0", "in flight got None"]


def test_an_alarm_that_nobody_needs_any_more_is_withdrawn() -> None:
    """When every branch has ended before it goes off; when it goes off first, the branch goes on and is late."""

    async def main() -> Any:
        return [await late(lambda: worker("quick", 1), "first"), await late(lambda: worker("slow", 1), "second")]

    trampoline, (first, quick) = started(main())
    trampoline.deliver(quick, True, None)
    second, slow = trampoline.run()
    assert (trampoline.withdrawn, trampoline.late) == ([first], [])
    trampoline.deliver(first, True, None)
    trampoline.deliver(second, True, None)
    trampoline.run()
    assert trampoline.root is not None
    assert trampoline.root.value == [[(True, "quick")], [(True, UNFINISHED)]]
    trampoline.deliver(slow, True, None)
    trampoline.run()
    assert trampoline.withdrawn == [first]
    assert trampoline.late == [slow.branch]


def test_a_scope_that_fails_begins_nothing_more_inside() -> None:
    """A gather that outlived its alarm starts none of its branches any more once the scope around it fails."""

    async def inside(name: str) -> None:
        here(f"saga/{name}")
        await worker(name, 1)

    async def main() -> None:
        here("saga")
        bodies = [lambda: inside("begun"), lambda: inside("not begun")]
        await Wait(GatherAsk(bodies, [Scope("")] * 2, 1, False, Ask("within", "timer", None)))
        await Wait(JoinAsk(Scope("elsewhere")))
        LOG.append("fails")
        await Wait(JoinAsk(Scope("saga")))
        LOG.append("all have ended")

    trampoline, (alarm, begun) = started(main())
    trampoline.deliver(alarm, True, None)
    assert trampoline.run() == []
    trampoline.deliver(begun, True, None)
    assert trampoline.run() == []
    assert LOG == ["begun asks 0", "fails", "begun got None", "all have ended"]


def test_a_branch_knows_itself_and_its_scope() -> None:
    """In each branch the context variable, the branch that runs now and its scope belong together; each has a context of its own."""

    async def body() -> str:
        branch = current_branch.get()
        assert branch is not None
        assert branch is stepping()
        return branch.scope.path

    async def main() -> Any:
        assert await body() == ""
        return await Wait(GatherAsk([body, body], [Scope("gather.1"), Scope("gather.2")], None, False))

    trampoline, _ = started(main())
    assert results(trampoline) == ["gather.1", "gather.2"]
    assert stepping() is None
