"""The host: what workflow code's awaits become. Each is one `Ask` to the trampoline, with its path and identity digest."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from typing import Any

from chargehand.core.history import History
from chargehand.core.identity import Scope
from chargehand.core.states import AgentState, EffectState
from chargehand.core.trampoline import Ask, Branch, JoinAsk, Trampoline, stepping
from chargehand.supervise.call import Call
from chargehand.supervise.failing import is_failure
from chargehand.supervise.log import RunLog


class Host:
    """What workflow code talks to. Runs on the trampoline, between two waits."""

    history: History
    log: RunLog
    unclaimed: set[str]
    unawaited: dict[int, Call[Any]]
    definitions: dict[str, Call[Any]]
    trampoline: Trampoline

    def awaited(self, call: Call[Any], branch: Branch) -> Generator[Any, Any, Any]:
        """Do a call of workflow code, in the branch that runs."""
        self.unawaited.pop(id(call), None)
        definition, scope = call.definition, branch.scope
        path = scope.next(call.label or definition.name)
        if definition.kind == "workflow":
            return (yield from self._nested(branch, path, call))
        return (yield Ask(path, definition.kind, call, call.arguments.digest, None, scope))

    def made(self, call: Call[Any]) -> None:
        """Note a call that workflow code has made and not awaited yet."""
        self.unawaited[id(call)] = call

    def used(self, call: Call[Any]) -> None:
        """Note that a call is awaited, gathered, started or replaced by a labelled one."""
        self.unawaited.pop(id(call), None)

    def _nested(self, branch: Branch, path: str, call: Call[Any]) -> Generator[Any, Any, Any]:
        definition = call.definition
        self.definitions[path] = call
        outer, branch.scope = branch.scope, Scope(path, "workflow")
        try:
            value = yield from definition.function(**call.arguments.values).__await__()
            yield from self.leave_scope(branch.scope)
        except Exception as error:
            if is_failure(error):
                yield from self.roll_back(branch.scope, error)
            raise
        finally:
            branch.scope = outer
        result = definition.contract.result
        return result.from_json(result.to_json(result.check(value)))

    def roll_back(self, scope: Scope, error: BaseException) -> Generator[Any, Any, None]:
        """Have a failed scope's effects undone before the failure goes on. What outlived a gather in it is stopped and waited for."""
        if self.trampoline.inside(scope):
            yield JoinAsk(scope)
        if any(effect.ever_intended or effect.done_seq for effect in self.history.effects(scope.path)):
            yield Ask(f"{scope.path}!rollback", "rollback", error, scope=scope)

    def leave_scope(self, scope: Scope) -> Generator[Any, Any, None]:
        """Check that a scope that ends well has asked for every recorded effect in it."""
        if any(scope.covers(branch.scope.path) for branch in self.trampoline.branches if branch is not stepping()):
            return  # a branch that outlived its gather may still ask
        lost = self._lost_effects(scope.path)
        if lost:
            yield Ask(
                "",
                "diverged",
                {
                    "path": lost[0],
                    "recorded": self._described(lost[0]),
                    "code": f"the scope {scope.path!r} ended without asking for it",
                },
            )

    def lost_at_end(self, root: Branch) -> dict[str, Any] | None:
        """Say which recorded effect the workflow has ended without asking for."""
        lost = self._lost_effects("") if root.ok else []
        if not lost:
            return None
        return {"path": lost[0], "recorded": self._described(lost[0]), "code": "the workflow ended without asking for it"}

    def _lost_effects(self, scope: str) -> list[str]:
        return [
            path
            for path in self._unclaimed_in(Scope(scope))
            if isinstance(self.history.calls[path], EffectState) or self._has_effects(path)
        ]

    def _described(self, path: str) -> str:
        state = self.history.calls[path]
        what = "effect" if isinstance(state, EffectState) else "agent" if isinstance(state, AgentState) else "call"
        return f"{what} {path!r}" + (
            f" with arguments {_as_recorded(state.arguments or {})}"
            if isinstance(state, EffectState)
            else f" with arguments of digest {state.digest}"
        )

    def read_clock(self, path: str) -> float:
        """Return the time that workflow code reads at a path: noted with the next commit, given back on replay."""
        state = self.history.calls.get(path)
        self.unclaimed.discard(path)
        if state is not None and state.settled is not None:
            return float(state.settled.form)
        time = self.log.time()
        self.log.note(("now.read", path, {"v": time}))
        return time

    def asked_text(self, ask: Ask) -> str:
        """Return an asked call as a person reads it."""
        call = ask.what
        if isinstance(call, Call):
            return f"{ask.kind} {ask.path!r} with arguments {_as_recorded(call.definition.contract.to_record(call.arguments))}"
        return f"{ask.kind} {ask.path!r}"

    def _unclaimed_in(self, scope: Scope) -> list[str]:
        """Return the recorded calls of a scope that the code has not asked for again, in the order in which they were recorded."""
        found = {path for path in self.unclaimed if scope.covers(path) and path not in self.history.accepted}
        return [path for path in self.history.calls if path in found] if found else []

    def _has_effects(self, path: str) -> bool:
        return isinstance(self.history.calls[path], AgentState) and bool(self.history.effects(path))


def _as_recorded(arguments: Mapping[str, Any]) -> str:
    """Return arguments as the journal has them, so that both sides of a difference read alike; long ones are cut."""
    texts = {name: json.dumps(value, ensure_ascii=False) for name, value in arguments.items()}
    return "{" + ", ".join(f"{name}: {text if len(text) <= 200 else text[:199] + '…'}" for name, text in texts.items()) + "}"
