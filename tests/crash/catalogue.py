"""Workflows that use everything a run may do, each with the people, the signals and the troubles that go with it.

Everything outside of a run (people, signals, cancels) acts by what it sees in the journal and in the world's books, so a
run that was disturbed meets the same people as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chargehand import (
    Answer,
    Approval,
    Approve,
    BranchesFailed,
    Decision,
    Denied,
    DoneByHand,
    Fail,
    Failed,
    Failure,
    Finished,
    Reject,
    TimedOut,
    Waiting,
    ask_human,
    effect,
    fail,
    gather,
    injected,
    now,
    random,
    saga,
    sleep,
    start,
    uuid4,
    wait_signal,
    workflow,
)
from chargehand.supervise.call import Call

from .tools import (
    SLOWLY,
    book,
    charge,
    enter,
    misenter,
    note,
    open_account,
    order,
    plain_note,
    post,
    refund,
    reserve,
    search,
    ship,
    wire,
)
from .world import Fact, Trouble, World


class LetItExpire(Exception):
    """Raised by an example's person who does not answer."""


@dataclass(frozen=True)
class Example:
    """One workflow of the catalogue.

    `people` decides what differs from the usual (None: the usual). `signals` are sent as soon as the run waits, `early`
    ones at once. `cancel_when` is the fact upon which somebody cancels. `gross_varies`: whether a thing that is taken back
    anyhow happened at all may depend on when the process died. `ordered`: undos come in one order only. `other` is a
    second run of the same journal, started when the first has ended. `children` are the runs that the workflow starts
    itself, by id, with their workflows.
    """

    call: Callable[[], Call[Any]]
    troubles: Mapping[tuple[str, str], Sequence[Trouble]] = field(default_factory=dict)
    people: Callable[[Waiting, World], Decision | None] | None = None
    signals: Sequence[tuple[str, Any]] = ()
    early: Sequence[tuple[str, Any]] = ()
    cancel_when: Fact | None = None
    gross_varies: bool = False
    ordered: bool = True
    deadline: float | None = None
    other: Callable[[], Call[Any]] | None = None
    children: Mapping[str, Any] = field(default_factory=dict)


MENDED = {"now": False}
"""Whether the code of `broken` is mended. What a deploy does, as a switch."""


# -- plain runs ----------


@workflow(name="steps")
async def steps() -> list[str]:
    """A loop whose next call depends on what the last one gave, the run's clock and its dice."""
    seen = [await note("first")]
    for number in range(3):
        seen.append(await note(f"round {number}" if random() < 2 else "never"))
    started: datetime = now()
    seen.append(await plain_note(uuid4().hex))
    seen.append((await search("bolts"))[1])
    assert now() >= started
    seen.append(started.isoformat())
    return seen


@workflow(name="trying")
async def trying() -> str:
    """A failure is caught and another way is taken."""
    try:
        await note("impossible")
    except Failure as failure:
        await charge(f"plan b after {failure.code}")
    try:
        await book("full")
    except Failure as failure:
        return await ship(failure.code)
    return "nothing failed"


@workflow(name="nest inner")
async def nest_inner(ref: str, fails: bool) -> str:
    receipt = await charge(f"inner {ref}")
    await ship(f"inner {ref}")
    if fails:
        fail("the inner workflow gives up")
    return receipt


@workflow(name="nest")
async def nest() -> list[str]:
    """A workflow inside a workflow is a scope: its failure undoes its own effects and no others."""
    first = await nest_inner("good", False)
    try:
        second = await nest_inner("bad", True)
    except Failure:
        second = "failed"
    return [first, second, await post("after")]


@workflow(name="every effect")
async def every_effect() -> list[str]:
    """Keyed, looked up, bare, transactional and final effects, one after the other."""
    return [await charge("keyed"), await ship("looked-up"), await post("bare"), await enter("within"), await wire("final")]


@workflow(name="retrying")
async def retrying() -> list[str]:
    """Steps and effects that fail in every way which repeating mends."""
    return [
        await note("wobbly"),
        await charge("refused twice"),
        await charge("answer lost"),
        await charge("broken"),
        await ship("answer lost"),
        await ship("hanging"),
        await post("refused twice"),
    ]


