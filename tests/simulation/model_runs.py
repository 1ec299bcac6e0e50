"""The reference model of a run: its order, its rollbacks, timers, signals and releases; and what it may send when.

Fed with every commit the moment it is on disk, and told of everything that is sent, by whom.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chargehand.durable import Commit
from chargehand.events import Event, Record

from .model_effects import UNDOING, UNKNOWN, Effect, EffectRules
from .services import Request

ONCE = ("call.done", "call.failed", "agent.released", "agent.failed", "timer.fired", "question.answered", "now.read")
LATE_SECONDS = 900.0
"""So late may a timer be when nothing is wrong any more: a clock that was set is noticed after a nap, and a run that its workers
died over waits for its turn."""
PIVOT_SUFFIX = "!rollback"


def covers(scope: str, path: str) -> bool:
    """Say whether a path lies in a scope; the run's is the empty one."""
    return not scope or path.startswith(scope + "/")


@dataclass
class Run:
    """One run, as the model knows it."""

    id: str
    number: int
    program: dict[str, Any]
    seq: int = 0
    time: float = 0.0
    ended: str | None = None
    rolling: dict[str, int] = field(default_factory=dict)
    """Scopes that are being rolled back ("" is the run), with the seq at which that began."""
    effects: dict[str, Effect] = field(default_factory=dict)
    agents: set[str] = field(default_factory=set)
    thoughts: set[str] = field(default_factory=set)
    """The results of finished steps."""
    escalated: dict[str, int] = field(default_factory=dict)
    """By agent: from which attempt the output comes that a person looks at."""
    settled: Counter[tuple[str, str]] = field(default_factory=Counter)
    timers: dict[str, float] = field(default_factory=dict)
    wanted: dict[str, str] = field(default_factory=dict)
    kept: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    heard: Counter[Any] = field(default_factory=Counter)
    undos: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By rollback: the seq at which its first undo began, and when what it undid last was done."""
    told_rolling: dict[str, set[str]] = field(default_factory=dict)
    """By process: the scopes it knows to be rolled back."""
    parked: str | None = None
    went_on: bool = False
    """Somebody had it go on after a final effect: what is made anew may come out otherwise, and the code take another way."""
    events: list[Event] = field(default_factory=list)


class RunModel:
    """All runs of one seed."""

    def __init__(
        self, complain: Callable[[str], None], rules: EffectRules, owner_of: Callable[[int], str | None], late: Callable[[float], float]
    ) -> None:
        self.complain, self.rules, self.owner_of, self.late = complain, rules, owner_of, late
        self.runs: dict[str, Run] = {}

    def started(self, id: str, number: int, first: Record) -> None:
        """Take a new run."""
        event = first.event()
        run = self.runs[id] = Run(id, number, event.payload["input"]["program"])
        self._take(run, event)

    def committed(self, commit: Commit, records: Sequence[Record], letters: list[Any]) -> None:
        """Take a commit that is on disk."""
        run = self.runs[commit.run_id]
        self.rules.letters = letters
        for record in records:
            self._take(run, record.event())
        if run.ended is None and commit.status in ("completed", "failed", "cancelled"):
            self.complain(f"{run.id} is {commit.status} without an event that says so")
        standing = sum(1 for effect in run.effects.values() if _stands(effect))
        if run.ended is not None and commit.standing != standing:
            self.complain(f"the row of {run.id} counts {commit.standing} standing effects, the model {standing}")

    def answered(self, place: str, commit: Commit, records: Sequence[Record]) -> None:
        """A process knows that these events are on disk."""
        run = self.runs[commit.run_id]
        known = run.told_rolling.setdefault(place, set())
        for record in records:
            if record.type in ("run.rolling_back", "scope.rolling_back"):
                known.add(record.path.removesuffix(PIVOT_SUFFIX))
            elif record.type == "scope.rolled_back":
                known.discard(record.path.removesuffix(PIVOT_SUFFIX))
            elif record.type == "run.resumed" and "again" in record.event().payload:
                known.clear()

    # -- what is sent ----------

    def sent(self, request: Request, worker: str) -> None:
        """Check something at the moment it is sent: it is on disk, it is this worker's to send, and not too late."""
        if request.what == "think":
            for run in self.runs.values():
                if f"thought {request.ref}" in run.thoughts and self.owner_of(run.number) == worker:
                    self.complain(f"{request.ref} is thought again, and {run.id} has its result")
        if request.what not in ("do", "undo"):
            return
        effect = self._ordered(request)
        if effect is None:
            self.complain(f"{request.what} {request.tool} {request.ref} was sent and no journal knows of it")
            return
        run, place = self.runs[effect.run], request.place.name if request.place is not None else ""
        if self.owner_of(run.number) != worker:
            self.complain(
                f"{place} sent {request.what} {request.tool} {request.ref} of {run.id}, which is {self.owner_of(run.number)}'s by now"
            )
        if request.what == "do":
            if effect.stands_at != "sending":
                self.complain(f"{effect.run} {effect.path} was sent while it was {effect.stands_at!r}")
            if request.key and request.key != effect.key:
                self.complain(f"{effect.run} {effect.path} was sent under {request.key}, written down is {effect.key}")
            if effect.arguments.get("amount") != request.amount:
                self.complain(f"{effect.run} {effect.path} was sent with {request.amount}, written down is {effect.arguments}")
            late = [scope for scope in run.told_rolling.get(place, ()) if scope in run.rolling and covers(scope, effect.path)]
            if late:
                self.complain(f"{effect.run} {effect.path} was sent after {late} began to be rolled back")
        elif effect.stands_at != "undoing" or (request.key and request.key != effect.undo_key):
            self.complain(f"the undo of {effect.run} {effect.path} was sent under {request.key} while it was {effect.stands_at!r}")

    def _ordered(self, request: Request) -> Effect | None:
        found = [
            effect
            for run in self.runs.values()
            for effect in run.effects.values()
            if effect.tool == request.tool and effect.ref == request.ref and not effect.shared
        ]
        busy = [effect for effect in found if effect.stands_at in ("sending", "undoing")]
        return busy[-1] if busy else found[-1] if found else None

    # -- events ----------

    def _take(self, run: Run, event: Event) -> None:
        if event.seq != run.seq + 1 or event.time < run.time:
            self.complain(f"{run.id}: event {event.seq} at {event.time} after {run.seq} at {run.time}")
        if run.ended is not None:
            self.complain(f"{run.id}: {event.type} after {run.ended}")
        run.seq, run.time = event.seq, event.time
        run.events.append(event)
        if event.type in ONCE:
            run.settled[(event.type, event.path)] += 1
            if run.settled[(event.type, event.path)] > 1:
                self.complain(f"{run.id}: {event.type} twice at {event.path}")
        family, _, what = event.type.partition(".")
        if family in ("effect", "undo"):
            self._effect(run, event)
        elif family == "agent":
            run.agents.add(event.path)
            if what == "escalated" and "by hand" not in str(event.payload["output"]):
                run.escalated[event.path] = _attempt_of(event.payload["output"])
            if what in ("released", "failed"):
                self._released(run, event)
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, run, event)

    def _effect(self, run: Run, event: Event) -> None:
        effect = run.effects.get(event.path)
        if effect is None:
            effect = run.effects[event.path] = Effect(run.id, event.path)
        begins_undo = event.type == "undo.intended" and effect.stands_at not in UNDOING
        self.rules.take(effect, event.type, event.payload, event.seq, event.time)
        if begins_undo:
            self._order_of_undos(run, effect)

    def _order_of_undos(self, run: Run, effect: Effect) -> None:
        """Within one rollback, what was done later is undone earlier."""
        scopes = [scope for scope in run.rolling if covers(scope, effect.path)]
        owners = [path for path in run.agents if covers(path, effect.path)]
        if not scopes and not owners:
            self.complain(f"{run.id} {effect.path} is undone, and nothing is being rolled back")
            return
        if scopes:
            scope = max(scopes, key=len)
            name, began = f"{scope} {run.rolling[scope]}", run.rolling[scope]
        else:
            name, began = f"agent {max(owners, key=len)}", run.seq
        began, last = run.undos.get(name, (began, run.seq))
        if not effect.done_seq or effect.done_seq > began:
            return  # what became known while it was undone has its place by when it was sent
        if effect.done_seq > last:
            self.complain(f"{run.id} {effect.path}, done at {effect.done_seq}, is undone after what was done at {last} ({name})")
        run.undos[name] = (began, effect.done_seq)

    def _released(self, run: Run, event: Event) -> None:
        """What a released output does not stand on is undone before."""
        if event.type == "agent.released" and event.payload["by"] == "gates" and not str(event.payload["v"]).startswith("good"):
            self.complain(f"{run.id}: {event.path} released {event.payload['v']!r} by its gates")
        inside = [effect for path, effect in run.effects.items() if covers(event.path, path)]
        wanted: set[str] = set()
        if event.type == "agent.released" and event.payload["by"] != "fallback":
            attempt = run.escalated.get(event.path, 0) if event.payload["by"] == "person" else event.payload["attempt"]
            wanted = _refs_of_attempt(run.program, {effect.ref for effect in inside}, attempt)
        for effect in inside:
            if effect.shared or effect.stands_at in ("new", "ended", "undone", "missed", "stands", "proposed", "approved", "letter"):
                continue
            if effect.stands_at == "done" and effect.ref in wanted:
                continue
            self.complain(
                f"{run.id} {event.type} at {event.path} while {effect.path} ({effect.ref}) is {effect.stands_at!r}; kept are {wanted}"
            )

    # -- one handler for each event that matters ----------

    def _thought(self, run: Run, event: Event) -> None:
        run.thoughts.add(str(event.payload["v"]))

    def _timer_set(self, run: Run, event: Event) -> None:
        if event.path in run.timers:
            self.complain(f"{run.id}: the timer {event.path} is set twice")
        run.timers[event.path] = event.payload["due"]

    def _timer_fired(self, run: Run, event: Event) -> None:
        due = run.timers.get(event.path)
        if due is None or event.time < due - self.rules.set_back():  # the clock may be set back between the waking and the writing
            self.complain(f"{run.id}: the timer {event.path} fired at {event.time}, due is {due}")
        elif self.late(due) > LATE_SECONDS:
            self.complain(f"{run.id}: the timer {event.path} fired {self.late(due):g} s after {due}, and nothing was wrong")

    def _wanted(self, run: Run, event: Event) -> None:
        run.wanted[event.path] = event.payload["want"]

    def _kept(self, run: Run, event: Event) -> None:
        run.kept[event.payload["name"]].append(event.payload["v"])
        self._heard(run, event.payload["v"])

    def _received(self, run: Run, event: Event) -> None:
        name = event.payload.get("kept")
        if name is None:
            self._heard(run, event.payload["v"])
            if run.kept[run.wanted.get(event.path, "")]:
                self.complain(f"{run.id}: a signal overtook an older one at {event.path}")
        elif not run.kept[name] or run.kept[name].pop(0) != event.payload["v"]:
            self.complain(f"{run.id}: {event.path} received {event.payload['v']}, which is not the oldest kept {name}")
        if run.wanted.pop(event.path, None) is None:
            self.complain(f"{run.id}: {event.path} received a signal and wants none")

    def _heard(self, run: Run, value: Any) -> None:
        run.heard[value] += 1
        if run.heard[value] > 1:
            self.complain(f"{run.id}: the signal {value!r} was folded twice")

    def _expired(self, run: Run, event: Event) -> None:
        run.wanted.pop(event.path, None)

    def _ignored(self, run: Run, event: Event) -> None:
        if "kept" in event.payload and run.kept[event.payload["kept"]]:
            run.kept[event.payload["kept"]].pop(0)

    def _rolling(self, run: Run, event: Event) -> None:
        run.rolling[event.path.removesuffix(PIVOT_SUFFIX)] = event.seq

    def _rolled(self, run: Run, event: Event) -> None:
        scope = event.path.removesuffix(PIVOT_SUFFIX)
        for path, effect in run.effects.items():
            if covers(scope, path) and (effect.stands_at in UNKNOWN or effect.stands_at in UNDOING):
                self.complain(f"{run.id}: {scope} is rolled back while {path} is {effect.stands_at!r}")
            if covers(scope, path) and effect.stands_at == "done" and not effect.shared:
                self.complain(f"{run.id}: {scope} is rolled back while {path} stands")
        run.rolling.pop(scope, None)

    def _parked(self, run: Run, event: Event) -> None:
        run.parked = event.payload["reason"]
        if run.parked == "broken" or (run.parked == "diverged" and not run.went_on):
            self.complain(f"{run.id} parked as {run.parked}: {json.dumps(event.payload['shows'])[-1500:]}")

    def _resumed(self, run: Run, event: Event) -> None:
        run.parked = None
        if event.payload.get("again") is not None:
            run.went_on = True
            again = {path.removesuffix(PIVOT_SUFFIX) for path in event.payload.get("again", ())}
            for scope in [scope for scope in run.rolling if not scope or scope in again or any(covers(one, scope) for one in again)]:
                del run.rolling[scope]  # what else was being rolled back goes on
            run.undos.clear()
            run.thoughts.clear()
            for again in event.payload["again"]:
                for place in [place for place in run.settled if place[1] == again or place[1].startswith((again + "/", again + "!"))]:
                    del run.settled[place]
                for path in [path for path in run.timers if path == again or path.startswith(again + "/")]:
                    del run.timers[path]
                for path, effect in run.effects.items():
                    here = path == again or path.startswith(again + "/")
                    if here and effect.stands_at not in (*UNKNOWN, *UNDOING, "done", "stands"):
                        made_anew(effect)

    def _ended(self, run: Run, event: Event) -> None:
        run.ended = event.type
        finals = [effect.done_seq for effect in run.effects.values() if effect.kind.final and effect.done_seq]
        for path, effect in run.effects.items():
            state = effect.stands_at
            if state in UNKNOWN or state in UNDOING:
                self.complain(f"{run.id}: {event.type} while {path} is {state!r}")
            in_agent = "~" in path
            if event.type == "run.completed" and state in ("proposed", "approved", "redriven", "letter", "missed") and not in_agent:
                self.complain(f"{run.id} completed while {path} is {state!r}")
            left = event.type != "run.completed" and state == "done" and not effect.shared and not effect.kind.final
            if left and not any(effect.done_seq < final for final in finals):
                self.complain(f"{run.id}: {event.type}, and {path} stands though no final effect came after it")


