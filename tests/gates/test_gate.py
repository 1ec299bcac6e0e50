"""What a gate is, and that every ending of its check becomes a verdict."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from chargehand.errors import CallFailed, DefinitionError, Rejected, Unloading
from chargehand.supervise.gates import Gate, ahead_by, as_gate, gate, human, ordered, quorum, verdict_of
from chargehand.supervise.threads import Threads
from chargehand.verdicts import GateContext, Verdict

CONTEXT = GateContext("run", "writer", 1, {})


class Catalogue:
    """A resource."""


def raising(error: BaseException) -> Callable[[Any], None]:
    def check(output: Any) -> None:
        raise error

    return check


async def cancelled(output: Any) -> None:
    raise asyncio.CancelledError


class Checker:
    """A callable object."""

    def __init__(self) -> None:
        self.limit = 3

    async def __call__(self, output: int) -> None:
        if output > self.limit:
            raise Rejected("too many")


def returning(value: Any) -> Callable[[Any], Any]:
    return lambda output: value


GROUP = ExceptionGroup("both", [Rejected("first", mode="FM-1.1"), ExceptionGroup("inner", [Rejected("second")])])
MIXED = ExceptionGroup("both", [Rejected("first"), ValueError("other")])


@pytest.mark.parametrize(
    ("check", "outcome", "reason"),
    [
        (returning(None), "pass", ""),
        (returning(Verdict.passed()), "pass", ""),
        (returning(Verdict.fail("wrong")), "fail", "wrong"),
        (returning(Verdict.fail()), "fail", "gave no reason"),
        (returning(Verdict.abstain("no idea")), "abstain", "no idea"),
        (raising(Rejected("too few")), "fail", "too few"),
        (raising(GROUP), "fail", "second"),
        (raising(MIXED), "abstain", "ExceptionGroup"),
        (returning(True), "abstain", "returned True"),
        (returning(False), "abstain", "returned False"),
        (returning("fine"), "abstain", "no verdict"),
        (raising(ValueError("boom")), "abstain", "ValueError: boom"),
        (raising(CallFailed("HTTPError", "503")), "abstain", "503"),
        (raising(AssertionError()), "abstain", "Raise Rejected"),
        (raising(TimeoutError("theirs")), "abstain", "TimeoutError: theirs"),
        (raising(StopIteration()), "abstain", "StopIteration"),
    ],
)
def test_every_ending_is_a_verdict(ask: Any, check: Callable[[Any], Any], outcome: str, reason: str) -> None:
    """Whatever a check returns or raises becomes a pass, a fail or an abstention, and only None passes unasked."""
    verdict = ask(gate(name="g")(check), 1)
    assert (verdict.outcome, verdict.gate) == (outcome, "g")
    assert reason in " ".join(verdict.reasons)
    assert verdict.seconds > 0


@pytest.mark.parametrize("signal", [Unloading(), asyncio.CancelledError(), KeyboardInterrupt()])
async def test_control_signals_pass_through(signal: BaseException) -> None:
    """Cancellation and control signals are no verdicts."""
    with pytest.raises(type(signal)):
        await verdict_of(as_gate(raising(signal)), 1, CONTEXT, threads=Threads())


async def test_cancellation_of_an_async_gate_passes_through() -> None:
    """An async gate that is cancelled has not abstained."""
    with pytest.raises(asyncio.CancelledError):
        await verdict_of(as_gate(cancelled), 1, CONTEXT, threads=Threads())


def test_mode_is_the_errors_or_the_gates(ask: Any) -> None:
    """A rejection carries its own failure mode, else the one its gate detects; a pass carries none."""
    with_mode = gate(detects="FM-1.1")(raising(Rejected("x", mode="FM-3.2")))
    without = gate(detects="FM-1.1")(raising(Rejected("x")))
    assert ask(with_mode, 1).mode == "FM-3.2"
    assert ask(without, 1).mode == "FM-1.1"
    assert ask(gate(detects="FM-1.1")(returning(None)), 1).mode is None


def test_evidence_is_json(ask: Any) -> None:
    """Evidence that is not JSON is made JSON, so that a verdict can always be journaled."""
    verdict = ask(gate(raising(Rejected("x", evidence={"seen": {1}, "what": object(), "n": float("nan")}))), 1)
    assert verdict.evidence["seen"] == [1]
    assert verdict.evidence["what"].startswith("<object")
    assert verdict.evidence["n"] is None


def test_decorated_function_is_still_called_as_itself() -> None:
    """A gate called like a function does what the function does."""

    @gate(detects="FM-1.1")
    def at_least_three(quotes: list[int]) -> None:
        if len(quotes) < 3:
            raise Rejected(f"{len(quotes)} quotes")

    assert at_least_three([1, 2, 3]) is None
    with pytest.raises(Rejected, match="1 quotes"):
        at_least_three([1])
    assert at_least_three.name == "at_least_three"


def takes_output(output: Any) -> Verdict:
    return Verdict.abstain(f"{output}")


def takes_context(output: Any, context: Any) -> Verdict:
    return Verdict.abstain(f"{output} {context.path}")


def takes_anything(output: Any, known) -> Verdict:  # type: ignore[no-untyped-def]
    return Verdict.abstain(f"{output} {known.path}")


def takes_typed(output: Any, *, known: GateContext) -> Verdict:
    return Verdict.abstain(f"{output} {known.path}")


def takes_resource(output: Any, context: GateContext, catalogue: Catalogue) -> Verdict:
    return Verdict.abstain(f"{output} {context.path} {type(catalogue).__name__}")


def takes_resource_only(output: Any, catalogue: Catalogue, limit: int = 3) -> Verdict:
    return Verdict.abstain(f"{output} {type(catalogue).__name__} {limit}")


async def takes_async(output: Any, context: GateContext) -> Verdict:
    await asyncio.sleep(0)
    return Verdict.abstain(f"{output} {context.path}")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (takes_output, "7"),
        (takes_context, "7 writer"),
        (takes_anything, "7 writer"),
        (takes_typed, "7 writer"),
        (takes_resource, "7 writer Catalogue"),
        (takes_resource_only, "7 Catalogue 3"),
        (takes_async, "7 writer"),
        (functools.partial(takes_async), "7 writer"),
        (lambda output: takes_async(output, CONTEXT), "7 writer"),
    ],
)
def test_a_check_gets_what_it_declares(ask: Any, check: Callable[..., Any], said: str) -> None:
    """A check is given the output, the context where it asks for it, and resources by name."""
    assert ask(check, 7, resources={"catalogue": Catalogue(), "other": 1}).reasons == (said,)


def test_resources_are_known_beforehand() -> None:
    """A gate tells which resources it needs, so that the engine can open them."""
    assert as_gate(takes_resource).resources == {"catalogue": Catalogue}
    assert as_gate(takes_context).resources == {}


def test_missing_resource_is_an_abstention(ask: Any) -> None:
    """A gate whose resource is missing cannot tell."""
    assert ask(takes_resource, 7).outcome == "abstain"


@pytest.mark.parametrize(("check", "costly"), [(takes_output, False), (takes_async, True), (Checker(), True)])
def test_async_checks_are_costly(check: Callable[..., Any], costly: bool) -> None:
    """Async checks cost or wait unless they say otherwise; sync ones do not."""
    assert as_gate(check).costly is costly
    assert gate(costly=not costly)(check).costly is not costly


def test_order_is_deterministic_first() -> None:
    """Gates that cost nothing come first, each kind in the order given."""
    gates = [human("ops"), as_gate(takes_output), as_gate(takes_async), as_gate(takes_context)]
    assert [one.name for one in ordered(gates)] == ["takes_output", "takes_context", "human", "takes_async"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detects": "1.1"}, "Did you mean 'FM-1.1'"),
        ({"detects": "FM-9"}, "FM-"),
        ({"detects": "nonsense-entirely"}, "is no failure mode"),
        ({"on_abstain": "ignore"}, "'fail', 'ask', 'pass'"),
        ({"timeout": 0, "blocking": True}, "not a positive number of seconds"),
        ({"timeout": 1}, "Add blocking=True"),
        ({"detects": "x", "timeout": -1}, "timeout=-1"),
    ],
)
def test_bad_options_are_refused_at_definition(options: dict[str, Any], message: str) -> None:
    """A gate that cannot work is refused when it is defined, with what to do."""
    with pytest.raises(DefinitionError, match="cannot be used") as refused:
        gate(**options)(takes_output)
    assert message in str(refused.value)


def test_blocking_async_is_refused() -> None:
    """An async gate does not hold up the loop and needs no thread."""
    with pytest.raises(DefinitionError, match="blocking=True is for sync"):
        gate(blocking=True)(takes_async)


@pytest.mark.parametrize("thing", [3, "three_suppliers", None, Catalogue])
def test_only_callables_are_gates(thing: Any) -> None:
    """What cannot be called with an output is refused as a gate."""
    with pytest.raises(DefinitionError, match="not a gate"):
        as_gate(thing)


def test_a_gate_takes_an_output() -> None:
    """A function without parameters is refused as a gate."""
    with pytest.raises(DefinitionError, match="takes no output"):
        as_gate(lambda: None)


def test_blocking_gate_runs_in_a_thread(ask: Any) -> None:
    """A blocking gate does not run on the loop's thread."""
    names: list[str] = []
    assert ask(gate(blocking=True)(lambda output: names.append(threading.current_thread().name)), 1).outcome == "pass"
    assert names != [threading.current_thread().name]