RETRYING_TROUBLES = {
    ("step", "wobbly"): ("broken", "broken"),
    ("charge", "refused twice"): ("refused", "busy"),
    ("charge", "answer lost"): ("lost",),
    ("charge", "broken"): ("broken", "broken"),
    ("ship", "answer lost"): ("lost",),
    ("ship", "hanging"): ("hangs",),
    ("post", "refused twice"): ("busy", "refused"),
}


@workflow(name="doubting")
async def doubting() -> list[str]:
    """Bare effects whose answer is lost: a person looks into the books."""
    return [await post("answer lost"), await post("broken"), await post("fine")]


@workflow(name="transacting")
async def transacting() -> str:
    """What is refused inside the journal's transaction leaves nothing behind."""
    await enter("one")
    try:
        await misenter("two")
    except Failure as failure:
        await enter(f"three {failure.code}")
    return "entered"


# -- side by side ----------


@workflow(name="two notes")
async def two_notes(label: str, heard: str) -> list[str]:
    return [await note(f"{label} {heard} 1"), await charge(f"{label}"), await note(f"{label} {heard} 2")]


@workflow(name="gathering")
async def gathering() -> list[Any]:
    """Branches, also within branches, and at most two at once."""
    first = await gather(charge("g1"), ship("g2"), note("g3"))
    second = await gather(*(two_notes(f"b{number}", "x") for number in range(4)), at_once=2)
    third = await gather(both("left"), both("right"))
    return [first, second, third]


@workflow(name="both")
async def both(side: str) -> list[str]:
    return list(await gather(note(f"{side} note"), charge(f"{side} charge")))


@workflow(name="sharing")
async def sharing() -> list[str]:
    """Branches share a variable: each of them asks next what the others have written into it so far."""
    seen: list[str] = []
    await gather(*(sharer(name, seen_of(seen)) for name in ("p", "q", "r")))
    return seen


SHARED: dict[str, list[str]] = {}


def seen_of(seen: list[str]) -> str:
    """Keep a list where the branches of this run find it; its address is the run's own."""
    SHARED["seen"] = seen
    return "seen"


@workflow(name="sharer")
async def sharer(name: str, where: str) -> None:
    seen = SHARED[where]
    for _ in range(2):
        label = f"{name}{len(seen)}"
        seen.append(await note(label))


@workflow(name="failing together")
async def failing_together() -> str:
    """Every branch ends; the failed ones are undone; the others' effects stand until the run is undone."""
    try:
        await gather(nest_inner("one", False), nest_inner("two", True), nest_inner("three", True))
    except BranchesFailed as failures:
        await note(f"{len(failures.failures)} failed")
    return await charge("still")


@workflow(name="stopping early")
async def stopping_early() -> str:
    """After the first failure the others start nothing new."""
    try:
        await gather(book("none left"), slowly("other"), stop_early=True)
    except BranchesFailed as failures:
        return f"{len(failures.failures)} failed"
    return "none failed"


@workflow(name="slowly")
async def slowly(ref: str) -> str:
    await charge(f"{ref} first")
    await sleep(1000)
    return await charge(f"{ref} second")


@workflow(name="containing")
async def containing() -> list[str]:
    """Branches end as values."""
    ends = await gather(nest_inner("kept", False), nest_inner("lost", True), contain=True)
    told = [end.value if isinstance(end, Finished) else type(end.error).__name__ for end in ends if isinstance(end, (Finished, Failed))]
    return [*told, await note("after")]


@workflow(name="late failure")
async def late_failure() -> None:
    await charge("late")
    await sleep(700)
    fail("too late to matter")


@workflow(name="leaving behind")
async def leaving_behind() -> list[str]:
    """Some branches do not end in time; they go on by themselves, and one of them fails and is undone."""
    ends = await gather(charge("in time"), slowly("behind"), late_failure(), contain=True, within=50)
    return [*(type(end).__name__ for end in ends), await note("went on")]


@workflow(name="detaching")
async def detaching() -> str:
    """Starts a run that is no part of this one; then fails, and the other run stands."""
    await charge("parent")
    await start(nest_inner("child", False), id="run-child")
    fail("the parent fails")


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


# -- people and time ----------


@workflow(name="approving")
async def approving() -> list[str]:
    """Approved, approved otherwise, refused, and done by hand."""
    ends: list[str] = []
    for ref in ("yes", "edit", "no", "hand"):
        try:
            ends.append(await order(ref, 100))
        except Denied:
            ends.append("denied")
    return ends


