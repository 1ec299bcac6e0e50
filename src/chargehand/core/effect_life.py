"""What comes next in the life of an effect: pure decisions over `EffectState`.

Three rules carry everything, and each protects money:

1. *Intended* is on disk before anything is sent, and *again* before anything is sent again.
2. An outcome is *did not happen* only when that is certain. One unknown try keeps the whole generation in doubt, until a
   success under the same key, a look-up or a person ends the doubt.
3. Only a key that the world honours makes repeating safe. Without one, an unknown outcome is never tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chargehand.core.states import EffectState
from chargehand.failures import Classified
from chargehand.limits import Retry

OnExhausted = Literal["letter", "raise"]

Move = Literal["propose", "person", "intend", "wait", "send again", "look up", "doubt", "letter", "fail", "settled"]


@dataclass(frozen=True, slots=True)
class Policy:
    """What an effect's definition says about recovery. Times in seconds.

    `keyed`: the world honours the key. `transactional`: done in the journal's own transaction, so never in doubt.
    """

    retry: Retry
    keyed: bool
    lookup: bool
    idempotent_for: float = 86_400.0
    on_exhausted: OnExhausted = "letter"

    def key_counts(self, effect: EffectState, now: float) -> bool:
        """Say whether sending again under the same key is safe: the world still remembers the key."""
        return self.keyed and effect.sent_at is not None and now - effect.sent_at < self.idempotent_for


def next_move(effect: EffectState, policy: Policy, needs_approval: bool, now: float) -> Move:
    """Return what to do with an effect that is not being tried at this moment.

    An effect found *intended* here was in flight when its driver died: its last try may have happened.
    """
    match effect.stage:
        case "new" | "redriven":
            return "propose" if needs_approval else "intend"
        case "approved":
            return "intend"
        case "proposed" | "letter" | "doubt" | "undo letter":
            return "person"
        case "intended":
            return _recover(effect, policy, now)
        case "backoff":
            if effect.due is not None and effect.due > now:
                return "wait"
            if effect.doubtful and not policy.key_counts(effect, now):
                return "look up" if policy.lookup else "doubt"
            return "send again"
        case "did not happen":
            return "fail" if policy.on_exhausted == "raise" else "letter"
        case _:
            return "settled"


def _recover(effect: EffectState, policy: Policy, now: float) -> Move:
    """Choose how to find out about an effect that was in flight when its driver died. A crash uses up no retry."""
    if policy.key_counts(effect, now):
        return "send again"
    return "look up" if policy.lookup else "doubt"


After = Literal["again later", "look up", "doubt", "did not happen"]


def after_try(effect: EffectState, policy: Policy, outcome: Classified, now: float) -> After:
    """Return what follows a try that raised. `effect.doubtful` counts the tries before it."""
    more = outcome.transient and effect.tries < policy.retry.attempts
    doubtful = effect.doubtful or outcome.happened == "may have happened"
    if not doubtful:
        return "again later" if more else "did not happen"
    if more and policy.key_counts(effect, now):
        return "again later"
    return "look up" if policy.lookup else "doubt"
