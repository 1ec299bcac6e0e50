"""Folding mail: what others left for a run becomes events, or is ignored with the reason. One commit per letter.

Nobody but the driver appends events. A decision is checked again here, against the run as it is now: it may have come
twice, late, or from somebody who may not decide.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chargehand.contracts import explain
from chargehand.core.identity import base_key, key_of
from chargehand.core.lifecycle import EFFECT_MOVES, Stage
from chargehand.core.states import AgentState, EffectState
from chargehand.durable import KeyChange, KeySet, KeyState, KeyTake, Mail, Waiting
from chargehand.errors import ChargehandError, JournalError, KeyHeld
from chargehand.supervise import approvals, pivot, saga, waiting
from chargehand.supervise.budgets import BUDGET_QUESTION
from chargehand.supervise.definitions import EffectDefinition
from chargehand.supervise.log import Draft, Part
from chargehand.supervise.seals import is_sealed
from chargehand.supervise.steps import Wanted

if TYPE_CHECKING:
    from chargehand.supervise.run import RunDriver


logger = logging.getLogger("chargehand")


class Unfit(Exception):
    """The letter does not fit the run as it is now."""


async def fold_mail(driver: RunDriver, letter: Mail) -> None:
    """Turn one row of the mailbox into events. If the process dies before they are on disk, the row is still there."""
    about = letter.body.get("entry") if letter.kind == "decision" else None
    while True:
        while driver.log.pending:  # what operations have already decided comes first
            await driver.log.flush()
        entry = await driver.site.journal.entry(about) if isinstance(about, str) else None
        if not driver.log.pending:
            break
    closed: list[str] = []
    opened: list[Waiting] = []
    try:
        drafts = _drafts(driver, letter, entry, closed, opened)
        _check_moves(driver, drafts)
        keys = await _keys_after(driver, drafts)
    except JournalError:
        raise
    except Exception as reason:  # whatever is wrong with a letter, the run goes on without it
        drafts, keys, closed, opened = [_ignored(letter, reason)], [], [], []
    if keys and not await _kept_with_keys(driver, letter, drafts, opened, closed, keys):
        return
    resumed = drafts[0][0] == "run.resumed"  # a person vouches for it: the count of crashes begins anew
    before = driver.history.rolling_back
    if not keys:
        driver.log.note(*drafts, opened=opened, closed=closed, mail=[letter.id], progress=resumed)
    if resumed and "pivot" not in drafts[0][2]:
        driver.unpark()
    cancelled = driver.history.cancel
    if cancelled is not None and before is None and driver.history.rolling_back is None and driver.history.ended is None:
        error = {"code": "run-cancelled", "message": cancelled.payload.get("reason") or "cancelled"}
        await saga.begin_rollback(driver, {"e": error, "by": "cancel"})


def _ignored(letter: Mail, reason: Exception) -> Draft:
    """Return the event that says why a letter changed nothing."""
    why = explain(reason) if isinstance(reason, ValidationError) else str(reason)
    if not isinstance(reason, (Unfit, ChargehandError, ValidationError)):
        why = f"it could not be read: {type(reason).__name__}: {why}"
        logger.warning("a letter was ignored: %s", why, exc_info=reason)
    return ("mail.ignored", "", {"kind": letter.kind, "why": why, "body": _short(letter.body)})


def _check_moves(driver: RunDriver, drafts: Sequence[Draft]) -> None:
    """Raise `Unfit` when an effect is no longer where these events could be about it."""
    stages: dict[str, Stage] = {}
    for kind, path, _ in drafts:
        effect = driver.history.calls.get(path)
        if not isinstance(effect, EffectState):
            continue
        stage = stages.get(path, effect.stage)
        if (stage, kind) not in EFFECT_MOVES:
            raise Unfit(f"{path} is {stage!r} by now, so this does not fit it any more")
        stages[path] = EFFECT_MOVES[(stage, kind)]


async def _keys_after(driver: RunDriver, drafts: Sequence[Draft]) -> list[KeyChange]:
    """Return what a person's word about effects changes about their business keys: others who ask for the key wait for it."""
    changes: list[KeyChange] = []
    for kind, path, payload in drafts:
        state = _KEY_AFTER.get(kind)
        effect = driver.history.calls.get(path)
        if state is None or not isinstance(effect, EffectState) or effect.shared:
            continue
        if kind == "undo.stands" and not (effect.stage == "undo letter" and effect.done_seq):
            continue  # what came of it is not known: nobody may share it
        definition = driver.effect_definition(effect)
        if definition is None or definition.options.key is None or effect.arguments is None:
            continue
        arguments = definition.contract.from_record(effect.arguments)
        key = effect.business or str(definition.options.key(approvals.Shown(arguments.values)))
        if effect.stage in ("proposed", "letter"):  # not held: take it, or hear who has
            digest = definition.contract.partial_digest(arguments, definition.options.advisory)
            row = await driver.site.journal.key(driver.site.environment, effect.tool, key)
            mine = row is None or (row.run_id == driver.row.id and row.path == path)
            generation = effect.generation if mine or row is None else row.generation + 1
            changes.append(KeyTake(effect.tool, key, path, generation, digest))
            if kind == "effect.done":
                payload.update(business=key, generation=generation, key=key_of(base_key(driver.seed, path, key), generation))
        value = effect.result if kind == "undo.stands" else payload.get("v")
        result = json.dumps(value).encode() if state == "done" else None
        changes.append(KeySet(effect.tool, key, state, result))
    return changes


