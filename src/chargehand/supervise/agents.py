"""Agents and their ladder: attempt, gates, rung, release.

1. An attempt runs the body once (`bodies.py`). Its output passes the schema, then the quick gates, then the costly ones.
2. What passes is *released*: but first, effects that rejected or abandoned attempts did, and that the released attempt
   does not stand on, are undone, newest first.
3. What is rejected goes to the next rung; the event records which, so that a changed ladder does not disturb a parked run.
4. Costly gates are asked only after the output is on disk, and each verdict is on disk before the next is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chargehand.contracts import Arguments, explain
from chargehand.core.ladder import Ladder, Rung, climb, climbed_from
from chargehand.core.lifecycle import OPEN_STAGES
from chargehand.core.states import AgentState
from chargehand.errors import ChargehandError, Failure, Rejected, TimedOut, Unserialisable
from chargehand.failures import classify
from chargehand.supervise import kept, saga, voting, waiting
from chargehand.supervise.bodies import Body, feedback_for
from chargehand.supervise.call import Call
from chargehand.supervise.definitions import AgentDefinition
from chargehand.supervise.failing import recorded_failure
from chargehand.supervise.gates import Gate, as_gate, ordered, verdict_of
from chargehand.supervise.log import Draft
from chargehand.verdicts import Clarify, GateContext, ReleasedBy, ReleasedFact, ToolResult, Verdict

if TYPE_CHECKING:
    from chargehand.supervise.run import RunDriver

QUESTIONS_MAX = 2


async def perform(driver: RunDriver, call: Call[Any], path: str) -> None:
    """Carry one agent call to its release or failure, from wherever it stands."""
    work = _Work(driver, call, path)
    await work.admit()
    while work.state.settled is None:
        await work.step()


class _Work:
    """One agent call on its way."""

    def __init__(self, driver: RunDriver, call: Call[Any], path: str) -> None:
        self.driver, self.call, self.path = driver, call, path
        self.definition: AgentDefinition[..., Any] = call.definition
        self.ladder: Ladder = climbed_from(self.definition.ladder_or(driver.default_ladder()))
        self.clauses = tuple(done.clause for done in self.definition.done)
        by = [as_gate(done.by) for done in self.definition.done if done.by is not None]
        self.gates = ordered([*by, *self.definition.gates])

    @property
    def state(self) -> AgentState:
        """The agent call as it stands."""
        return self.driver.history.agent(self.path)

    async def commit(self, kind: str, payload: dict[str, Any], **more: Any) -> None:
        """Commit one event of this agent call."""
        draft: Draft = (kind, self.path, {"d": self.call.arguments.digest, **payload})
        await self.driver.log.commit(draft, **more)

    async def admit(self) -> None:
        """Hold the inputs against the gates on what the agent takes, before the first attempt."""
        if not self.definition.admits or self.state.settled is not None or self.state.rejections:
            return
        context = self._context(None, ())
        for gate in self.definition.admits:
            verdict = await verdict_of(gate, dict(self.call.arguments.values), context)
            if verdict.outcome != "pass" and not (verdict.outcome == "abstain" and gate.on_abstain == "pass"):
                error = Rejected(f"{self.definition.name} does not admit its input: {'; '.join(verdict.reasons)}", mode=verdict.mode)
                await self.commit("agent.failed", {"e": error.record(), "verdicts": [verdict.record()]}, progress=True)
                return

    async def step(self) -> None:
        """Make the next move."""
        state = self.state
        if state.question is not None:
            await self._answer(state.question)
        elif state.due is not None and state.step != "escalate" and state.due > self.driver.clock.now():
            await self.driver.until(state.due, self.path)
        elif state.step in ("retry", "reassign"):
            if state.produced is not None:
                await self._judge(state.produced)
            else:
                await self._attempt()
        elif state.step == "escalate":
            await self._escalate()
        elif state.step == "fall back":
            await self._fall_back()
        else:
            await self._give_up()

    # -- an attempt ----------

    def _producer(self) -> AgentDefinition[..., Any]:
        """Return who makes this attempt: the agent, or whom its rung names."""
        state = self.state
        rung = self.ladder[state.rung] if state.rung < len(self.ladder) else None
        return rung.to if rung is not None and rung.step == "reassign" else self.definition

    async def _attempt(self) -> None:
        driver, state, path = self.driver, self.state, self.path
        await self._carry_out_what_stands()
        producer = self._producer()
        body = Body(driver, producer, path, state.attempt)
        feedback = feedback_for(driver, state, path, self.clauses)
        driver.site.at("before attempt", path)
        async with driver.site.gauges.place(producer, self.call.arguments.values):
            try:
                output = await body.run(self.call, feedback)
            except Exception as error:
                driver.site.gauges.ended(producer, False)
                await self._errored(body, producer, body.out_of_role or error)
                return
        driver.site.gauges.ended(producer, True)
        driver.site.at("after attempt", path)
        if body.out_of_role is not None:
            await self._errored(body, producer, body.out_of_role)
        elif isinstance(output, Clarify):
            await self._asked(output.question)
        else:
            await self._checked(body, producer, output)

    async def _carry_out_what_stands(self) -> None:
        """Finish effects of an earlier incarnation that were approved or under way; the body is told the results."""
        driver = self.driver
        for effect in driver.history.effects(self.path):
            if effect.settled is None and effect.stage in (*OPEN_STAGES, "approved", "did not happen") and effect.path not in driver.tasks:
                definition = driver.effect_definition(effect)
                if definition is None or effect.arguments is None:
                    continue
                arguments = definition.contract.from_record(effect.arguments)
                call: Call[Any] = Call(definition, Arguments(arguments.values, effect.digest or arguments.digest))
                driver.definitions[effect.path] = call
                await driver.spawn(effect.path, driver.operation(call, effect.path))

    async def _checked(self, body: Body, producer: AgentDefinition[..., Any], output: Any) -> None:
        """Schema first, then the quick gates; then release, or the costly gates."""
        codec = self.definition.contract.result
        try:
            form = codec.to_json(codec.check(output))
        except (ValidationError, Unserialisable) as error:
            detail = explain(error) if isinstance(error, ValidationError) else str(error)
            verdict = Verdict(
                "fail",
                (f"The output does not fit {codec.annotation!r}: {detail}",),
                gate="schema",
                mode="SYS-schema",
                evidence=repr(output)[:500],
            )
            await self._rejected(body.used, producer, None, [verdict])
            return
        verdicts, passed = await self._quick(form, body.tools)
        if not passed:
            await self._rejected(body.used, producer, form, verdicts)
        elif any(gate.costly or gate.kind != "check" for gate in self.gates) or any(v.outcome == "abstain" for v in verdicts):
            ask = [verdict.gate for verdict in verdicts if verdict.outcome == "abstain" and self._gate(verdict.gate).on_abstain == "ask"]
            payload = {
                "attempt": self.state.attempt,
                "output": form,
                "used": body.used,
                "verdicts": [v.record() for v in verdicts],
                "ask": ask,
                "who": producer.name,
            }
            payload["tools"] = [{"tool": t.tool, "arguments": dict(t.arguments), "result": t.result} for t in body.tools]
            await self.commit("agent.produced", payload)
        else:
            await self._release(form, "gates", body.used, verdicts)

    def _gate(self, name: str) -> Gate:
        return next(gate for gate in self.gates if gate.name == name)

    async def _quick(self, form: Any, tools: Sequence[ToolResult]) -> tuple[list[Verdict], bool]:
        """Run the gates that neither cost nor wait; the first failure stops the rest."""
        verdicts: list[Verdict] = []
        quick = [gate for gate in self.gates if not gate.costly and gate.kind == "check"]
        if not quick:
            return verdicts, True
        context = self._context(form, tools)
        for gate in quick:
            verdict = await verdict_of(gate, self.definition.contract.result.from_json(form), context)
            verdicts.append(verdict)
            if verdict.outcome == "fail" or (verdict.outcome == "abstain" and gate.on_abstain == "fail"):
                return verdicts, False
        return verdicts, True

    async def _judge(self, produced: Mapping[str, Any]) -> None:
        """Ask the costly gates that have not spoken yet, one commit each; then release."""
        state, form = self.state, produced["output"]
        tools = [ToolResult(t["tool"], t["arguments"], t["result"]) for t in produced.get("tools", ())]
        context = self._context(form, tools)
        costly = [gate for gate in self.gates if gate.costly or gate.kind != "check"]
        for gate in costly:
            if gate.name in state.verdicts:
                continue
            if gate.kind == "human":
                await self._open_escalation(form, f"the gate {gate.name} asks a person", role=gate.role, within=gate.within, gate=gate.name)
                return
            if gate.kind == "vote":
                verdict = await voting.verdict(self.driver, gate, self.call, self.path, form, state.attempt)
            else:
                verdict = await verdict_of(gate, self.definition.contract.result.from_json(form), context)
            await self.commit("gate.judged", verdict.record())
            if verdict.outcome == "fail" or (verdict.outcome == "abstain" and gate.on_abstain == "fail"):
                verdicts = [Verdict.from_record(v) for v in state.verdicts.values()]
                await self._rejected(list(produced["used"]), self._producer(), form, verdicts)
                return
        abstained = [name for name, v in state.verdicts.items() if v["outcome"] == "abstain" and self._gate(name).on_abstain == "ask"]
        asks = [*produced.get("ask", ()), *abstained]
        if asks:
            await self._open_escalation(form, f"the gate {asks[0]} could not tell", gate=asks[0])
            return
        verdicts = [Verdict.from_record(v) for v in [*produced["verdicts"], *state.verdicts.values()]]
        await self._release(form, "gates", list(produced["used"]), verdicts)

    def _context(self, form: Any, tools: Sequence[ToolResult]) -> GateContext:
        driver = self.driver
        facts_of = self.definition.facts
        return GateContext(
            run_id=driver.row.id,
            path=self.path,
            attempt=self.state.attempt,
            inputs=self.call.arguments.values,
            tools=tuple(tools),
            released={path: release.get("v") for path, release in driver.history.released.items()},
            facts=driver.released_facts(),
            role=self.definition.role,
            done_when=self.clauses,
            environment=driver.site.environment,
            facts_of=facts_of,
        )

    # -- when it did not pass ----------

    def _did_final(self, used: Sequence[str]) -> bool:
        return any(effect.final and effect.path in used and effect.stage == "done" for effect in self.driver.history.effects(self.path))

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

    async def _errored(self, body: Body, producer: AgentDefinition[..., Any], error: Exception) -> None:
        """An exception or timeout is classified like a read's; only a permanent one uses a rung."""
        driver, state = self.driver, self.state
        if isinstance(error, ChargehandError) and not isinstance(error, Failure):
            if error.blame == "ours" or error.code in ("resource-missing", "fenced", "journal"):
                raise error
        outcome = classify(error)
        transient = isinstance(error, TimedOut) or (outcome.transient and not isinstance(error, Failure))
        policy = self.definition.retry_errors
        form = recorded_failure(error)
        mode = "FM-1.2" if body.out_of_role is not None else "SYS-timeout" if isinstance(error, TimedOut) else outcome.mode
        payload: dict[str, Any] = {
            "attempt": state.attempt,
            "who": producer.name,
            "e": form,
            "mode": mode,
            "used": body.used,
        }
        final = self._did_final(body.used)
        if transient and state.errors + 1 < policy.attempts and not final:
            due = driver.clock.now() + policy.wait(state.errors + 1, driver.dice(self.path, state.errors), outcome.retry_after)
            driver.dues[self.path] = due
            await self.commit("agent.errored", payload | {"due": due})
            return
        out_of_role = body.out_of_role is not None
        where = climb(self.ladder, state.rung, state.rung_tries, only_person=final, permanent=not out_of_role)
        await self.commit("agent.errored", payload | {"rung": where.rung, "do": where.step})

    # -- questions ----------

    async def _asked(self, question: str) -> None:
        state = self.state
        if len(state.answers) >= QUESTIONS_MAX:
            verdict = Verdict("fail", (f"{self.definition.name} asked a third time: {question}",), gate="clarify", mode="FM-1.3")
            await self._rejected([], self._producer(), None, [verdict])
            return
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
        if entry is not None:
            self.driver.entered(entry)

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
            await self._open_escalation(
                last.get("output"),
                "its gates rejected it",
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
    ) -> None:
        driver, state = self.driver, self.state
        due = None if within is None else driver.clock.now() + within
        used = list((state.produced or (state.rejections[-1] if state.rejections else {})).get("used", ()))
        unchecked = [done.clause for done in self.definition.done if done.by is None]
        shows = {
            "why": why,
            "output": form,
            "verdicts": list(verdicts),
            "inputs": self.definition.contract.to_record(self.call.arguments),
            "role": self.definition.role,
            "unchecked": unchecked,
            "error": (state.last_error or {}).get("e") if form is None else None,
        }
        allowed = waiting.ESCALATION_DECISIONS if form is not None else ("edit", "reject")
        entry = waiting.entry(
            driver,
            self.path,
            "escalation",
            f"{self.definition.name}: may its output be used?",
            shows,
            allowed,
            role=role,
            due=due,
        )
        payload = {"output": form, "used": used, "due": due, "entry": entry.id, "gate": gate, "attempt": state.attempt}
        driver.hold(self.path, due)
        try:
            await self.commit("agent.escalated", payload, opened=[entry])
        finally:
            driver.release(self.path)
        driver.entered(entry)

    async def _released_by_person(self, decided: Mapping[str, Any], escalated: Mapping[str, Any]) -> None:
        await self._release(
            escalated["output"],
            "person",
            list(escalated["used"]),
            (),
            person=decided["by"],
            reason=decided.get("reason"),
        )

    async def _edited(self, decided: Mapping[str, Any], escalated: Mapping[str, Any]) -> None:
        """A person's edit passes all gates again; its effects are those of the attempt it came from."""
        form = decided["output"]
        verdicts, passed = await self._quick(form, ())
        context = self._context(form, ())
        for gate in self.gates:
            if passed and gate.costly and gate.kind == "check":
                verdict = await verdict_of(gate, self.definition.contract.result.from_json(form), context)
                verdicts.append(verdict)
                passed = verdict.outcome == "pass" or (verdict.outcome == "abstain" and gate.on_abstain == "pass")
        if passed:
            await self._release(
                form,
                "person",
                list(escalated["used"]),
                verdicts,
                person=decided["by"],
                reason=decided.get("reason"),
                edited=True,
            )
            return
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
        if step == "escalate" and escalated.get("gate") is None:
            step = "give up"
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
        await self._undo_not_kept([])
        last = state.rejections[-1] if state.rejections else None
        reasons = [reason for form in (last or {}).get("verdicts", ()) for reason in form.get("reasons", ())]
        mode = next((form.get("mode") for form in (last or {}).get("verdicts", ()) if form.get("mode")), None)
        if last is None or (state.last_error is not None and state.last_error.get("attempt", 0) > last.get("attempt", 0)):
            error = dict((state.last_error or {}).get("e") or {"code": "rejected", "message": "no attempt succeeded"})
        else:
            error = Rejected(f"{self.definition.name}: {'; '.join(reasons)}", mode=mode).record()
        await self.commit("agent.failed", {"e": error}, closed=self._open_entries(), progress=True)

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
    ) -> None:
        """Undo what is not kept, then make the output usable downstream: one commit."""
        await self._undo_not_kept(used)
        payload: dict[str, Any] = {"v": form, "by": how, "attempt": self.state.attempt}
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
        return [waiting.current_id(driver, e.path) for e in driver.history.effects(self.path) if e.stage in ("proposed", "letter", "doubt")]

    async def _undo_not_kept(self, used: Sequence[str]) -> None:
        driver = self.driver
        found = driver.history.effects(self.path)
        if not found:
            return
        keep = kept.kept(found, used)
        lost = [effect for effect in found if effect.path not in keep]
        for effect in lost:
            await driver.end_operation(effect.path)
        await saga.undo_all(driver, lost, self.path, over_pivot=True)


def facts_released(driver: RunDriver, path: str, form: Any) -> list[ReleasedFact]:
    """Return the facts that a released output asserted."""
    call = driver.definitions.get(path)
    definition = getattr(call, "definition", None)
    if not isinstance(definition, AgentDefinition) or definition.facts is None:
        return []
    return [ReleasedFact(fact, path) for fact in definition.facts(definition.contract.result.from_json(form))]
