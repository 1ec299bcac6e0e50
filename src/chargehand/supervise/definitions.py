"""What the decorators make: steps, reads, effects, agents and workflows, checked when they are defined."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, ParamSpec, TypeVar

from chargehand.contracts import Contract
from chargehand.core.effect_life import OnExhausted, Policy
from chargehand.core.identity import checked_segment
from chargehand.core.ladder import DEFAULT_LADDER, Ladder
from chargehand.core.trampoline import stepping
from chargehand.errors import DefinitionError, NoWayBack, UnsafeRetry
from chargehand.families import family_of
from chargehand.limits import AtOnce, Breaker, Budget, Rate, Retry, positive_seconds
from chargehand.supervise.call import Call, current_host
from chargehand.supervise.gates import Gate
from chargehand.supervise.modelled import body_by_model, name_of
from chargehand.verdicts import Done, Fact

P = ParamSpec("P")
T = TypeVar("T")

Kind = Literal["step", "read", "effect", "agent", "workflow"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds a call back: places, rates, a breaker, and whatever holds back the resources that it takes."""

    at_once: AtOnce | None = None
    rate: Rate | None = None
    breaker: Breaker | None = None
    resources: tuple[Any, ...] = ()

    @property
    def own(self) -> bool:
        """Say whether there is a limit of its own."""
        return self.at_once is not None or self.rate is not None or self.breaker is not None

    def __bool__(self) -> bool:
        return self.own or bool(self.resources)


class Definition(Generic[P, T]):
    """A supervised function. Calling it makes a `Call`; ``.function`` is the plain one."""

    kind: Kind

    def __init__(self, function: Callable[..., Any], *, name: str | None, limits: Limits, transaction: bool = False) -> None:
        self.function = function
        self.name = checked_segment(name or str(getattr(function, "__name__", "")))
        module = getattr(function, "__module__", "")
        self.full_name = name or f"{module}.{self.name}"
        self.explicit_name = name is not None
        self.in_main = module == "__main__"
        self.contract = Contract(function, self.name, transaction=transaction)
        self.limits = replace(limits, resources=self.contract.resources)
        self.__signature__ = self.contract.signature
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
        call: Call[T] = Call(self, self.contract.bind(args, kwargs))
        if stepping() is not None and (host := current_host.get()) is not None:
            host.made(call)
        return call

    def __repr__(self) -> str:
        return f"<{self.kind} {self.full_name}>"

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None:
            raise DefinitionError(
                f"{self.name} is defined in a class. Supervise plain functions; what a call needs from an object is a Resource."
            )
        return self


class StepDefinition(Definition[P, T]):
    """A call without an effect on the world: it may be repeated."""

    def __init__(
        self,
        function: Callable[..., Any],
        kind: Literal["step", "read"],
        *,
        name: str | None = None,
        retry: Retry = Retry(),
        timeout: float | None = None,
        gates: Sequence[Gate] = (),
        raises: Sequence[type[Exception]] = (),
        limits: Limits = Limits(),
    ) -> None:
        self.kind = kind
        super().__init__(function, name=name, limits=limits)
        self.retry, self.timeout, self.gates, self.raises = retry, timeout, tuple(gates), tuple(raises)
        self.bare = self.contract.is_async and timeout is None and not (self.gates or self.limits or self.contract.filled)
        """An async function with nothing around it: it is called at once, where others pass through what holds, fills and checks."""


@dataclass(frozen=True, slots=True)
class Approval:
    """When and by whom an effect is approved.

    `when`: True, False, or a function of the call that says. `role`: who may decide. `within` seconds; then it is denied.
    `votes`: how many different people must say yes. `not_starter`: who started the run may not approve.
    """

    when: bool | Callable[[Any], bool] = True
    role: str | None = None
    within: float | None = None
    votes: int = 1
    not_starter: bool = False

    def __post_init__(self) -> None:
        if self.within is not None:
            positive_seconds(self.within, "Approval(within=…)")
        if self.votes < 1:
            raise DefinitionError(f"Approval(votes={self.votes}) asks nobody. Give at least 1, or approve=False.")


@dataclass(frozen=True, slots=True)
class EffectOptions:
    """What `@effect` was told."""

    undo: Callable[..., Any] | None = None
    final: bool = False
    approve: bool | Callable[[Any], bool] | Approval | None = None
    lookup: Callable[..., Any] | None = None
    transactional: bool = False
    key: Callable[..., str] | None = None
    retry: Retry | None = None
    timeout: float | None = None
    environment: str | Sequence[str] | None = None
    dry_run: bool | Callable[..., Any] = False
    advisory: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    repeat: Literal["once", "each"] = "once"
    once_per: Literal["agent"] | None = None
    on_exhausted: OnExhausted = "letter"
    undo_in_doubt: bool = False
    idempotent_for: float = 86_400.0
    undo_retry: Retry = field(default_factory=Retry)
    raises: tuple[type[Exception], ...] = ()


