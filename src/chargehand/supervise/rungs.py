"""The rungs of an agent's ladder: a rejection's next step, questions, escalation to a person, fallback, giving up, release.

`agents.py` makes attempts and asks gates; here is what follows from what they said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from chargehand.contracts import Arguments
from chargehand.core.ladder import Ladder, Rung, climb, climbed_from
from chargehand.core.lifecycle import OPEN_STAGES, UNDOING_STAGES
from chargehand.core.states import AgentState, EffectState
from chargehand.errors import Rejected
from chargehand.supervise import kept, saga, waiting
from chargehand.supervise.budgets import Meter
from chargehand.supervise.call import Call
from chargehand.supervise.definitions import AgentDefinition
from chargehand.supervise.gates import Gate, as_gate, ordered
from chargehand.supervise.log import Draft
from chargehand.supervise.released import Released, ReleasedFacts
from chargehand.verdicts import GateContext, ReleasedBy, ToolResult, Verdict

if TYPE_CHECKING:
    from chargehand.supervise.run import RunDriver


QUESTIONS_MAX = 2
_UNDER_WAY = (*OPEN_STAGES, "approved", "redriven")


class Rungs:
    """One agent call on its way."""

    def __init__(self, driver: RunDriver, call: Call[Any], path: str) -> None:
        self.driver, self.call, self.path = driver, call, path
        self.definition: AgentDefinition[..., Any] = call.definition
        self.ladder: Ladder = climbed_from(self.definition.ladder_or(driver.default_ladder()))
        self.meter: Meter | None = None
        self.clauses = tuple(done.clause for done in self.definition.done)
        by = [as_gate(done.by) for done in self.definition.done if done.by is not None]
        self.gates = ordered([*by, *self.definition.gates])

    @property
    def state(self) -> AgentState:
        """The agent call as it stands."""
        return self.driver.history.agent(self.path)

    async def commit(self, kind: str, payload: dict[str, Any], **more: Any) -> None:
        """Commit one event of this agent call. Each is progress: something is known that a crash would have to find out again."""
        more.setdefault("progress", True)
        draft: Draft = (kind, self.path, {"d": self.call.arguments.digest, **payload, **self._spent()})
        await self.driver.log.commit(draft, **more)

    def _hold(self, due: float) -> AbstractAsyncContextManager[None]:
        """Mark the agent call as waiting, until then at least."""
        return self.driver.holding(self.path, due)

    def _spent(self) -> dict[str, Any]:
        """Return what attempts reported spending since the last event, which settles it."""
        if self.meter is None:
            return {}
        record, self.meter.settled = self.meter.record(), {}
        return record

    def _producer(self) -> AgentDefinition[..., Any]:
        """Return who makes this attempt: the agent, or whom its rung names."""
        state = self.state
        rung = self.ladder[state.rung] if state.rung < len(self.ladder) else None
        return rung.to if rung is not None and rung.step == "reassign" else self.definition

    async def _quick(self, form: Any, tools: Sequence[ToolResult]) -> tuple[list[Verdict], bool]:
        """Run the gates that neither cost nor wait; the first failure stops the rest."""
        verdicts: list[Verdict] = []
        passed = True
        quick = [gate for gate in self.gates if not gate.costly and gate.kind == "check"]
        if not quick:
            return verdicts, True
        context = self._context(form, tools)
        for gate in quick:
            verdict = await self.driver.site.verdict(gate, self.definition.contract.result.from_json(form), context, self._hold)
            verdicts.append(verdict)
            if verdict.outcome == "fail" or (verdict.outcome == "abstain" and gate.on_abstain == "fail"):
                passed = False
                if not self.definition.all_reasons:
                    break
        return verdicts, passed

    def _context(self, form: Any, tools: Sequence[ToolResult]) -> GateContext:
        driver = self.driver
        released = Released(driver.history.released)
        return GateContext(
            run_id=driver.row.id,
            path=self.path,
            attempt=self.state.attempt,
            inputs=self.call.arguments.values,
            tools=tuple(tools),
            released=released,
            facts=ReleasedFacts(released, driver.released_facts),
            rejected=[rejection["output"] for rejection in self.state.rejections if _for_what_it_says(rejection)],
            role=self.definition.role,
            done_when=self.clauses,
            environment=driver.site.environment,
            facts_of=self.definition.facts,
        )

    def _did_final(self, used: Sequence[str]) -> bool:
        """Say whether an attempt did a final effect, or may have."""
        found = self.driver.history.effects(self.path)
        return any(effect.final and effect.path in used and effect.stage in ("done", *OPEN_STAGES) for effect in found)

    async def _rejected(self, used: Sequence[str], producer: AgentDefinition[..., Any], form: Any, verdicts: Sequence[Verdict]) -> None:
        state = self.state
        where = climb(self.ladder, state.rung, state.rung_tries, only_person=self._did_final(used))
        payload = {
            "attempt": state.attempt,
            "who": producer.name,
            "verdicts": [verdict.record() for verdict in verdicts if verdict.outcome != "pass"],
            "output": form,
            "used": list(used),
            "rung": where.rung,
            "do": where.step,
        }
        await self.commit("agent.rejected", payload)

    # -- questions ----------

    async def _asked(self, question: str) -> None:
        state = self.state
        if len(state.answers) >= QUESTIONS_MAX:
            verdict = Verdict("fail", (f"{self.definition.name} asked a third time: {question}",), gate="clarify", mode="FM-1.3")
            await self._rejected([], self._producer(), None, [verdict])
            return
        await self._ask(question)

    async def _ask(self, question: str) -> None:
        """Put a question before a person, or before the function that the agent declares for it."""
        entry = None
        if self.definition.clarify is None:
            shows = {
                "question": question,
                "inputs": self.definition.contract.to_record(self.call.arguments),
                "role": self.definition.role,
            }
            entry = waiting.entry(self.driver, self.path, "question", question, shows, ("answer",))
        payload: dict[str, Any] = {"question": question}
        if entry is not None:
            payload["entry"] = entry.id
        await self.commit("agent.asked", payload, opened=[entry] if entry is not None else [])

    async def _answer(self, question: str) -> None:
        if self.definition.clarify is None:
            await self.driver.event_at(self.path)
            return
        answer = await self.driver.site.run(self.definition.clarify, {"question": question})
        await self.commit("agent.answered", {"answer": str(answer), "by": {"id": "clarify"}})

    # -- rungs ----------

    def _rung(self) -> Rung:
        state = self.state
        return self.ladder[state.rung] if state.rung < len(self.ladder) else Rung("escalate" if state.step == "escalate" else "give up")

    async def _escalate(self) -> None:
        """Ask a person, wait, and do what was decided."""
        state, driver = self.state, self.driver
        if state.escalated is None:
            rung = self._rung()
            last = state.rejections[-1] if state.rejections else {}
            error = self._newer_error(last)
            await self._open_escalation(
                last.get("output"),
                _why_escalated(last, error),
                error=error,
                role=rung.to,
                within=rung.within_seconds,
                verdicts=last.get("verdicts", ()),
            )
            return
        if state.decided is None:
            if not await driver.event_at(self.path, state.due) and state.decided is None:
                payload = {"do": "expired", "by": {"id": "expiry"}}
                await self.commit("agent.decided", payload, closed=[waiting.current_id(driver, self.path)])
            return
        decided = state.decided
        match decided["do"]:
            case "release":
                await self._released_by_person(decided, state.escalated)
            case "edit":
                await self._edited(decided, state.escalated)
            case "expired":
                otherwise = self._rung().otherwise
                await self._rejected_by_person("nobody decided in time", otherwise, state.escalated)
            case _:
                await self._rejected_by_person(decided.get("reason") or "no reason given", None, state.escalated)

    async def _open_escalation(
        self,
        form: Any,
        why: str,
        *,
        role: str | None = None,
        within: float | None = None,
        verdicts: Sequence[Any] = (),
        gate: str | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        driver, state = self.driver, self.state
        due = None if within is None else driver.clock.now() + within
        source = state.produced or (state.rejections[-1] if state.rejections else {})
        used = list(source.get("used", ()))
        unchecked = [done.clause for done in self.definition.done if done.by is None]
        shows = {
            "why": why,
            "output": form,
            "verdicts": list(verdicts),
            "inputs": self.definition.contract.to_record(self.call.arguments),
            "role": self.definition.role,
            "unchecked": unchecked,
            "error": (state.last_error or {}).get("e") if form is None else error,
        }
        allowed = waiting.ESCALATION_DECISIONS if form is not None else ("edit", "reject")
        entry = waiting.entry(
            driver,
            self.path,
            "escalation",
            f"{self.definition.name}: may its output be used?" if form is not None else f"{self.definition.name} gave nothing to use",
            shows,
            allowed,
            role=role,
            due=due,
        )
        payload = {"output": form, "used": used, "due": due, "entry": entry.id, "gate": gate}
        payload["attempt"] = source.get("attempt", state.attempt) if form is not None else state.attempt
        driver.hold(self.path, due)
        try:
            await self.commit("agent.escalated", payload, opened=[entry])
        finally:
            driver.release(self.path)

    async def _released_by_person(self, decided: Mapping[str, Any], escalated: Mapping[str, Any]) -> None:
        await self._release(
            escalated["output"],
            "person",
            list(escalated["used"]),
            (),
            person=decided["by"],
            reason=decided.get("reason"),
            edited="person" in (self.state.produced or {}),
            attempt=escalated.get("attempt"),
        )

    async def _edited(self, decided: Mapping[str, Any], escalated: Mapping[str, Any]) -> None:
        """A person's edit passes all gates again, as if it had been produced; its effects are those of the attempt it came from."""
        form = decided["output"]
        verdicts, passed = await self._quick(form, ())
        if not passed:
            await self._edit_refused(form, verdicts)
            return
        ask = [verdict.gate for verdict in verdicts if verdict.outcome == "abstain" and self._gate(verdict.gate).on_abstain == "ask"]
        produced: dict[str, Any] = {
            "attempt": escalated.get("attempt", self.state.attempt),
            "output": form,
            "used": list(escalated["used"]),
            "verdicts": [verdict.record() for verdict in verdicts],
            "ask": ask,
            "person": dict(decided["by"]),
            "reason": decided.get("reason"),
            "decided_at": escalated.get("gate"),
        }
        if ask or any(gate.costly or gate.kind != "check" for gate in self.gates):
            await self.commit("agent.produced", produced)
        else:
            await self._released_as(produced, verdicts)

    def _gate(self, name: str) -> Gate:
        return next(gate for gate in self.gates if gate.name == name)

    def _round(self) -> str:
        """Return what names the votes on an output: those on a person's edit are not those on what it edits."""
        edits = self.state.facts.get("edits", 0)
        return f"try{self.state.attempt}" + (f"/edit{edits}" if "person" in (self.state.produced or {}) else "")

    async def _released_as(self, produced: Mapping[str, Any], verdicts: Sequence[Verdict]) -> None:
        """Release what passed all gates: by them, or by the person whose edit it is."""
        used = list(produced["used"])
        if "person" not in produced:
            await self._release(produced["output"], "gates", used, verdicts)
            return
        person, reason = produced["person"], produced["reason"]
        attempt = produced["attempt"]
        await self._release(produced["output"], "person", used, verdicts, person=person, reason=reason, edited=True, attempt=attempt)

    async def _edit_refused(self, form: Any, verdicts: Sequence[Verdict]) -> None:
        await self._open_escalation(
            form,
            "the edit did not pass the gates",
            role=self._rung().to,
            verdicts=[v.record() for v in verdicts if v.outcome != "pass"],
        )

    async def _rejected_by_person(self, reason: str, otherwise: Rung | None, escalated: Mapping[str, Any]) -> None:
        """A person's no goes to the next rung; from a human gate, to the agent, with the reason."""
        state = self.state
        verdict = Verdict("fail", (reason,), gate=escalated.get("gate") or "person", mode="SYS-person")
        used = list(escalated.get("used", ()))
        if otherwise is not None:
            rung, step = state.rung, otherwise.step
            value = otherwise.value
        else:
            where = climb(self.ladder, state.rung, state.rung_tries, only_person=self._did_final(used))
            rung, step, value = where.rung, where.step, None
        payload = {
            "attempt": state.attempt,
            "verdicts": [verdict.record()],
            "output": escalated.get("output"),
            "used": used,
            "rung": rung,
            "do": step,
        }
        if value is not None:
            payload["value"] = self.definition.contract.result.to_json(value)
        await self.commit("agent.rejected", payload)

    async def _fall_back(self) -> None:
        """Release the declared value, marked as such; nothing that attempts did is kept."""
        last = self.state.rejections[-1] if self.state.rejections else {}
        codec = self.definition.contract.result
        form = last["value"] if "value" in last else codec.to_json(codec.check(self._rung().value))
        await self._release(form, "fallback", [], ())

    async def _give_up(self) -> None:
        state = self.state
        if self.driver.history.rolling_back is not None:
            return
        await self._undo_not_kept([])
        last = state.rejections[-1] if state.rejections else {}
        reasons = [_reason(form, reason) for form in last.get("verdicts", ()) for reason in form.get("reasons", ())]
        mode = next((form.get("mode") for form in last.get("verdicts", ()) if form.get("mode")), None)
        error = self._newer_error(last)
        if error is None and last:
            error = Rejected(f"{self.definition.name}: {'; '.join(reasons)}", mode=mode).record()
        error = dict(error or {"code": "rejected", "message": "no attempt succeeded"})
        await self.commit("agent.failed", {"e": error}, closed=self._open_entries(), progress=True)

    def _newer_error(self, rejection: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what the last attempt raised, unless the last rejection came after it."""
        last = self.state.last_error
        if last is None or (rejection and last.get("attempt", 0) <= rejection.get("attempt", 0)):
            return None
        return last.get("e")

    # -- release ----------

    async def _release(
        self,
        form: Any,
        how: ReleasedBy,
        used: Sequence[str],
        verdicts: Sequence[Verdict],
        *,
        person: Mapping[str, Any] | None = None,
        reason: str | None = None,
        edited: bool = False,
        attempt: int | None = None,
    ) -> None:
        """Undo what is not kept, then make the output usable downstream: one commit."""
        if self.driver.history.rolling_back is not None:
            return  # nobody waits for it any more, and the rollback undoes all of it in its own order
        await self._undo_not_kept(used)
        payload: dict[str, Any] = {"v": form, "by": how, "attempt": self.state.attempt if attempt is None else attempt}
        if reason is not None:
            payload["reason"] = reason
        if edited:
            payload["edited"] = True
        if verdicts:
            payload["verdicts"] = [verdict.record() for verdict in verdicts]
        if person is not None:
            payload["person"] = dict(person)
        self.driver.site.at("before release", self.path)
        await self.commit("agent.released", payload, closed=self._open_entries(), progress=True)

    def _open_entries(self) -> list[str]:
        """Return the entries of effects of this agent that nobody will ask for any more."""
        driver = self.driver
        return [waiting.current_id(driver, e.path) for e in driver.history.effects(self.path) if e.stage in ("proposed", "letter")]

    async def _undo_not_kept(self, used: Sequence[str]) -> None:
        driver = self.driver
        await self._end_inner_agents()
        found = driver.history.effects(self.path)
        if not found:
            return
        keep = kept.kept(found, used)
        for effect in found:
            if effect.path in keep:
                await self._settled(effect)
        lost = [effect for effect in found if effect.path not in keep or effect.stage in (*UNDOING_STAGES, *OPEN_STAGES)]
        names = {effect.path for effect in lost}
        for name in names:
            await driver.end_operation(name)
        lost = [effect for effect in driver.history.effects(self.path) if effect.path in names]  # newest first by what is known now
        await saga.undo_all(driver, lost, over_pivot=True)

    async def _end_inner_agents(self) -> None:
        """End the agents that this one used and no longer waits for; they would begin new effects behind its release."""
        driver, inside = self.driver, f"{self.path}/"
        while True:
            left = {path: task for path, task in driver.tasks.items() if path.startswith(inside) and self._is_agent(path)}
            if not left:
                return
            for path, task in left.items():
                if path in driver.bodies:
                    driver.bodies[path].kill()
                elif driver.holds(path):
                    task.cancel()
            await asyncio.wait(left.values(), return_when=asyncio.FIRST_COMPLETED, timeout=0.05)

    def _is_agent(self, path: str) -> bool:
        call = self.driver.definitions.get(path)
        return call is not None and call.definition.kind == "agent"

    async def _settled(self, effect: EffectState) -> None:
        """Wait until it is known whether a kept effect happened; a doubt holds the release until it is ended."""
        driver, path = self.driver, effect.path
        operation = self._operation_of(effect)
        while effect.stage in _UNDER_WAY and (operation is not None or path in driver.tasks):
            await driver.outcome(self.path, path, operation, until=lambda: effect.stage not in _UNDER_WAY)
        await driver.end_operation(path)

    def _operation_of(self, effect: EffectState) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """Return what carries a recorded effect on; None when its code is not known here."""
        driver = self.driver
        definition = driver.effect_definition(effect)
        if definition is None or effect.arguments is None:
            return None
        arguments = definition.contract.from_record(effect.arguments)
        call: Call[Any] = Call(definition, Arguments(arguments.values, effect.digest or arguments.digest))
        driver.definitions[effect.path] = call
        return lambda: driver.operation(call, effect.path)


_ERRED = {
    "budget-exhausted": "its budget does not hold what it wanted to spend",
    "out-of-role": "it used a tool that its contract does not list",
    "timed-out": "it did not end in time",
}
"""By code of an error, what an attempt did instead of giving an output."""


def _why_escalated(rejection: Mapping[str, Any], error: Mapping[str, Any] | None) -> str:
    """Return what brought an agent call before a person: gates, a person, or an attempt that gave nothing."""
    verdicts = rejection.get("verdicts", ())
    by_person = bool(verdicts) and all(form.get("mode") == "SYS-person" for form in verdicts)
    asked = any(form.get("gate") == "clarify" for form in verdicts)
    rejected = "it asked too often" if asked else "no person let it through" if by_person else "its gates rejected it"
    if error is None:
        return rejected
    erred = _ERRED.get(str(error.get("code")), "it raised an error")
    return erred if rejection.get("output") is None else f"{rejected}, and when tried again {erred}"


def _reason(form: Mapping[str, Any], reason: str) -> str:
    """Return a verdict's reason; one that is no verdict on the output is told with its gate."""
    return f"the gate {form.get('gate')} gave no verdict: {reason}" if form.get("outcome") == "abstain" else reason


def _for_what_it_says(rejection: Mapping[str, Any]) -> bool:
    """Say whether an output was rejected for what it says; one that only came by way of a repeated step may come again."""
    modes = {form.get("mode") for form in rejection.get("verdicts", ())}
    return rejection.get("output") is not None and modes != {"FM-1.3"}
