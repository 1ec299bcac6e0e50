"""Starting many runs at once."""

from __future__ import annotations

import pytest

from chargehand import InvalidInput, RunConflict, Supervisor, workflow
from chargehand.errors import Unserialisable


@workflow
async def echo(n: int) -> int:
    """Give back what came."""
    return n


async def test_a_conflict_among_many_leaves_none_of_the_others_undriven() -> None:
    """A conflicting id is refused, and every run that the same batch created is driven all the same."""
    async with Supervisor("memory:", [echo]) as supervisor:
        await supervisor.start(echo(1), id="taken")
        with pytest.raises(RunConflict, match="'taken'"):
            await supervisor.start_many([(echo(5), "before"), (echo(2), "taken"), (echo(6), "behind")])
        assert [await supervisor.run(id).result(timeout=5) for id in ("before", "behind")] == [5, 6]


@workflow
async def say(text: str) -> str:
    """Give back what came."""
    return text


@pytest.mark.parametrize("id", ["", "x" * 201, "a/b", "a\nb", "a\x1b[2K", "\ud800"])
async def test_an_id_that_could_not_be_shown_or_stored_is_refused(id: str) -> None:
    """A run's id is text that can be printed, stored, and told apart from the path of a call."""
    async with Supervisor("memory:", [say]) as supervisor:
        with pytest.raises(InvalidInput, match="cannot be a run's id"):
            await supervisor.start(say("x"), id=id)


def test_half_a_character_is_refused_when_the_call_is_made() -> None:
    """A text that has no UTF-8 fails at once and says which call it was meant for."""
    with pytest.raises(Unserialisable, match="say takes a text"):
        say("\ud800")
