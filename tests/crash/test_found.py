"""Defects that the simulation of the whole system found, each as small as it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chargehand import (
    Abandon,
    Decision,
    DoneByHand,
    Failure,
    NotDone,
    Person,
    Rejected,
    Release,
    agent,
    ask_human,
    effect,
    escalate,
    fail,
    gate,
    gather,
    give_up,
    injected,
    reassign,
    retry,
    saga,
    sleep,
    wait_signal,
    workflow,
)
from chargehand.core.history import History
from chargehand.durable import Commit, KeyRow, NewMail
from chargehand.errors import KeyHeld
from chargehand.events import Record
from chargehand.supervise.log import Part, RunLog, Standing, loaded
from chargehand.testing import Supervised

ANN = Person("ann")
MADE: list[str] = []
WAITS: dict[str, asyncio.Event] = {}


async def undo(ref: str, idempotency_key: str = injected()) -> None:
    """Take it back."""
    MADE.append(f"undo {ref}")


@effect(name="charge", undo=undo)
async def charge(ref: str, idempotency_key: str = injected()) -> str:
    """Charge."""
    MADE.append(ref)
    return f"receipt {ref}"


@effect(name="ordered", undo=undo, approve=True)
async def ordered(ref: str, idempotency_key: str = injected()) -> str:
    """Order once somebody said yes."""
    return f"receipt {ref}"


@effect(name="wire", final=True, approve=False)
async def wire(ref: str, idempotency_key: str = injected()) -> str:
    """Send what cannot be taken back."""
    return f"receipt {ref}"


@effect(name="refused", undo=undo, on_exhausted="raise")
async def refused(ref: str, idempotency_key: str = injected()) -> str:
    """Fail for good."""
    raise NotDone("no", permanent=True)


async def mended(ref: str) -> str:
    """Do what failed before."""
    return "mended"


@gate
def finished(output: str) -> None:
    """Pass no draft."""
    if output.startswith("draft"):
        raise Rejected("draft")


# -- leaving ----------


@effect(name="hanging", undo=undo)
async def hanging(ref: str, idempotency_key: str = injected()) -> str:
    """Never end."""
    await asyncio.sleep(3600)
    return ref


@workflow(name="hangs")
async def hangs() -> str:
    """Wait for what never ends."""
    return await hanging("x")


async def test_a_driver_that_leaves_after_its_deadline_does_not_spin(supervised: Supervised) -> None:
    """A driver that was told to leave and waits for a call in flight does not look again and again because its deadline has passed."""
    await supervised.start(hangs(), deadline=60.0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert supervised.supervisor.carrier is not None
    (driver,) = supervised.supervisor.carrier._drivers.values()
    driver.stop()
    supervised.clock.advance(90)
    rests = 0
    original = driver._rest

    async def counted() -> None:
        nonlocal rests
        rests += 1
        await original()

    driver._rest = counted  # type: ignore[method-assign]
    for _ in range(500):
        await asyncio.sleep(0)
    assert rests < 10, f"looked again {rests} times while nothing happened"


# -- going on after a pivot ----------


@workflow(name="asks to order")
async def asks_to_order() -> str:
    """Wait for an approval behind a final effect."""
    await wire("final")
    return await ordered("asked")


@workflow(name="asks a person")
async def asks_a_person() -> str:
    """Wait for an answer behind a final effect."""
    await wire("final")
    return await ask_human("which?", str)


@pytest.mark.parametrize("flow", [asks_to_order, asks_a_person], ids=["approval", "question"])
async def test_what_waited_for_a_person_is_asked_again(supervised: Supervised, flow: Any) -> None:
    """The rollback withdrew what was asked; when a person has the run go on, it is asked again."""
    run = await supervised.start(flow())
    await supervised.rest()
    assert len(await supervised.waiting()) == 1
    await supervised.cancel(run)
    (entry,) = await supervised.waiting()
    await supervised.supervisor.decide(entry, Decision("go on"), by=ANN)
    assert len(await supervised.waiting()) == 1, f"the run is {await run.status()} and nothing of it waits"


@agent(role="buys", uses=[charge], name="buyer")
async def buyer(what: str) -> str:
    """Buy it."""
    await charge(what)
    return "bought"


@workflow(name="buys and sleeps")
async def buys_and_sleeps() -> str:
    """Fail behind an agent and a timer."""
    await wire("final")
    await buyer("thing")
    await sleep(1)
    return await refused("z")


@workflow(name="buys and charges")
async def buys_and_charges() -> str:
    """Fail behind an agent and another effect."""
    await wire("final")
    await buyer("first")
    await charge("second")
    return await refused("z")


@pytest.mark.parametrize("flow", [buys_and_sleeps, buys_and_charges], ids=["timer", "effect"])
async def test_an_agent_is_made_anew_before_what_is_recorded_behind_it(supervised: Supervised, flow: Any) -> None:
    """An agent whose effects were undone is called again when a person has the run go on, although later calls are recorded."""
    run = await supervised.start(flow())
    await supervised.advance(10)
    (entry,) = await supervised.waiting()
    supervised.replace(refused, mended)
    await supervised.supervisor.decide(entry, Decision("go on"), by=ANN)
    await supervised.advance(10)
    assert await run.status() == "completed"


@workflow(name="fails in a scope")
async def fails_in_a_scope() -> str:
    """Fail behind a final effect, by the code's own word."""
    try:
        async with saga():
            await wire("final")
            fail("as it must")
    except Failure:
        return "caught"
    return "no"


