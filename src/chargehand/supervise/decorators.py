"""The decorators: `step`, `read`, `effect`, `agent`, `workflow`. All faults of a definition are found here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

from chargehand.contracts import Arguments, Codec, digest_of
from chargehand.core.effect_life import OnExhausted
from chargehand.core.ladder import Rung, checked_ladder
from chargehand.errors import DefinitionError, Monoculture, Unserialisable
from chargehand.limits import AtOnce, Breaker, Budget, Rate, Retry, Seconds, positive_seconds
from chargehand.supervise.call import Call
from chargehand.supervise.definitions import (
    AgentDefinition,
    Approval,
    Definition,
    EffectDefinition,
    EffectOptions,
    Limits,
    StepDefinition,
    WorkflowDefinition,
)
from chargehand.supervise.gates import Gate, as_gate
from chargehand.supervise.judges import JudgeDefinition
from chargehand.supervise.panels import families_of_voter, related
from chargehand.verdicts import Clarify, Done, Fact

P = ParamSpec("P")
T = TypeVar("T")


class StepMaker(Protocol):
    """Makes a step or read of an async or plain function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> StepDefinition[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> StepDefinition[P, T]: ...


class EffectMaker(Protocol):
    """Makes an effect of an async or plain function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> EffectDefinition[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> EffectDefinition[P, T]: ...


class AgentMaker(Protocol):
    """Makes an agent of an async or plain function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T | Clarify]], /) -> AgentDefinition[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T | Clarify], /) -> AgentDefinition[P, T]: ...


class WorkflowMaker(Protocol):
    """Makes a workflow of an async function."""

    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> WorkflowDefinition[P, T]: ...


def _timeout(value: Seconds | None, what: str = "timeout=") -> float | None:
    return None if value is None else positive_seconds(value, what)


