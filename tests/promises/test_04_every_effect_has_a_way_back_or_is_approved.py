"""Promise 4: every effect has a way back, or is final and was approved."""

from __future__ import annotations

import pytest

from chargehand import Approve, DefinitionError, Denied, Reject, agent, effect, fail, injected, workflow
from chargehand.errors import NoWayBack, RunFailed
from chargehand.testing import Supervised

DONE: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests did."""
    DONE.clear()


async def take_back(what: str) -> None:
    DONE.remove(what)


@effect(undo=take_back)
async def reversible(what: str) -> str:
    DONE.append(what)
    return what


@effect(final=True)
async def final(what: str) -> str:
    DONE.append(what)
    return what


@effect(final=True, approve=False)
async def trusted(what: str) -> str:
    DONE.append(what)
    return what


@effect(final=True, once_per="agent")
async def announce(what: str) -> str:
    DONE.append(what)
    return what


@agent(role="Announces.", uses=[announce])
async def announcer(what: str) -> str:
    return await announce(what)


@workflow
async def does_final() -> str:
    return await final("posted")


@workflow
async def does_trusted() -> str:
    return await trusted("logged")


@workflow
async def does_and_fails() -> str:
    await reversible("booked")
    fail("no budget")


@workflow
async def has_announced() -> str:
    return await announcer("news")


def test_an_effect_that_says_neither_is_refused() -> None:
    """No way back and not declared final: it cannot be defined."""
    with pytest.raises(NoWayBack, match="undo=…, or final=True"):

        @effect()
        async def neither(what: str) -> None: ...

    with pytest.raises(DefinitionError, match="both"):

        @effect(undo=take_back, final=True)
        async def both(what: str) -> None: ...


async def test_a_final_effect_waits_for_a_person(supervised: Supervised) -> None:
    """Nothing is sent before the approval, and nothing at all after a no."""
    run = await supervised.start(does_final())
    await supervised.advance(7 * 24 * 3600)
    assert DONE == []
    (entry,) = await supervised.waiting()
    assert entry.kind == "approval"
    assert entry.shows["final"] is True
    await supervised.decide("approval", Reject("not now"))
    with pytest.raises(Denied, match="not now"):
        await run.result()
    assert DONE == []


async def test_an_approved_final_effect_is_done(supervised: Supervised) -> None:
    """With the approval it runs once."""
    supervised.decide("approval", Approve())
    assert await supervised.run(does_final()) == "posted"
    assert DONE == ["posted"]


async def test_only_written_out_trust_goes_without(supervised: Supervised) -> None:
    """approve=False has to be written; then nobody is asked."""
    assert await supervised.run(does_trusted()) == "logged"


@pytest.mark.parametrize("approve", ["final", "every"])
async def test_a_team_under_heavy_supervision_is_asked_all_the_same(approve: str) -> None:
    """Configuration can take the trust back."""
    async with Supervised(approve=approve) as supervised:
        run = await supervised.start(does_trusted())
        await supervised.rest()
        assert DONE == []
        await supervised.decide("approval", Approve())
        assert await run.result() == "logged"


async def test_every_asks_for_what_can_be_undone_too() -> None:
    """approve="every" asks a person before each effect."""
    async with Supervised(approve="every") as supervised:
        run = await supervised.start(does_and_fails())
        await supervised.decide("reversible", Approve())
        with pytest.raises(RunFailed):
            await run.result()
        assert DONE == []


async def test_the_way_back_is_taken(supervised: Supervised) -> None:
    """A failed run undoes what has a way back, without asking anybody."""
    run = await supervised.start(does_and_fails())
    with pytest.raises(RunFailed, match="no budget"):
        await run.result()
    await supervised.assert_effects(run, ["reversible", "undo reversible"])
    assert DONE == []


def test_an_agents_final_effect_needs_a_key_or_once_per_agent() -> None:
    """A model that words its call anew could make a final effect twice: refused where the agent is defined."""
    with pytest.raises(DefinitionError, match="once_per"):

        @agent(role="Posts.", uses=[final])
        async def poster(what: str) -> str:
            return await final(what)


async def test_an_agents_final_effect_is_approved_too(supervised: Supervised) -> None:
    """Inside an agent a final effect asks like anywhere else."""
    run = await supervised.start(has_announced())
    await supervised.rest()
    assert DONE == []
    await supervised.decide("announce", Approve())
    assert await run.result() == "news"
    assert DONE == ["news"]


def test_an_undo_that_could_never_be_called_is_refused() -> None:
    """The way back asks for something that the effect does not take: found where it is defined."""

    async def impossible(receipt: str, customer: str) -> None: ...

    with pytest.raises(DefinitionError, match="customer"):

        @effect(undo=impossible)
        async def buys(what: str, idempotency_key: str = injected()) -> str:
            return what