_KEY_AFTER: dict[str, KeyState] = {
    "effect.done": "done",
    "effect.did_not_happen": "open",
    "undo.done": "open",
    "undo.stands": "done",  # while it was being undone nobody could share it
}


async def _kept_with_keys(
    driver: RunDriver, letter: Mail, drafts: Sequence[Draft], opened: Sequence[Waiting], closed: Sequence[str], keys: Sequence[KeyChange]
) -> bool:
    """Commit a decision together with its keys; say whether it was taken. Who does not get the key is told who has it."""
    done = driver.log.told(Part(drafts, opened, closed, keys, [letter.id], progress=True))
    await driver.log.flush()
    try:
        done.result()
    except KeyHeld as held:
        driver.log.note(_ignored(letter, held), mail=[letter.id])
        return False
    return True


def _drafts(driver: RunDriver, letter: Mail, entry: Waiting | None, closed: list[str], opened: list[Waiting]) -> list[Draft]:
    if driver.history.ended is not None:
        raise Unfit("the run has ended")
    body = letter.body
    if not is_sealed(driver.site.journal.chain_key, driver.row.id, letter.kind, letter.time, body):
        raise Unfit("it does not bear the seal of the journal's key: whoever left it does not have the key")
    match letter.kind:
        case "signal":
            return [_signal(driver, body)]
        case "cancel":
            if driver.history.cancel is not None or driver.history.rolling_back is not None:
                raise Unfit("the run is being rolled back already")
            return [("cancel.requested", "", {"reason": body.get("reason"), "by": body.get("by")})]
        case "resume":
            if driver.history.parked is None:
                raise Unfit("the run is not parked as a whole")
            accepted = list(body.get("accept", ()))
            closed.append(driver.history.parked.payload.get("entry", ""))
            closed += [waiting.current_id(driver, path) for path in accepted if driver.history.unsent(path)]  # asked anew
            return [("run.resumed", "", {"by": body.get("by"), "accept": accepted})]
        case "decision":
            return _decided(driver, letter, entry, closed, opened)


def _signal(driver: RunDriver, body: Mapping[str, Any]) -> Draft:
    """Give the signal to the call that waits for it longest, or keep it for the one that will."""
    name = body["name"]
    if driver.history.signals.get(name):
        return ("signal.kept", "", {"name": name, "v": body.get("value")})  # an older one has not been taken yet: no overtaking
    for path, ask in driver.wanted():
        state = driver.history.calls.get(path)
        if state is not None and state.settled is None and state.facts.get("want") == name:
            _checked_value(ask, body.get("value"))
            return ("signal.received", path, {"v": body.get("value"), "by": body.get("by")})
    return ("signal.kept", "", {"name": name, "v": body.get("value")})


