"""The reference model of an effect's life and of its approval, written from SEMANTICS and not from the engine.

Each event of an effect must be allowed where the effect stands, and must say the truth: what it says of the world is held
against the services' books at the moment it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .services import Services
from .tools import KINDS, Kind

UNKNOWN = ("sending", "pausing", "doubt")
UNDOING = ("undoing", "undo pausing", "undo letter")

MOVES: dict[str, dict[str, str]] = {
    "effect.proposed": dict.fromkeys(("new", "proposed", "approved", "redriven", "undone"), "proposed"),
    "effect.voted": {"proposed": "proposed"},
    "effect.edited": {"proposed": "proposed", "letter": "new"},
    "effect.approved": {"proposed": "approved"},
    "effect.denied": {"proposed": "ended"},
    "effect.intended": dict.fromkeys(("new", "approved", "redriven", "undone"), "sending"),
    "effect.again": {"sending": "sending", "pausing": "sending"},
    "effect.tried": {"sending": "pausing", "pausing": "pausing"},
    "effect.doubted": dict.fromkeys(UNKNOWN, "doubt"),
    "effect.did_not_happen": dict.fromkeys((*UNKNOWN, "letter"), "missed"),
    "effect.lettered": dict.fromkeys(("missed", "letter"), "letter"),
    "effect.redriven": {"letter": "redriven", "doubt": "pausing"},
    "effect.failed": dict.fromkeys(("new", "approved", "redriven", "undone", "missed", "letter"), "ended"),
    "effect.done": dict.fromkeys((*UNKNOWN, "new", "proposed", "approved", "redriven", "letter", "undone"), "done"),
    "undo.intended": dict.fromkeys((*UNKNOWN, "done", "undoing", "undo pausing"), "undoing"),
    "undo.tried": {"undoing": "undo pausing"},
    "undo.lettered": dict.fromkeys(UNDOING, "undo letter"),
    "undo.redriven": {"undo letter": "undo pausing"},
    "undo.done": dict.fromkeys(("undoing", "undo letter"), "undone"),
    "undo.stands": dict.fromkeys(("done", "doubt", "undo letter"), "stands"),
}  # fmt: skip
"""Where an effect may stand when an event comes, and where it stands then."""


@dataclass
class Permission:
    """What people were shown and what they said."""

    arguments: Mapping[str, Any]
    due: float | None
    voters: set[str] = field(default_factory=set)
    granted: bool = False
    spent: int | None = None
    """The generation that spent it."""


@dataclass
class Effect:
    """One effect of a run, as the model knows it."""

    run: str
    path: str
    tool: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    stands_at: str = "new"
    generation: int = 1
    key: str = ""
    permission: Permission | None = None
    sent_at: float = 0.0
    sent_seq: int = 0
    done_seq: int = 0
    unknown: bool = False
    tries: int = 0
    shared: bool = False
    undo_key: str = ""
    intended: int = 0
    """The newest generation that was begun."""
    generations: int = 0
    by_hand: int = 0

    @property
    def kind(self) -> Kind:
        """What its tool promises."""
        return KINDS[self.tool]

    @property
    def ref(self) -> str:
        """What was ordered."""
        return str(self.arguments.get("ref", ""))

    @property
    def needs_person(self) -> bool:
        """Whether a person has to be asked about these arguments."""
        above = self.kind.above
        return self.kind.votes > 0 and (above is None or self.arguments["amount"] > above)


class EffectRules:
    """What each event of an effect must satisfy. `letters` are the mails folded in the commit at hand."""

    def __init__(
        self, complain: Callable[[str], None], services: Services, entries_made: Callable[[str], int], set_back: Callable[[], float]
    ) -> None:
        self.complain, self.services, self.entries_made, self.set_back = complain, services, entries_made, set_back
        self.keys: dict[tuple[str, str], tuple[str, str, int]] = {}
        self.letters: list[Any] = []

    def take(self, effect: Effect, type: str, payload: Mapping[str, Any], seq: int, time: float) -> None:
        """Move an effect by one event."""
        where = MOVES[type].get(effect.stands_at)
        if where is None:
            self._wrong(effect, f"{type} while it is {effect.stands_at!r}")
            return
        before = effect.stands_at
        if before == "undone":
            effect.permission = None
        effect.tool = payload.get("tool", effect.tool)
        if "args" in payload:
            effect.arguments = payload["args"]
        rule = _RULES.get(type)
        if rule is not None:
            rule(self, effect, payload, seq, time)
        effect.stands_at = where

    def _wrong(self, effect: Effect, what: str) -> None:
        self.complain(f"{effect.run} {effect.path}: {what}")

    def _net(self, effect: Effect) -> int:
        if effect.kind.transactional:
            return self.entries_made(effect.ref) + self.services.net(effect.tool, effect.ref)
        return self.services.net(effect.tool, effect.ref)

    def _excused(self, effect: Effect) -> bool:
        return effect.ref in self.services.lied

    # -- approvals ----------

    def _proposed(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        effect.permission = Permission(effect.arguments, payload.get("due"))

    def _edited(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        due = effect.permission.due if effect.permission is not None else None
        if payload["generation"] <= effect.generation:
            self._wrong(effect, f"edited in generation {payload['generation']} after {effect.generation}")
        effect.generation, effect.unknown, effect.tries = payload["generation"], False, 0
        effect.permission = Permission(effect.arguments, due) if effect.stands_at == "proposed" else None

    def _vote(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        by, permission = payload["by"], effect.permission
        assert permission is not None
        role = effect.kind.role
        if role is not None and role not in by.get("roles", ()):
            self._wrong(effect, f"{by} is not {role}")
        if permission.due is not None and not any(
            letter.kind == "decision" and letter.time <= permission.due and letter.body["by"]["id"] == by["id"] for letter in self.letters
        ):
            self._wrong(effect, f"approved after its time ({permission.due})")
        permission.voters.add(by["id"])

    def _approved(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        self._vote(effect, payload, seq, time)
        permission = effect.permission
        assert permission is not None
        if len(permission.voters) < effect.kind.votes:
            self._wrong(effect, f"approved by {permission.voters} alone")
        permission.granted = True

    def _check_permission(self, effect: Effect, generation: int, time: float) -> None:
        permission = effect.permission
        if permission is None or not permission.granted:
            self._wrong(effect, "begun without an approval")
            return
        if dict(permission.arguments) != dict(effect.arguments):
            self._wrong(effect, f"approved was {permission.arguments}, begun is {effect.arguments}")
        if permission.spent is None:
            if permission.due is not None and time > permission.due + self.set_back():
                self._wrong(effect, f"begun at {time}, the approval expired at {permission.due}")
            permission.spent = generation
        elif permission.spent != generation:
            self._wrong(effect, f"an approval spent by generation {permission.spent} is spent again by {generation}")

    # -- doing ----------

    def _intended(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        generation, key = payload["generation"], payload["key"]
        again = effect.stands_at == "redriven"
        if generation < effect.intended or (generation == effect.intended and not again):
            self._wrong(effect, f"generation {generation} after {effect.intended}")
        if effect.needs_person:
            self._check_permission(effect, generation, time)
        owner = (effect.run, effect.path, generation)
        if self.keys.setdefault((effect.tool, key), owner) != owner:
            self._wrong(effect, f"the key {key} is that of {self.keys[(effect.tool, key)]}, and now of {owner}")
        if payload.get("final", False) != effect.kind.final:
            self._wrong(effect, "final or not")
        if generation != effect.generation or not again:
            effect.sent_at = time
        effect.generation, effect.key, effect.sent_seq = generation, key, seq
        effect.generations += generation != effect.intended
        effect.intended = generation
        effect.unknown, effect.tries, effect.done_seq, effect.shared, effect.undo_key = False, 1, 0, False, ""

    def _again(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        effect.unknown = effect.unknown or effect.stands_at == "sending"  # it was in flight when its driver died
        if effect.unknown and not effect.kind.keyed:
            self._wrong(effect, "sent again, though it may have happened and has no key")
        if effect.unknown and time - effect.sent_at > effect.kind.remembers + self.set_back() + 300:
            self._wrong(effect, "sent again under a key that is too old")
        effect.tries += 1

    def _tried(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        if payload.get("by") == "lookup":
            self._did_not(effect, payload, seq, time)
            effect.unknown = False
        elif payload["happened"] != "did not happen":
            effect.unknown = True
        if payload["try"] > 3:
            self._wrong(effect, f"try {payload['try']} of 3")

    def _doubted(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        effect.unknown = True

    def _redriven(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        if effect.stands_at == "doubt" and not effect.kind.keyed:
            self._wrong(effect, "redriven in doubt without a key")

    def _did_not(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        if effect.unknown and not payload.get("by"):
            self._wrong(effect, "said not to have happened though one try is unknown")
        if not self._excused(effect) and self._net(effect) > 0:
            self._wrong(effect, "said not to have happened, but it did")
        effect.unknown = False

    def _done(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        effect.done_seq, effect.shared = seq, payload.get("shared", False)
        effect.key = payload.get("key", effect.key)
        effect.generation = payload.get("generation", effect.generation)
        if effect.stands_at in ("proposed", "letter") and "by" in payload:
            self.services.by_hand("do", effect.tool, effect.ref)
            effect.by_hand += 1
        elif effect.stands_at not in UNKNOWN and not effect.shared and not effect.kind.transactional:
            self._wrong(effect, f"done while it was {effect.stands_at!r}")
        if effect.kind.transactional:
            effect.generations += effect.generation > effect.intended
            effect.intended = effect.generation
        if effect.shared and not effect.kind.business:
            self._wrong(effect, "shared without a business key")
        if not effect.kind.transactional and not self._excused(effect) and self._net(effect) != 1:
            self._wrong(effect, f"said to be done, but the books say {self._net(effect)}")

    # -- undoing ----------

    def _undo(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        kind = effect.kind
        if kind.final or effect.shared:
            self._wrong(effect, "undone, though it is final or another's")
        if effect.stands_at in UNKNOWN and not kind.undo_in_doubt:
            self._wrong(effect, "undone while nobody knows whether it happened")
        if effect.stands_at == "undoing" and not kind.undo_keyed:
            self._wrong(effect, "its undo may have happened and has no key, and is tried again")
        if payload["key"] != effect.key + "!undo":
            self._wrong(effect, f"undone under {payload['key']}, done under {effect.key}")
        effect.undo_key = payload["key"]

    def _undone(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        if "by" in payload and self._net(effect) > 0:
            self.services.by_hand("undo", effect.tool, effect.ref)
        if not self._excused(effect) and self._net(effect) != 0:
            self._wrong(effect, f"said to be undone, but the books say {self._net(effect)}")
        effect.unknown = False

    def _stands(self, effect: Effect, payload: Mapping[str, Any], seq: int, time: float) -> None:
        if effect.stands_at == "undo letter" and not (payload.get("by") and payload.get("reason")):
            self._wrong(effect, "stands without a person and a reason")


_RULES: dict[str, Callable[[EffectRules, Effect, Mapping[str, Any], int, float], None]] = {
    "effect.proposed": EffectRules._proposed,
    "effect.voted": EffectRules._vote,
    "effect.edited": EffectRules._edited,
    "effect.approved": EffectRules._approved,
    "effect.intended": EffectRules._intended,
    "effect.again": EffectRules._again,
    "effect.tried": EffectRules._tried,
    "effect.doubted": EffectRules._doubted,
    "effect.redriven": EffectRules._redriven,
    "effect.did_not_happen": EffectRules._did_not,
    "effect.done": EffectRules._done,
    "undo.intended": EffectRules._undo,
    "undo.done": EffectRules._undone,
    "undo.stands": EffectRules._stands,
}
