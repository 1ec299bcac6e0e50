"""Agents and their ladder: attempt, gates, rung, release.

1. An attempt runs the body once (`bodies.py`). Its output passes the schema, then the quick gates, then the costly ones.
2. What passes is *released*: but first, effects that rejected or abandoned attempts did, and that the released attempt
   does not stand on, are undone, newest first.
3. What is rejected goes to the next rung; the event records which, so that a changed ladder does not disturb a parked run.
4. Costly gates are asked only after the output is on disk, and each verdict is on disk before the next is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from chargehand.contracts import explain
from chargehand.core.ladder import climb
from chargehand.core.lifecycle import OPEN_STAGES
from chargehand.errors import BudgetExhausted, ChargehandError, Failure, JournalError, Rejected, TimedOut, Unserialisable
from chargehand.failures import classify
from chargehand.supervise import voting
from chargehand.supervise.bodies import Body, feedback_for
from chargehand.supervise.call import Call
from chargehand.supervise.definitions import AgentDefinition
from chargehand.supervise.failing import paths_of, recorded_failure
from chargehand.supervise.gates import Gate
from chargehand.supervise.rungs import Rungs
from chargehand.verdicts import Clarify, GateContext, ToolResult, Verdict

if TYPE_CHECKING:
    from chargehand.supervise.run import RunDriver


async def perform(driver: RunDriver, call: Call[Any], path: str) -> None:
    """Carry one agent call to its release or failure, from wherever it stands."""
    work = _Work(driver, call, path)
    await work.admit()
    while work.state.settled is None and driver.history.rolling_back is None:
        await work.step()


class _Work(Rungs):
    """One agent call on its way: its attempts and gates."""

    async def admit(self) -> None:
        """Hold the inputs against the gates on what the agent takes, before the first attempt."""
        if not self.definition.admits or self.state.settled is not None or self.state.rejections:
            return
        context = self._context(None, ())
        for gate in self.definition.admits:
            verdict = await self.driver.site.verdict(gate, dict(self.call.arguments.values), context, self._hold)
            if verdict.outcome != "pass" and not (verdict.outcome == "abstain" and gate.on_abstain == "pass"):
                error = Rejected(f"{self.definition.name} does not admit its input: {'; '.join(verdict.reasons)}", mode=verdict.mode)
                await self.commit("agent.failed", {"e": error.record(), "verdicts": [verdict.record()]}, progress=True)
                return

    async def step(self) -> None:
        """Make the next move."""
        state = self.state
        if state.question is not None and state.facts.get("withdrawn"):
            await self._ask(state.question)
        elif state.question is not None:
            await self._answer(state.question)
        elif state.due is not None and state.step != "escalate" and state.due > self.driver.clock.now():
            await self.driver.until(state.due, self.path)
        elif state.produced is not None and state.escalated is None:
            await self._judge(state.produced)
        elif state.step in ("retry", "reassign"):
            await self._attempt()
        elif state.step == "escalate":
            await self._escalate()
        elif state.step == "fall back":
            await self._fall_back()
        else:
            await self._give_up()

    # -- an attempt ----------

    async def _attempt(self) -> None:
        driver, state, path = self.driver, self.state, self.path
        await self._carry_out_what_stands()
        producer = self._producer()
        body = Body(driver, producer, path, state.attempt, self._asked_before())
        self.meter = body.meter
        feedback = feedback_for(driver, state, path, self.clauses)
        driver.site.at("before attempt", path)
        failure: Exception | None = None
        unfit: Rejected | None = None
        async with driver.site.gauges.place(producer, self.call.arguments.values, self._hold):
            if driver.history.rolling_back is not None:
                return
            try:
                output = await body.run(self.call, feedback)
            except Exception as error:
                unfit = error if isinstance(error, Rejected) and not paths_of(error) else None
                failure = error
                driver.site.gauges.ended(producer, unfit is not None)
            else:
                driver.site.gauges.ended(producer, True)
        if unfit is not None and body.out_of_role is None:  # the body says so of what it made itself, not a call that it made
            await self._rejected(body.used, producer, None, [Verdict("fail", (unfit.message,), gate="body", mode=unfit.mode)])
            return
        if failure is not None:
            await self._errored(body, producer, body.out_of_role or failure)
            return
        driver.site.at("after attempt", path)
        if body.out_of_role is not None:
            await self._errored(body, producer, body.out_of_role)
        elif isinstance(output, Clarify):
            await self._asked(output.question)
        else:
            await self._checked(body, producer, output)

    def _asked_before(self) -> list[str]:
        """Return the effects that earlier incarnations of this attempt asked for: a body that is told so need not ask again."""
        prefix, attempt = f"{self.path}/", self.state.attempt
        found: list[str] = []
        for effect in self.driver.history.effects(self.path):
            rest = effect.path.removeprefix(prefix)
            if rest.startswith(f"try{attempt}/") or ("/" not in rest and effect.facts.get("attempt") == attempt):
                found.append(effect.path)
        return found

    async def _carry_out_what_stands(self) -> None:
        """Finish effects of an earlier incarnation that were approved or under way; the body is told the results."""
        driver = self.driver
        for effect in driver.history.effects(self.path):
            if (
                effect.settled is None
                and effect.stage in (*OPEN_STAGES, "approved", "redriven", "did not happen")
                and effect.path not in driver.tasks
            ):
                operation = self._operation_of(effect)
                if operation is not None:
                    await driver.outcome(self.path, effect.path, operation)

    async def _checked(self, body: Body, producer: AgentDefinition[..., Any], output: Any) -> None:
        """Schema first, then the quick gates; then release, or the costly gates."""
        codec = self.definition.contract.result
        try:
            form = codec.to_json(codec.check(output))
        except (ValidationError, Unserialisable) as error:
            detail = explain(error) if isinstance(error, ValidationError) else str(error)
            verdict = Verdict(
                "fail",
                (f"The output does not fit {_name_of(codec.annotation)}: {detail}",),
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

    async def _judge(self, produced: Mapping[str, Any]) -> None:
        """Ask the costly gates that have not spoken yet, one commit each; then release."""
        state, form = self.state, produced["output"]
        tools = [ToolResult(t["tool"], t["arguments"], t["result"]) for t in produced.get("tools", ())]
        context = self._context(form, tools)
        costly = [gate for gate in self.gates if gate.costly or gate.kind != "check"]
        for gate in costly:
            if gate.kind == "human":
                if produced.get("decided_at") == gate.name:
                    continue  # whose edit this is has just decided there
                why = f"the gate {gate.name} asks a person"
                await self._open_escalation(form, why, role=gate.role, within=gate.within, gate=gate.name, verdicts=self._said(produced))
                return
            if gate.name not in state.verdicts:
                await self._ask_gate(gate, form, context)
            verdict = Verdict.from_record(state.verdicts[gate.name])  # as recorded, also when we died right after it
            if verdict.outcome == "fail" or (verdict.outcome == "abstain" and gate.on_abstain == "fail"):
                verdicts = [Verdict.from_record(v) for v in state.verdicts.values()]
                if "person" in produced:
                    await self._edit_refused(form, verdicts)
                    return
                await self._rejected(list(produced["used"]), self._producer(), form, verdicts)
                return
        abstained = [name for name, v in state.verdicts.items() if v["outcome"] == "abstain" and self._gate(name).on_abstain == "ask"]
        asks = [name for name in (*produced.get("ask", ()), *abstained) if name != produced.get("decided_at")]
        if asks:
            await self._open_escalation(form, f"the gate {asks[0]} could not tell", gate=asks[0], verdicts=self._said(produced))
            return
        verdicts = [Verdict.from_record(v) for v in [*produced["verdicts"], *state.verdicts.values()]]
        await self._released_as(produced, verdicts)

    def _said(self, produced: Mapping[str, Any]) -> list[Any]:
        """Return what every gate has said of an output so far: the person who is asked sees it."""
        return [*produced["verdicts"], *self.state.verdicts.values()]

    async def _ask_gate(self, gate: Gate, form: Any, context: GateContext) -> None:
        """Ask one costly gate and put its verdict on disk."""
        if gate.kind == "vote":
            verdict = await voting.verdict(self.driver, gate, self.call, self.path, form, self._round())
        else:
            verdict = await self.driver.site.verdict(gate, self.definition.contract.result.from_json(form), context, self._hold)
        await self.commit("gate.judged", verdict.record())

    # -- when it did not pass ----------

    async def _errored(self, body: Body, producer: AgentDefinition[..., Any], error: Exception) -> None:
        """An exception or timeout is classified like a read's; only a permanent one uses a rung."""
        driver, state = self.driver, self.state
        if isinstance(error, JournalError) or (isinstance(error, ChargehandError) and error.blame == "ours"):
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
        if isinstance(error, BudgetExhausted) and error.stop:
            await self.commit("agent.errored", payload | {"rung": len(self.ladder), "do": "give up"})
            return
        out_of_role = body.out_of_role is not None
        where = climb(self.ladder, state.rung, state.rung_tries, only_person=final, permanent=not out_of_role)
        await self.commit("agent.errored", payload | {"rung": where.rung, "do": where.step})


def _name_of(annotation: Any) -> str:
    """Return a type as the agent's author writes it."""
    return annotation.__qualname__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