async def test_a_scope_that_fails_by_itself_asks_again(supervised: Supervised) -> None:
    """A scope that failed by `fail` fails again when a person has it go on, and then asks again; it does not wait for nobody."""
    await supervised.start(fails_in_a_scope())
    (entry,) = await supervised.waiting()
    await supervised.supervisor.decide(entry, Decision("go on"), by=ANN)
    await supervised.rest()
    (again,) = await supervised.waiting()
    assert (again.id != entry.id, again.kind) == (True, "letter")


# -- decisions and look-ups that cross ----------


async def lose(ref: str) -> None:
    """Lose the answer."""
    await asyncio.sleep(0)
    raise ConnectionResetError("lost")


@effect(name="post", undo=lose)
async def post(ref: str) -> str:
    """Lose the answer."""
    raise ConnectionResetError("lost")


@workflow(name="posts")
async def posts() -> str:
    """Post a letter."""
    return await post("letter")


async def test_a_second_word_about_a_doubt_is_no_word_about_the_undo(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people say that a doubtful effect was done; the second is not taken for the word that it was undone."""
    run = await supervised.start(posts())
    await supervised.rest()
    await supervised.cancel(run)
    (entry,) = await supervised.waiting()
    body = {"entry": entry.id, "decision": "done", "value": "receipt", "reason": None, "by": {"id": "ann", "roles": []}, "shown": None}
    journal, now = supervised.supervisor.journal, supervised.clock.now()
    original = journal.entry

    async def slowly(id: str) -> Any:  # as a journal on disk answers
        found = await original(id)
        for _ in range(20):
            await asyncio.sleep(0)
        return found

    monkeypatch.setattr(journal, "entry", slowly)
    second = body | {"by": {"id": "bob", "roles": []}}
    await journal.post([NewMail(run.id, "decision", body, now), NewMail(run.id, "decision", second, now)])
    await supervised.rest()
    assert "undo.done post" not in await run.history()


async def find(ref: str) -> str:
    """Find it, after a while."""
    WAITS["asked"].set()
    await WAITS["answer"].wait()
    return "receipt"


async def find_nothing(ref: str) -> str:
    """Give no answer."""
    raise ConnectionResetError("no answer")


@effect(name="ship", undo=undo, lookup=find)
async def ship(ref: str) -> str:
    """Lose the answer."""
    raise ConnectionResetError("lost")


@workflow(name="ships")
async def ships() -> str:
    """Ship a box and wait."""
    value = await ship("box")
    await sleep(1000)
    return value


async def test_a_look_up_that_a_person_overtakes_writes_nothing(supervised: Supervised) -> None:
    """While a doubt is looked up a person ends it: the look-up's answer comes too late and changes nothing."""
    WAITS.update(asked=asyncio.Event(), answer=asyncio.Event())
    supervised.replace(find, find_nothing)
    run = await supervised.start(ships())
    (entry,) = await supervised.waiting()
    assert supervised.supervisor.carrier is not None
    (driver,) = supervised.supervisor.carrier._drivers.values()
    driver.history.effect("ship").facts["silent"] = True  # as after a take-over from a silent worker that is dead by now
    supervised.replace(find, find)
    driver._tell("ship")
    await WAITS["asked"].wait()
    await supervised.supervisor.decide(entry, DoneByHand("receipt"), by=ANN)
    while "effect.done ship" not in await run.history():
        await asyncio.sleep(0)
    WAITS["answer"].set()
    await supervised.rest()
    assert (await run.history()).count("effect.done ship") == 1


# -- agents ----------


@agent(role="helps", name="useless")
async def useless(what: str) -> str:
    """Fail."""
    raise PermissionError("never")


@agent(role="writes", gates=[finished], ladder=[retry(1), reassign(useless), escalate()], name="writer")
async def writer(what: str) -> str:
    """Write a draft."""
    return "draft"


@workflow(name="writes")
async def writes() -> str:
    """Have it written."""
    return await writer("a")


async def test_a_person_releases_the_attempt_that_the_output_came_from(supervised: Supervised) -> None:
    """The release names the attempt whose output a person saw, not a later one that gave none."""
    run = await supervised.start(writes())
    (entry,) = await supervised.waiting()
    assert entry.shows["output"] == "draft"
    await supervised.supervisor.decide(entry, Release("fine"), by=ANN)
    await supervised.rest()
    (released,) = [event for event in await run.events() if event.type == "agent.released"]
    assert released.payload["attempt"] == 1


@effect(name="slow", undo=undo)
async def slow(ref: str, idempotency_key: str = injected()) -> str:
    """Take its time."""
    await WAITS["go"].wait()
    MADE.append(ref)
    return ref


async def made(ref: str) -> str:
    """Make the slow one."""
    return await slow(ref)


@agent(role="asks for two and waits for one", uses=[charge, slow], gates=[finished], ladder=[retry(1), give_up()], name="hasty")
async def hasty(what: str) -> str:
    """Ask for two things."""
    task = asyncio.ensure_future(made("first"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await charge("second")
    return "draft" if not task.done() else "done"


@workflow(name="hurries")
async def hurries() -> str:
    """Have a hasty agent do it."""
    return await hasty("a")


async def test_an_agents_effects_are_undone_newest_first(supervised: Supervised) -> None:
    """What an agent asked for first and what settled last is undone first."""
    WAITS["go"] = asyncio.Event()
    MADE.clear()
    await supervised.start(hurries())
    while "second" not in MADE:
        await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    WAITS["go"].set()
    await supervised.rest()
    await supervised.advance(10)
    assert MADE == ["second", "first", "undo first", "undo second"]


# -- deadlines ----------


@effect(name="stuck", undo=lose)
async def stuck(ref: str) -> str:
    """Give a receipt that cannot be taken back."""
    return f"receipt {ref}"


@workflow(name="waits too long")
async def waits_too_long() -> str:
    """Charge, and wait for longer than the run may last."""
    await stuck("x")
    await sleep(1000)
    return "slept"


async def test_a_rollback_that_is_taken_up_again_does_not_watch_the_deadline(supervised: Supervised) -> None:
    """A driver that finds a run in the middle of its rollback sleeps until something happens: its deadline has had its effect."""
    run = await supervised.start(waits_too_long(), deadline=60.0)
    await supervised.advance(61)
    assert await run.status() == "rolling back"
    await supervised.crash()
    await supervised.rest()
    assert supervised.supervisor.carrier is not None
    (driver,) = supervised.supervisor.carrier._drivers.values()
    assert "!deadline" not in driver.dues


@workflow(name="wires too late")
async def wires_too_late() -> str:
    """Send what cannot be taken back, and wait for longer than the run may last."""
    await wire("final")
    await sleep(1000)
    return "slept"


async def test_who_has_a_run_go_on_after_its_deadline_lifts_it(supervised: Supervised) -> None:
    """A run that ended by its deadline goes on when a person says so, and is not ended by it again at once."""
    run = await supervised.start(wires_too_late(), deadline=60.0)
    await supervised.advance(61)
    (entry,) = await supervised.waiting()
    await supervised.supervisor.decide(entry, Decision("go on"), by=ANN)
    await supervised.advance(1000)
    assert await run.result() == "slept"


# -- processes that stand still ----------


async def test_who_stands_still_while_asking_sends_nothing(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stands still between asking whether the run is its own and hearing the answer asks once more before it sends."""
    MADE.clear()
    run = await supervised.start(waits_for_go())
    await supervised.rest()
    journal, clock = supervised.supervisor.journal, supervised.clock
    append, still_mine = journal.append, journal.still_mine
    asked: list[bool] = []

    async def late(commit: Any) -> Any:
        records = await append(commit)
        if any(record.type == "effect.intended" for record in records):
            clock.advance(55)  # the answer took longer than the lease allows: the driver asks before it sends
        return records

    async def slow_answer(number: int, epoch: int) -> bool:
        mine = await still_mine(number, epoch)
        asked.append(mine)
        if len(asked) == 1:
            clock.advance(300)
            stored = journal._store.runs[number]  # type: ignore[attr-defined]
            stored.row = replace(stored.row, epoch=epoch + 1, owner=await journal.enlist())
        return mine

    monkeypatch.setattr(journal, "append", late)
    monkeypatch.setattr(journal, "still_mine", slow_answer)
    await supervised.supervisor.signal(run.id, "go", 1)
    while len(asked) < 2:
        await asyncio.sleep(0.001)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (asked, MADE) == ([True, False], [])


@workflow(name="waits for go")
async def waits_for_go() -> str:
    """Charge when told to."""
    await wait_signal("go", int)
    return await charge("zombie")


@workflow(name="orders")
async def orders() -> str:
    """Order once somebody said yes."""
    return await ordered("thing")


async def test_a_run_that_comes_back_to_a_worker_is_driven_there(supervised: Supervised) -> None:
    """This worker stood still; another took the run over, wrote something and died. The old driver here still waits for a person."""
    run = await supervised.start(orders())
    (entry,) = await supervised.waiting()
    site, journal, row = supervised.supervisor.site, supervised.supervisor.journal, await supervised.supervisor.row(run.id)
    stored = journal._store.runs[row.number]  # type: ignore[attr-defined]
    stored.row = replace(row, owner="dead worker", epoch=row.epoch + 1, status="running")
    history = History().fold_all(await loaded(journal, row.number))
    log = RunLog(
        journal,
        site.clock,
        stored.row,
        history,
        standing=lambda: Standing("running", None, None),
        folded=lambda event, state: None,
        wake=lambda: None,
    )
    proposal = history.effect("ordered").proposal
    assert proposal is not None
    approved = {"by": {"id": "ann", "roles": []}, "approves": proposal["approves"]}
    log.put(Part([("effect.approved", "ordered", approved)], closed=[entry.id]))
    await log.flush()
    await supervised.advance(100)
    assert await run.status() == "completed"


async def test_what_is_noted_while_a_commit_is_refused_is_written_once(supervised: Supervised) -> None:
    """A commit is refused because a business key is held; what was noted before and meanwhile rides on the next, in order, once."""
    run = await supervised.start(waits_for_go(), "r")
    await supervised.rest()
    site, journal, row = supervised.supervisor.site, supervised.supervisor.journal, await supervised.supervisor.row(run.id)
    stored = journal._store.runs[row.number]  # type: ignore[attr-defined]
    stored.row = replace(row, owner="dead worker", epoch=row.epoch + 1, status="running")
    log = RunLog(
        journal,
        site.clock,
        stored.row,
        History().fold_all(await loaded(journal, row.number)),
        standing=lambda: Standing("running", None, None),
        folded=lambda event, state: None,
        wake=lambda: None,
    )
    append, holder = journal.append, KeyRow("test", "charge", "k", "other", "charge", 1, "", "held", None, 0)

    async def refusing(commit: Commit) -> Sequence[Record]:
        journal.append = append  # type: ignore[method-assign]
        log.note(("now.read", "now#2", {"v": 2.0}))
        raise KeyHeld(holder)

    for first in (True, False):
        if first:
            log.note(("now.read", "now", {"v": 1.0}))
        journal.append = refusing  # type: ignore[method-assign]
        log.put(Part([("call.done", "refused", {"v": 0})]))
        await log.flush()
        log.put(Part([("call.done", f"step {first}", {"v": 0})]))
        await log.flush()
    paths = [event.path for event in await loaded(journal, row.number, row.seq)]
    assert paths == ["now", "now#2", "step True", "now#2", "step False"]


# -- done by hand ----------


@effect(name="approved wire", final=True)
async def approved_wire(ref: str, idempotency_key: str = injected()) -> str:
    """Send what cannot be taken back once somebody said yes."""
    return "receipt"


@workflow(name="wires by hand")
async def wires_by_hand() -> str:
    """Fail behind a final effect."""
    await charge("before")
    await approved_wire("final")
    fail("after")
    return "never"


async def test_a_final_effect_that_was_done_by_hand_is_a_pivot(supervised: Supervised) -> None:
    """What cannot be taken back is final also when a person did it: the rollback stops there and asks."""
    await supervised.start(wires_by_hand())
    (entry,) = await supervised.waiting()
    await supervised.supervisor.decide(entry, DoneByHand("receipt"), by=ANN)
    (entry,) = await supervised.waiting()
    assert entry.decisions == ("go on", "undo", "leave")


# -- branches that outlive their gather ----------


@workflow(name="sleeps and charges")
async def sleeps_and_charges(seconds: float) -> str:
    """Charge after a while."""
    await sleep(seconds)
    return await charge("late")


@workflow(name="waits for the slow one")
async def waits_for_the_slow_one(seconds: float) -> str:
    """Make the slow one, then charge."""
    await slow("slow")
    return await charge("late")


@workflow(name="fails before its branch")
async def fails_before_its_branch(busy: bool) -> str:
    """Fail while a branch of this scope goes on by itself."""
    try:
        async with saga():
            late = waits_for_the_slow_one(10) if busy else sleeps_and_charges(10)
            await gather(late, contain=True, within=1)
            fail("the scope")
    except Failure:
        pass
    await sleep(100)
    return "done"


async def test_a_branch_that_only_waits_ends_with_its_scope(supervised: Supervised) -> None:
    """A branch that outlived its gather begins nothing any more when the scope around it has failed."""
    MADE.clear()
    run = await supervised.start(fails_before_its_branch(False))
    await supervised.advance(1)
    await supervised.crash()
    await supervised.advance(200)
    assert await run.result() == "done"
    assert MADE == []


async def test_a_branch_that_is_busy_is_waited_for_and_undone(supervised: Supervised) -> None:
    """What such a branch was doing when its scope failed comes to its outcome, and is undone with the scope."""
    MADE.clear()
    WAITS["go"] = asyncio.Event()
    run = await supervised.start(fails_before_its_branch(True))
    for _ in range(200):
        await asyncio.sleep(0)
    supervised.clock.advance(2)
    for _ in range(200):
        await asyncio.sleep(0)
    assert MADE == []
    WAITS["go"].set()
    await supervised.advance(200)
    assert await run.result() == "done"
    assert MADE == ["slow", "undo slow"]


# -- what a person has go on ----------


@effect(name="posted", undo=undo)
async def posted(ref: str) -> str:
    """Lose the answer."""
    MADE.append(f"post {ref}")
    raise ConnectionResetError("lost")


@workflow(name="posts behind a final effect")
async def posts_behind_a_final_effect() -> str:
    """Be in doubt behind a final effect."""
    await wire("final")
    return await posted("letter")


async def test_a_doubt_that_was_given_up_is_a_doubt_again(supervised: Supervised) -> None:
    """A person gave a doubt up and has the run go on: it is asked about again, and nothing is sent before."""
    MADE.clear()
    run = await supervised.start(posts_behind_a_final_effect())
    await supervised.rest()
    await supervised.cancel(run)
    (entry,) = await supervised.waiting()
    await supervised.supervisor.decide(entry, Abandon("nobody can tell"), by=ANN)
    await supervised.rest()
    (pivot,) = await supervised.waiting()
    await supervised.supervisor.decide(pivot, Decision("go on"), by=ANN)
    await supervised.advance(10)
    (again,) = await supervised.waiting()
    assert (again.kind, again.path, MADE) == ("doubt", "posted", ["post letter"])


async def never(ref: str) -> None:
    """Refuse to take it back."""
    raise NotDone("no", permanent=True)


@effect(name="stubborn", undo=never)
async def stubborn(ref: str) -> str:
    """Make what cannot be taken back after all."""
    MADE.append(ref)
    return f"receipt {ref}"


@agent(role="buys two", uses=[charge, stubborn], name="buyer of two")
async def buyer_of_two(what: str) -> str:
    """Buy two things, one of which cannot be taken back."""
    await stubborn("stays")
    await charge(what)
    return "bought"


@workflow(name="buys two and fails")
async def buys_two_and_fails() -> str:
    """Fail behind an agent that has made two things."""
    await wire("final")
    await buyer_of_two("thing")
    return await refused("z")


async def test_what_stands_is_not_made_again(supervised: Supervised) -> None:
    """An agent is made anew; what a person let stand of its effects gives back what it gave, what was undone is made again."""
    MADE.clear()
    run = await supervised.start(buys_two_and_fails())
    await supervised.advance(10)
    (letter,) = await supervised.waiting()
    await supervised.supervisor.decide(letter, Abandon("it may stay"), by=ANN)
    await supervised.advance(10)
    (pivot,) = await supervised.waiting()
    supervised.replace(refused, mended)
    await supervised.supervisor.decide(pivot, Decision("go on"), by=ANN)
    await supervised.advance(10)
    assert await run.status() == "completed"
    assert MADE == ["stays", "thing", "undo thing", "thing"]
