"""Hand-offs between agents of the OpenAI Agents SDK, held against gates of the contract before the next agent's model is asked."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.items import HandoffCallItem, HandoffOutputItem

from agents import HandoffInputData, ItemHelpers
from chargehand.adapters.prompting import plain
from chargehand.errors import Rejected
from chargehand.supervise.bodies import Body
from chargehand.supervise.call import current_body
from chargehand.supervise.decorators import step
from chargehand.supervise.gates import Gate
from chargehand.supervise.released import Released, ReleasedFacts
from chargehand.verdicts import GateContext, Verdict


@dataclass(frozen=True, slots=True)
class HandOff:
    """What one agent of a crew hands to the next, for gates of the contract that take it.

    `arguments` are those of the hand-off's tool as JSON, None without any; `messages` exactly what the next agent's model reads, as JSON.
    """

    source: str
    target: str
    arguments: Any
    messages: tuple[Mapping[str, Any], ...]

    @property
    def text(self) -> str:
        """The texts of the messages, one below the other."""
        return "\n".join(text for message in self.messages for text in _texts(message))

    @property
    def calls(self) -> tuple[str, ...]:
        """The names of the tools that were called in the messages, the hand-off's own included."""
        return tuple(str(message["name"]) for message in self.messages if message.get("type") == "function_call")


def _texts(message: Mapping[str, Any]) -> list[str]:
    content = message.get("content", message.get("output"))
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in content or () if isinstance(part, Mapping) and isinstance(part.get("text"), str)]


def takes_hand_off(gate: Gate) -> bool:
    """Say whether a gate's first parameter is annotated as a hand-off."""
    try:
        annotations = inspect.get_annotations(inspect.unwrap(gate.check), eval_str=True)
        first = next(iter(inspect.signature(gate.check).parameters), "")
    except (NameError, TypeError, ValueError):
        return False
    return annotations.get(first) is HandOff


def handed_over(before: HandoffInputData, after: HandoffInputData) -> HandOff:
    """Return what is handed over: by whom and to whom before the author's filter, what is read after it."""
    crossed = next(item for item in reversed(before.new_items) if isinstance(item, HandoffOutputItem))
    called = next(item for item in reversed(before.new_items) if isinstance(item, HandoffCallItem))
    try:
        arguments = json.loads(called.raw_item.arguments or "{}") or None
    except json.JSONDecodeError:
        arguments = called.raw_item.arguments
    items = after.new_items if after.input_items is None else after.input_items
    history: Any = after.input_history if isinstance(after.input_history, str) else list(after.input_history)
    read = [*ItemHelpers.input_to_new_input_list(history), *(item.to_input_item() for item in (*after.pre_handoff_items, *items))]
    return HandOff(crossed.source_agent.name, crossed.target_agent.name, arguments, tuple(plain(read)))


async def cross(gates: Sequence[Gate], handed: HandOff) -> None:
    """Ask the gates about a hand-off, each once for the attempt. Raises `Rejected`, before the next agent's model is asked."""
    body = current_body.get()
    assert isinstance(body, Body)
    for gate in gates:

        async def judged(asked: Any, gate: Gate = gate) -> Any:
            verdict: Verdict = await body.driver.site.verdict(gate, handed, _context(body))
            return dataclasses.replace(verdict, gate=gate.name).record()

        verdict = Verdict.from_record(await step("hand-off", judged, [gate.name, plain(handed)]))
        if verdict.outcome == "fail" or (verdict.outcome == "abstain" and gate.on_abstain != "pass"):
            why = "; ".join(verdict.reasons) or "no reason given"
            raise Rejected(f"What {handed.source} handed to {handed.target} did not pass {gate.name}: {why}", mode=verdict.mode)


def _context(body: Body) -> GateContext:
    """Return what a gate on a hand-off may know: what any gate may, as far as the attempt has come."""
    driver, definition = body.driver, body.definition
    released = Released(driver.history.released)
    call = driver.definitions.get(body.path)
    return GateContext(
        run_id=driver.row.id,
        path=body.path,
        attempt=body.attempt,
        inputs={} if call is None else call.arguments.values,
        tools=tuple(body.tools),
        released=released,
        facts=ReleasedFacts(released, driver.released_facts),
        role=definition.role,
        done_when=tuple(done.clause for done in definition.done),
        environment=driver.site.environment,
    )
