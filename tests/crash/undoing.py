"""Examples: rollbacks, sagas, undos in trouble, cancels, letters, and failures after a final effect."""

from __future__ import annotations

from collections.abc import Callable

from chargehand import (
    Decision,
    DoneByHand,
    Fail,
    Failure,
    Waiting,
    fail,
    gather,
    saga,
    sleep,
    workflow,
)

from .example import Example
from .tools import (
    book,
    charge,
    enter,
    post,
    reserve,
    ship,
    wire,
)
from .world import Fact, World

# -- going back ----------


@workflow(name="rolling back")
async def rolling_back() -> None:
    """Everything is undone, newest first."""
    await charge("r1")
    await ship("r2")
    await post("r3")
    await enter("r4")
    await charge("r5")
    fail("it was all for nothing")


@workflow(name="smaller saga")
async def smaller_saga() -> list[str]:
    """A saga inside the workflow's own: its failure is caught, the rest stands."""
    kept = await charge("outer")
    try:
        async with saga():
            await charge("inner one")
            await post("inner two")
            await book("never there")
    except Failure as failure:
        return [kept, failure.code, await ship("instead")]
    return [kept]


@workflow(name="undo in trouble")
async def undo_in_trouble() -> None:
    """Undos that are refused, whose answers are lost, and one that a person has to finish."""
    await charge("lost undo")
    await charge("hard undo")
    await post("lost undo")
    await post("refused undo")
    fail("back")


UNDO_TROUBLES = {
    ("charge!undo", "lost undo"): ("lost", "refused"),
    ("charge!undo", "hard undo"): ("broken", "broken", "broken", "broken"),
    ("post!undo", "lost undo"): ("lost",),
    ("post!undo", "refused undo"): ("refused",),
}


@workflow(name="undoing in doubt")
async def undoing_in_doubt() -> None:
    """A cancel while an effect is in doubt: the undo does no harm, so nobody is asked."""
    await charge("before")
    await reserve("answer lost")


@workflow(name="cancelled")
async def cancelled() -> str:
    """Somebody cancels while it works."""
    await charge("c1")
    await gather(ship("c2"), charge("c3"), waits_long())
    return "too late"


@workflow(name="waits long")
async def waits_long() -> None:
    await sleep(500)
    await charge("long after")


@workflow(name="too late")
async def too_late() -> str:
    """The deadline passes while it sleeps."""
    await charge("d1")
    await sleep(100)
    return await charge("d2")


@workflow(name="abandoned")
async def abandoned() -> str:
    """An effect that cannot be made becomes a letter, and a person gives the run up."""
    await charge("kept")
    return await charge("impossible")


@workflow(name="lettered")
async def lettered() -> list[str]:
    """Letters: one is made with other arguments, one fails into the workflow, one was done by hand."""
    first = await charge("closed shop")
    try:
        second = await charge("dead shop")
    except Failure as failure:
        second = failure.code
    return [first, second, await charge("by hand")]


def lettered_people(entry: Waiting, world: World) -> Decision | None:
    """Send the first letter elsewhere, fail the second, do the third by hand."""
    if entry.kind != "letter":
        return None
    match entry.shows["arguments"]["ref"]:
        case "closed shop":
            return Decision("edit", {"ref": "open shop"})
        case "dead shop":
            return Fail()
        case _:
            return DoneByHand("a receipt by hand")


def abandon(entry: Waiting, world: World) -> Decision | None:
    """Give the run up at the letter of what is impossible."""
    impossible = entry.kind == "letter" and entry.shows["arguments"]["ref"] == "impossible"
    return Decision("abandon", reason="not worth it") if impossible else None


# -- after a final effect ----------


@workflow(name="pivot")
async def pivot() -> str:
    """A failure after a final effect: what came after it is undone, then a person decides."""
    await charge("before")
    await wire("point of no return")
    await charge("after")
    return await book("gone")


@workflow(name="pivot undo", after_final="undo")
async def pivot_undo() -> str:
    """The same, with everything undone that can be."""
    await charge("before")
    await wire("point of no return")
    await charge("after")
    return await book("gone")


def at_pivot(choice: str) -> Callable[[Waiting, World], Decision | None]:
    """Decide so at the pivot."""

    def people(entry: Waiting, world: World) -> Decision | None:
        return Decision(choice) if entry.path == "" and entry.kind == "letter" else None

    return people


UNDOING: dict[str, Example] = {
    "rolling back": Example(lambda: rolling_back()),
    "smaller saga": Example(lambda: smaller_saga(), {("book", "never there"): ("never",)}),
    "undo in trouble": Example(lambda: undo_in_trouble(), UNDO_TROUBLES),
    "undoing in doubt": Example(
        lambda: undoing_in_doubt(),
        {("reserve", "answer lost"): ("lost",)},
        cancel_when=Fact("happened", "reserve", "answer lost"),
    ),
    "cancelled": Example(lambda: cancelled(), cancel_when=Fact("happened", "ship", "c2"), gross_varies=True, ordered=False),
    "too late": Example(lambda: too_late(), deadline=50.0),
    "abandoned": Example(lambda: abandoned(), {("charge", "impossible"): ("never",)}, abandon),
    "lettered": Example(
        lambda: lettered(),
        {("charge", "closed shop"): ("never",), ("charge", "dead shop"): ("never",), ("charge", "by hand"): ("never",)},
        lettered_people,
    ),
    "pivot, go on": Example(lambda: pivot(), {("book", "gone"): ("once more",)}, at_pivot("go on")),
    "pivot, undo": Example(lambda: pivot(), {("book", "gone"): ("never",)}, at_pivot("undo")),
    "pivot, leave": Example(lambda: pivot(), {("book", "gone"): ("never",)}, at_pivot("leave")),
    "pivot, undone": Example(lambda: pivot_undo(), {("book", "gone"): ("never",)}),
}
