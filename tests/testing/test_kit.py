"""The test kit keeps its own promises: time, people, crashes and stand-ins as documented."""

from __future__ import annotations

import asyncio
import threading

import pytest

from chargehand import (
    Answer,
    Approve,
    DecisionRefused,
    Denied,
    Feedback,
    Person,
    Reject,
    Retry,
    TimedOut,
    agent,
    ask_human,
    effect,
    gather,
    give_up,
    injected,
    read,
    retry,
    sleep,
    wait_signal,
    workflow,
)
from chargehand.testing import POINTS, JumpingClock, ScriptEnded, Stuck, Supervised, always, scripted


class Books:
    """The world's own books."""

    def __init__(self) -> None:
        self.lines: list[str] = []


async def refund(receipt: str, books: Books = injected()) -> None:
    books.lines.append(f"refund {receipt}")


@effect(undo=refund)
async def charge(amount: int, books: Books = injected(), idempotency_key: str = injected()) -> str:
    books.lines.append(f"charge {amount}")
    return f"r{amount}"


@effect(final=True)
async def ship(to: str, idempotency_key: str = injected()) -> str:
    return f"to {to}"


@agent(role="Guesses a number.", ladder=[retry(3), give_up()])
async def guesser(n: int, feedback: Feedback | None = None) -> int:
    return n


@agent(role="Never answers.", timeout=30, ladder=[retry(1), give_up()], retry_errors=Retry(attempts=2, jitter=False))
async def hangs(n: int) -> int:
    await asyncio.Event().wait()
    return n


@read
def on_a_thread(n: int) -> int:
    ended = threading.Event()
    threading.Timer(0.03, ended.set).start()
    ended.wait()
    return n


@workflow
async def buy(n: int) -> str:
    receipt = await charge(await guesser(n))
    await sleep(3600)
    return receipt + await ship("town")


@workflow
async def listens(n: int) -> int:
    return await wait_signal("go", int, within=60)


@workflow
async def patient(n: int) -> str:
    try:
        await gather(on_a_thread(n), hangs(n), stop_early=False)
    except ExceptionGroup as group:
        return type(group.exceptions[0]).__name__
    return "no failure"


@workflow
async def asks(question: str) -> int:
    return await ask_human(question, int, role="ops", within=600)


def test_the_clock_stands_still_until_it_jumps() -> None:
    """Waits end exactly when their time is reached, a step moves the wall clock only."""

    async def main() -> None:
        clock = JumpingClock()
        start, monotonic = clock.now(), clock.monotonic()
        waits = [asyncio.ensure_future(clock.wait(start + 0.3)), asyncio.ensure_future(clock.sleep(0.1))]
        await asyncio.sleep(0)
        assert clock.next_in() == pytest.approx(0.1)
        clock.advance(clock.next_in() or 0.0)
        await asyncio.wait(waits[1:])
        clock.step(-10.0)
        assert clock.next_in() == pytest.approx(10.2)
        assert clock.monotonic() == pytest.approx(monotonic + 0.1)
        clock.step(11.0)
        await asyncio.wait(waits)

    asyncio.run(main())


async def test_time_passes_only_in_the_kits_awaits(supervised: Supervised) -> None:
    """A signal that comes a second before the end is in time, one that comes after it is not."""
    run = await supervised.start(listens(1))
    await supervised.advance(59)
    await supervised.signal(run, "go", 3)
    assert await run.result() == 3
    late = await supervised.start(listens(2))
    await supervised.advance(61)
    with pytest.raises(TimedOut):
        await late.result()


async def test_a_thread_is_waited_for_and_a_hanging_call_overtaken(supervised: Supervised) -> None:
    """What really runs takes real time, what never ends takes its timeout."""
    started = supervised.clock.now()
    assert await supervised.run(patient(1)) == "TimedOut"
    assert supervised.clock.now() - started == pytest.approx(61.0, abs=1.0)


async def test_a_call_that_really_sleeps_is_waited_for(supervised: Supervised) -> None:
    """A stand-in that sleeps for real is not overtaken by its timeout."""

    async def naps(n: int) -> int:
        await asyncio.sleep(0.1)
        return n

    supervised.replace(hangs, naps)
    assert await supervised.run(patient(1)) == "no failure"


async def test_a_run_that_nobody_decides_fails_the_test(supervised: Supervised) -> None:
    """`Stuck` names what waits and what was not played."""
    supervised.replace(Books, Books())
    run = await supervised.start(buy(3))
    supervised.decide("nothing like it", Approve())
    with pytest.raises(Stuck, match=r"(?s)approval.*ship: may it be done.*not played: the decision 'approve' on 'nothing like it'"):
        await run.result()


