"""Voting gates: `quorum` and `ahead_by` over any agents. Each vote is a journaled call, so it is never asked for twice.

A voter whose result is `bool` judges the output: it takes it as its only argument. Any other voter takes the producer's
arguments and gives its own answer, blind; its vote is yes when that equals the output.
`ahead_by(k)` is MAKER's first-to-ahead-by-k (Meyerson et al., arXiv 2511.09030): voting stops when one side leads by k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chargehand.contracts import canonical
from chargehand.supervise.call import Call
from chargehand.supervise.gates import Gate
from chargehand.verdicts import Verdict

if TYPE_CHECKING:
    from chargehand.supervise.definitions import AgentDefinition
    from chargehand.supervise.run import RunDriver


async def verdict(driver: RunDriver, gate: Gate, call: Call[Any], path: str, form: Any, round: str) -> Verdict:
    """Ask the voters in order until the outcome is settled. `round` names what is judged: an attempt, or an edit of its output."""
    yes = no = 0
    lost = 0
    for number, voter in enumerate(gate.voters, start=1):
        vote = await _vote(driver, voter, call, path, f"{path}/{round}/{gate.name}~{number}", form)
        yes, no, lost = yes + (vote is True), no + (vote is False), lost + (vote is None)
        left = len(gate.voters) - number
        outcome = _settled(gate, yes, no, left)
        if outcome is not None:
            break
    else:
        outcome = "abstain"
    evidence = {"yes": yes, "no": no, "lost": lost, "of": len(gate.voters)}
    reasons = () if outcome == "pass" else (f"{yes} of {yes + no} votes agree with the output; the gate {gate.name} wants more.",)
    return Verdict(outcome, reasons, gate=gate.name, mode=gate.detects or "FM-3.2", evidence=evidence)  # type: ignore[arg-type]


def _settled(gate: Gate, yes: int, no: int, left: int) -> str | None:
    if gate.ahead_by:
        if yes - no >= gate.ahead_by:
            return "pass"
        if no - yes >= gate.ahead_by or (left == 0 and no > yes):
            return "fail"
        return None
    if yes >= gate.quorum:
        return "pass"
    return "fail" if yes + left < gate.quorum else None


async def _vote(driver: RunDriver, voter: AgentDefinition[..., Any], call: Call[Any], owner: str, path: str, form: Any) -> bool | None:
    """Return a voter's yes or no; None when it could not vote."""
    contract = voter.contract
    judges = contract.result.annotation is bool
    if judges:
        name = contract.parameters[0].name
        arguments = contract.from_record({name: form})
    else:
        given = call.definition.contract.to_record(call.arguments)
        arguments = contract.from_record({p.name: given[p.name] for p in contract.parameters if p.name in given})
    ballot: Call[Any] = Call(voter, arguments)
    driver.definitions[path] = ballot
    state = driver.history.calls.get(path)
    if state is None or state.settled is None:
        await driver.outcome(owner, path, lambda: driver.operation(ballot, path))
        state = driver.history.calls[path]
    if state.settled is None or not state.settled.ok:
        return None
    if judges:
        return bool(state.settled.form)
    return canonical(state.settled.form) == canonical(form)