def _checked_value(ask: Any, value: Any) -> None:
    if isinstance(ask, Wanted) and ask.codec is not None:
        ask.codec.from_json(value)


def _decided(driver: RunDriver, letter: Mail, entry: Waiting | None, closed: list[str], opened: list[Waiting]) -> list[Draft]:
    body = letter.body
    current = entry is not None and entry.run_id == driver.row.id and entry.id == waiting.current_id(driver, entry.path)
    if entry is None or not current or driver.log.closing(entry.id):
        raise Unfit(f"nothing of the id {body['entry']!r} waits any more")
    # a decision that was on disk in time counts, also when the worker died before it could carry it out
    check_decision(entry, body, letter.time)
    drafts = _drafts_of_decision(driver, entry, body)
    if drafts[0][0] != "effect.voted":
        closed.append(entry.id)
    if drafts[0][0] == "effect.edited" and drafts[-1][0] == "effect.voted":
        return [drafts[0], _asked_of_the_others(driver, entry, drafts[0], opened), drafts[-1]]
    return drafts


def _asked_of_the_others(driver: RunDriver, entry: Waiting, edited: Draft, opened: list[Waiting]) -> Draft:
    """Put an edited call before the other approvers: what they see is what it is now, and the time that is left stays."""
    effect = driver.history.effect(entry.path)
    definition = _definition(driver, effect)
    arguments = definition.contract.from_record(edited[2]["args"])
    draft, again = approvals.proposal(driver, definition, effect, arguments, effect.digest or arguments.digest, entry.due)
    opened.append(again)
    return draft


def check_decision(entry: Waiting, body: Mapping[str, Any], now: float) -> None:
    """Raise `Unfit` with the reason when this decision, by this person, does not fit this entry."""
    by = body.get("by") or {}
    if body["decision"] not in entry.decisions:
        raise Unfit(f"{body['decision']!r} is no decision here; it may be: {', '.join(entry.decisions)}")
    if entry.role is not None and entry.role not in by.get("roles", ()):
        raise Unfit(f"{by.get('id')!r} does not have the role {entry.role!r}")
    if entry.due is not None and now > entry.due:
        raise Unfit("the entry has expired")
    if body.get("shown") is not None and body["shown"] != entry.digest:
        raise Unfit("what was shown is not what waits now; look at it again")
    if body["decision"] != "reject" and by.get("id") is not None and by.get("id") == entry.shows.get("not_by"):
        raise Unfit(f"{by.get('id')!r} started the run and may not approve it")
    if entry.path.endswith(BUDGET_QUESTION) and not isinstance(body.get("value"), bool):
        raise Unfit(f"whether to go on over the budget is answered with true or false, not with {body.get('value')!r}")


def _drafts_of_decision(driver: RunDriver, entry: Waiting, body: Mapping[str, Any]) -> list[Draft]:
    state = driver.history.calls.get(entry.path)
    if entry.kind in ("diverged", "broken", "poison"):
        if body["decision"] == "cancel" and driver.history.rolling_back is not None:
            raise Unfit("the run is being rolled back already; let it go on")
        if body["decision"] == "cancel":
            return [("cancel.requested", "", {"reason": body.get("reason"), "by": body.get("by")})]
        raise Unfit("resume the run instead")
    if (entry.path == "" and driver.history.pivoted is not None) or entry.path in driver.history.scope_pivots:
        return pivot.decided(driver.history, entry.path, body)
    if isinstance(state, EffectState):
        if entry.kind == "approval":
            _check_approver(driver, state, entry, body)
        return _decided_on_effect(driver, state, entry.kind, body)
    if state is not None and state.settled is not None:
        raise Unfit(f"{entry.path} has been answered already")
    if isinstance(state, AgentState):
        if state.question is not None:
            return [("agent.answered", entry.path, {"answer": body.get("value"), "by": _by(body)})]
        return [_escalation(driver, state, body)]
    ask = driver.ask_at(entry.path)
    if ask is not None:
        _checked_value(ask, body.get("value"))
    return [("question.answered", entry.path, {"v": body.get("value"), "by": _by(body)})]


