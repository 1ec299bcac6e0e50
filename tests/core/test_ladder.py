"""The ladder: what follows a rejection."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from chargehand import DefinitionError, escalate, fall_back, give_up, reassign, retry
from chargehand.core.ladder import Climb, Rung, checked_ladder, climb, climbed_from

OTHER = object()
FULL = (retry(2), reassign(OTHER), escalate(to="ops"), fall_back(0))


@pytest.mark.parametrize(
    ("ladder", "rung", "tries", "options", "to"),
    [
        (FULL, 0, 0, {}, (0, "retry")),
        (FULL, 0, 1, {}, (1, "reassign")),
        (FULL, 1, 0, {}, (2, "escalate")),
        (FULL, 2, 0, {}, (3, "fall back")),
        (FULL, 0, 0, {"permanent": True}, (1, "reassign")),
        (FULL, 0, 0, {"only_person": True}, (2, "escalate")),
        (FULL, 1, 0, {"only_person": True}, (2, "escalate")),
        (FULL, 2, 0, {"only_person": True}, (3, "fall back")),
        ((retry(3), give_up()), 0, 2, {}, (1, "give up")),
        ((retry(3), give_up()), 0, 0, {"only_person": True}, (2, "escalate")),
        ((retry(3), give_up()), 2, 0, {"only_person": True}, (2, "give up")),
        ((retry(1),), 0, 0, {}, (1, "give up")),
        ((retry(1), reassign(OTHER, attempts=2), give_up()), 1, 0, {}, (1, "reassign")),
        ((retry(1), reassign(OTHER, attempts=2), give_up()), 1, 1, {}, (2, "give up")),
        ((retry(1), escalate(), escalate()), 1, 0, {}, (2, "escalate")),
        ((retry(1), escalate(), escalate()), 1, 0, {"only_person": True}, (2, "escalate")),
        ((retry(1), escalate(), give_up()), 1, 0, {"only_person": True}, (2, "give up")),
        ((retry(1), escalate()), 2, 0, {}, (2, "give up")),
    ],
)
def test_each_rejection_leads_to_one_rung(
    ladder: Sequence[Rung], rung: int, tries: int, options: dict[str, bool], to: tuple[int, str]
) -> None:
    """retry(n) is n attempts in all; a final effect goes to a person, whatever the ladder says."""
    assert climb(tuple(ladder), rung, tries, **options) == Climb(*to)  # type: ignore[arg-type]


def test_a_ladder_ends() -> None:
    """From anywhere, rejections climb to the end in as many steps as there are attempts."""
    for ladder in (FULL, (retry(5), give_up()), (retry(1), escalate(), escalate(), give_up())):
        rung, tries, steps = 0, 0, 0
        while rung < len(ladder) and steps < 50:
            to = climb(tuple(ladder), rung, tries)
            rung, tries, steps = to.rung, tries + 1 if to.rung == rung else 0, steps + 1
        assert steps <= sum(max(one.attempts, 1) for one in ladder)


@pytest.mark.parametrize(
    ("rungs", "why"),
    [
        ([escalate(), retry(2)], "is the first rung"),
        ([give_up(), escalate()], "Nothing comes after the rung 'give up'"),
        ([fall_back(1), give_up()], "Nothing comes after the rung 'fall back'"),
        ([retry(2), "escalate"], "not 'escalate'"),
    ],
)
def test_a_rung_that_could_never_be_reached_is_refused(rungs: list[Rung], why: str) -> None:
    """A ladder that does not mean what it says is found at definition."""
    with pytest.raises(DefinitionError, match=re.escape(why)):
        checked_ladder(rungs)


@pytest.mark.parametrize("otherwise", [retry(2), reassign(OTHER), escalate()])
def test_otherwise_ends_the_ladder(otherwise: Rung) -> None:
    """An expired escalation falls back or gives up; anything else is a rung of its own."""
    with pytest.raises(DefinitionError, match="otherwise"):
        escalate(within=60, otherwise=otherwise)


def test_a_rung_is_what_it_was_made_with() -> None:
    """What `reassign` and `escalate` are given is what the ladder does."""
    assert reassign(OTHER, attempts=2) == Rung("reassign", attempts=2, to=OTHER)
    assert escalate("ops", within=60, otherwise=give_up()) == Rung("escalate", to="ops", within_seconds=60.0, otherwise=give_up())
    assert escalate(otherwise=fall_back(1)) == Rung("escalate", otherwise=Rung("fall back", value=1))


def test_no_attempt_is_no_ladder() -> None:
    """retry(0) would never call the agent."""
    with pytest.raises(DefinitionError, match="at least 1"):
        retry(0)
    assert climbed_from((give_up(),))[0] == retry(1)
