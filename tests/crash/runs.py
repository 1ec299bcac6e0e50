"""Examples: plain runs, every kind of effect, and branches side by side."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from chargehand import (
    BranchesFailed,
    Failed,
    Failure,
    Finished,
    fail,
    gather,
    now,
    random,
    sleep,
    start,
    uuid4,
    workflow,
)

from .example import Example
from .tools import (
    book,
    charge,
    enter,
    misenter,
    note,
    plain_note,
    post,
    search,
    ship,
    wire,
)

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
    await plain_note(started.isoformat())  # a replay that read another time would diverge here
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


RUNS: dict[str, Example] = {
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
}
