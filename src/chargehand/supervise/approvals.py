"""Approvals: suggest, then execute. An approval binds what the approver saw, expires, and is spent once.

The digest covers the tool, the bound and validated arguments (defaults included, advisory ones left out), the
environment, and the syntax tree of the effect's function, its undo and options. It does not cover the rest of the
program: a deploy that does not touch the effect voids nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chargehand.contracts import Arguments, digest_of
from chargehand.core.states import EffectState
from chargehand.durable import Waiting
from chargehand.errors import DecisionRefused
from chargehand.supervise import waiting
from chargehand.supervise.log import Draft

if TYPE_CHECKING:
    from chargehand.supervise.definitions import EffectDefinition
    from chargehand.supervise.run import RunDriver


class Shown:
    """A call's arguments as attributes, for ``key=lambda call: …`` and ``approve=lambda call: …``."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides: an id, the roles, and which host application vouches (None: the command line's principal)."""

    id: str
    roles: frozenset[str] = frozenset()
    vouched_by: str | None = None

    def __init__(self, id: str, roles: Any = (), vouched_by: str | None = None) -> None:
        object.__setattr__(self, "id", id)
        object.__setattr__(self, "roles", frozenset((roles,) if isinstance(roles, str) else roles))
        object.__setattr__(self, "vouched_by", vouched_by)


@dataclass(frozen=True, slots=True)
class HostKey:
    """What lets a host application vouch for its users: the name under which it does, and the roles that it may give them."""

    name: str
    roles: frozenset[str]

    def vouched(self, person: Person) -> Person:
        """Return a person as one for whom this host vouches. Raises `DecisionRefused` where it may not."""
        if person.vouched_by not in (None, self.name):
            raise DecisionRefused(f"{person.id!r} is vouched for by {person.vouched_by!r}; this process has the key of {self.name!r}.")
        if beyond := sorted(person.roles - self.roles):
            may = ", ".join(sorted(self.roles)) or "no role"
            raise DecisionRefused(f"The key of {self.name!r} vouches for {may}, and not for {', '.join(beyond)} ({person.id!r}).")
        return Person(person.id, person.roles, self.name)


def needed(driver: RunDriver, definition: EffectDefinition[..., Any], arguments: Arguments) -> bool:
    """Say whether this call needs approval. A predicate that raises means yes."""
    match driver.site.approve:
        case "every":
            return True
        case "final" if definition.options.final:
            return True
    when = definition.approval.when
    if isinstance(when, bool):
        return when
    try:
        return bool(when(Shown(arguments.values)))
    except Exception:
        return True


def digest(driver: RunDriver, definition: EffectDefinition[..., Any], arguments: Arguments) -> str:
    """Return what an approval binds."""
    seen = {
        p.name: p.codec.to_json(arguments.values[p.name])
        for p in definition.contract.parameters
        if p.name not in definition.options.advisory
    }
    return digest_of(
        {
            "tool": definition.full_name,
            "arguments": seen,
            "environment": driver.site.environment,
            "code": definition.code_digest,
        }
    )


async def propose(
    driver: RunDriver,
    definition: EffectDefinition[..., Any],
    effect: EffectState,
    arguments: Arguments,
    path: str,
    asked: str,
) -> None:
    """Put the call before a person. If the process dies inside, it is proposed or it is not; nothing was sent."""
    within = definition.approval.within
    due = None if within is None else driver.clock.now() + within
    draft, entry = proposal(driver, definition, effect, arguments, asked, due)
    driver.hold(path, due)
    try:
        await driver.log.commit(draft, opened=[entry])
    finally:
        driver.release(path)


def proposal(
    driver: RunDriver,
    definition: EffectDefinition[..., Any],
    effect: EffectState,
    arguments: Arguments,
    asked: str,
    due: float | None,
) -> tuple[Draft, Waiting]:
    """Return the event and the entry with which a call is put before a person."""
    record = definition.contract.to_record(arguments)
    bound = digest(driver, definition, arguments)
    shows: dict[str, Any] = {
        "tool": definition.full_name,
        "arguments": record,
        "environment": driver.site.environment,
        "final": definition.options.final,
        "undo": getattr(definition.options.undo, "__name__", None),
        "votes": definition.approval.votes,
    }
    if definition.approval.not_starter:
        shows["not_by"] = driver.history.started.get("by")
    if effect.approval is not None and effect.proposal is not None:
        shows["approved_before"] = effect.proposal.get("args")
    entry = waiting.entry(
        driver,
        effect.path,
        "approval",
        f"{definition.name}: may it be done?",
        shows,
        waiting.APPROVAL_DECISIONS,
        role=definition.approval.role,
        due=due,
        digest=bound,
    )
    payload = {
        "d": asked,
        "tool": definition.full_name,
        **driver.asked_in(effect.path),
        "args": record,
        "approves": bound,
        "due": due,
        "entry": entry.id,
    }
    return ("effect.proposed", effect.path, payload), entry


def covers(driver: RunDriver, definition: EffectDefinition[..., Any], effect: EffectState, arguments: Arguments) -> bool:
    """Say whether the approval at hand is one of this very call, with the code as it is now."""
    return effect.approval is not None and effect.approval.get("approves") == digest(driver, definition, arguments)


def still_fits(driver: RunDriver, definition: EffectDefinition[..., Any], effect: EffectState, arguments: Arguments) -> bool:
    """Say whether the approval at hand covers what would run now, and has not expired."""
    if not covers(driver, definition, effect, arguments):
        return False
    due = (effect.proposal or {}).get("due")
    return due is None or driver.clock.now() <= due
