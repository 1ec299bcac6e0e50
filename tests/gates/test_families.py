"""Voters that would share the producer's blind spots are refused where the agent is defined."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand import Monoculture, agent, ahead_by, give_up, quorum, reassign, retry


def voter(family: str | None) -> Any:
    @agent(role="Judges.", family=family)
    async def judge(text: str) -> bool:
        return True

    return judge


@pytest.mark.parametrize("gate", [quorum, ahead_by])
@pytest.mark.parametrize(
    ("own", "other", "voting", "refused"),
    [
        ("a", "b", "c", False),
        ("a", "b", "a", True),
        ("a", "b", "b", True),  # the other agent's output is judged by its own family
        ("a", None, "c", True),  # nobody knows whose
        (None, "b", "c", True),
        ("a", "b", None, True),
    ],
)
def test_a_voter_of_the_producers_family_is_refused(gate: Any, own: Any, other: Any, voting: Any, refused: bool) -> None:
    """Whoever produces, the agent or the one that its ladder reassigns to: its family does not judge its output, nor does one that is not declared, unless that is said."""

    @agent(role="Writes.", family=other)
    async def stands_in(topic: str) -> str:
        return topic

    def define(allow: bool) -> Any:
        @agent(
            role="Writes.",
            family=own,
            gates=[gate(1, of=[voter(voting)])],
            ladder=[retry(1), reassign(stands_in), give_up()],
            allow_same_family=allow,
        )
        async def writer(topic: str) -> str:
            return topic

        return writer

    define(allow=True)
    if refused:
        with pytest.raises(Monoculture, match="Declare different families"):
            define(allow=False)
    else:
        define(allow=False)


def test_the_family_is_taken_from_the_models_name() -> None:
    """An agent that names a model need not declare its family; what is declared counts."""

    @agent(role="Writes.", model="openai:gpt-5-mini")
    async def named(topic: str) -> str: ...

    @agent(role="Writes.", model="openai:gpt-5-mini", family="other")
    async def declared(topic: str) -> str: ...

    assert (named.family, named.model, declared.family) == ("openai", "openai:gpt-5-mini", "other")