def made_anew(effect: Effect) -> None:
    """A person had a failed run go on: this effect is made in its next generation, by a new approval."""
    effect.stands_at, effect.permission, effect.done_seq, effect.shared = "new", None, 0, False


def _attempt_of(output: Any) -> int:
    """Return the attempt that an output says it comes from; 0 when there is none."""
    number = str(output).rpartition(".")[2]
    return int(number) if number.isdigit() else 0


def _stands(effect: Effect) -> bool:
    if effect.shared or (effect.stands_at == "pausing" and not effect.unknown):
        return False
    return effect.stands_at in (*UNKNOWN, *UNDOING, "done", "stands")


def _refs_of_attempt(program: Any, refs: set[str], attempt: int) -> set[str]:
    """Return what the given attempt of the agent that ordered any of these asks for, by the program."""
    found: set[str] = set()
    waiting = [program]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            if node.get("do") == "agent":
                attempts = node["script"]["attempts"]
                asked = [[op["ref"] for op in part["ops"]] for part in attempts]
                for ref in refs:
                    bare = ref.partition("-")[0]
                    if attempt and bare in asked[min(attempt, len(asked)) - 1]:
                        found.add(ref)
            else:
                waiting += list(node.values())
    return found


_HANDLERS: dict[str, Callable[[RunModel, Run, Event], None]] = {
    "call.done": RunModel._thought,
    "timer.set": RunModel._timer_set,
    "timer.fired": RunModel._timer_fired,
    "signal.wanted": RunModel._wanted,
    "signal.kept": RunModel._kept,
    "signal.received": RunModel._received,
    "signal.expired": RunModel._expired,
    "mail.ignored": RunModel._ignored,
    "run.rolling_back": RunModel._rolling,
    "scope.rolling_back": RunModel._rolling,
    "scope.rolled_back": RunModel._rolled,
    "run.parked": RunModel._parked,
    "run.resumed": RunModel._resumed,
    "run.completed": RunModel._ended,
    "run.failed": RunModel._ended,
    "run.cancelled": RunModel._ended,
}
