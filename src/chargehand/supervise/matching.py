"""Matching what workflow code asks with what is recorded: rules 2 and 3 of `run.py`.

A recorded call gives back its record; one in flight when the driver died is recovered; a new one is held until nothing
recorded is left to deliver. Where code and record disagree, the divergence is noted with both sides and nothing is sent.
"""

from __future__ import annotations

import heapq
from typing import Any

from pydantic import ValidationError

from chargehand.contracts import explain
from chargehand.core.states import CallState
from chargehand.core.trampoline import Ask, Stopping, Trampoline
from chargehand.durable import Clock
from chargehand.supervise import steps, waiting
from chargehand.supervise.call import Call
from chargehand.supervise.definitions import AgentDefinition
from chargehand.supervise.failing import failure_of
from chargehand.supervise.host import Host
from chargehand.supervise.operations import Operations
from chargehand.supervise.site import Site


class Matching(Operations, Host):
    """The asked calls of one run, held against its record."""

    def __init__(self, site: Site, clock: Clock) -> None:
        super().__init__(site, clock)
        self.trampoline = Trampoline(self._is_new)
        self._deliverable: list[tuple[int, str]] = []
        self._held: list[Ask] = []
        self._diverged: dict[str, Any] | None = None

    def _match(self, ask: Ask) -> None:
        """Rule 2: hold an asked call against the record."""
        if ask.kind == "diverged":
            self._diverged = self._diverged or ask.what
            return
        state = self.history.calls.get(ask.path)
        if isinstance(ask.what, Call):
            self.definitions[ask.path] = ask.what
        self.unclaimed.discard(ask.path)
        if state is not None and not _is_fresh(state):
            state.asked = True
            if ask.digest and state.digest and state.digest != ask.digest and ask.path not in self.history.accepted:
                self._diverged = self._diverged or {
                    "path": ask.path,
                    "recorded": self._described(ask.path),
                    "code": self.asked_text(ask),
                }
                return
        self._asked[ask.path] = ask
        if state is not None and state.settled is not None:
            heapq.heappush(self._deliverable, (state.settled.seq, ask.path))
        else:
            self._held.append(ask)

    def _is_new(self, ask: Ask) -> bool:
        """Say whether nothing was done about an ask: it is held, or has just been asked, and nothing is recorded of it. A replay says the same."""
        state = self.history.calls.get(ask.path)
        begun = self._asked.get(ask.path) is ask and ask not in self._held
        return not begun and (state is None or _is_fresh(state))

    def _withdraw(self, ask: Ask) -> None:
        """End the wait of a branch that was stopped: nobody may answer it any more."""
        self._asked.pop(ask.path, None)
        if ask in self._held:
            self._held.remove(ask)
        task = self.tasks.get(ask.path)
        if task is not None:
            task.cancel()
        if ask.kind == "question" and "question" in self.history.call(ask.path).facts:
            self.log.note(closed=[waiting.current_id(self, ask.path)])

    def _deliver_one(self) -> bool:
        """Rule 3."""
        calls = self.history.calls
        while self._deliverable:
            _, path = heapq.heappop(self._deliverable)
            ask, state = self._asked.pop(path, None), calls.get(path)
            if ask is None or state is None or state.settled is None:
                continue
            ok, value = self._outcome(ask, state)
            if ask.kind in ("step", "read"):
                del self.definitions[path], calls[path]  # delivered once: nobody reads it again, however long the run
            self.trampoline.deliver(ask, ok, value)
            return True
        return False

    def _outcome(self, ask: Ask, state: CallState) -> tuple[bool, Any]:
        """Decode what the record gives back, live as on replay."""
        assert state.settled is not None
        if not state.settled.ok:
            return False, failure_of(ask.what, state.settled.form, ask.path)
        decode = steps.decoder_of(ask)
        try:
            return True, decode(state.settled.form)
        except ValueError as error:
            detail = explain(error) if isinstance(error, ValidationError) else str(error)
            self._diverged = {
                "path": ask.path,
                "recorded": self._described(ask.path),
                "code": f"its result no longer fits the annotation: {detail}",
            }
            return False, Stopping()

    def _diverges(self, ask: Ask) -> dict[str, Any] | None:
        """Say why a new effect, or an agent that may make one, must not be begun: recorded calls were not asked again."""
        if ask.kind not in ("effect", "agent") or ask.scope is None or not _may_effect(ask):
            return None
        history = self.history
        if (ask.path in history.calls and not history.unsent(ask.path)) or ask.path in history.accepted or ask.path in history.made_anew:
            return None
        lost = self._unclaimed_in(ask.scope)
        if not lost:
            return None
        return {"path": ask.path, "recorded": self._described(lost[0]), "code": self.asked_text(ask)}

    def _recorded(self, ask: Ask) -> CallState:
        if ask.kind == "effect":
            return self.history.effect(ask.path)
        return self.history.agent(ask.path) if ask.kind == "agent" else self.history.call(ask.path)


def _is_fresh(state: CallState) -> bool:
    return state.settled is None and state.digest is None and not state.facts


def _may_effect(ask: Ask) -> bool:
    if ask.kind == "effect":
        return True
    return ask.kind == "agent" and isinstance(ask.what.definition, AgentDefinition) and ask.what.definition.may_effect()