def _options_by_name(example: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a decorator that takes its options by name say so when it is given something else."""

    def of(maker: Callable[P, T]) -> Callable[P, T]:
        taken = inspect.signature(maker)

        @functools.wraps(maker)
        def checked(*args: P.args, **options: P.kwargs) -> T:
            if args and callable(args[0]):
                over = getattr(args[0], "__name__", repr(args[0]))
                raise DefinitionError(f"@{maker.__name__} stands over {over} without its options. Write {example}.")
            try:
                taken.bind(*args, **options)
            except TypeError as error:
                raise DefinitionError(f"@{maker.__name__} does not take this: {error}. Write {example}.") from None
            return maker(*args, **options)

        return checked

    return of


def _gates(gates: Sequence[Any]) -> list[Gate]:
    return [as_gate(gate) for gate in gates]


def _checks(gates: Sequence[Any], where: str) -> list[Gate]:
    """Return the gates of a place where no voters can be asked. Raises `DefinitionError` for a judge there."""
    found = _gates(gates)
    for gate in found:
        if gate.voters:
            raise DefinitionError(f"The gate {gate.name} asks judges or voters, and stands in {where}. Give it to the gates= of an agent.")
    return found


@overload
def step(function: Callable[P, Coroutine[Any, Any, T]], /) -> StepDefinition[P, T]: ...
@overload
def step(function: Callable[P, T], /) -> StepDefinition[P, T]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry = Retry(),
    timeout: Seconds | None = None,
    gates: Sequence[Any] = (),
    raises: Sequence[type[Exception]] = (),
    at_once: AtOnce | None = None,
    rate: Rate | None = None,
    breaker: Breaker | None = None,
) -> StepMaker: ...
@overload
def step(
    name: str,
    function: Callable[..., Any],
    /,
    *args: Any,
    into: type[T],
    retry: Retry = Retry(),
    timeout: Seconds | None = None,
    **kwargs: Any,
) -> Call[T]: ...
@overload
def step(
    name: str,
    function: Callable[..., Any],
    /,
    *args: Any,
    retry: Retry = Retry(),
    timeout: Seconds | None = None,
    **kwargs: Any,
) -> Call[Any]: ...
def step(*args: Any, **options: Any) -> Any:
    """The plain durable step, as a decorator (``@step``) or inline (``await step("draft", client.create, …, into=Draft)``).

    A finished step is never run again in its run. One that was in flight when the process died is run again, so it must not
    change the world: that is an `effect`.

    Args:
        name: the stable name; module and function if none is given. Inline: how the step is called in its run.
        function: inline, what to call, with the arguments that follow; async or plain.
        into: inline, the type of the result; without it the result is plain JSON.
        retry: how what failed transiently is tried again; permanent failures are not. Default: four tries in all.
        timeout: seconds for each try; a try that overran has failed transiently.
        gates: checks of the result, before anybody sees it; what they reject fails the step for good.
        raises: exception types that reach the workflow as themselves. They are answers: not retried, and no breaker counts them.
        at_once, rate, breaker: what holds a try back (`AtOnce`, `Rate`, `Breaker`). Waiting uses no try.
    """
    if args and isinstance(args[0], str):
        return _inline(*args, **options)
    return _step_maker("step", args, options)


@overload
def read(function: Callable[P, Coroutine[Any, Any, T]], /) -> StepDefinition[P, T]: ...
@overload
def read(function: Callable[P, T], /) -> StepDefinition[P, T]: ...
@overload
def read(
    *,
    name: str | None = None,
    retry: Retry = Retry(),
    timeout: Seconds | None = None,
    gates: Sequence[Any] = (),
    raises: Sequence[type[Exception]] = (),
    at_once: AtOnce | None = None,
    rate: Rate | None = None,
    breaker: Breaker | None = None,
) -> StepMaker: ...
def read(*args: Any, **options: Any) -> Any:
    """A tool call without a side effect: a step that agents may use. It may be repeated.

    Args:
        name: the stable name; module and function if none is given.
        retry: how what failed transiently is tried again; permanent failures are not. Default: four tries in all.
        timeout: seconds for each try; a try that overran has failed transiently.
        gates: checks of the result, before anybody sees it; what they reject fails the read for good.
        raises: exception types that reach the caller as themselves. They are answers: not retried, and no breaker counts them.
        at_once, rate, breaker: what holds a try back (`AtOnce`, `Rate`, `Breaker`). Waiting uses no try.
    """
    return _step_maker("read", args, options)


def _step_maker(kind: Literal["step", "read"], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    def make(function: Callable[..., Any]) -> StepDefinition[..., Any]:
        given = dict(options)
        limits = Limits(given.pop("at_once", None), given.pop("rate", None), given.pop("breaker", None))
        given["timeout"] = _timeout(given.get("timeout"))
        given["gates"] = _checks(given.get("gates", ()), f"the gates= of a {kind}")
        try:
            return StepDefinition(function, kind, limits=limits, **given)
        except TypeError as error:
            raise DefinitionError(f"@{kind} does not take this: {error}") from error

    return make(args[0]) if args else make


def _inline(
    name: str,
    function: Callable[..., Any],
    /,
    *args: Any,
    into: Any = Any,
    retry: Retry = Retry(),
    timeout: Seconds | None = None,
    **kwargs: Any,
) -> Call[Any]:
    async def call() -> Any:
        value = function(*args, **kwargs)
        return await value if hasattr(value, "__await__") else value

    call.__name__ = name
    call.__annotations__["return"] = into
    definition: StepDefinition[..., Any] = StepDefinition(call, "step", name=name, retry=retry, timeout=_timeout(timeout))
    try:
        identity = digest_of([[_JSON.identity(arg) for arg in args], {key: _JSON.identity(value) for key, value in kwargs.items()}])
    except (Unserialisable, ValueError, TypeError) as error:
        raise Unserialisable(
            f"An argument of the step {name!r} cannot be written to the journal: {error}. Bind it to the function instead."
        ) from error
    return Call(definition, Arguments({}, identity))


_JSON = Codec(Any, "an argument")


@_options_by_name("@effect(undo=…) or @effect(final=True)")
def effect(
    *,
    undo: Callable[..., Any] | None = None,
    final: bool = False,
    approve: bool | Callable[[Any], bool] | Approval | None = None,
    lookup: Callable[..., Any] | None = None,
    transactional: bool = False,
    key: Callable[[Any], str] | None = None,
    retry: Retry | None = None,
    timeout: Seconds | None = None,
    environment: str | Sequence[str] | None = None,
    dry_run: bool | Callable[..., Any] = False,
    advisory: Sequence[str] = (),
    gates: Sequence[Any] = (),
    repeat: Literal["once", "each"] = "once",
    once_per: Literal["agent"] | None = None,
    on_exhausted: OnExhausted = "letter",
    undo_in_doubt: bool = False,
    idempotent_for: Seconds = 86_400.0,
    undo_retry: Retry = Retry(),
    raises: Sequence[type[Exception]] = (),
    name: str | None = None,
    at_once: AtOnce | None = None,
    rate: Rate | None = None,
    breaker: Breaker | None = None,
) -> EffectMaker:
    """A tool call that changes the world. Say ``undo=f``, or ``final=True`` when there is no way back.

    Args:
        undo: receives the result first and, by name, any argument of the call; it may take its own ``idempotency_key``.
        final: no way back; needs approval unless ``approve=False`` is written out.
        approve: always, never, when a function of the call says so, or an `Approval` with role, expiry and votes.
        lookup: asks the outside world whether it happened: returns the result or raises `NotDone`.
        transactional: a plain ``def f(tx, …)`` inside the journal's own transaction: exactly once. Interrupted after a second, it is retried.
        key: a business key, unique across runs; equal arguments share one doing, others raise `KeyConflict`.
        retry: without a key or look-up only what surely did not happen is retried; asking for more raises `UnsafeRetry`.
        timeout: seconds; an effect that overran is in doubt, not failed.
        environment: where the effect may be made at all.
        dry_run: do nothing and answer with this function's value (or None).
        advisory: parameters that count neither for an approval nor for a business key's comparison.
        gates: checks of the result; a result that they reject leaves the effect in doubt.
        raises: failures that reach the caller as themselves.
        repeat: "once": equal asks of one agent are one doing; "each": each is its own.
        once_per: "agent": one doing in a whole agent call, whatever its body asks for, however a model words it.
        on_exhausted: "letter" parks the call as a dead letter; "raise" lets the workflow see the failure.
        undo_in_doubt: the undo is harmless when the effect never happened, so a rollback may undo it unasked.
        idempotent_for: seconds for which the other side remembers the key.
        undo_retry: how a failed undo is tried again.
        name: the stable name; module and function if none is given.
        at_once, rate, breaker: what holds a try back (`AtOnce`, `Rate`, `Breaker`). Waiting uses no try and comes before *intended*.

    If the process dies inside: before *intended* is on disk nothing was sent; after it, the outcome is looked up, the same
    key is sent again, or a person decides.
    """
    options = EffectOptions(
        undo=undo, final=final, approve=approve, lookup=lookup, transactional=transactional, key=key, retry=retry, timeout=_timeout(timeout),
        environment=environment, dry_run=dry_run, advisory=tuple(advisory), gates=tuple(_checks(gates, "the gates= of an effect")), repeat=repeat, once_per=once_per,
        on_exhausted=on_exhausted, undo_in_doubt=undo_in_doubt, idempotent_for=positive_seconds(idempotent_for, "idempotent_for="), undo_retry=undo_retry, raises=tuple(raises),
    )  # fmt: skip
    return _effect_maker(options, name, Limits(at_once, rate, breaker))


def _effect_maker(options: EffectOptions, name: str | None, limits: Limits) -> EffectMaker:
    def make(function: Callable[..., Any]) -> Any:
        return EffectDefinition(function, options, name=name, limits=limits)

    return make


@_options_by_name("@agent(role=…)")
def agent(
    *,
    role: str,
    done: Sequence[Done | str] = (),
    uses: Sequence[Definition[..., Any]] = (),
    gates: Sequence[Any] = (),
    admits: Sequence[Any] = (),
    facts: Callable[[Any], Sequence[Fact]] | None = None,
    family: str | None = None,
    ladder: Sequence[Rung] | None = None,
    retry_errors: Retry = Retry(attempts=3),
    timeout: Seconds | None = None,
    budget: Budget | None = None,
    clarify: Callable[..., Any] | None = None,
    allow_same_family: bool = False,
    all_reasons: bool = False,
    model: Any = None,
    name: str | None = None,
    at_once: AtOnce | None = None,
    rate: Rate | None = None,
    breaker: Breaker | None = None,
) -> AgentMaker:
    """A callable with a contract. Its output is released only after its gates passed.

    Args:
        role: one sentence: what it does, and what it never does.
        done: what done means; a clause with ``by=gate`` is checked, one without is only told.
        uses: the reads, effects and agents it may call; anything else is `OutOfRole`.
        gates: checks of what it gives.
        admits: checks of what it takes.
        facts: what an output claims, for `consistent`.
        family: the model family, for judges and voters; with `model=` it is taken from the name, where that is known.
        ladder: what happens after a rejection; default ``[retry(3), escalate()]``.
        retry_errors: how transient exceptions and timeouts are repeated, without using a rung.
        timeout: seconds per attempt; waiting for people does not count. An async body is stopped where it awaits: one that
            blocks the loop is not, and what it gives late counts. Make it a plain function, which has a thread of its own.
        budget: what one call of it may spend, attempts and what its body calls included (`Budget`).
        clarify: answers the agent's questions instead of a person.
        allow_same_family: let voters of the agent's own model family judge it.
        all_reasons: ask every quick gate, also after one has rejected.
        model: what answers instead of a body: "provider:name", a model or an agent of Pydantic AI (``chargehand[llm]``), an agent of the OpenAI
            Agents SDK (``chargehand[openai-agents]``), or a graph of LangGraph (``chargehand[langgraph]``). The function then has no body; its
            docstring is the instruction. Requests and tool calls are journaled: a crash pays for none twice. The guides say what is not.
        name: the stable name; module and function if none is given.
        at_once, rate, breaker: what holds an attempt back (`AtOnce`, `Rate`, `Breaker`). Waiting uses no attempt.
    """

    def make(function: Callable[..., Any]) -> Any:
        made: AgentDefinition[..., Any] = AgentDefinition(
            function, role=role, name=name, done=done, uses=uses, gates=_gates(gates), admits=_checks(admits, "admits="), facts=facts, family=family,
            ladder=None if ladder is None else checked_ladder(ladder), retry_errors=retry_errors, timeout=_timeout(timeout), budget=budget,
            clarify=clarify, allow_same_family=allow_same_family, all_reasons=all_reasons, model=model, limits=Limits(at_once, rate, breaker),
        )  # fmt: skip
        _check_families(made)
        return made

    return make


def _check_families(made: AgentDefinition[..., Any]) -> None:
    """Refuse judges and voters that share a producer's blind spots: the agent's, or those of one its own ladder reassigns to.

    A family that is not declared, nor known from the model's name, counts as the producer's own.
    """
    done = [as_gate(clause.by) for clause in made.done if clause.by is not None]
    producers = [made, *(rung.to for rung in made.ladder or () if isinstance(rung.to, AgentDefinition))]
    for gate in (*made.gates, *done):
        for voter in gate.voters:
            if not isinstance(voter, (AgentDefinition, JudgeDefinition)):
                raise DefinitionError(
                    f"The gate {gate.name} of {made.name} asks {voter!r} for a vote. Voters are judges, and agents: functions under @agent."
                )
            if isinstance(voter, JudgeDefinition):
                _check_needs(made, voter)
            for producer in [] if made.allow_same_family else producers:
                if related(families_of_voter(voter), families_of_voter(producer)):
                    own = "/".join(families_of_voter(producer)) or None
                    theirs = "/".join(families_of_voter(voter)) or None
                    raise Monoculture(
                        f"The gate {gate.name} of {made.name} asks {voter.name}, of family {theirs!r}, about an output of family {own!r}"
                        f"{'' if producer is made else f' ({producer.name}, to whom it is reassigned)'}. "
                        "Declare different families, or say allow_same_family=True."
                    )


def _check_needs(made: AgentDefinition[..., Any], judge: JudgeDefinition) -> None:
    """Refuse a judge that needs an input which the agent does not take."""
    takes = [parameter.name for parameter in made.contract.parameters]
    missing = [name for name in judge.needs if name not in takes]
    if missing:
        raise DefinitionError(
            f"The judge {judge.name} of {made.name} needs {', '.join(map(repr, missing))}, which {made.name} does not take. "
            f"It takes: {', '.join(takes) or 'nothing'}."
        )


@overload
def workflow(function: Callable[P, Coroutine[Any, Any, T]], /) -> WorkflowDefinition[P, T]: ...
@overload
def workflow(
    *,
    name: str | None = None,
    on_bug: Literal["park", "undo"] = "park",
    after_final: Literal["person", "undo"] = "person",
    deadline: Seconds | None = None,
    budget: Budget | None = None,
    ladder: Sequence[Rung] | None = None,
    at_once: AtOnce | None = None,
    rate: Rate | None = None,
) -> WorkflowMaker: ...
def workflow(*args: Any, **options: Any) -> Any:
    """An async function that says in which order. Ordinary Python, awaiting durable calls only.

    Args:
        on_bug: "park" keeps everything and waits for mended code; "undo" treats a bug like a failure.
        after_final: what a failure after a final effect does: ask a "person", or "undo" what can be undone.
        deadline: seconds from the start; then the run fails and is rolled back. It is one of runs: where another workflow
            calls this one, that run's deadline counts.
        budget: what a run of it may spend, everything that it calls included (`Budget`).
        ladder: the default ladder of the agents it calls.
        name: the stable name, by which workers know its runs; module and function if none is given.
        at_once: how many of its runs this process drives at once. A run without a place is not claimed; one that waits for a person
            or a later time leaves memory when another wants its place, but for one that waits inside an agent.
        rate: how many of its runs this process begins in a time.
    """

    def make(function: Callable[..., Any]) -> WorkflowDefinition[..., Any]:
        given = dict(options)
        given["deadline"] = _timeout(given.get("deadline"), "deadline=")
        if given.get("ladder") is not None:
            given["ladder"] = checked_ladder(given["ladder"])
        given["limits"] = Limits(given.pop("at_once", None), given.pop("rate", None))
        try:
            return WorkflowDefinition(function, **given)
        except TypeError as error:
            raise DefinitionError(f"@workflow does not take this: {error}") from error

    return make(args[0]) if args else make
