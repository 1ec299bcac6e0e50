"""What comes next in the life of an effect."""

from __future__ import annotations

import itertools

import pytest

from chargehand.core.effect_life import Policy, after_try, next_move
from chargehand.core.lifecycle import EFFECT_MOVES, OPEN_STAGES, SETTLED_STAGES, STANDING_STAGES, UNDOING_STAGES, moved
from chargehand.core.states import EffectState
from chargehand.errors import IllegalMove
from chargehand.failures import Classified
from chargehand.limits import Retry

NOW = 1_000_000.0


def effect(stage: str, **facts: object) -> EffectState:
    """Return an effect that was sent a minute ago."""
    made = EffectState("e", stage=stage, sent_at=NOW - 60, tries=1)  # type: ignore[arg-type]
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def policy(recovery: str, attempts: int = 3) -> Policy:
    """Return what a definition says about recovery: "bare", "keyed" or "lookup"."""
    return Policy(Retry(attempts=attempts), keyed=recovery == "keyed", lookup=recovery == "lookup", idempotent_for=3600.0)


@pytest.mark.parametrize(
    ("stage", "needs_approval", "move"),
    [
        ("new", True, "propose"),
        ("new", False, "intend"),
        ("redriven", True, "propose"),
        ("redriven", False, "intend"),
        ("proposed", False, "person"),
        ("approved", False, "intend"),
        ("letter", False, "person"),
        ("doubt", False, "person"),
        ("undo letter", False, "person"),
        ("did not happen", False, "letter"),
        ("done", False, "settled"),
        ("denied", False, "settled"),
        ("failed", False, "settled"),
        ("undone", False, "settled"),
        ("stands", False, "settled"),
    ],
)
def test_each_stage_has_its_next_move(stage: str, needs_approval: bool, move: str) -> None:
    """The stages that do not depend on recovery."""
    assert next_move(effect(stage), policy("bare"), needs_approval, NOW) == move


@pytest.mark.parametrize(("recovery", "move"), [("bare", "doubt"), ("keyed", "send again"), ("lookup", "look up")])
def test_what_was_in_flight_when_we_died(recovery: str, move: str) -> None:
    """A crash: only a key or a look-up can find out, else a person."""
    assert next_move(effect("intended"), policy(recovery), False, NOW) == move


def test_a_key_that_the_world_forgot_is_no_recovery() -> None:
    """From idempotent_for after the first sending on, the key does not count."""
    assert next_move(effect("intended", sent_at=NOW - 3600), policy("keyed"), False, NOW) == "doubt"
    assert next_move(effect("intended", sent_at=NOW - 3599), policy("keyed"), False, NOW) == "send again"
    assert next_move(effect("intended", sent_at=NOW - 3601), policy("keyed"), False, NOW) == "doubt"
    assert next_move(effect("backoff", sent_at=NOW - 3601, doubtful=True, due=NOW), policy("keyed"), False, NOW) == "doubt"


@pytest.mark.parametrize(
    ("recovery", "doubtful", "due", "move"),
    [
        ("bare", False, NOW + 1, "wait"),
        ("bare", False, NOW, "send again"),
        ("bare", True, NOW, "doubt"),
        ("keyed", True, NOW, "send again"),
        ("keyed", True, NOW + 1, "wait"),
        ("lookup", True, NOW, "look up"),
        ("lookup", False, NOW, "send again"),
    ],
)
def test_backing_off(recovery: str, doubtful: bool, due: float, move: str) -> None:
    """A pause is waited for; then only a key makes sending again safe once a try may have happened."""
    assert next_move(effect("backoff", doubtful=doubtful, due=due), policy(recovery), False, NOW) == move


TRANSIENT_NOT = Classified("did not happen", True, "SYS-transient")
PERMANENT_NOT = Classified("did not happen", False, "SYS-permanent")
TRANSIENT_UNKNOWN = Classified("may have happened", True, "SYS-timeout")
PERMANENT_UNKNOWN = Classified("may have happened", False, "SYS-permanent")


