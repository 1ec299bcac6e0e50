"""Folding: what a run's events say about each of its calls.

`History.fold` takes the events in order, live and on replay alike, and keeps per path what the driver needs to decide the
next move. It knows no definitions: what a call *is* comes from the workflow's code, what *happened* to it from here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from chargehand.core.folding import HANDLERS
from chargehand.core.lifecycle import OPEN_STAGES, STANDING_STAGES, Stage
from chargehand.core.states import AgentState, CallState, EffectState
from chargehand.events import Event
from chargehand.limits import Spent


class History:
    """What is recorded of one run."""

    def __init__(self) -> None:
        self.calls: dict[str, CallState] = {}
        self.started: Mapping[str, Any] = {}
        self.deadline: float | None = None
        self.seq = 0
        self.time = 0.0
        self.ended: Event | None = None
        self.parked: Event | None = None
        self.rolling_back: Event | None = None
        self.pivoted: Event | None = None
        self.pivot_choice: str | None = None
        self.cancel: Event | None = None
        self.accepted: set[str] = set()
        self.made_anew: set[str] = set()
        self.withdrawn = 0
        """The seq at which the last rollback of the run began: entries opened before it are closed."""
        self.rolling: dict[str, Event] = {}
        self.scope_pivots: dict[str, str | None] = {}
        self.released: dict[str, Mapping[str, Any]] = {}
        self.openings: dict[str, int] = {}
        self.entries: dict[str, str] = {}
        self.reservations = 0
        self.reserved: dict[str, Spent] = {}
        self.raised: dict[str, int] = {}
        self.signals: dict[str, list[Any]] = {}
        self._effects: dict[str, EffectState] = {}
        self._within: dict[str, dict[str, EffectState]] = {}
        self._spent_within: dict[str, Spent] = {}
        self._moved: set[str] = set()
        self._standing: set[str] = set()
        self._for_people: dict[str, Stage] = {}

    def fold(self, event: Event) -> CallState | None:
        """Take one event. Returns the call it concerns, None when it concerns the run."""
        self.seq, self.time = event.seq, event.time
        if "spent" in event.payload:
            self._settle_spending(event.payload["spent"])
        handler = HANDLERS.get(event.type)
        return handler(self, event) if handler is not None else None

    def fold_all(self, events: Iterable[Event]) -> History:
        """Take events in order."""
        for event in events:
            self.fold(event)
        return self

    def _settle_spending(self, amounts: Mapping[str, Any]) -> None:
        for name, amount in amounts.items():
            self.reserved.pop(name, None)
            path, spent = name.rpartition("!")[0], Spent.from_record(amount)
            for scope in {"", *_scopes_of(path), path}:
                self._spent_within[scope] = self._spent_within.get(scope, Spent()) + spent

    def spent_in(self, prefix: str) -> Spent:
        """Return what was spent at and below a path; what is reserved and not settled counts."""
        return self.settled_in(prefix) + self.reserved_in(prefix)

    def settled_in(self, prefix: str) -> Spent:
        """Return what was spent and settled at and below a path."""
        return self._spent_within.get(prefix, Spent())

    def reserved_in(self, prefix: str) -> Spent:
        """Return what is reserved and not settled at and below a path."""
        within = (prefix + "/", prefix + "!")
        return sum([spent for name, spent in self.reserved.items() if not prefix or name.startswith(within)], Spent())

    @property
    def has_effects(self) -> bool:
        """Say whether the run has asked for an effect."""
        return bool(self._effects)

    def call(self, path: str) -> CallState:
        """Return the call at a path, noting it when it is new."""
        state = self.calls.get(path)
        if state is None:
            state = self.calls[path] = CallState(path)
        return state

    def effect(self, path: str) -> EffectState:
        """Return the effect at a path, noting it when it is new."""
        state = self.calls.get(path)
        if not isinstance(state, EffectState):
            state = self.calls[path] = self._effects[path] = EffectState(path)
            for scope in _scopes_of(path):
                self._within.setdefault(scope, {})[path] = state
        return state

    def agent(self, path: str) -> AgentState:
        """Return the agent call at a path, noting it when it is new."""
        state = self.calls.get(path)
        if not isinstance(state, AgentState):
            state = self.calls[path] = AgentState(path)
        return state

    def effects(self, scope: str = "") -> list[EffectState]:
        """Return the effects in a scope, newest first: by when they were done, what is not done by when it was first sent."""
        found = self._within.get(scope, {}) if scope else self._effects
        return sorted(found.values(), key=lambda effect: -(effect.done_seq or effect.sent_seq))

    def forget(self, paths: Iterable[str]) -> None:
        """Have these calls made anew: a person let a failed run go on. An effect that was undone gets its next generation."""
        if self.rolling_back is not None:
            self._ask_again()
            if self.rolling_back.payload.get("by") == "deadline":
                self.deadline = None  # else it would end the run again at once
        self.rolling_back = self.pivoted = self.cancel = None
        for path in paths:
            self.made_anew.add(path)
            for name in [name for name in self.calls if name == path or name.startswith((path + "/", path + "!"))]:
                self.rolling.pop(name, None)
                self.scope_pivots.pop(name, None)
                state = self.calls[name]
                if not isinstance(state, EffectState):
                    del self.calls[name]
                elif state.stage in _MADE_ANEW:
                    self.anew(name)

    def unsent(self, path: str) -> bool:
        """Say whether a call at a path was asked for and nothing of it was sent yet, nor has it an answer."""
        state = self.calls.get(path)
        if isinstance(state, EffectState):
            return state.settled is None and not state.ever_intended
        return isinstance(state, AgentState) and state.settled is None and not self.effects(path)

    def accept(self, paths: Iterable[str]) -> None:
        """Take the code as it is now as right about these calls. What has an answer keeps it, what was begun is carried to its end
        as it was recorded; what was only asked for is asked for anew, as the code asks now."""
        for path in paths:
            self.accepted.add(path)
            if not self.unsent(path):
                continue
            state = self.calls.pop(path)
            if isinstance(state, EffectState):
                del self._effects[path]
                self.effect_moved(path)
                self.effect(path).generation = state.generation
            else:
                self.agent(path)

    def _ask_again(self) -> None:
        """Put what waited for a person back to where it is asked: the rollback withdrew every entry that was open when it began."""
        self.scope_pivots = {path: choice for path, choice in self.scope_pivots.items() if choice is not None}
        for state in self.calls.values():
            if isinstance(state, EffectState):
                if state.stage == "stands" and state.settled is None:  # nobody ever knew whether it happened
                    state.stage, state.doubtful, state.due = "backoff", True, None
                    self.effect_moved(state.path)
                elif state.stage in ("proposed", "letter"):
                    state.stage = "new" if state.stage == "proposed" else "did not happen"
                    state.proposal, state.votes, state.due = None, [], None
                    self.effect_moved(state.path)
            elif state.settled is not None:
                continue
            elif isinstance(state, AgentState):
                if state.escalated is not None and state.decided is None:
                    state.escalated, state.due = None, None
                state.facts["withdrawn"] = state.question is not None
            elif state.facts.pop("question", None) is not None:
                state.due = None

    def anew(self, path: str) -> EffectState:
        """Begin the next generation of an effect: nothing of the one before is handed out or sent again."""
        del self.calls[path]
        generation = self._effects.pop(path).generation
        self.effect_moved(path)
        effect = self.effect(path)
        effect.generation = generation + 1
        return effect

    def standing(self) -> int:
        """Return how many effects of this run are, or may be, in the world."""
        if self._moved:
            self._look_at_moved()
        return len(self._standing)

    def for_people(self) -> Collection[Stage]:
        """Return the stages of the effects that wait for a person's word about an outcome: doubts and letters."""
        self._look_at_moved()
        return self._for_people.values()

    def _look_at_moved(self) -> None:
        for path in self._moved:
            effect = self._effects.get(path)
            if effect is not None and _stands(effect):
                self._standing.add(path)
            else:
                self._standing.discard(path)
            if effect is not None and effect.stage in _FOR_PEOPLE:
                self._for_people[path] = effect.stage
            else:
                self._for_people.pop(path, None)
        self._moved.clear()

    def effect_moved(self, path: str) -> None:
        """Note that an effect may stand now, or no longer."""
        self._moved.add(path)

    def in_flight(self) -> list[str]:
        """Return the paths of the effects whose outcome the journal does not know."""
        return [effect.path for effect in self.effects() if effect.stage in OPEN_STAGES]

    def unclaimed(self, scope: str) -> list[str]:
        """Return the recorded calls of a workflow scope that the code has not asked for again."""
        prefix = scope + "/" if scope else ""
        return [
            path
            for path, state in self.calls.items()
            if not state.asked
            and path.startswith(prefix)
            and "~" not in path
            and "!" not in path
            and path not in self.accepted
            and self._is_of_workflow(path)
        ]

    def _is_of_workflow(self, path: str) -> bool:
        """Say whether a call was asked by workflow code, not by an agent's body."""
        parts = path.split("/")
        return not any(isinstance(self.calls.get("/".join(parts[:length])), AgentState) for length in range(1, len(parts)))

    def opening(self, path: str) -> str:
        """Return the entry name that the next thing waiting at this path gets."""
        number = self.openings.get(path, 0) + 1
        return path if number == 1 else f"{path}@{number}"


_MADE_ANEW: frozenset[Stage] = frozenset({"undone", "failed", "denied"})
"""Nothing of the effect is in the world. One that stands gives back what it gave, whoever asks for it again."""
_FOR_PEOPLE: frozenset[Stage] = frozenset({"doubt", "letter", "undo letter"})


def _scopes_of(path: str) -> list[str]:
    """Return the scopes that a path lies in, without the run's own."""
    return [path[:position] for position, character in enumerate(path) if character == "/"]


def _stands(effect: EffectState) -> bool:
    """Say whether an effect of this run is, or may be, in the world."""
    if effect.shared or effect.dry or (effect.stage == "backoff" and not effect.doubtful):
        return False
    return effect.stage in STANDING_STAGES
