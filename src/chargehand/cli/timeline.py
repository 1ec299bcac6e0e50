"""Events as a person reads them: one line each. Everything in them is foreign and printed through `safe`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chargehand.cli.safe import counted, duration, moment, one_line, short_json
from chargehand.events import EVENT_TYPES, Event

Payload = Mapping[str, Any]

GOOD, BAD, ASKS, QUIET = "green", "red", "yellow", "dim"
_VALUE_CHARS = 160


def style_of(event: Event) -> str:
    """Return the colour of an event's line."""
    if event.type in ("agent.rejected", "agent.errored", "agent.failed", "call.failed", "effect.failed", "effect.denied", "run.failed"):
        return BAD
    if event.type.endswith(("lettered", "doubted", "proposed", "parked", "escalated", "asked", "pivoted")):
        return ASKS
    if event.type in ("run.completed", "agent.released", "effect.done"):
        return GOOD
    return QUIET if event.type in ("spent", "now.read", "timer.fired", "effect.intended", "undo.intended") else ""


def told(event: Event) -> str:
    """Return what an event says, as one line."""
    telling = _TOLD.get(event.type)
    if event.payload.get("$erased"):
        return f"erased; it said: {EVENT_TYPES.get(event.type, event.type)}"
    return (telling(event.payload) if telling is not None else "") or EVENT_TYPES.get(event.type, event.type)


# -- parts of a sentence ----------


def _value(value: Any) -> str:
    return short_json(value, _VALUE_CHARS)


def _error(payload: Payload) -> str:
    form = payload.get("e") or {}
    kind = form.get("type") or form.get("code") or ""
    message = one_line(form.get("message") or "", 300)
    return f"{one_line(kind)}: {message}" if message and kind != form.get("code") else message or one_line(kind)


def _by(payload: Payload) -> str:
    by = payload.get("by")
    if isinstance(by, Mapping):
        voucher = f" (vouched for by {one_line(by['vouched_by'])})" if by.get("vouched_by") else ""
        return f" by {one_line(by.get('id'))}{voucher}"
    return f" by {one_line(by)}" if by else ""


def _because(payload: Payload) -> str:
    return f": {one_line(payload['reason'], 300)}" if payload.get("reason") else ""


def _took(payload: Payload) -> str:
    return f" in {duration(payload['s'])}" if payload.get("s") else ""


def verdicts_told(payload: Payload) -> str:
    """Return what gates said, as one line."""
    said = []
    for verdict in payload.get("verdicts", ()):
        mode = f" [{one_line(verdict['mode'])}]" if verdict.get("mode") else ""
        reasons = "; ".join(one_line(reason, 200) for reason in verdict.get("reasons", ()))
        said.append(
            f"{one_line(verdict.get('gate') or 'gate')} {verdict.get('outcome')}{mode}{_votes(verdict)}"
            + (f": {reasons}" if reasons else "")
        )
    return "; ".join(said)


def _votes(verdict: Payload) -> str:
    """Return how voters voted and what that is worth, or that a judge was not asked; nothing for other gates."""
    evidence = verdict.get("evidence")
    if not isinstance(evidence, Mapping):
        return ""
    if evidence.get("asked") is False:
        return f" (not asked: {one_line(evidence.get('why'), 200)})"
    if "effective" not in evidence:
        return ""
    lost = f", {evidence.get('lost')} lost" if evidence.get("lost") else ""
    return (
        f" ({evidence.get('yes')} yes, {evidence.get('no')} no{lost} of {counted(int(evidence.get('of') or 0), 'voter')}; "
        f"worth {one_line(evidence['effective'])} independent votes)"
    )


def _until(payload: Payload) -> str:
    return f", until {moment(payload['due'])}" if payload.get("due") else ""


def _next(payload: Payload) -> str:
    if payload.get("due") is not None:
        return f"; again at {moment(payload['due'])}"
    return f"; next: {one_line(payload['do'])}" if payload.get("do") else ""


