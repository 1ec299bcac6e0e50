"""Traps of compensation: undone too much, too often, or not at all."""

from __future__ import annotations

from contextlib import suppress

import pytest

from chargehand import CallFailed, Rejected, agent, effect, fail, gate, injected, read, saga, workflow
from chargehand.errors import RunFailed
from chargehand.testing import POINTS, Supervised

BOOK: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests did."""
    BOOK.clear()


async def take_back(receipt: str, idempotency_key: str = injected()) -> None:
    BOOK.append(f"undo {receipt}")


@effect(undo=take_back)
async def book(what: str, idempotency_key: str = injected()) -> str:
    BOOK.append(what)
    return what


@read
async def look(what: str) -> str:
    if what == "bad":
        raise ValueError("no such thing")
    return what


@agent(role="Books, and copes with a tool that fails.", uses=[book, look])
async def clerk() -> str:
    await book("room")
    try:
        await look("bad")
    except CallFailed:
        await look("good")
    return "coped"


@workflow
async def copes() -> str:
    await book("flight")
    said = await clerk()
    with suppress(CallFailed):
        await look("bad")
    return said


@workflow
async def fails_twice() -> None:
    await book("flight")
    try:
        async with saga():
            await book("hotel")
            await look("bad")
    except CallFailed:
        pass
    fail("after all")


@effect(undo=take_back, timeout=10)
async def book_slowly(what: str) -> str:
    BOOK.append(what)
    return what


@workflow
async def fails_slowly() -> None:
    await book_slowly("slow boat")
    fail("after all")


@gate
def never(answer: str) -> None:
    raise Rejected("never good")


async def test_a_tool_error_that_is_coped_with_undoes_nothing(supervised: Supervised) -> None:
    """langchain4j #5823: a recoverable tool error rolled back what the agent had done, and the data was silently wrong."""
    run = await supervised.start(copes())
    assert await run.result() == "coped"
    assert BOOK == ["flight", "room"]
    assert (await run.row()).standing == 2


async def test_a_second_rollback_compensates_nothing_again(supervised: Supervised) -> None:
    """langchain4j #5171: what an inner rollback had undone was undone again by the outer one."""
    run = await supervised.start(fails_twice())
    with pytest.raises(RunFailed):
        await run.result()
    assert BOOK == ["flight", "hotel", "undo hotel", "undo flight"]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_nor_when_it_dies_in_between(supervised: Supervised, point: str, nth: int) -> None:
    """The same under a crash anywhere: what is recorded as undone is not undone again, and the keys of the undos are the same."""
    supervised.crash_at(point, nth=nth)
    run = await supervised.start(fails_twice())
    with pytest.raises(RunFailed):
        await run.result()
    await supervised.assert_effects(run, ["book", "book", "undo book", "undo book"])
    assert len([line for line in BOOK if line.startswith("undo")]) <= 3


@pytest.mark.parametrize(("point", "sent"), [("before undo", 1), ("after undo intent", 1), ("after undo", 2)])
async def test_an_undo_goes_on_from_where_its_worker_died(supervised: Supervised, point: str, sent: int) -> None:
    """Before it was sent, it is sent once; when it was sent and that is not written down, it is sent again under the same key."""
    plan = supervised.crash_at(point, "book")
    run = await supervised.start(fails_twice())
    with pytest.raises(RunFailed):
        await run.result()
    assert (plan.passed, supervised.crashes) == (2, 1)
    assert BOOK.count("undo flight") == sent


@pytest.mark.parametrize(("before", "asked"), [(1.0, 0), (0.0, 1)])
async def test_an_undo_is_sent_only_while_the_claim_holds(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, before: float, asked: int
) -> None:
    """Until its timeout is over nobody may take the run: a worker that stood still just before asks whether the run is still its own."""
    journal, site = supervised.supervisor.journal, supervised.supervisor.site
    still_mine, answers = journal.still_mine, []

    async def noted(number: int, epoch: int) -> bool:
        answers.append(await still_mine(number, epoch))
        return answers[-1]

    def stands_still(point: str, path: str) -> None:
        if point == "after undo intent":
            supervised.clock.advance(site.silent_after - 10 - before)

    monkeypatch.setattr(journal, "still_mine", noted)
    monkeypatch.setattr(site, "crash_point", stands_still)
    run = await supervised.start(fails_slowly())
    with pytest.raises(RunFailed):
        await run.result()
    assert answers == [True] * asked
    assert BOOK == ["slow boat", "undo slow boat"]