@pytest.mark.parametrize("blocking", [True, False])
def test_timeout_is_an_abstention(ask: Any, blocking: bool) -> None:
    """A gate that does not answer in time abstains, and says how long it had."""

    async def waits(output: Any) -> None:
        await asyncio.sleep(10)

    def sleeps(output: Any) -> None:
        time.sleep(0.1)

    slow = gate(timeout=0.01, blocking=True)(sleeps) if blocking else gate(timeout=0.01)(waits)
    verdict = ask(slow, 1)
    assert verdict.outcome == "abstain"
    assert "0.01 seconds" in verdict.reasons[0]


@pytest.mark.parametrize("make", [quorum, ahead_by])
@pytest.mark.parametrize(
    ("k", "of", "message"),
    [(0, [takes_output], "never be reached"), (3, [takes_output] * 2, "by 2 voters"), (1, [], "no voters"), (1, [3], "callable")],
)
def test_votes_that_cannot_be_won_are_refused(make: Callable[..., Gate], k: int, of: list[Any], message: str) -> None:
    """A vote needs voters, and a number of votes that they can give."""
    with pytest.raises(DefinitionError, match=message):
        make(k, of=of)


def test_votes_and_people_are_run_by_the_engine(ask: Any) -> None:
    """A gate that asks people or voters holds what the engine needs and says nothing itself."""
    vote, person = quorum(2, of=[takes_output, takes_context]), human("ops", within=60)
    assert (vote.kind, vote.quorum, len(vote.voters), vote.costly) == ("vote", 2, 2, True)
    assert (person.kind, person.role, person.within, person.costly) == ("human", "ops", 60.0, True)
    assert ask(vote, 1).outcome == ask(person, 1).outcome == "abstain"