def _decided_on_effect(driver: RunDriver, effect: EffectState, kind: str, body: Mapping[str, Any]) -> list[Draft]:
    """Return the events of a decision on an effect. Once a rollback has begun, nothing is decided that would send it."""
    about = "undo" if kind == "letter" and effect.stage.startswith("undo") else kind
    decide = _EFFECT_DECISIONS.get((about, body["decision"]))
    if decide is None:
        raise Unfit(f"{effect.path} is {effect.stage!r} by now, and {body['decision']!r} is no decision about that")
    if decide in _SENDING and _is_rolled_back(driver, effect):
        raise Unfit(f"{effect.path} is being rolled back; it is not sent any more")
    return decide(driver, effect, body)


def _is_rolled_back(driver: RunDriver, effect: EffectState) -> bool:
    history = driver.history
    scopes = [path.removesuffix(pivot.SUFFIX) for path in history.rolling]
    return history.rolling_back is not None or any(effect.path.startswith(scope + "/") for scope in scopes)


def _escalation(driver: RunDriver, state: AgentState, body: Mapping[str, Any]) -> Draft:
    payload: dict[str, Any] = {"do": body["decision"], "by": _by(body), "reason": body.get("reason")}
    if body["decision"] == "release" and not body.get("reason"):
        raise Unfit("a release past the gates needs a reason")
    if body["decision"] == "edit":
        call = driver.definitions.get(state.path)
        if call is not None:
            call.definition.contract.result.from_json(body.get("value"))
        payload["output"] = body.get("value")
    return ("agent.decided", state.path, payload)


def _by(body: Mapping[str, Any]) -> dict[str, Any]:
    return dict(body.get("by") or {})


def _short(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key in ("entry", "decision", "name", "by", "reason")}


# -- decisions on effects ----------


def _definition(driver: RunDriver, effect: EffectState) -> EffectDefinition[..., Any]:
    definition = driver.effect_definition(effect)
    if definition is None:
        raise Unfit("this process does not know the effect's code, so what was given cannot be checked")
    return definition


def _check_approver(driver: RunDriver, effect: EffectState, entry: Waiting, body: Mapping[str, Any]) -> None:
    """Hold a decision about a proposed call against the code and the events; the list of what waits is only a projection."""
    proposal, person = effect.proposal or {}, _by(body)
    if entry.digest != proposal.get("approves") or entry.shows.get("arguments") != proposal.get("args"):
        raise Unfit("what the list of what waits shows is not what was proposed; somebody has changed it")
    definition = driver.effect_definition(effect)
    if definition is None:
        return
    if definition.approval.role is not None and definition.approval.role not in person.get("roles", ()):
        raise Unfit(f"{person.get('id')!r} does not have the role {definition.approval.role!r}")
    starter = driver.history.started.get("by")
    if body["decision"] != "reject" and definition.approval.not_starter and person.get("id") == starter:
        raise Unfit("who started the run may not approve it")


