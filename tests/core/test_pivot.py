"""What a person decides about a saga that failed after a final effect, as events."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand.core.history import History
from chargehand.events import Event
from chargehand.supervise.pivot import again, decided

Draft = tuple[str, str, dict[str, Any]]
EVE = {"id": "eve"}


def folded(*drafts: Draft) -> History:
    """Return the history of these events; the n-th has seq n."""
    return History().fold_all(Event(seq, float(seq), *draft) for seq, draft in enumerate(drafts, 1))


def undone(*paths: str) -> list[Draft]:
    """Return the events of effects that are undone, one after the other."""
    return [(kind, path, {"try": 1}) for path in paths for kind in ("undo.intended", "undo.done")]


def made(*paths: str) -> list[Draft]:
    """Return the events of effects that are done."""
    return [("effect.done", path, {"v": 1}) for path in paths]


def test_what_the_rollback_of_the_run_undid_is_made_anew() -> None:
    """The calls that failed, and what was undone since the rollback began; what was undone before it stays undone."""
    history = folded(*made("before", "after", "kept"), *undone("before"), ("run.rolling_back", "", {}), *undone("after"))
    assert history.rolling_back is not None
    assert again(history, history.rolling_back.seq, ["failed"]) == ["after", "failed"]


def test_what_a_scope_of_the_failure_undid_is_made_anew() -> None:
    """The rollback of a scope in which the failed call lies belongs to this failure; one that the code had caught does not."""
    history = folded(
        *made("s/before", "s/e", "t/e", "s/later"),
        *undone("s/before"),
        ("scope.rolling_back", "t!rollback", {}),
        *undone("t/e"),
        ("scope.rolled_back", "t!rollback", {}),
        ("scope.rolling_back", "s!rollback", {}),
        *undone("s/e"),
        ("scope.rolled_back", "s!rollback", {}),
        *undone("s/later"),
        ("run.rolling_back", "", {}),
    )
    assert history.rolling_back is not None
    assert again(history, history.rolling_back.seq, ["s/failed"]) == ["s!rollback", "s/e", "s/failed"]


def test_a_scope_that_is_still_rolling_back_is_made_anew() -> None:
    """Its rollback has no end yet: everything undone since it began counts."""
    history = folded(*made("s/e"), ("scope.rolling_back", "s!rollback", {}), *undone("s/e"))
    assert again(history, 99, ["s/failed"]) == ["s!rollback", "s/e", "s/failed"]


def test_a_scope_whose_rollback_has_not_begun_has_undone_nothing() -> None:
    """It was only asked for: what was undone before this failure stays undone."""
    history = folded(*made("s/e"), *undone("s/e"), ("run.rolling_back", "", {}))
    history.call("s!rollback")
    assert again(history, 4, ["s/failed"]) == ["s!rollback", "s/failed"]


def test_an_effect_of_an_agent_is_made_anew_with_its_agent() -> None:
    """The body asks for it again; alone it could not be made."""
    history = folded(
        ("agent.released", "g.1/a", {"v": 1}),
        ("agent.released", "a", {"v": 1}),
        *made("g.1/a/order~1.1", "g.1/b", "a/order~1.1"),
        ("run.rolling_back", "", {}),
        *undone("g.1/a/order~1.1", "g.1/b", "a/order~1.1"),
    )
    assert again(history, 6, ["x"]) == ["a", "g.1/a", "g.1/b", "x"]


RUN = [*made("e"), ("run.rolling_back", "", {"from": ["failed"]}), *undone("e")]
SCOPE = [*made("s/e"), ("scope.rolling_back", "s!rollback", {"from": ["s/failed"]}), *undone("s/e")]


@pytest.mark.parametrize(
    ("drafts", "path", "body", "events"),
    [
        (RUN, "", {"decision": "go on"}, [("run.resumed", "", {"by": EVE, "again": ["e", "failed"]})]),
        (RUN, "", {"decision": "undo"}, [("run.resumed", "", {"by": EVE, "pivot": "undo"})]),
        (RUN, "", {"decision": "leave"}, [("run.resumed", "", {"by": EVE, "pivot": "leave"})]),
        (SCOPE, "s!rollback", {"decision": "go on"}, [("run.resumed", "", {"by": EVE, "again": ["s!rollback", "s/e", "s/failed"]})]),
        (
            SCOPE,
            "s!rollback",
            {"decision": "leave", "reason": "paid"},
            [("scope.decided", "s!rollback", {"by": EVE, "do": "leave", "reason": "paid"})],
        ),
    ],
)
def test_a_decision_becomes_events(drafts: list[Draft], path: str, body: dict[str, Any], events: list[Draft]) -> None:
    """Go on names what is made anew; undo and leave say so, for the run or for the scope alone."""
    assert decided(folded(*drafts), path, {**body, "by": EVE}) == events


def test_a_rollback_that_does_not_say_what_failed() -> None:
    """A scope that goes on is made anew itself."""
    history = folded(*made("s/e"), ("scope.rolling_back", "s!rollback", {}), *undone("s/e"))
    assert decided(history, "s!rollback", {"decision": "go on"}) == [("run.resumed", "", {"by": None, "again": ["s!rollback", "s/e"]})]
