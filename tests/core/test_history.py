"""Looking things up in the history does not read all of it."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from chargehand.core.history import History
from chargehand.events import Event
from chargehand.limits import Spent

PATHS = ["a", "a/x", "a/x/y", "a/xx", "ab/x", "gather.1/a", "gather.1/a/x", "gather.10/a", "saga/gather.2/a/x"]
SCOPES = ["", "a", "a/x", "ab", "gather.1", "gather.10", "gather.1/a", "saga", "saga/gather.2", "saga/gather.2/a", "nowhere"]


def test_the_effects_of_a_scope_are_those_below_its_path() -> None:
    """Found by index, they are what reading all of them would find, also after some were made anew or forgotten."""
    for seed in range(200):
        dice, history = random.Random(seed), History()
        for _ in range(30):
            path = dice.choice(PATHS)
            effect = history.effect(path)
            effect.done_seq = dice.choice((0, dice.randrange(1, 1000)))
            match dice.randrange(6):
                case 0:
                    history.anew(path)
                case 1:
                    history.forget([path.partition("/")[0]])
        for scope in SCOPES:
            prefix = scope + "/" if scope else ""
            inside = [effect for path, effect in history._effects.items() if path.startswith(prefix)]
            found = history.effects(scope)
            assert {id(effect) for effect in found} == {id(effect) for effect in inside}
            times = [effect.done_seq or effect.sent_seq for effect in found]
            assert times == sorted(times, reverse=True)


def test_what_a_scope_has_spent_is_the_sum_of_what_lies_in_it() -> None:
    """Counted as it is settled; what is reserved counts until then."""
    for seed in range(100):
        dice, history = random.Random(seed), History()
        naive: list[tuple[str, int]] = []
        for number in range(1, 40):
            path, tokens = dice.choice(PATHS), dice.randrange(100)
            name = f"{path}!{number}"
            history.fold(Event(2 * number, 0.0, "spent", path, {"name": name, "reserve": Spent(tokens, Decimal(0), 1).record()}))
            if dice.random() < 0.7:
                settled = {"spent": {name: Spent(tokens // 2, Decimal(0), 1).record()}}
                history.fold(Event(2 * number + 1, 0.0, "call.done", path, settled))
                tokens //= 2
            naive.append((path, tokens))
        for scope in SCOPES:
            inside = [tokens for path, tokens in naive if not scope or path == scope or path.startswith(scope + "/")]
            assert history.spent_in(scope).tokens == sum(inside)
            assert history.spent_in(scope).calls == len(inside)


def folded(*drafts: tuple[str, str, dict[str, Any]]) -> History:
    """Return the history of these events; the n-th has seq n and happens at second n."""
    return History().fold_all(Event(seq, float(seq), *draft) for seq, draft in enumerate(drafts, 1))


SENT = {"generation": 1, "key": "k"}


def test_a_call_is_known_by_its_path() -> None:
    """Asked for again it is the same; a path that turns out to be an effect or an agent becomes one."""
    history = History()
    for ask in (history.call, history.effect, history.agent):
        assert ask("c") is ask("c") is history.call("c")
        assert ask("c").path == "c"
    history.fold(Event(7, 9.0, "call.done", "c", {}))
    assert (history.seq, history.time) == (7, 9.0)


def test_an_event_gives_back_the_call_it_concerns() -> None:
    """Live and on replay the driver looks at that call next; an event of the run, or of a later version, concerns none."""
    history = History()
    assert history.fold(Event(1, 1.0, "call.done", "c", {})) is history.calls["c"]
    assert history.fold(Event(2, 2.0, "run.parked", "", {})) is None
    assert history.fold(Event(3, 3.0, "not.yet.invented", "c", {})) is None


UNDONE = [("effect.done", {"v": 1}), ("undo.intended", {"try": 1}), ("undo.done", {})]
DENIED = [("effect.proposed", {}), ("effect.denied", {"e": {}})]
FAILED = [("effect.failed", {"e": {}})]
DONE = [("effect.done", {"v": 1})]


@pytest.mark.parametrize(("drafts", "stage", "generation"), [(UNDONE, "new", 2), (DENIED, "new", 2), (FAILED, "new", 2), (DONE, "done", 1)])
def test_what_is_not_in_the_world_is_made_anew(drafts: list[tuple[str, dict[str, Any]]], stage: str, generation: int) -> None:
    """A run that goes on after its failure gives an effect a new generation; one that stands keeps what it gave."""
    history = folded(*[(kind, "e", payload) for kind, payload in drafts], ("run.resumed", "", {"again": ["e"]}))
    assert (history.effect("e").stage, history.effect("e").generation) == (stage, generation)
    assert history.effects() == [history.effect("e")]


def test_what_is_made_anew_is_what_lies_at_and_below_a_path() -> None:
    """Its calls, its effects and its rollbacks are forgotten; its namesakes' are not."""
    paths = ["s", "s/c", "s/s/c", "s!undo", "sc", "s#2", "t/s"]
    drafts: list[tuple[str, str, dict[str, Any]]] = [("call.done", path, {"v": 1}) for path in paths]
    for path in ("s", "s/c", "sc"):
        drafts += [("scope.rolling_back", path, {}), ("scope.pivoted", path, {})]
    history = folded(*drafts, ("run.resumed", "", {"again": ["s"]}))
    assert sorted(history.calls) == ["s#2", "sc", "t/s"]
    assert list(history.rolling) == list(history.scope_pivots) == ["sc"]
    assert history.made_anew == {"s"}