def approvers(entry: Waiting, world: World) -> Decision | None:
    """Decide each approval of `approving` its own way."""
    if entry.kind != "approval":
        return None
    match entry.shows["arguments"]["ref"]:
        case "edit":
            return Approve(edit={"ref": "edited", "amount": 7})
        case "no":
            return Reject("too dear")
        case "hand":
            return DoneByHand("a receipt by hand")
    return Approve()


@effect(name="slow order", undo=refund, approve=Approval(within=1000.0, votes=2), retry=SLOWLY)
async def slow_order(ref: str, world: World = injected(), idempotency_key: str = injected()) -> str:
    """Asks two people, for a while."""
    return await world.make("charge", ref, idempotency_key)


@workflow(name="asking in vain")
async def asking_in_vain() -> str:
    """Nobody approves in time, nobody answers in time, no signal comes in time."""
    try:
        await slow_order("ignored")
    except Denied:
        await charge("denied")
    try:
        await ask_human("Is anybody there?", str, within=50)
    except Denied:
        await charge("nobody")
    try:
        await wait_signal("never", str, within=50)
    except TimedOut:
        return await charge("nothing")
    return "no"


def nobody(entry: Waiting, world: World) -> Decision | None:
    """Answer nothing that may expire."""
    if entry.due is not None:
        raise LetItExpire
    return None


@workflow(name="hearing")
async def hearing() -> list[Any]:
    """Two approvers, a question, signals that come before and after they are wanted, and sleep."""
    first = await slow_order("voted")
    early = await wait_signal("early", int)
    await sleep(60)
    late = await wait_signal("late", str)
    answer = await ask_human("How many?", int)
    await sleep(3600)
    return [first, early, late, answer, await charge(f"{answer}")]


def hearing_people(entry: Waiting, world: World) -> Decision | None:
    """Answer the question."""
    return Answer(42) if entry.kind == "question" else None


# -- bugs, keys across runs ----------


@workflow(name="broken")
async def broken() -> list[str]:
    """A bug after three effects parks the run with all three standing; mended, it goes on."""
    receipts = [await charge("b1"), await post("b2"), await ship("b3")]
    if not MENDED["now"]:
        return [{}["missing"]]
    return [*receipts, await charge("b4")]


@workflow(name="opening")
async def opening(ref: str) -> str:
    """A business key: two runs that ask for the same thing share one doing."""
    return await open_account(ref)


@workflow(name="opening in vain")
async def opening_in_vain(ref: str) -> None:
    """A business key that is given back by an undo: the next run makes the thing anew, under the next key."""
    await open_account(ref)
    fail("not needed")


EXAMPLES: dict[str, Example] = {
    "steps": Example(lambda: steps()),
    "trying": Example(lambda: trying(), {("step", "impossible"): ("never",), ("book", "full"): ("never",)}),
    "nest": Example(lambda: nest()),
    "every effect": Example(lambda: every_effect()),
    "retrying": Example(lambda: retrying(), RETRYING_TROUBLES),
    "doubting": Example(lambda: doubting(), {("post", "answer lost"): ("lost",), ("post", "broken"): ("broken",)}),
    "transacting": Example(lambda: transacting()),
    "gathering": Example(lambda: gathering()),
    "sharing": Example(lambda: sharing()),
    "failing together": Example(lambda: failing_together(), ordered=False),
    "stopping early": Example(lambda: stopping_early(), {("book", "none left"): ("never",)}, gross_varies=True, ordered=False),
    "containing": Example(lambda: containing()),
    "leaving behind": Example(lambda: leaving_behind()),
    "detaching": Example(lambda: detaching(), children={"run-child": nest_inner}),
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
    "approving": Example(lambda: approving(), people=approvers),
    "asking in vain": Example(lambda: asking_in_vain(), people=nobody),
    "hearing": Example(lambda: hearing(), people=hearing_people, early=[("early", 1)], signals=[("late", "hello")]),
    "broken": Example(lambda: broken()),
    "sharing a key": Example(lambda: opening("one"), other=lambda: opening("one")),
    "taking a key again": Example(lambda: opening_in_vain("two"), other=lambda: opening("two")),
}
