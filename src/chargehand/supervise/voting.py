"""Voting gates: a judge, and `quorum` and `ahead_by` over judges and agents. Each vote is a journaled call, so it is never asked for twice.

A voter whose result is `bool` judges the output: it takes it as its only argument. A *judge* (`judges.py`) asks a model by a
rubric. Any other voter takes the producer's arguments and gives its own answer, blind; its vote is yes when that equals the output.
`ahead_by(k)` is MAKER's first-to-ahead-by-k (Meyerson et al., arXiv 2511.09030): voting stops when one side leads by k.

A vote is *lost* when its voter failed, or is a judge that could not tell or whose verdict is void. A quorum that only lost votes keep
from being reached has not said no: it abstains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chargehand.contracts import canonical
from chargehand.core.states import CallState
from chargehand.supervise.call import Call
from chargehand.supervise.gates import Gate
from chargehand.supervise.judges import JudgeDefinition, Judgement, verdict_of_judgement
from chargehand.supervise.panels import effective_votes
from chargehand.verdicts import Verdict

if TYPE_CHECKING:
    from chargehand.supervise.definitions import AgentDefinition
    from chargehand.supervise.run import RunDriver


@dataclass(frozen=True, slots=True)
class Vote:
    """One voter's vote: yes, no, or None when it is lost. A judge's has its judgement."""

    voter: AgentDefinition[..., Any] | JudgeDefinition
    yes: bool | None
    judgement: Judgement | None = None


async def verdict(driver: RunDriver, gate: Gate, call: Call[Any], path: str, form: Any, round: str) -> Verdict:
    """Ask the voters in order until the outcome is settled. `round` names what is judged: an attempt, or an edit of its output."""
    votes: list[Vote] = []
    outcome = None
    for number, voter in enumerate(gate.voters, start=1):
        votes.append(await _vote(driver, voter, call, path, f"{path}/{round}/{gate.name}~{number}", form))
        outcome = _settled(gate, votes)
        if outcome is not None:
            break
    lone = votes[0].voter
    if len(gate.voters) == 1 and isinstance(lone, JudgeDefinition) and votes[0].judgement is not None:
        return verdict_of_judgement(votes[0].judgement, lone, gate)
    return _verdict_of_votes(gate, votes, outcome or "abstain")


def _verdict_of_votes(gate: Gate, votes: list[Vote], outcome: str) -> Verdict:
    yes, no = (sum(1 for vote in votes if vote.yes is said) for said in (True, False))
    counted = [vote.voter for vote in votes if vote.yes is not None]
    evidence: dict[str, Any] = {"yes": yes, "no": no, "lost": len(votes) - yes - no, "of": len(gate.voters)}
    evidence["effective"] = round(effective_votes(counted, gate.correlation), 2)
    judged = [_told(vote) for vote in votes if isinstance(vote.voter, JudgeDefinition)]
    if judged:
        evidence["judges"] = judged
    reasons: tuple[str, ...] = ()
    if outcome != "pass":
        lost = f", {len(votes) - yes - no} lost" if len(votes) > yes + no else ""
        reasons = (f"{yes} of {yes + no} votes agree with the output{lost}; the gate {gate.name} wants more.",)
        given = [reason for vote in votes if vote.yes is False and vote.judgement is not None for reason in vote.judgement.reasons]
        reasons += tuple(dict.fromkeys(given))
    return Verdict(outcome, reasons, gate=gate.name, mode=gate.detects or "FM-3.2", evidence=evidence)  # type: ignore[arg-type]


def _told(vote: Vote) -> dict[str, Any]:
    """Return a judge's vote as evidence."""
    assert isinstance(vote.voter, JudgeDefinition)
    told: dict[str, Any] = {"judge": vote.voter.name, "model": vote.voter.model, "outcome": "failed"}
    if vote.judgement is not None:
        told |= {"outcome": vote.judgement.outcome, "quotes": list(vote.judgement.quotes)}
        if vote.judgement.void:
            told["void"] = vote.judgement.void
    return told


def _settled(gate: Gate, votes: list[Vote]) -> str | None:
    """Return what the votes so far come to, whatever the others will say; None while that is open."""
    yes, no, lost = (sum(1 for vote in votes if vote.yes is said) for said in (True, False, None))
    left = len(gate.voters) - len(votes)
    if gate.ahead_by:
        if yes - no >= gate.ahead_by:
            return "pass"
        if no - yes >= gate.ahead_by or (left == 0 and no > yes):
            return "fail"
        return None
    if yes >= gate.quorum:
        return "pass"
    if yes + left >= gate.quorum:
        return None
    return "fail" if yes + left + lost < gate.quorum else "abstain"


async def _vote(
    driver: RunDriver, voter: AgentDefinition[..., Any] | JudgeDefinition, call: Call[Any], owner: str, path: str, form: Any
) -> Vote:
    """Return a voter's vote."""
    given = call.definition.contract.to_record(call.arguments)
    if isinstance(voter, JudgeDefinition):
        produced = driver.history.agent(owner).produced or {}
        state = await _asked(driver, voter.ballot(form, given, produced.get("tools", ())), owner, path)
        return _vote_of(voter, state)
    contract = voter.contract
    judges = contract.result.annotation is bool
    if judges:
        arguments = contract.from_record({contract.parameters[0].name: form})
    else:
        arguments = contract.from_record({p.name: given[p.name] for p in contract.parameters if p.name in given})
    state = await _asked(driver, Call(voter, arguments), owner, path)
    if state.settled is None or not state.settled.ok:
        return Vote(voter, None)
    if judges:
        return Vote(voter, bool(state.settled.form))
    return Vote(voter, canonical(state.settled.form) == canonical(form))


async def _asked(driver: RunDriver, ballot: Call[Any], owner: str, path: str) -> CallState:
    """Have a ballot answered, unless it is."""
    driver.definitions[path] = ballot
    state = driver.history.calls.get(path)
    if state is None or state.settled is None:
        await driver.outcome(owner, path, lambda: driver.operation(ballot, path))
        state = driver.history.calls[path]
    return state


def _vote_of(judge: JudgeDefinition, state: CallState) -> Vote:
    """Return a judge's vote; one that could not be asked has abstained."""
    if state.settled is None:
        return Vote(judge, None)
    if not state.settled.ok:
        why = str((state.settled.form or {}).get("message") or "its model did not answer")
        return Vote(judge, None, Judgement("abstain", (f"The judge {judge.name} could not be asked: {why}",)))
    judgement: Judgement = judge.contract.result.from_json(state.settled.form)
    return Vote(judge, {"pass": True, "fail": False}.get(judgement.outcome), judgement)