# -- sentences ----------


def _started(payload: Payload) -> str:
    return f"started{_by(payload)} with {_value(payload.get('input'))}"


def _parked(payload: Payload) -> str:
    shows = payload.get("shows") or {}
    detail = shows.get("error") or shows.get("code") or shows.get("why") or ", ".join(map(str, shows.get("in_flight") or ()))
    return f"parked as {payload.get('reason')}" + (f": {one_line(detail, 300)}" if detail else "")


def _rejected(payload: Payload) -> str:
    return f"attempt {payload.get('attempt')} rejected: {verdicts_told(payload)}{_next(payload)}"


def _errored(payload: Payload) -> str:
    return f"attempt {payload.get('attempt')} raised {_error(payload)}{_next(payload)}"


def _released(payload: Payload) -> str:
    how = {"gates": "by its gates", "person": "by a person", "fallback": "as a declared fallback"}.get(str(payload.get("by")), "")
    person = payload.get("person") or {}
    who = f" {one_line(person.get('id'))}" if person else ""
    edited = ", edited" if payload.get("edited") else ""
    verdicts = verdicts_told(payload)
    return f"released {how}{who}{edited}{_because(payload)}: {_value(payload.get('v'))}" + (f" ({verdicts})" if verdicts else "")


def _decided(payload: Payload) -> str:
    return f"{one_line(payload.get('do'))}{_by(payload)}{_because(payload)}"


def _proposed(payload: Payload) -> str:
    return f"waits for approval{_until(payload)}: {one_line(payload.get('tool'))} {_value(payload.get('args'))}"


def _intended(payload: Payload) -> str:
    generation = f", generation {payload['generation']}" if payload.get("generation", 1) > 1 else ""
    return f"intended under key {one_line(payload.get('key'))}{generation}: {_value(payload.get('args'))}"


def _effect_done(payload: Payload) -> str:
    extra = " (shared)" if payload.get("shared") else " (dry run)" if payload.get("dry") else ""
    return f"done{_by(payload)}{_took(payload)}{extra}: {_value(payload.get('v'))}"


def _spent(payload: Payload) -> str:
    reserve = payload.get("reserve") or {}
    model = f" {one_line(payload['model'])}" if payload.get("model") else ""
    return f"may spend{model} up to {reserve.get('tokens', 0)} tokens"


def _resumed(payload: Payload) -> str:
    if payload.get("pivot"):
        return f"decided{_by(payload)}: {_chosen(payload['pivot'])}"
    accepted = f", accepting {', '.join(one_line(path) for path in payload['accept'])}" if payload.get("accept") else ""
    return f"goes on{_by(payload)}{accepted}"


def _chosen(decision: Any) -> str:
    """Return what a person chose for a run, or a scope of it, that failed after a final effect."""
    return {"undo": "undo what can be undone", "leave": "leave what stands"}.get(str(decision), one_line(decision))


