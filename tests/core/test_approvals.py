"""Approvals: when one is needed, what it binds, and when it still fits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chargehand import Approval, Person, effect
from chargehand.contracts import digest_of
from chargehand.core.states import EffectState
from chargehand.supervise import approvals

NOW = 1000.0


async def take_back(receipt: str) -> None: ...


def made(**options: Any) -> Any:
    """Return the definition of an effect."""

    @effect(name="pay", advisory=("note",), **options)
    async def pay(amount: int, note: str = "") -> str:
        return "paid"

    return pay


def driver(environment: str = "production", approve: str = "declared") -> Any:
    """Return what approvals ask of a driver."""
    return SimpleNamespace(site=SimpleNamespace(environment=environment, approve=approve), clock=SimpleNamespace(now=lambda: NOW))


def bound(definition: Any, amount: int = 5, note: str = "") -> Any:
    """Return the arguments of a call."""
    return definition.contract.bind((amount, note), {})


def broken(call: Any) -> bool:
    raise KeyError("limit")


@pytest.mark.parametrize(
    ("policy", "options", "needed"),
    [
        ("declared", {"undo": take_back}, False),
        ("declared", {"undo": take_back, "approve": True}, True),
        ("declared", {"undo": take_back, "approve": lambda call: call.amount > 4}, True),
        ("declared", {"undo": take_back, "approve": lambda call: call.amount > 5}, False),
        ("declared", {"undo": take_back, "approve": broken}, True),
        ("declared", {"undo": take_back, "approve": Approval(votes=2)}, True),
        ("declared", {"final": True}, True),
        ("declared", {"final": True, "approve": False}, False),
        ("final", {"final": True, "approve": False}, True),
        ("final", {"undo": take_back}, False),
        ("every", {"undo": take_back}, True),
    ],
)
def test_when_an_approval_is_needed(policy: str, options: dict[str, Any], needed: bool) -> None:
    """As declared, unless the environment asks for more; a predicate that raises means yes."""
    definition = made(**options)
    assert approvals.needed(driver(approve=policy), definition, bound(definition)) is needed


def test_what_an_approval_binds_is_always_digested_the_same_way() -> None:
    """Approvals outlive deploys: the names in their digests stay, and advisory arguments are not among them."""
    definition = made(undo=take_back)
    seen = {"tool": definition.full_name, "arguments": {"amount": 5}, "environment": "production", "code": definition.code_digest}
    assert approvals.digest(driver(), definition, bound(definition, note="whatever")) == digest_of(seen)
    assert approvals.digest(driver("staging"), definition, bound(definition)) == digest_of(seen | {"environment": "staging"})
    assert approvals.digest(driver(), definition, bound(definition, 6)) == digest_of(seen | {"arguments": {"amount": 6}})


@pytest.mark.parametrize(
    ("approved", "proposal", "fits"),
    [
        (5, {"due": None}, True),
        (5, None, True),
        (5, {"due": NOW + 1}, True),
        (5, {"due": NOW}, True),
        (5, {"due": NOW - 1}, False),
        (6, {"due": NOW + 1}, False),
        (None, {"due": NOW + 1}, False),
    ],
)
def test_when_an_approval_still_fits(approved: int | None, proposal: dict[str, Any] | None, fits: bool) -> None:
    """It covers this very call, and what it waited for is not over: the last moment counts."""
    definition = made(undo=take_back, approve=True)
    state = EffectState("pay", stage="approved", proposal=proposal)
    if approved is not None:
        state.approval = {"approves": approvals.digest(driver(), definition, bound(definition, approved))}
    assert approvals.still_fits(driver(), definition, state, bound(definition)) is fits


def test_a_person_has_roles() -> None:
    """One role or several; who vouches is kept."""
    assert Person("eve", "cfo").roles == frozenset({"cfo"})
    assert Person("eve", ["cfo", "ops"], vouched_by="app") == Person("eve", ("ops", "cfo"), "app")
    assert (Person("eve").roles, Person("eve").vouched_by, Person("eve", (), "app").vouched_by) == (frozenset(), None, "app")
