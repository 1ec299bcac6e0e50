"""Looking things up in the history does not read all of it."""

from __future__ import annotations

import random
from decimal import Decimal

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
