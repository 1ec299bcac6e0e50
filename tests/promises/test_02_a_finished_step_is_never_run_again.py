"""Promise 2: a finished step is never run again in the same run; a crash costs at most the calls in flight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from random import Random
from typing import Any

import pytest

from chargehand import Feedback, agent, effect, gather, injected, now, random, read, saga, sleep, step, uuid4, workflow
from chargehand.testing import Supervised

MADE: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests ran."""
    MADE.clear()
    BRANCHES.clear()


@step
async def plain(name: str) -> str:
    MADE[name] += 1
    return name.upper()


@read
async def looked_up(name: str) -> str:
    MADE[name] += 1
    return name.upper()


async def taken_back(name: str) -> None:
    MADE[f"undo {name}"] += 1


@effect(undo=taken_back)
async def made(name: str, idempotency_key: str = injected()) -> str:
    MADE[name] += 1
    return name.upper()


@agent(role="Looks something up and says it.", uses=[looked_up, made])
async def clerk(name: str, feedback: Feedback | None = None) -> str:
    MADE[f"clerk {name}"] += 1
    await made(f"{name} made")
    return await looked_up(f"{name} looked up")


@workflow
async def inner(name: str) -> str:
    await plain(f"{name} one")
    return await plain(f"{name} two")


@workflow
async def everything() -> list[str]:
    said = [await plain("first"), str(now()), str(uuid4()), str(random())]
    said += await gather(plain("left"), looked_up("right"), inner("nested"))
    async with saga():
        said.append(await made("in a saga"))
    await sleep(60)
    said.append(await clerk("ann"))
    said.append(await plain("last"))
    return said


@workflow
async def shares(seed: int) -> list[str]:
    """Branches that share a list, in a pattern that depends on the seed only; what each asks next depends on the list."""
    dice, log = Random(seed), list[str]()
    plans = [[dice.choice((0, 0, 5, 10, 15)) for _ in range(dice.randint(1, 4))] for _ in range(dice.randint(2, 4))]

    async def branch(number: int) -> str:
        for pause in plans[number]:
            if pause:
                await sleep(pause)
            log.append(f"{number} at {len(log)}")
            await plain(f"{number} sees {len(log)}")
        return f"{number} ends at {len(log)}"

    BRANCHES.update({number: partial(branch, number) for number in range(len(plans))})
    ends = await gather(*[one_branch(number) for number in range(len(plans))], at_once=dice.choice((None, 2)))
    await plain(", ".join(log))
    return [*log, *ends]


BRANCHES: dict[int, Callable[[], Coroutine[Any, Any, str]]] = {}


@workflow
async def one_branch(number: int) -> str:
    return await BRANCHES[number]()


async def undisturbed() -> tuple[list[str], int]:
    """Return what a run says that nothing disturbs, without time and dice, and in how many commits."""
    async with Supervised([everything]) as calm:
        plan = calm.crash_at("after commit", nth=10_000)
        said = await calm.run(everything())
        return said[:1] + said[4:], plan.passed


async def test_what_is_done_is_not_done_again_wherever_it_dies() -> None:
    """At every commit of a run of every kind of call: the outcome is the same, and only what was in flight is made twice."""
    expected, commits = await undisturbed()
    for point in ("before commit", "after commit"):
        for nth in range(1, commits + 1):
            MADE.clear()
            async with Supervised([everything]) as supervised:
                supervised.crash_at(point, nth=nth)
                run = await supervised.start(everything())
                said = await run.result()
                assert supervised.crashes == 1
                assert said[:1] + said[4:] == expected
                settled = [event for event in await run.events() if event.type in ("call.done", "effect.done", "agent.released")]
                assert len(settled) == len({event.path for event in settled}), f"{point} {nth}: a call was finished twice"
                again = {name for name, count in MADE.items() if count > 1}
                assert len(again) <= 3, f"{point} {nth}: {again}"  # three branches, or a body with the call it was making
                assert all(count <= 2 for count in MADE.values()), f"{point} {nth}: {MADE}"


async def test_a_finished_step_survives_a_crash_after_its_commit(supervised: Supervised) -> None:
    """A crash right after each result is on disk repeats none of them."""
    for path in ("plain", "gather.1/plain", "gather.2/looked_up", "gather.3/inner/plain", "plain#2"):
        supervised.crash_at("after commit", path)
    await supervised.run(everything())
    assert supervised.crashes == 3  # the branches share a commit
    assert {name: MADE[name] for name in ("first", "left", "right", "nested one", "nested two", "last")} == dict.fromkeys(
        ("first", "left", "right", "nested one", "nested two", "last"), 1
    )


@pytest.mark.parametrize("seed", range(12))
async def test_branches_that_share_a_variable_replay_alike(seed: int) -> None:
    """Wherever it dies, the replay meets the branches in the order of the journal: nothing diverges, and the list is the one that was recorded."""
    for nth in range(1, 25, 2):
        async with Supervised([shares, one_branch]) as supervised:
            plan = supervised.crash_at("after commit", nth=nth)
            run = await supervised.start(shares(seed))
            said = await run.result()
            recorded = [event.payload["v"] for event in await run.events("plain")]
            assert recorded == [", ".join(said[: len(said) - len(BRANCHES)]).upper()], f"crash at commit {nth}"
            if plan.passed < nth:
                return


async def test_time_and_dice_are_the_same_on_replay(supervised: Supervised) -> None:
    """now, uuid4 and random give after a crash what they gave before it."""
    run = await supervised.start(everything())
    await supervised.rest()
    (noted,) = [event.payload["v"] for event in await run.events() if event.type == "now.read"]
    await supervised.advance(30)
    await supervised.crash()
    said = await run.result()
    assert [event.payload["v"] for event in await run.events() if event.type == "now.read"] == [noted]
    async with Supervised([everything]) as other:
        assert (await other.run(everything()))[2] != said[2]


async def test_unloading_costs_nothing(supervised: Supervised) -> None:
    """A run that left memory and came back repeats no step."""
    run = await supervised.start(everything())
    await supervised.unload()
    await run.result()
    assert set(MADE.values()) == {1}


async def test_the_sleep_is_not_begun_anew(supervised: Supervised) -> None:
    """A crash in the middle of a sleep does not lengthen it."""
    started = supervised.clock.now()
    run = await supervised.start(everything())
    await supervised.advance(40)
    await supervised.crash()
    await run.result()
    assert supervised.clock.now() == started + 60