async def test_people_may_be_played_beforehand_or_as_it_happens(supervised: Supervised) -> None:
    """A decision of the wanted role is made by default; a person without it is refused."""
    run = await supervised.start(asks("how many?"))
    with pytest.raises(DecisionRefused, match="ops"):
        await supervised.decide("question", Answer(1), by=Person("petra"))
    (entry,) = await supervised.decide("question", Answer(2))
    assert entry.shows["question"] == "how many?"
    assert await run.result() == 2
    supervised.decide("question", Answer(3))
    assert await supervised.run(asks("and now?")) == 3


async def test_a_play_waits_for_its_own_run(supervised: Supervised) -> None:
    """With run= a decision leaves other runs alone."""
    first, second = await supervised.start(asks("first?")), await supervised.start(asks("second?"))
    await supervised.decide("question", Answer(2), run=second)
    assert [entry.run_id for entry in await supervised.waiting()] == [first.id]


async def test_effects_are_told_with_their_undos(supervised: Supervised) -> None:
    """assert_effects names what was done and undone, in order, and shows both lists when it differs."""
    books = Books()
    supervised.replace(Books, books)
    run = await supervised.start(buy(3))
    await supervised.decide("ship", Reject("no"))
    with pytest.raises(Denied):
        await run.result()
    await supervised.assert_effects(run, [("charge", {"amount": 3}), "undo charge"])
    assert books.lines == ["charge 3", "refund r3"]
    with pytest.raises(AssertionError, match=r"undo charge"):
        await supervised.assert_effects(run, ["charge"])
    for wrong in (charge(3), ("charge", 3), 7):
        with pytest.raises(TypeError, match="names no effect"):
            await supervised.assert_effects(run, [wrong, "undo charge"])


@pytest.mark.parametrize("point", POINTS)
async def test_it_dies_at_every_point_and_goes_on(supervised: Supervised, point: str) -> None:
    """A simulated crash leaves what the last commit left; the next process ends the run as if nothing had happened."""
    books = Books()
    supervised.replace(Books, books)
    supervised.decide("approval", Approve())
    supervised.crash_at(point)
    assert await supervised.run(buy(3)) == "r3to town"
    passed = "step" not in point and "undo" not in point
    assert supervised.crashes == int(passed)
    assert books.lines == ["charge 3"] * (2 if point == "after send" else 1)


def test_a_misspelt_point_is_refused() -> None:
    """A crash that could never come is no test."""
    with pytest.raises(ValueError, match="after intent"):
        Supervised().crash_at("after intend")


async def test_unload_and_restart_keep_the_run(supervised: Supervised) -> None:
    """What waits is found again by the next driver, in memory or not."""
    run = await supervised.start(listens(1))
    await supervised.unload()
    assert await run.status() == "waiting"
    await supervised.restart()
    await supervised.signal(run, "go", 5)
    assert await run.result() == 5


async def test_a_script_that_ends_too_early_fails_the_test(supervised: Supervised) -> None:
    """The missing answer is the test's failure, not the agent's."""
    supervised.replace(guesser, scripted("no number"))
    with pytest.raises(ScriptEnded, match="has 1 answers"):
        await supervised.run(buy(3))


async def test_answers_may_be_values_errors_and_functions(supervised: Supervised) -> None:
    """An exception is raised, a function is called with what it names, and every call is noted."""
    books = Books()
    supervised.replace(Books, books)
    script = scripted("no number", ConnectionResetError("away"), lambda n: n + 1)
    supervised.replace(guesser, script)
    supervised.decide("approval", Approve())
    assert await supervised.run(buy(3)) == "r4to town"
    assert [call["n"] for call in script.calls] == [3, 3, 3]
    assert "no language model" in repr(script) or "scripted" in repr(script)


async def test_the_way_back_can_be_replaced_too(supervised: Supervised) -> None:
    """An undo is replaced by its function, and its stand-in gets what it names; no resource is made for it."""
    supervised.replace(charge, always("r9"))
    undone: list[str] = []
    supervised.replace(refund, lambda receipt: undone.append(receipt))
    run = await supervised.start(buy(3))
    await supervised.decide("ship", Reject("no"))
    with pytest.raises(Denied):
        await run.result()
    assert undone == ["r9"]


async def test_two_processes_share_journal_and_clock(supervised: Supervised) -> None:
    """A process that only starts and decides sees the runs of the one that works."""
    await supervised.rest()
    await supervised.start(asks("known?"))
    web = supervised.beside([asks], work=False)
    run = await web.start(asks("how many?"))
    await web.decide("question", Answer(4), run=run)
    assert await run.result() == 4
    await web.close()