class EffectDefinition(Definition[P, T]):
    """A call that changes the world."""

    kind: Kind = "effect"

    def __init__(
        self,
        function: Callable[..., Any],
        options: EffectOptions,
        *,
        name: str | None = None,
        limits: Limits = Limits(),
    ) -> None:
        super().__init__(function, name=name, limits=limits, transaction=options.transactional)
        self.options = options
        self.keyed = any(filled.what == "key" for filled in self.contract.filled)
        self._check()
        self.policy = Policy(
            retry=options.retry or Retry(),
            keyed=self.keyed,
            lookup=options.lookup is not None,
            idempotent_for=options.idempotent_for,
            on_exhausted=options.on_exhausted,
        )
        self.approval = self._approval()
        self.undo = None if options.undo is None else Undo(options.undo, self)
        self.lookup = None if options.lookup is None else Helper(options.lookup, self, "lookup")
        self.code_digest = code_digest(self.function, options)
        self._environments = (options.environment,) if isinstance(options.environment, str) else tuple(options.environment or ())

    def _check(self) -> None:
        options, name = self.options, self.name
        if options.undo is None and not options.final:
            raise NoWayBack(f"The effect {name} says neither how it is undone nor that it is final. Give undo=…, or final=True.")
        if options.undo is not None and options.final:
            raise DefinitionError(f"The effect {name} has both undo= and final=True. It is one or the other.")
        if options.retry is not None and options.retry.unknown and not (self.keyed or options.lookup):
            raise UnsafeRetry(
                f"The effect {name} asks to be retried when its outcome is unknown, but it takes no idempotency_key and has no lookup=. "
                "It could happen twice. Take `idempotency_key: str = injected()` and pass it on, or give lookup=…."
            )
        for parameter in options.advisory:
            if parameter not in self.contract.signature.parameters:
                raise DefinitionError(f"The effect {name} has no parameter {parameter!r} that could be advisory.")
        if options.transactional:
            if self.contract.is_async:
                raise DefinitionError(
                    f"The transactional effect {name} is async. It runs inside the journal's transaction: make it a plain def."
                )
            if self.keyed or options.key or options.lookup is not None or options.timeout is not None:
                raise DefinitionError(
                    f"The transactional effect {name} is exactly once by itself: it takes no key, lookup or timeout. Uniqueness across runs is a UNIQUE of its own table."
                )

    def _approval(self) -> Approval:
        approve = self.options.approve
        if isinstance(approve, Approval):
            return approve
        if approve is None:
            return Approval(when=self.options.final)
        return Approval(when=approve)

    def allowed_in(self, environment: str) -> bool:
        """Say whether the effect may be made in this environment."""
        return not self._environments or environment in self._environments