@pytest.mark.parametrize(("by", "deadline"), [("deadline", None), ("cancel", 99.0)])
def test_a_run_that_goes_on_is_no_longer_rolling_back(by: str, deadline: float | None) -> None:
    """Nothing of the rollback is left; a deadline that ended the run would end it again at once, so it is gone."""
    history = folded(
        ("run.started", "", {"deadline": 99.0}),
        ("cancel.requested", "", {}),
        ("run.pivoted", "", {}),
        ("run.rolling_back", "", {"by": by}),
        ("run.resumed", "", {"again": []}),
    )
    assert (history.rolling_back, history.pivoted, history.cancel) == (None, None, None)
    assert history.deadline == deadline


def test_what_waited_for_a_person_is_asked_again() -> None:
    """The rollback closed every entry that was open when it began, so a run that goes on opens each anew."""
    letter = [("effect.intended", SENT), ("effect.did_not_happen", {}), ("effect.lettered", {})]
    drafts: list[tuple[str, str, dict[str, Any]]] = [
        ("effect.proposed", "proposed", {"due": 50.0}),
        ("effect.voted", "proposed", {"by": "eve"}),
        *[(kind, "letter", payload) for kind, payload in letter],
        ("effect.intended", "left in doubt", SENT),
        ("effect.doubted", "left in doubt", {}),
        ("effect.done", "left standing", {"v": 1}),
        ("effect.intended", "in flight", SENT),
        ("effect.tried", "in flight", {"try": 1, "doubtful": False, "due": 50.0}),
        ("question.asked", "question", {"question": "?", "due": 50.0}),
        ("question.asked", "answered", {"question": "?"}),
        ("question.answered", "answered", {"v": 1}),
        ("timer.set", "timer", {"due": 50.0}),
        ("agent.escalated", "escalated", {"due": 50.0}),
        ("agent.escalated", "decided", {"due": 50.0}),
        ("agent.decided", "decided", {"do": "release"}),
        ("agent.errored", "errored", {"attempt": 1, "due": 50.0}),
        ("agent.asked", "asking", {"question": "?"}),
        ("agent.asked", "released", {"question": "?"}),
        ("agent.released", "released", {"v": 1}),
        ("scope.pivoted", "open", {}),
        ("scope.pivoted", "decided", {}),
        ("scope.decided", "decided", {"do": "leave"}),
        ("run.rolling_back", "", {}),
        ("undo.stands", "left in doubt", {}),
        ("undo.stands", "left standing", {}),
    ]
    history = folded(*drafts)
    assert (history.standing(), list(history.for_people())) == (2, ["letter"])
    history.fold(Event(99, 99.0, "run.resumed", "", {"again": []}))
    assert (history.standing(), list(history.for_people())) == (2, [])
    effects = {path: (effect.stage, effect.doubtful, effect.due) for path, effect in history._effects.items()}
    assert effects == {
        "proposed": ("new", False, None),
        "letter": ("did not happen", False, None),
        "left in doubt": ("backoff", True, None),
        "left standing": ("stands", False, None),
        "in flight": ("backoff", False, 50.0),
    }
    assert (history.effect("proposed").proposal, history.effect("proposed").votes) == (None, [])
    calls = {path: history.call(path) for path in ("question", "answered", "timer")}
    assert {path: (call.due, "question" in call.facts) for path, call in calls.items()} == {
        "question": (None, False),
        "answered": (None, True),
        "timer": (50.0, False),
    }
    agents = {path: history.agent(path) for path in ("escalated", "decided", "errored", "asking", "released")}
    assert {path: (agent.escalated, agent.due, agent.facts.get("withdrawn")) for path, agent in agents.items()} == {
        "escalated": (None, None, False),
        "decided": ({"due": 50.0}, None, False),
        "errored": (None, 50.0, False),
        "asking": (None, None, True),
        "released": (None, None, False),
    }
    assert history.scope_pivots == {"decided": "leave"}