_TOLD: dict[str, Callable[[Payload], str]] = {
    "run.started": _started,
    "run.completed": lambda payload: f"completed: {_value(payload.get('v'))}",
    "run.failed": lambda payload: f"failed: {_error(payload)}",
    "run.cancelled": lambda payload: f"cancelled: {_error(payload)}",
    "run.parked": _parked,
    "run.resumed": _resumed,
    "run.rolling_back": lambda payload: f"rolls back: {_error(payload)}",
    "run.pivoted": lambda payload: "failed after a final effect; a person decides",
    "cancel.requested": lambda payload: f"cancel asked{_by(payload)}{_because(payload)}",
    "mail.ignored": lambda payload: f"{one_line(payload.get('kind'))} ignored: {one_line(payload.get('why'), 300)}",
    "call.done": lambda payload: f"done{_took(payload)}: {_value(payload.get('v'))}",
    "call.failed": lambda payload: f"failed: {_error(payload)}",
    "call.retrying": lambda payload: f"try {payload.get('try')} failed: {_error(payload)}{_next(payload)}",
    "timer.set": lambda payload: f"sleeps until {moment(payload['due'])}" if payload.get("due") else "sleeps",
    "signal.wanted": lambda payload: f"waits for the signal {one_line(payload.get('want'))}{_until(payload)}",
    "signal.kept": lambda payload: f"signal {one_line(payload.get('name'))} kept: {_value(payload.get('v'))}",
    "signal.received": lambda payload: f"signal received{_by(payload)}: {_value(payload.get('v'))}",
    "signal.expired": lambda payload: _error(payload),
    "question.asked": lambda payload: f"asks: {one_line(payload.get('question'), 300)}{_until(payload)}",
    "question.answered": lambda payload: _error(payload) if "e" in payload else f"answered{_by(payload)}: {_value(payload.get('v'))}",
    "agent.rejected": _rejected,
    "agent.errored": _errored,
    "agent.asked": lambda payload: f"asks back: {one_line(payload.get('question'), 300)}",
    "agent.answered": lambda payload: f"is told{_by(payload)}: {one_line(payload.get('answer'), 300)}",
    "agent.produced": lambda payload: f"attempt {payload.get('attempt')} produced: {_value(payload.get('output'))}",
    "gate.judged": lambda payload: verdicts_told({"verdicts": [payload]}),
    "agent.escalated": lambda payload: f"waits for a person to release, edit or reject{_until(payload)}: {_value(payload.get('output'))}",
    "agent.decided": _decided,
    "agent.released": _released,
    "agent.failed": lambda payload: f"gave up: {_error(payload)}",
    "spent": _spent,
    "effect.proposed": _proposed,
    "effect.voted": lambda payload: f"one more yes{_by(payload)}",
    "effect.approved": lambda payload: f"approved{_by(payload)}{_because(payload)}",
    "effect.denied": lambda payload: f"denied: {_error(payload)}",
    "effect.intended": _intended,
    "effect.tried": lambda payload: f"try {payload.get('try')}: {_error(payload)} ({payload.get('happened')}){_next(payload)}",
    "effect.again": lambda payload: (
        f"sent again under the same key, try {payload.get('try')}" + (", after a crash" if payload.get("crashed") else "")
    ),
    "effect.doubted": lambda payload: f"in doubt: {one_line(payload.get('why'), 300)}",
    "effect.lettered": lambda payload: f"became a dead letter: {_error(payload)}",
    "effect.done": _effect_done,
    "effect.did_not_happen": lambda payload: f"did not happen{_by(payload)}: {_error(payload)}",
    "effect.edited": lambda payload: f"arguments changed{_by(payload)}: {_value(payload.get('args'))}",
    "effect.redriven": lambda payload: f"redriven{_by(payload)}",
    "effect.failed": lambda payload: f"failed: {_error(payload)}",
    "scope.decided": lambda payload: f"decided{_by(payload)}: {_chosen(payload.get('do'))}",
    "scope.rolling_back": lambda payload: f"rolls back: {_error(payload)}",
    "undo.intended": lambda payload: f"undo, try {payload.get('try')}",
    "undo.tried": lambda payload: f"undo, try {payload.get('try')} failed: {_error(payload)}{_next(payload)}",
    "undo.lettered": lambda payload: f"could not be undone: {one_line(payload.get('why'), 300)}",
    "undo.redriven": lambda payload: f"undo redriven{_by(payload)}",
    "undo.done": lambda payload: f"undone{_by(payload)}",
    "undo.stands": lambda payload: f"stands{_by(payload)}{_because(payload) or ': ' + one_line(payload.get('why') or '')}",
}


def line_of(event: Event, started: float) -> str:
    """Return the whole line of an event: how long after the start, where, what."""
    since = duration(event.time - started)
    where = one_line(event.path) or "run"
    return f"{event.seq:>5}  +{since:<10} {where}  {told(event)}".replace("\n", " ")