def _approve(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    definition, approver = _definition(driver, effect), _by(body)
    voters = {vote["by"]["id"] for vote in effect.votes} | {approver.get("id")}
    payload = {"by": approver, "reason": body.get("reason"), "approves": (effect.proposal or {}).get("approves")}
    if len(voters) < definition.approval.votes:
        return [("effect.voted", effect.path, payload)]
    return [("effect.approved", effect.path, payload)]


def _edit_and_approve(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    """Approve with other arguments. An edit voids other votes and counts as the editor's own."""
    definition = _definition(driver, effect)
    arguments = definition.contract.from_record(body.get("value") or {})
    record = definition.contract.to_record(arguments)
    bound = approvals.digest(driver, definition, arguments)
    edited: Draft = (
        "effect.edited",
        effect.path,
        {"args": record, "generation": effect.generation + 1, "by": _by(body)},
    )
    kind = "effect.approved" if definition.approval.votes <= 1 else "effect.voted"
    return [edited, (kind, effect.path, {"by": _by(body), "approves": bound, "reason": body.get("reason")})]


def _reject(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    message = f"{_by(body).get('id')} said no: {body.get('reason') or 'no reason given'}"
    return [("effect.denied", effect.path, {"by": _by(body), "e": {"code": "denied", "message": message}})]


def _done(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    """The person says that it is done and what came of it; the result is checked like any other."""
    definition = _definition(driver, effect)
    codec = definition.contract.result
    form = codec.to_json(codec.from_json(body.get("value")))
    payload: dict[str, Any] = {"v": form, "by": _by(body)}
    if definition.options.final:
        payload["final"] = True
    if not effect.key:  # never sent: its undo needs a key of its own all the same
        payload["key"] = key_of(base_key(driver.seed, effect.path, None), effect.generation)
    return [("effect.done", effect.path, payload)]


def _not_done(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    return [("effect.did_not_happen", effect.path, {"by": _by(body), "permanent": True, "e": dict(effect.error or {})})]


def _redrive(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    """Have it tried again under the same key: what is in doubt only while the world still remembers the key."""
    if effect.stage == "doubt" and not _definition(driver, effect).policy.key_counts(effect, driver.clock.now()):
        raise Unfit("its key no longer makes sending again safe: it was first sent too long ago, or the world honours no key")
    return [("effect.redriven", effect.path, {"by": _by(body)})]


def _redrive_edited(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    definition = _definition(driver, effect)
    record = definition.contract.to_record(definition.contract.from_record(body.get("value") or {}))
    return [("effect.edited", effect.path, {"args": record, "generation": effect.generation + 1, "by": _by(body)})]


def _fail(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    message = f"{effect.tool} could not be done: {(effect.error or {}).get('message', '')}".strip(": ")
    return [("effect.failed", effect.path, {"by": _by(body), "e": {"code": "dead-lettered", "message": message}})]


def _abandon(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    if driver.history.rolling_back is not None:
        return _undo_stands(driver, effect, body)
    return [("cancel.requested", "", {"reason": body.get("reason") or f"{effect.path} was abandoned", "by": _by(body)})]


def _undo_redrive(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    return [("undo.redriven", effect.path, {"by": _by(body)})]


def _undo_done(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    return [("undo.done", effect.path, {"by": _by(body)})]


def _undo_stands(driver: RunDriver, effect: EffectState, body: Mapping[str, Any]) -> list[Draft]:
    if not body.get("reason"):
        raise Unfit("that an effect stands needs a reason")
    return [("undo.stands", effect.path, {"by": _by(body), "reason": body.get("reason")})]


_EFFECT_DECISIONS: dict[tuple[str, str], Callable[[Any, EffectState, Mapping[str, Any]], list[Draft]]] = {
    ("approval", "approve"): _approve,
    ("approval", "edit"): _edit_and_approve,
    ("approval", "reject"): _reject,
    ("approval", "done"): _done,
    ("letter", "redrive"): _redrive,
    ("letter", "edit"): _redrive_edited,
    ("letter", "done"): _done,
    ("letter", "fail"): _fail,
    ("letter", "abandon"): _abandon,
    ("doubt", "done"): _done,
    ("doubt", "not-done"): _not_done,
    ("doubt", "redrive"): _redrive,
    ("doubt", "abandon"): _abandon,
    ("undo", "redrive"): _undo_redrive,
    ("undo", "done"): _undo_done,
    ("undo", "abandon"): _undo_stands,
}

_SENDING = (_approve, _edit_and_approve, _redrive, _redrive_edited)


__all__ = ["ChargehandError", "Unfit", "check_decision", "fold_mail"]
