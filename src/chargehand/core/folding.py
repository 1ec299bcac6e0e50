"""What each event type does to the history: one handler per type, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from chargehand.core.lifecycle import moved
from chargehand.core.states import AgentState, CallState, EffectState, Settled
from chargehand.events import Event
from chargehand.limits import Spent

if TYPE_CHECKING:
    from chargehand.core.history import History


def _run_started(history: History, event: Event) -> None:
    history.started = event.payload
    history.deadline = event.payload.get("deadline")


def _run_ended(history: History, event: Event) -> None:
    history.ended = event


def _run_parked(history: History, event: Event) -> None:
    history.parked = event
    _count_opening(history, event)


def _run_resumed(history: History, event: Event) -> None:
    if "pivot" in event.payload:
        history.pivot_choice = event.payload["pivot"]
        return
    history.parked = None
    history.accept(event.payload.get("accept", ()))
    if event.payload.get("again") is not None:
        history.forget(event.payload["again"])


def _rolling_back(history: History, event: Event) -> None:
    history.rolling_back = event
    history.withdrawn = event.seq
    history.parked = None


def _pivoted(history: History, event: Event) -> None:
    history.pivoted = event
    _count_opening(history, event)


def _cancel(history: History, event: Event) -> None:
    history.cancel = history.cancel or event


def _count_opening(history: History, event: Event) -> None:
    if event.payload.get("entry"):
        history.openings[event.path] = history.openings.get(event.path, 0) + 1
        history.entries[event.path] = event.payload["entry"]


def _settle(ok: bool) -> Callable[[History, Event], CallState]:
    def handler(history: History, event: Event) -> CallState:
        state, payload = history.call(event.path), event.payload
        state.digest = payload.get("d", state.digest)
        state.settled = Settled(event.seq, ok, payload.get("v" if ok else "e"))
        state.due = None
        if "name" in payload:
            state.facts["name"] = payload["name"]
        return state

    return handler


def _pending(history: History, event: Event) -> CallState:
    state = history.call(event.path)
    state.digest = event.payload.get("d", state.digest)
    state.due = event.payload.get("due")
    state.tries = event.payload.get("try", state.tries)
    state.facts.update(event.payload)
    _count_opening(history, event)
    return state


def _signal_kept(history: History, event: Event) -> None:
    history.signals.setdefault(event.payload["name"], []).append(event.payload.get("v"))


def _mail_ignored(history: History, event: Event) -> None:
    if "kept" in event.payload:
        history.signals[event.payload["kept"]].pop(0)


def _signal_received(history: History, event: Event) -> CallState:
    if "kept" in event.payload:
        history.signals[event.payload["kept"]].pop(0)
    return _settle(True)(history, event)


def _question_answered(history: History, event: Event) -> CallState:
    return _settle("e" not in event.payload)(history, event)


def _scope_rolling(history: History, event: Event) -> None:
    history.rolling[event.path] = event
    history.call(event.path).facts["began"] = event.seq


def _scope_pivoted(history: History, event: Event) -> None:
    history.scope_pivots[event.path] = None
    _count_opening(history, event)


def _scope_decided(history: History, event: Event) -> None:
    history.scope_pivots[event.path] = event.payload["do"]


def _scope_rolled(history: History, event: Event) -> CallState:
    history.rolling.pop(event.path, None)
    history.scope_pivots.pop(event.path, None)
    state = history.call(event.path)
    state.settled = Settled(event.seq, True, None)
    return state


def _spent(history: History, event: Event) -> None:
    history.reservations += 1
    history.reserved[event.payload["name"]] = Spent.from_record(event.payload["reserve"])


# agents


def _agent(history: History, event: Event) -> AgentState:
    state = history.agent(event.path)
    payload = event.payload
    state.digest = payload.get("d", state.digest)
    state.incarnation = max(state.incarnation, payload.get("incarnation", 0))
    _count_opening(history, event)
    return state


def _next_attempt(state: AgentState, payload: Mapping[str, Any]) -> None:
    state.rung_tries = state.rung_tries + 1 if payload.get("rung", state.rung) == state.rung else 0
    state.rung = payload.get("rung", state.rung)
    state.step = payload.get("do", state.step)
    state.who = payload.get("who", state.who)
    state.produced, state.verdicts, state.escalated, state.decided = None, {}, None, None
    if state.step in ("retry", "reassign"):
        state.attempt = payload["attempt"] + 1


def _agent_rejected(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.rejections.append(event.payload)
    state.errors = 0
    _next_attempt(state, event.payload)
    return state


def _agent_errored(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.last_error = event.payload
    state.due = event.payload.get("due")
    if state.due is not None:
        state.errors += 1
    else:
        state.errors = 0
        _next_attempt(state, event.payload)
    return state


def _agent_asked(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.question = event.payload["question"]
    state.facts["withdrawn"] = False
    return state


def _agent_answered(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.answers.append((state.question or "", str(event.payload.get("answer"))))
    state.question = None
    return state


def _agent_produced(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.produced, state.verdicts = event.payload, {}
    if "person" in event.payload:  # an edit: all gates are asked about it
        state.escalated = state.decided = None
        state.facts["edits"] = state.facts.get("edits", 0) + 1
    return state


def _gate_judged(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.verdicts[event.payload["gate"]] = event.payload
    return state


def _agent_escalated(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.escalated, state.decided, state.due = event.payload, None, event.payload.get("due")
    state.step = "escalate"
    return state


def _agent_decided(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.decided, state.due = event.payload, None
    return state


def _agent_released(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.settled = Settled(event.seq, True, event.payload.get("v"))
    state.release = event.payload
    history.released[event.path] = event.payload
    return state


def _agent_failed(history: History, event: Event) -> AgentState:
    state = _agent(history, event)
    state.settled = Settled(event.seq, False, event.payload["e"])
    return state


# effects


def _effect(history: History, event: Event) -> EffectState:
    effect = history.effect(event.path)
    history.effect_moved(event.path)
    stage = moved(effect.stage, event.type, event.path)
    if effect.stage == "undone":
        effect = history.anew(event.path)
    effect.stage = stage
    payload = event.payload
    effect.digest = payload.get("d", effect.digest)
    effect.tool = payload.get("tool", effect.tool)
    effect.error = payload.get("e", effect.error)
    if "args" in payload:
        effect.arguments = payload["args"]
    if "attempt" in payload:
        effect.facts.setdefault("attempt", payload["attempt"])
    _count_opening(history, event)
    return effect


def _effect_proposed(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.proposal, effect.approval, effect.votes = event.payload, None, []
    effect.due = event.payload.get("due")
    return effect


def _effect_voted(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.votes.append(event.payload)
    return effect


def _effect_approved(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.approval = event.payload
    return effect


def _effect_edited(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.generation = event.payload["generation"]
    effect.votes, effect.doubtful, effect.tries, effect.sent_at, effect.approval = [], False, 0, None, None
    effect.facts["edited"] = event.payload["args"]
    return effect


def _effect_intended(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    payload = event.payload
    first = effect.sent_at if payload["generation"] == effect.generation and effect.sent_at is not None else event.time
    effect.generation, effect.key = payload["generation"], payload["key"]
    effect.business = payload.get("business")
    effect.final = payload.get("final", False)
    effect.tries, effect.sent_at, effect.sent_seq, effect.ever_intended = 1, first, event.seq, True
    effect.doubtful = False
    effect.due = None
    return effect


def _effect_again(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.tries = event.payload["try"]
    effect.doubtful = effect.doubtful or event.payload.get("doubtful", False)
    effect.due = None
    return effect


def _effect_tried(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.due, effect.tries = event.payload.get("due"), event.payload["try"]
    effect.doubtful = event.payload["doubtful"]
    return effect


def _effect_doubted(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.facts["silent"] = event.payload.get("silent", False)
    effect.facts["doubted"] = event.seq
    effect.doubtful = True  # a redrive does not make the unknown try known
    return effect


def _effect_redriven(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.tries, effect.due = 0, event.time
    return effect


def _effect_unhappened(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.doubtful, effect.due = False, None
    effect.permanent = event.payload.get("permanent", False)
    return effect


def _effect_done(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    payload = event.payload
    effect.settled = Settled(event.seq, True, payload.get("v"))
    effect.result, effect.done_seq, effect.due = payload.get("v"), event.seq, None
    effect.shared, effect.dry = payload.get("shared", False), payload.get("dry", False)
    effect.final = payload.get("final", effect.final)
    effect.key = payload.get("key", effect.key)
    effect.generation = payload.get("generation", effect.generation)
    effect.business = payload.get("business", effect.business)
    return effect


def _effect_failed(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.settled = Settled(event.seq, False, event.payload["e"])
    effect.due = None
    return effect


def _undo_intended(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.undo_tries, effect.due = event.payload["try"], None
    return effect


def _undo_lettered(history: History, event: Event) -> EffectState:
    effect = _undone(history, event)
    shared = event.payload.get("shared", False) or effect.facts.get("letter", {}).get("shared", False)
    effect.facts["letter"] = {"why": event.payload.get("why", ""), "shared": shared, "seq": event.seq}
    return effect


def _undo_tried(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.due = event.payload.get("due")
    return effect


def _undo_redriven(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.undo_tries, effect.due = 0, event.time
    return effect


def _undone(history: History, event: Event) -> EffectState:
    effect = _effect(history, event)
    effect.facts["undone"] = event.seq
    effect.due = None
    return effect


HANDLERS: dict[str, Callable[[History, Event], CallState | None]] = {
    "run.started": _run_started,
    "run.completed": _run_ended,
    "run.failed": _run_ended,
    "run.cancelled": _run_ended,
    "run.parked": _run_parked,
    "run.resumed": _run_resumed,
    "run.rolling_back": _rolling_back,
    "run.pivoted": _pivoted,
    "cancel.requested": _cancel,
    "call.done": _settle(True),
    "call.failed": _settle(False),
    "call.retrying": _pending,
    "now.read": _settle(True),
    "timer.set": _pending,
    "timer.fired": _settle(True),
    "signal.wanted": _pending,
    "mail.ignored": _mail_ignored,
    "signal.kept": _signal_kept,
    "signal.received": _signal_received,
    "signal.expired": _settle(False),
    "question.asked": _pending,
    "question.answered": _question_answered,
    "scope.rolling_back": _scope_rolling,
    "scope.pivoted": _scope_pivoted,
    "scope.decided": _scope_decided,
    "scope.rolled_back": _scope_rolled,
    "spent": _spent,
    "agent.rejected": _agent_rejected,
    "agent.errored": _agent_errored,
    "agent.asked": _agent_asked,
    "agent.answered": _agent_answered,
    "agent.produced": _agent_produced,
    "gate.judged": _gate_judged,
    "agent.escalated": _agent_escalated,
    "agent.decided": _agent_decided,
    "agent.released": _agent_released,
    "agent.failed": _agent_failed,
    "effect.proposed": _effect_proposed,
    "effect.voted": _effect_voted,
    "effect.approved": _effect_approved,
    "effect.denied": _effect_failed,
    "effect.edited": _effect_edited,
    "effect.intended": _effect_intended,
    "effect.again": _effect_again,
    "effect.tried": _effect_tried,
    "effect.doubted": _effect_doubted,
    "effect.lettered": _effect,
    "effect.redriven": _effect_redriven,
    "effect.did_not_happen": _effect_unhappened,
    "effect.done": _effect_done,
    "effect.failed": _effect_failed,
    "undo.intended": _undo_intended,
    "undo.tried": _undo_tried,
    "undo.lettered": _undo_lettered,
    "undo.redriven": _undo_redriven,
    "undo.done": _undone,
    "undo.stands": _undone,
}
