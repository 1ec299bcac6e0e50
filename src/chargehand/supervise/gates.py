"""What a gate is, how one is defined, and how it is asked for its verdict.

The rules of this file:

1. A gate is any callable ``(output)`` or ``(output, context)``, sync or async. It rejects by raising `Rejected` or by
   returning a failing `Verdict`; it passes by returning None. A truth value is not a verdict: ``return False`` would
   otherwise be a pass to one reader and a rejection to another.
2. Everything about a callable that can be known beforehand (whether it wants the context, which resources, whether it
   is async) is found out once, when the gate is defined. `verdict_of` is on the hot path of every release.
3. `verdict_of` turns every ending into a verdict. What is neither a pass nor a rejection is an abstention: a gate that
   crashed has not said that the output is good. What an abstention leads to is `Gate.on_abstain`, for the engine.
4. Gates that ask a person or several voters hold no check of their own; the engine runs them (`Gate.kind`).
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from time import perf_counter
from types import MappingProxyType
from typing import Any, Literal, overload

from pydantic_core import to_jsonable_python

from chargehand.core.leaving import failure_in
from chargehand.errors import DefinitionError, Rejected
from chargehand.failures import MAST, SYSTEM
from chargehand.limits import Seconds, seconds
from chargehand.supervise.panels import Correlation, checked_correlation
from chargehand.supervise.threads import Threads
from chargehand.verdicts import GateContext, Verdict

OnAbstain = Literal["fail", "ask", "pass"]
Kind = Literal["check", "human", "vote"]

_NO_RESOURCES: Mapping[str, Any] = MappingProxyType({})

_Asked = Callable[[Any, GateContext, Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """A check an output must pass, with what the engine has to know about it.

    `name` is stable. `detects` is the MAST code or system class of what it rejects. A `costly` gate costs money or
    waits: it runs after the others and its verdict is journaled on its own. `timeout` and `within` are in seconds. A
    `blocking` gate is a sync one that must not run on the event loop; it runs in a thread. A thread cannot be stopped:
    after a timeout it runs to its end and what it says is dropped. `voters`, `quorum` and `ahead_by` belong to kind
    "vote", with how their errors correlate; `role` and `within` to kind "human". `resources` are the parameters that are filled with resources, by name,
    with their annotations.

    Calling a gate calls its check, so a decorated function can still be called and tested as the plain function it is.
    """

    name: str
    check: Callable[..., Any]
    detects: str | None = None
    costly: bool = False
    on_abstain: OnAbstain = "fail"
    timeout: float | None = None
    blocking: bool = False
    kind: Kind = "check"
    voters: tuple[Any, ...] = ()
    quorum: int = 0
    ahead_by: int = 0
    correlation: Correlation | None = None
    role: str | None = None
    within: float | None = None
    resources: Mapping[str, Any] = field(init=False, repr=False)
    inline: bool = field(init=False, repr=False)
    """Whether the check is called on the loop and needs neither a thread nor a timer."""
    asked: _Asked = field(init=False, repr=False)
    """Call the check with what it declared, out of output, context and resources."""

    def __post_init__(self) -> None:
        faults = _faults(self)
        if faults:
            raise DefinitionError(f"The gate {self.name!r} cannot be used. " + " ".join(faults))
        asked, resources = _prepare(self.check)
        object.__setattr__(self, "asked", asked)
        object.__setattr__(self, "resources", resources)
        object.__setattr__(self, "inline", not self.blocking and self.timeout is None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.check(*args, **kwargs)


# -- defining ----------


@overload
def gate(function: Callable[..., Any], /) -> Gate: ...


@overload
def gate(
    *,
    name: str | None = None,
    detects: str | None = None,
    costly: bool | None = None,
    on_abstain: OnAbstain = "fail",
    timeout: Seconds | None = None,
    blocking: bool = False,
) -> Callable[[Callable[..., Any]], Gate]: ...


def gate(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    detects: str | None = None,
    costly: bool | None = None,
    on_abstain: OnAbstain = "fail",
    timeout: Seconds | None = None,
    blocking: bool = False,
) -> Gate | Callable[[Callable[..., Any]], Gate]:
    """Make a gate of a function, with or without options.

    Args:
        function: ``(output)`` or ``(output, context)``; further parameters are filled with resources, by name.
        name: The gate's stable name; the function's own otherwise.
        detects: The MAST code ("FM-1.1") or system class ("SYS-limit") of what this gate rejects.
        costly: It costs money or waits. Async functions do unless this says otherwise, sync ones do not.
        on_abstain: What an abstention leads to: "fail", "ask" (a person) or "pass".
        timeout: Seconds after which it abstains. A sync function needs `blocking` for that.
        blocking: Run a sync function in a thread.

    Raises:
        DefinitionError: An option is not possible; all faults are named at once.
    """

    def define(function: Callable[..., Any]) -> Gate:
        is_async = _is_async(function)
        limit = None if timeout is None else seconds(timeout)
        return Gate(
            name=name or _name_of(function),
            check=function,
            detects=detects,
            costly=is_async if costly is None else costly,
            on_abstain=on_abstain,
            timeout=limit,
            blocking=blocking,
        )

    return define if function is None else define(function)


def as_gate(thing: Gate | Callable[..., Any]) -> Gate:
    """Return the gate itself, or a gate with default options made of a bare callable."""
    if isinstance(thing, Gate):
        return thing
    if not callable(thing) or inspect.isclass(thing):
        raise DefinitionError(f"This is not a gate: {thing!r}. Give a function (output) or (output, context) that raises Rejected.")
    return gate(thing)


def human(role: str | None = None, within: Seconds | None = None) -> Gate:
    """Return a gate at which a person decides: one of `role` if given, and `within` that many seconds if given."""
    limit = None if within is None else seconds(within)
    return Gate(name="human", check=run_by_the_engine, costly=True, kind="human", role=role, within=limit)


def quorum(k: int, of: Sequence[Any], *, correlation: Correlation | None = None) -> Gate:
    """Return a gate that passes when at least `k` of the voters pass the output. No voter sees another's vote.

    Its verdict states how many independent votes were cast (`effective`): voters that err together count less.

    Args:
        k: how many yes votes pass.
        of: judges (`judge`) and agents.
        correlation: how errors of voters of different families correlate: a figure, or figures by pairs of voters' names as
            `chargehand judge-check` measures them. By default 0.44; within a family 1 unless measured.
    """
    return _vote("quorum", of, correlation, quorum=k)


def ahead_by(k: int, of: Sequence[Any], *, correlation: Correlation | None = None) -> Gate:
    """Return a gate at which voters are asked one after the other until one answer leads by `k`. Options as of `quorum`.

    Source: "first to ahead by k" voting, Meyerson et al., arXiv 2511.09030.
    """
    return _vote("ahead_by", of, correlation, ahead_by=k)


def _vote(name: str, of: Sequence[Any], correlation: Correlation | None, *, quorum: int = 0, ahead_by: int = 0) -> Gate:
    voters = tuple(one.voters[0] if isinstance(one, Gate) and one.kind == "vote" and len(one.voters) == 1 else one for one in of)
    return Gate(
        name=name, check=run_by_the_engine, costly=True, kind="vote", voters=voters, quorum=quorum, ahead_by=ahead_by,
        correlation=checked_correlation(correlation),
    )  # fmt: skip


def ordered(gates: Iterable[Gate]) -> list[Gate]:
    """Return the gates in the order in which they run: deterministic first, then costly, each in the order given.

    Gates of one name are numbered (``quorum#2``): a verdict belongs to one of them.
    """
    given: Counter[str] = Counter()
    found: list[Gate] = []
    for gate in sorted(gates, key=lambda gate: gate.costly):
        given[gate.name] += 1
        found.append(gate if given[gate.name] == 1 else replace(gate, name=f"{gate.name}#{given[gate.name]}"))
    return found


# -- asking ----------


async def verdict_of(
    gate: Gate, output: Any, context: GateContext, resources: Mapping[str, Any] = _NO_RESOURCES, *, threads: Threads
) -> Verdict:
    """Ask a gate for its verdict on an output.

    Args:
        gate: The gate; of kind "check" (the engine runs the others).
        output: The output, a copy that the gate may spoil.
        context: What the gate may know.
        resources: The opened resources, by parameter name.
        threads: Where a gate that may block is asked.

    Returns:
        A verdict with the gate's name and the seconds it took: pass for None, the verdict returned, fail for
        `Rejected`, and abstain for any other return value, any other exception and a timeout. Only cancellation and
        control signals are raised. It writes nothing: when the process dies inside it, the gate is asked again.
    """
    began = perf_counter()
    try:
        said = gate.asked(output, context, resources) if gate.inline else await _waited(gate, output, context, resources, threads)
        if said is None:
            return Verdict("pass", gate=gate.name, seconds=perf_counter() - began)
        if not isinstance(said, Verdict) and inspect.isawaitable(said):
            said = await said
        verdict = _verdict_of_answer(said)
    except SystemExit as leaving:
        verdict = _verdict_of_error(failure_in(leaving))
    except Exception as error:
        verdict = _verdict_of_error(error)
    return _signed(verdict, gate, perf_counter() - began)


async def _waited(gate: Gate, output: Any, context: GateContext, resources: Mapping[str, Any], threads: Threads) -> Any:
    limit = asyncio.timeout(gate.timeout)
    try:
        async with limit:
            if gate.blocking:
                own = contextvars.copy_context()
                return await asyncio.wrap_future(threads.begin(gate.name, lambda: own.run(gate.asked, output, context, resources)))
            said = gate.asked(output, context, resources)
            return await said if inspect.isawaitable(said) else said
    except TimeoutError:
        if not limit.expired():
            raise
        return Verdict.abstain(f"It did not answer within {gate.timeout:g} seconds.")


def _verdict_of_answer(said: Any) -> Verdict:
    if said is None:
        return Verdict.passed()
    if isinstance(said, Verdict):
        return said
    return Verdict.abstain(f"It returned {_shortened(said)}, which is no verdict. Return None or a Verdict, or raise Rejected.")


def _verdict_of_error(error: Exception) -> Verdict:
    if isinstance(error, Rejected):
        return Verdict.fail(error.message, mode=error.mode, evidence=error.evidence)
    rejections = _rejections_in(error)
    if rejections:
        evidence = [one.evidence for one in rejections if one.evidence is not None]
        mode = next((one.mode for one in rejections if one.mode is not None), None)
        return Verdict.fail(*(one.message for one in rejections), mode=mode, evidence=evidence or None)
    return Verdict.abstain(f"It raised {_described(error)}. Raise Rejected to reject an output.")


def _rejections_in(error: Exception) -> list[Rejected]:
    """Return the rejections of a group that holds nothing else, as a task group in a gate raises it."""
    if not isinstance(error, ExceptionGroup):
        return []
    found: list[Rejected] = []
    for inner in error.exceptions:
        deeper = [inner] if isinstance(inner, Rejected) else _rejections_in(inner)
        if not deeper:
            return []
        found.extend(deeper)
    return found


def _signed(verdict: Verdict, gate: Gate, took: float) -> Verdict:
    reasons = tuple(str(reason) for reason in verdict.reasons)
    mode = verdict.mode
    if verdict.outcome == "fail":
        mode = mode or gate.detects
        reasons = reasons or (f"The gate {gate.name} rejected this output and gave no reason.",)
    evidence = None if verdict.evidence is None else _as_json(verdict.evidence)
    return Verdict(verdict.outcome, reasons, gate=gate.name, mode=mode, evidence=evidence, seconds=took)


def _as_json(evidence: Any) -> Any:
    try:
        return to_jsonable_python(evidence, fallback=_shortened, inf_nan_mode="null")
    except Exception:
        return _shortened(evidence)


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 200 else text[:200] + "…"


def _described(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# -- what can be known beforehand ----------


def run_by_the_engine(output: Any) -> Verdict:
    """Stand in for the check of a gate that asks people or voters."""
    return Verdict.abstain("This gate asks people or voters; only the engine can run it.")


def _plain(function: Callable[..., Any]) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _is_async(function: Callable[..., Any]) -> bool:
    plain = _plain(function)
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(type(plain), "__call__", None))  # noqa: B004


def _name_of(function: Callable[..., Any]) -> str:
    plain = _plain(function)
    name = str(getattr(plain, "__name__", type(plain).__name__))
    return "lambda" if name == "<lambda>" else name


def _faults(gate: Gate) -> list[str]:
    found: list[str] = []
    if gate.detects is not None and gate.detects not in MAST and gate.detects not in SYSTEM:
        near = get_close_matches(gate.detects, [*MAST, *SYSTEM], n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else " Use a MAST code such as 'FM-1.1' or a class such as 'SYS-limit'."
        found.append(f"detects={gate.detects!r} is no failure mode.{hint}")
    if gate.on_abstain not in ("fail", "ask", "pass"):
        found.append(f"on_abstain={gate.on_abstain!r} is not one of 'fail', 'ask', 'pass'.")
    for option, value in (("timeout", gate.timeout), ("within", gate.within)):
        if value is not None and value <= 0:
            found.append(f"{option}={value!r} is not a positive number of seconds.")
    is_async = gate.kind == "check" and _is_async(gate.check)
    if gate.blocking and is_async:
        found.append("blocking=True is for sync functions; an async one does not hold up the loop.")
    if gate.timeout is not None and gate.kind == "check" and not gate.blocking and not is_async:
        found.append(f"timeout={gate.timeout!r} cannot stop a sync function on the loop. Add blocking=True.")
    if gate.kind == "vote":
        found.extend(_faults_of_vote(gate))
    return found


def _faults_of_vote(gate: Gate) -> list[str]:
    k = gate.quorum or gate.ahead_by
    if not gate.voters:
        return ["It has no voters. Give of=[…]."]
    if not 1 <= k <= len(gate.voters):
        return [f"k={k!r} can never be reached by {len(gate.voters)} voters. Give a number from 1 to {len(gate.voters)}."]
    gates = [voter.name for voter in gate.voters if isinstance(voter, Gate)]
    if gates:
        return [f"{', '.join(gates)} cannot vote: voters are judges and agents. Give gates a place in gates=."]
    return [f"A voter must be callable, not {voter!r}." for voter in gate.voters if not callable(voter)]


def _prepare(check: Callable[..., Any]) -> tuple[_Asked, Mapping[str, Any]]:
    """Return how to call the check, and the parameters to fill with resources."""
    try:
        parameters = list(inspect.signature(check).parameters.values())
    except (TypeError, ValueError):
        return (lambda output, context, resources: check(output)), _NO_RESOURCES
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise DefinitionError(f"The gate {_name_of(check)!r} takes no output. Write it as (output) or (output, context).")
    first, *others = parameters
    if first.kind is inspect.Parameter.VAR_POSITIONAL:
        return (lambda output, context, resources: check(output)), _NO_RESOURCES
    others = [one for one in others if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    annotations = _annotations_of(check)
    wanting = next((one for one in others if _is_context(one, annotations, second=one is others[0])), None)
    wanted = {one.name: annotations.get(one.name) for one in others if one is not wanting}
    if wanting is None and not wanted:
        return (lambda output, context, resources: check(output)), _NO_RESOURCES
    if wanting is not None and not wanted and wanting.kind is not inspect.Parameter.KEYWORD_ONLY:
        return (lambda output, context, resources: check(output, context)), _NO_RESOURCES
    return _by_name(check, None if wanting is None else wanting.name, tuple(wanted)), MappingProxyType(wanted)


def _annotations_of(check: Callable[..., Any]) -> dict[str, Any]:
    plain = _plain(check)
    target = plain if hasattr(plain, "__annotations__") and not isinstance(plain, type) else type(plain).__call__
    try:
        return inspect.get_annotations(inspect.unwrap(target), eval_str=True)
    except Exception:
        return dict(getattr(inspect.unwrap(target), "__annotations__", {}))


def _is_context(parameter: inspect.Parameter, annotations: Mapping[str, Any], *, second: bool) -> bool:
    annotation = annotations.get(parameter.name)
    if annotation is GateContext or (isinstance(annotation, str) and annotation.rsplit(".", 1)[-1] == "GateContext"):
        return True
    untyped = annotation is None and parameter.default is parameter.empty
    return parameter.name == "context" or (second and untyped and parameter.kind is not parameter.KEYWORD_ONLY)


def _by_name(check: Callable[..., Any], context_name: str | None, names: tuple[str, ...]) -> _Asked:
    def ask(output: Any, context: GateContext, resources: Mapping[str, Any]) -> Any:
        filled = {name: resources[name] for name in names if name in resources}
        if context_name is not None:
            filled[context_name] = context
        return check(output, **filled)

    return ask


__all__ = ["Gate", "ahead_by", "as_gate", "gate", "human", "ordered", "quorum", "verdict_of"]