class Helper:
    """A function beside an effect: its undo or its look-up. It receives by name what it declares of the call."""

    def __init__(self, function: Callable[..., Any], effect: EffectDefinition[..., Any], what: str) -> None:
        plain = function.function if isinstance(function, Definition) else function
        if not callable(plain):
            raise DefinitionError(f"The {what} of {effect.name} is no function: {plain!r}. Give {what}= the function itself.")
        self.function: Callable[..., Any] = plain
        self.contract = Contract(plain, f"{what} of {effect.name}", needs_result=False)
        known = set(effect.contract.signature.parameters)
        self.takes = tuple(parameter.name for parameter in self.contract.parameters)
        unknown = [p.name for p in self.contract.parameters if p.name not in known and p.default is inspect.Parameter.empty]
        self.takes_result = what == "undo" and bool(self.takes) and self.takes[0] not in known
        if self.takes_result:
            unknown = [name for name in unknown if name != self.takes[0]]
        if unknown:
            raise DefinitionError(
                f"The {what} of {effect.name} asks for {unknown[0]!r}, which the effect does not take. It may take: {', '.join(sorted(known))}."
            )

    def arguments(self, result: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what to call it with."""
        given = {name: arguments[name] for name in self.takes if name in arguments}
        if self.takes_result:
            given[self.takes[0]] = result
        return given


class Undo(Helper):
    """The way back of an effect."""

    def __init__(self, function: Callable[..., Any], effect: EffectDefinition[..., Any]) -> None:
        super().__init__(function, effect, "undo")


class AgentDefinition(Definition[P, T]):
    """A callable with a contract: role, what it takes and gives, what it may use, what done means."""

    kind: Kind = "agent"

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        role: str,
        name: str | None = None,
        done: Sequence[Done | str] = (),
        uses: Sequence[Definition[..., Any]] = (),
        gates: Sequence[Gate] = (),
        admits: Sequence[Gate] = (),
        facts: Callable[[Any], Sequence[Fact]] | None = None,
        family: str | None = None,
        ladder: Ladder | None = None,
        retry_errors: Retry = Retry(attempts=3),
        timeout: float | None = None,
        budget: Budget | None = None,
        clarify: Callable[..., Any] | None = None,
        allow_same_family: bool = False,
        all_reasons: bool = False,
        model: Any = None,
        limits: Limits = Limits(),
    ) -> None:
        super().__init__(function, name=name, limits=limits)
        if not role.strip():
            raise DefinitionError(f"The agent {self.name} has no role. Say in a sentence what it does and what it never does.")
        self.model = name_of(model)
        self.role, self.facts = role, facts
        self.family = family if family is not None or self.model is None else family_of(self.model)
        self.done = tuple(self._clause(clause) for clause in done)
        self.uses = self._tools(uses)
        self.gates, self.admits = tuple(gates), tuple(admits)
        self.ladder = ladder
        self.retry_errors, self.timeout, self.budget, self.clarify = retry_errors, timeout, budget, clarify
        self.allow_same_family, self.all_reasons = allow_same_family, all_reasons
        if model is not None:
            self.contract.take_feedback()
            self.function = body_by_model(self, function, model)

    def _clause(self, clause: Done | str) -> Done:
        if isinstance(clause, str):
            return Done(clause)
        if not isinstance(clause, Done):
            raise DefinitionError(
                f"The agent {self.name} is done when {clause!r}, which is no clause. Give done= texts, or Done(…, by=gate)."
            )
        return clause

    def _tools(self, uses: Sequence[Definition[..., Any]]) -> dict[str, Definition[..., Any]]:
        """Return the tools by name, each checked."""
        tools: dict[str, Definition[..., Any]] = {}
        for tool in uses:
            if not isinstance(tool, Definition) or tool.kind not in ("read", "effect", "agent"):
                raise DefinitionError(f"The agent {self.name} uses {tool!r}. Only @read, @effect and @agent definitions can be used.")
            if tools.setdefault(tool.name, tool) is not tool:
                raise DefinitionError(f"The agent {self.name} uses two tools called {tool.name!r}. Give one of them name=….")
            if isinstance(tool, EffectDefinition) and tool.options.final and tool.options.key is None and tool.options.once_per != "agent":
                raise DefinitionError(
                    f"The agent {self.name} may use the final effect {tool.name}. A model that words its call anew could make it twice: "
                    'give the effect key=… or once_per="agent".'
                )
        return tools

    def ladder_or(self, default: Ladder | None) -> Ladder:
        """Return the ladder of this agent, else the given default, else retry(3) and escalate()."""
        return self.ladder if self.ladder is not None else default if default is not None else DEFAULT_LADDER

    def may_effect(self) -> bool:
        """Say whether the agent, or an agent it uses, may change the world."""
        return any(tool.kind == "effect" or (isinstance(tool, AgentDefinition) and tool.may_effect()) for tool in self.uses.values())


class WorkflowDefinition(Definition[P, T]):
    """An async function that says in which order."""

    kind: Kind = "workflow"

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        on_bug: Literal["park", "undo"] = "park",
        after_final: Literal["person", "undo"] = "person",
        deadline: float | None = None,
        budget: Budget | None = None,
        ladder: Ladder | None = None,
        limits: Limits = Limits(),
    ) -> None:
        super().__init__(function, name=name, limits=limits)
        if any(limit is not None and limit.per is not None for limit in (limits.at_once, limits.rate)):
            raise DefinitionError(
                f"The workflow {self.name} has places or a rate with per=. Its runs are counted before anybody has read their input. "
                "Bound them all, or give per= to the calls that need it."
            )
        if not self.contract.is_async:
            raise DefinitionError(f"The workflow {self.name} is not async. Write async def: it awaits its calls.")
        if self.contract.filled:
            raise DefinitionError(
                f"The workflow {self.name} takes {self.contract.filled[0].name!r} from the supervisor. Resources belong to steps, effects and agents."
            )
        self.on_bug, self.after_final = on_bug, after_final
        self.deadline, self.budget, self.ladder = deadline, budget, ladder


def code_digest(function: Callable[..., Any], options: EffectOptions) -> str:
    """Return the digest of an effect's syntax tree, its undo's and its options': what an approver relied on.

    Comments, formatting and the rest of the program do not count. Where the source is not at hand the byte code does.
    """
    parts = [_code_of(function), _code_of(options.undo)]
    parts.append(repr((options.final, options.transactional, options.advisory, options.environment, options.idempotent_for)))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _code_of(function: Callable[..., Any] | None) -> str:
    if function is None:
        return ""
    plain = function.function if isinstance(function, Definition) else function
    try:
        return ast.dump(ast.parse(textwrap.dedent(inspect.getsource(plain))))
    except (OSError, TypeError, SyntaxError):
        code = getattr(plain, "__code__", None)
        return repr((code.co_code, code.co_consts, code.co_names)) if code is not None else repr(plain)


def registry_of(workflows: Sequence[WorkflowDefinition[..., Any]]) -> dict[str, WorkflowDefinition[..., Any]]:
    """Return workflows by their full name. Raises `DefinitionError` when two share a name."""
    found: dict[str, WorkflowDefinition[..., Any]] = {}
    for workflow in workflows:
        if not isinstance(workflow, WorkflowDefinition):
            raise DefinitionError(f"Not a workflow: {workflow!r}. Decorate it with @workflow.")
        if workflow.full_name in found and found[workflow.full_name] is not workflow:
            raise DefinitionError(f"Two workflows are called {workflow.full_name!r}. Give one of them name=….")
        found[workflow.full_name] = workflow
    return found
