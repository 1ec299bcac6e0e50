"""What an agent's contract may say beside role, gates and ladder."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from chargehand import Clarify, Rejected, Resource, Supervisor, agent, gate, give_up, read, retry, start, workflow
from chargehand.errors import DefinitionError


@gate
def positive(x: int) -> None:
    """Reject what is not positive."""
    if x <= 0:
        raise Rejected(f"{x} is not positive.")


@gate
def even(x: int) -> None:
    """Reject what is odd."""
    if x % 2:
        raise Rejected(f"{x} is odd.")


@agent(role="Gives what it is told.", gates=[positive, even], all_reasons=True, ladder=[retry(1), give_up()])
async def told_all(x: int) -> int:
    """Give it back."""
    return x


@agent(role="Gives what it is told.", gates=[positive, even], ladder=[retry(1), give_up()])
async def told_first(x: int) -> int:
    """Give it back."""
    return x


@workflow(name="contract.all")
async def all_of_them(x: int) -> int:
    """Ask for all reasons."""
    return await told_all(x)


@workflow(name="contract.first")
async def first_of_them(x: int) -> int:
    """Ask for the first reason."""
    return await told_first(x)


async def _failure(definition: object, x: int) -> str:
    async with Supervisor("memory:", [definition]) as supervisor:  # type: ignore[list-item]
        view = await supervisor.start(definition(x))  # type: ignore[operator]
        with pytest.raises(Rejected) as caught:
            await view.result(5)
    return str(caught.value)


async def test_all_reasons_are_told_when_asked_for() -> None:
    """With all_reasons every quick gate speaks, also after one has rejected."""
    assert await _failure(all_of_them, -3) == "told_all: -3 is not positive.; -3 is odd."


async def test_the_first_rejection_stops_the_rest() -> None:
    """Without it the first rejection stops the rest."""
    assert await _failure(first_of_them, -3) == "told_first: -3 is not positive."


calls: list[int] = []


@gate
def small(inputs: dict[str, int]) -> None:
    """Reject large inputs."""
    if inputs["x"] > 10:
        raise Rejected(f"{inputs['x']} is too large to begin with.")


@agent(role="Takes small numbers only.", admits=[small])
async def careful(x: int) -> int:
    """Note that it ran."""
    calls.append(x)
    return x


@workflow(name="contract.admits")
async def admitted(x: int) -> int:
    """Give the agent a number."""
    return await careful(x)


async def test_an_agent_does_not_begin_with_input_it_does_not_admit() -> None:
    """Gates on what an agent takes are asked before its first attempt; a rejection costs no attempt."""
    calls.clear()
    async with Supervisor("memory:", [admitted]) as supervisor:
        with pytest.raises(Rejected, match="too large to begin with"):
            await (await supervisor.start(admitted(11))).result(5)
        assert await (await supervisor.start(admitted(9))).result(5) == 9
    assert calls == [9]


class Limit:
    """A resource."""

    def __init__(self, most: int) -> None:
        self.most = most


@gate
def within_limit(x: int, limit: Limit) -> None:
    """Reject what is above the resource's limit."""
    if x > limit.most:
        raise Rejected(f"{x} is above {limit.most}.")


@agent(role="Gives numbers.", gates=[within_limit], ladder=[retry(1), give_up()])
async def limited(x: int) -> int:
    """Give it back."""
    return x


@workflow(name="contract.limited")
async def limited_run(x: int) -> int:
    """Ask the limited agent."""
    return await limited(x)


async def test_a_gate_is_given_its_resources() -> None:
    """A gate gets the resources that it asks for by annotation."""
    async with Supervisor("memory:", [limited_run], resources=[Resource(Limit, lambda: Limit(5))]) as supervisor:
        assert await (await supervisor.start(limited_run(5))).result(5) == 5
        with pytest.raises(Rejected, match="above 5"):
            await (await supervisor.start(limited_run(6))).result(5)


def _known(question: str) -> str:
    return "blue" if "colour" in question else "no idea"


@agent(role="Asks instead of guessing.", clarify=_known)
async def asks(thing: str, feedback: object = None) -> str | Clarify:
    """Never told through feedback, since it does not declare it."""
    return Clarify(f"Which colour has the {thing}?")


@workflow(name="contract.asks")
async def asking(thing: str) -> str:
    """Ask the agent that asks."""
    return await asks(thing)


async def test_questions_are_bounded() -> None:
    """An agent may ask twice; a third question is a rejected attempt, so that nobody is asked for ever."""
    async with Supervisor("memory:", [asking], ladder=[retry(1), give_up()]) as supervisor:
        with pytest.raises(Rejected, match="asked a third time"):
            await (await supervisor.start(asking("sky"), "r")).result(5)
        events = [event.type for event in await supervisor.run("r").events()]
    assert events.count("agent.asked") == events.count("agent.answered") == 2


@read
async def look(x: int) -> int:
    """Look."""
    return x + 1


@workflow(name="contract.child")
async def child(x: int) -> int:
    """Be started by another run."""
    return await look(x)


@workflow(name="contract.parent")
async def parent(x: int) -> list[str]:
    """Start two runs of their own: one by a name, one by this run's path."""
    return [await start(child(x), id="named"), await start(child(x))]


async def test_a_run_may_start_others_that_are_no_part_of_it() -> None:
    """start(…) in a workflow starts runs of their own, idempotent by id, which live on by themselves."""
    async with Supervisor("memory:", [parent, child]) as supervisor:
        ids = await (await supervisor.start(parent(1), "p")).result(5)
        assert ids[0] == "named"
        assert [await supervisor.run(id).result(5) for id in ids] == [2, 2]
        again = await supervisor.start(parent(1), "p2")
        with pytest.raises(AssertionError):
            assert (await again.result(5))[1] == ids[1]


def test_a_tool_must_be_a_definition() -> None:
    """A plain function among an agent's tools is refused when the agent is defined."""

    def plain(x: int) -> int:
        return x

    with pytest.raises(DefinitionError, match="plain"):

        @agent(role="Uses what it may not.", uses=[plain])  # type: ignore[list-item]
        async def wrong(x: int) -> int:
            return x


class Quote(BaseModel):
    """What an agent should give."""

    price: int


@agent(role="Gives something else.", ladder=[retry(1), give_up()])
async def gives_text(x: int) -> Quote:
    """Give a text."""
    return f"{x} francs"  # type: ignore[return-value]


@agent(role="Gives something else.", ladder=[retry(1), give_up()])
async def gives_many(x: int) -> list[Quote]:
    """Give a text."""
    return f"{x} francs"  # type: ignore[return-value]


@workflow(name="contract.text")
async def asks_for_one(x: int) -> Quote:
    """Ask for one."""
    return await gives_text(x)


@workflow(name="contract.many")
async def asks_for_many(x: int) -> list[Quote]:
    """Ask for many."""
    return await gives_many(x)


async def test_what_does_not_fit_is_told_as_its_author_writes_it() -> None:
    """The reason names the type, not Python's representation of it: a model reads it as feedback."""
    assert (await _failure(asks_for_one, 3)).startswith("gives_text: The output does not fit Quote: value: Input should be")
    assert (await _failure(asks_for_many, 3)).startswith(f"gives_many: The output does not fit list[{__name__}.Quote]: value: Input")
