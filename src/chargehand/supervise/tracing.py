"""Tracing: what each call of a recorded run was given, found by replaying the workflow's code against the record.

The journal keeps what calls gave and a digest of what they were given; the arguments themselves are made again by the code,
which a replay makes ask for the same. Nothing is executed and nothing is written. Without the code, or behind a place where it
no longer fits the record, what a call was given is not known, but for effects: their arguments are recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargehand.core.history import History
from chargehand.core.lineage import Lineage, Node, lineage_of
from chargehand.core.states import AgentState, CallState, EffectState
from chargehand.core.trampoline import Ask
from chargehand.durable import RunRow
from chargehand.errors import ChargehandError
from chargehand.events import Event
from chargehand.supervise.call import Call
from chargehand.supervise.check import Check
from chargehand.supervise.site import Site

INPUT, RESULT = "!input", "!result"
"""The paths of the workflow's input and result. No call can have them."""

_ENDS = ("run.completed", "run.failed", "run.cancelled", "run.rolling_back", "run.parked", "run.resumed")


@dataclass(frozen=True, slots=True)
class Traced:
    """The lineage of a run. `unfit`: where the code no longer matches the record; what comes behind was not replayed."""

    lineage: Lineage
    replayed: bool
    unfit: str = ""


@dataclass(frozen=True, slots=True)
class _Asked:
    kind: str
    after: int
    arguments: Mapping[str, Any] | None


class _Tracing(Check):
    """A replay that notes what the code asks for. Use it once, in a running event loop."""

    def __init__(self, site: Site, row: RunRow, events: list[Event]) -> None:
        super().__init__(site, row, events)
        self.asked: dict[str, _Asked] = {}
        self._told = 1

    def trace(self) -> str:
        """Replay as far as that goes; say where code and record part, or nothing."""
        try:
            self._start_workflow()
        except ChargehandError as error:
            return error.message
        try:
            while self._diverged is None:
                self._run_code()
                if self._diverged is not None or not self._deliver_one():
                    break
        finally:
            self.trampoline.unload()
        return "" if self._diverged is None else f"{self._diverged['recorded']}; the code: {self._diverged['code']}"

    def _match(self, ask: Ask) -> None:
        super(Check, self)._match(ask)
        if self._diverged is not None:  # it is not what was asked when this was recorded
            return
        if isinstance(ask.what, Call):
            arguments = ask.what.definition.contract.to_record(ask.what.arguments)
            self.asked[ask.path] = _Asked(ask.kind, self._told, arguments)
        elif ask.kind in ("question", "signal", "timer"):
            self.asked[ask.path] = _Asked(ask.kind, self._told, {"about": ask.what.shows})

    def _outcome(self, ask: Ask, state: CallState) -> tuple[bool, Any]:
        assert state.settled is not None
        self._told = max(self._told, state.settled.seq)
        return super()._outcome(ask, state)


def trace(site: Site | None, row: RunRow, events: Sequence[Event]) -> Traced:
    """Return the lineage of a run. Needs a running event loop.

    Args:
        site: of a supervisor that knows the run's workflow; None when its code is not at hand.
        row, events: the run and its whole history.
    """
    asked: dict[str, _Asked] = {}
    unfit = ""
    if site is not None and row.workflow in site.workflows:
        tracing = _Tracing(site, row, [event for event in events if event.type not in _ENDS])
        unfit = tracing.trace()
        asked = tracing.asked
    return Traced(lineage_of(_nodes(events, asked)), bool(asked), unfit)


def _nodes(events: Sequence[Event], asked: Mapping[str, _Asked]) -> list[Node]:
    """Return the calls of a history, its input and its result."""
    history = History().fold_all(events)
    began = _first_seq(events)
    agents = {path for path, state in history.calls.items() if isinstance(state, AgentState)}
    started = events[0].payload
    nodes = [Node(INPUT, "input", seq=events[0].seq, value=started.get("input"))]
    for path, state in history.calls.items():
        owner = _owner(path, agents)
        if owner is None or not _rejected(path, owner, history):
            nodes.append(_node(path, state, asked.get(path), began.get(path, 1), owner))
    if history.ended is not None and history.ended.type == "run.completed":
        nodes.append(Node(RESULT, "result", history.ended.seq, {"result": history.ended.payload.get("v")}))
    return nodes


def _node(path: str, state: CallState, asked: _Asked | None, began: int, owner: str | None) -> Node:
    kind = "effect" if isinstance(state, EffectState) else "agent" if isinstance(state, AgentState) else "call"
    arguments = state.arguments if isinstance(state, EffectState) else None
    after = began - 1
    if asked is not None:
        kind, after = asked.kind, asked.after
        arguments = arguments if arguments is not None else asked.arguments  # what a person edited is what was sent
    seq, value = _value(state)
    return Node(path, kind, after, arguments, seq, value, owner)


def _value(state: CallState) -> tuple[int | None, Any]:
    """Return when a call was settled and what it gave; nothing of a failure goes on but its error."""
    if isinstance(state, EffectState):
        return (state.done_seq, state.result) if state.done_seq else (None, None)
    if state.settled is None:
        return None, None
    return state.settled.seq, state.settled.form


def _owner(path: str, agents: set[str]) -> str | None:
    """Return the agent inside which a call was made."""
    parent = path
    while "/" in parent:
        parent = parent.rpartition("/")[0]
        if parent in agents:
            return parent
    return None


def _rejected(path: str, owner: str, history: History) -> bool:
    """Say whether a call was made in an attempt whose output was not the one released: what it gave went nowhere."""
    release = history.released.get(owner)
    attempt = path.removeprefix(owner + "/").partition("/")[0]
    return release is not None and attempt.startswith("try") and attempt != f"try{release.get('attempt')}"


def _first_seq(events: Sequence[Event]) -> dict[str, int]:
    """Return the seq of the first event at each path."""
    first: dict[str, int] = {}
    for event in events:
        first.setdefault(event.path, event.seq)
    return first