@pytest.mark.parametrize(
    ("recovery", "outcome", "tries", "doubtful", "after"),
    [
        ("bare", TRANSIENT_NOT, 1, False, "again later"),
        ("bare", TRANSIENT_NOT, 3, False, "did not happen"),
        ("bare", PERMANENT_NOT, 1, False, "did not happen"),
        ("bare", TRANSIENT_UNKNOWN, 1, False, "doubt"),
        ("bare", PERMANENT_UNKNOWN, 1, False, "doubt"),
        ("keyed", TRANSIENT_UNKNOWN, 1, False, "again later"),
        ("keyed", TRANSIENT_UNKNOWN, 3, False, "doubt"),
        ("keyed", PERMANENT_UNKNOWN, 1, False, "doubt"),
        ("keyed", TRANSIENT_NOT, 1, True, "again later"),
        ("keyed", TRANSIENT_NOT, 3, True, "doubt"),
        ("keyed", PERMANENT_NOT, 2, True, "doubt"),
        ("lookup", TRANSIENT_UNKNOWN, 1, False, "look up"),
        ("lookup", TRANSIENT_NOT, 1, False, "again later"),
        ("lookup", PERMANENT_NOT, 2, True, "look up"),
    ],
)
def test_what_follows_a_try_that_raised(recovery: str, outcome: Classified, tries: int, doubtful: bool, after: str) -> None:
    """One unknown try keeps the generation in doubt, whatever the others say."""
    assert after_try(effect("intended", tries=tries, doubtful=doubtful), policy(recovery), outcome, NOW) == after


def test_never_a_blind_retry() -> None:
    """Over every combination: without a key nothing is sent again once a try may have happened."""
    outcomes = [TRANSIENT_NOT, PERMANENT_NOT, TRANSIENT_UNKNOWN, PERMANENT_UNKNOWN]
    for recovery, outcome, tries, doubtful in itertools.product(("bare", "lookup"), outcomes, (1, 2, 3), (False, True)):
        after = after_try(effect("intended", tries=tries, doubtful=doubtful), policy(recovery), outcome, NOW)
        if doubtful or outcome.happened == "may have happened":
            assert after in ("doubt", "look up"), (recovery, outcome, tries)


def test_an_illegal_move_names_both_sides() -> None:
    """What the table does not have is a defect of ours, and says where."""
    with pytest.raises(IllegalMove, match=r"effect\.done at 'pay', which is 'denied'"):
        moved("denied", "effect.done", "pay")


def test_nothing_leaves_an_end() -> None:
    """Denied, failed and standing are ends. Undone leaves only towards another doing, under another key; done only towards its undo."""
    leaving = {stage for stage, _ in EFFECT_MOVES}
    assert not leaving & {"denied", "failed", "stands"}
    assert {event for stage, event in EFFECT_MOVES if stage == "undone"} <= {
        "effect.proposed",
        "effect.intended",
        "effect.done",
        "effect.failed",
    }
    assert {event for stage, event in EFFECT_MOVES if stage == "done"} == {"undo.intended", "undo.stands"}


def test_nothing_is_sent_before_it_is_intended() -> None:
    """Every way into *intended* is an event that is on disk before sending."""
    assert {event for (_, event), after in EFFECT_MOVES.items() if after == "intended"} == {"effect.intended", "effect.again"}


def test_what_may_be_in_the_world_counts_as_standing() -> None:
    """Open is what may be undone without being done; undoing is what an undo has begun; both stand, and so does what is done or left."""
    begun = {after for (_, event), after in EFFECT_MOVES.items() if event.startswith("undo.")} - {"undone", "stands"}
    undone = {stage for stage, event in EFFECT_MOVES if event == "undo.intended"}
    assert begun == UNDOING_STAGES
    assert undone - begun - {"done"} == OPEN_STAGES
    assert OPEN_STAGES | UNDOING_STAGES | {"done", "stands"} == STANDING_STAGES
    assert {"done", "denied", "failed", "undone", "stands"} == SETTLED_STAGES