STANDING: list[tuple[str, list[tuple[str, dict[str, Any]]], int, list[str], bool]] = [
    ("proposed", [("effect.proposed", {})], 0, [], False),
    ("sent", [("effect.intended", SENT)], 1, [], True),
    ("to be tried again", [("effect.intended", SENT), ("effect.tried", {"try": 1, "doubtful": False})], 0, [], True),
    ("perhaps happened", [("effect.intended", SENT), ("effect.tried", {"try": 1, "doubtful": True})], 1, [], True),
    ("in doubt", [("effect.intended", SENT), ("effect.doubted", {})], 1, ["doubt"], True),
    ("done", DONE, 1, [], False),
    ("shared", [("effect.done", {"shared": True})], 0, [], False),
    ("dry", [("effect.done", {"dry": True})], 0, [], False),
    ("undone", UNDONE, 0, [], False),
    ("undo to be tried again", [*DONE, ("undo.intended", {"try": 1}), ("undo.tried", {"due": 9.0})], 1, [], False),
    ("undo failed", [*DONE, ("undo.intended", {"try": 1}), ("undo.lettered", {})], 1, ["undo letter"], False),
    (
        "did not happen",
        [("effect.intended", SENT), ("effect.doubted", {}), ("effect.did_not_happen", {}), ("effect.lettered", {})],
        0,
        ["letter"],
        False,
    ),
    ("doubt ended", [("effect.intended", SENT), ("effect.doubted", {}), ("effect.done", {"v": 1})], 1, [], False),
    ("forgotten", [*FAILED, ("run.resumed", {"again": ["e"]})], 0, [], False),
]


@pytest.mark.parametrize(("drafts", "standing", "people", "open_"), [case[1:] for case in STANDING], ids=[case[0] for case in STANDING])
def test_what_stands_and_who_waits(drafts: list[tuple[str, dict[str, Any]]], standing: int, people: list[str], open_: bool) -> None:
    """An effect stands while it is or may be in the world; looked at after each event or only at the end, it is the same."""
    watched = History()
    for seq, (kind, payload) in enumerate(drafts, 1):
        watched.fold(Event(seq, float(seq), kind, "e", payload))
        watched.standing(), watched.for_people()
    for history in (watched, folded(*[(kind, "e", payload) for kind, payload in drafts])):
        assert list(history.for_people()) == people
        assert history.standing() == standing
        assert history.in_flight() == (["e"] if open_ else [])


def test_what_the_code_has_not_asked_for_again() -> None:
    """Recorded calls of workflow code in a scope; not those of an agent's body, and not those that a person accepted."""
    paths = ["c", "s/c", "s/d", "sc", "a/c", "s/a/c", "s/a/d/e", "s/t~1", "s/t!undo", "s/accepted", "s/asked"]
    history = folded(
        *[("call.done", path, {"v": 1}) for path in paths],
        ("agent.released", "a", {"v": 1}),
        ("agent.released", "s/a", {"v": 1}),
        ("run.resumed", "", {"accept": ["s/accepted"]}),
    )
    history.call("s/asked").asked = True
    assert history.unclaimed("") == ["c", "s/c", "s/d", "sc", "a", "s/a"]
    assert history.unclaimed("s") == ["s/c", "s/d", "s/a"]


def test_entries_of_one_path_are_numbered() -> None:
    """The first has the path as its name, later ones say which they are."""
    history, names = History(), []
    for seq in range(1, 4):
        names.append(history.opening("e"))
        history.fold(Event(seq, 0.0, "effect.proposed", "e", {"entry": names[-1]}))
    assert names == ["e", "e@2", "e@3"]
    assert history.opening("other") == "other"


def test_of_a_run_without_events_nothing_is_known() -> None:
    """Before its first event a run has not begun, waits for nobody, and has spent nothing."""
    history = History()
    nothing = {name: value for name, value in vars(history).items() if not name.startswith("_")}
    assert {name for name, value in nothing.items() if value is None} == {
        "deadline", "ended", "parked", "rolling_back", "pivoted", "pivot_choice", "cancel",
    }  # fmt: skip
    assert {name for name, value in nothing.items() if value == 0} == {"seq", "time", "withdrawn", "reservations"}
    assert {name for name, value in nothing.items() if value == {}} == {
        "calls", "started", "rolling", "scope_pivots", "released", "openings", "entries", "reserved", "raised", "signals",
    }  # fmt: skip
    assert {name for name, value in nothing.items() if value == set()} == {"accepted", "made_anew"}
    assert (history.effects(), history.standing(), list(history.for_people()), history.spent_in("")) == ([], 0, [], Spent())


@pytest.mark.parametrize(
    ("drafts", "unsent"),
    [
        ([("effect.proposed", "c", {})], True),
        ([("effect.intended", "c", SENT)], False),
        ([("effect.done", "c", {"v": 1})], False),
        ([("effect.proposed", "c", {}), ("effect.denied", "c", {"e": {}})], False),
        ([("agent.rejected", "c", {"attempt": 1})], True),
        ([("agent.rejected", "c", {"attempt": 1}), ("effect.proposed", "other/e", {})], True),
        ([("agent.rejected", "c", {"attempt": 1}), ("effect.proposed", "c/e", {})], False),
        ([("agent.released", "c", {"v": 1})], False),
        ([("call.done", "c", {"v": 1})], False),
        ([], False),
    ],
)
def test_what_was_asked_for_and_not_sent(drafts: list[tuple[str, str, dict[str, Any]]], unsent: bool) -> None:
    """An effect that was never begun, an agent that asked for none; neither when it has an answer."""
    assert folded(*drafts).unsent("c") is unsent
