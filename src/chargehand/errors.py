"""Every error a user can meet: one class, one stable code, one heading in ``docs/failures.md``.

The class says whose doing it is (`blame`): *yours* (the definition or the call), *agent* (what an agent gave or did),
*world* (a service, a disk, another process), *ours* (a defect in Chargehand). The class docstring is the message when
none is given. Messages read: what happened, the value, what to do.

Three families matter to workflow code:

* `Failure`: a call could not be finished. Workflow code may catch it; leaving the workflow with one rolls the run back.
* any other `ChargehandError`: a mistake in a definition or in the use of the library.
* `ControlSignal` (a ``BaseException``): not for catching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

E = TypeVar("E")
Blame = Literal["yours", "agent", "world", "ours"]


class ChargehandError(Exception):
    """Something went wrong in Chargehand."""

    code: ClassVar[str] = "chargehand"
    blame: ClassVar[Blame] = "ours"

    def __init__(self, message: str | None = None) -> None:
        self.message = message if message is not None else (type(self).__doc__ or "").strip()
        super().__init__(self.message)


# -- definitions and use: yours ----------


class DefinitionError(ChargehandError):
    """A definition cannot be supervised as it is written."""

    code = "definition"
    blame: ClassVar[Blame] = "yours"


class MissingExtra(DefinitionError):
    """A definition needs a library that comes with an extra of Chargehand and is not installed."""

    code = "missing-extra"


class MissingAnnotation(DefinitionError):
    """A parameter or a result has no type annotation, so it could not be given back from the journal."""

    code = "missing-annotation"


class NoWayBack(DefinitionError):
    """An effect must say how it is undone (undo=…) or that it is final (final=True)."""

    code = "no-way-back"


class UnsafeRetry(DefinitionError):
    """An effect without a key or a look-up asks to be retried when its outcome is unknown."""

    code = "unsafe-retry"


class Monoculture(DefinitionError):
    """A judge or voter is of the producer's own model family and would share its blind spots."""

    code = "monoculture"


class SecretArgument(DefinitionError):
    """A secret is passed as an argument and would be written to the journal. Make it a Resource."""

    code = "secret-argument"


class OutsideRun(ChargehandError):
    """A durable call was awaited outside a supervised run."""

    code = "outside-run"
    blame: ClassVar[Blame] = "yours"


class ForeignAwait(ChargehandError):
    """Workflow code awaited something that is not durable."""

    code = "foreign-await"
    blame: ClassVar[Blame] = "yours"


class InvalidInput(ChargehandError):
    """An argument does not fit its annotation."""

    code = "invalid-input"
    blame: ClassVar[Blame] = "yours"


class Unserialisable(ChargehandError):
    """A value cannot be written to the journal as JSON."""

    code = "unserialisable"
    blame: ClassVar[Blame] = "yours"


class TooLarge(Unserialisable):
    """A value is larger than the journal takes."""

    code = "too-large"


class RunConflict(ChargehandError):
    """A run of this id exists with another workflow or input."""

    code = "run-conflict"
    blame: ClassVar[Blame] = "yours"

    def __init__(self, message: str | None = None, *, difference: Mapping[str, tuple[Any, Any]] | None = None) -> None:
        super().__init__(message)
        self.difference = dict(difference or {})


class UnknownRun(ChargehandError):
    """There is no run of this id in the journal."""

    code = "unknown-run"
    blame: ClassVar[Blame] = "yours"


class Erased(ChargehandError):
    """What is asked for was erased from the journal."""

    code = "erased"
    blame: ClassVar[Blame] = "yours"


class RunRests(ChargehandError):
    """Nothing but a person or a signal can move the run on."""

    code = "run-rests"
    blame: ClassVar[Blame] = "world"


class UnknownEntry(ChargehandError):
    """Nothing of this id waits for a person."""

    code = "unknown-entry"
    blame: ClassVar[Blame] = "yours"


class UnknownWorkflow(ChargehandError):
    """This process was not given the workflow."""

    code = "unknown-workflow"
    blame: ClassVar[Blame] = "yours"


class DecisionRefused(ChargehandError):
    """The decision does not fit what waits, or who decides."""

    code = "decision-refused"
    blame: ClassVar[Blame] = "yours"


class WrongEnvironment(ChargehandError):
    """The run belongs to another environment than this process serves."""

    code = "wrong-environment"
    blame: ClassVar[Blame] = "yours"


class ResourceMissing(ChargehandError):
    """No factory makes this resource in this environment."""

    code = "resource-missing"
    blame: ClassVar[Blame] = "yours"


class BadConfiguration(ChargehandError):
    """The configuration cannot be used."""

    code = "configuration"
    blame: ClassVar[Blame] = "yours"


class InsideLoop(ChargehandError):
    """The blocking form was called where an event loop runs."""

    code = "inside-loop"
    blame: ClassVar[Blame] = "yours"


class Diverged(ChargehandError):
    """The workflow's code no longer asks for what the journal recorded."""

    code = "diverged"
    blame: ClassVar[Blame] = "yours"


class IllegalMove(ChargehandError):
    """The engine made an event that the life of an effect does not allow."""

    code = "illegal-move"
    blame: ClassVar[Blame] = "ours"


# -- failures of calls: a workflow may catch these ----------


class Failure(ChargehandError):
    """A call could not be finished."""

    code = "failure"
    blame: ClassVar[Blame] = "world"

    def record(self) -> dict[str, Any]:
        """Return the JSON form in which the journal keeps this failure."""
        return {"code": self.code, "message": self.message}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Failure:
        """Make the failure again from its JSON form."""
        return cls(str(record.get("message")))


class Rejected(Failure):
    """An output did not pass its gates and the ladder gave it up."""

    code = "rejected"
    blame: ClassVar[Blame] = "agent"

    def __init__(self, message: str | None = None, *, mode: str | None = None, evidence: Any = None) -> None:
        super().__init__(message)
        self.mode = mode
        self.evidence = evidence

    def record(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "mode": self.mode}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Rejected:
        return cls(str(record.get("message")), mode=record.get("mode"))


class CallFailed(Failure):
    """A call raised an error that repeating does not mend."""

    code = "call-failed"

    def __init__(self, type_name: str, message: str = "") -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name)
        self.type_name = type_name
        self.detail = message

    def record(self) -> dict[str, Any]:
        return {"code": self.code, "type": self.type_name, "message": self.detail}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> CallFailed:
        return cls(str(record.get("type")), str(record.get("message", "")))


class ModelFailed(Failure):
    """A model refused a request in a way that asking again does not mend."""

    code = "model-failed"


class TimedOut(Failure):
    """A call did not end within its time."""

    code = "timed-out"


class DeadLettered(Failure):
    """A call became a dead letter, and a person chose to let it fail."""

    code = "dead-lettered"


class Denied(Failure):
    """A person said no, or nobody answered in time."""

    code = "denied"


class KeyConflict(Failure):
    """The business key was used before for other arguments."""

    code = "key-conflict"
    blame: ClassVar[Blame] = "yours"


class OutOfRole(Failure):
    """An agent used a tool that its contract does not list."""

    code = "out-of-role"
    blame: ClassVar[Blame] = "agent"


class BudgetExhausted(Failure):
    """A budget is used up. `stop` says that the agent's ladder is not climbed any further."""

    code = "budget-exhausted"

    def __init__(self, message: str | None = None, *, stop: bool = False) -> None:
        super().__init__(message)
        self.stop = stop


class DeadlinePassed(Failure):
    """The run did not end before its deadline."""

    code = "deadline-passed"


class RunFailed(Failure):
    """The run failed."""

    code = "run-failed"


class RunCancelled(Failure):
    """The run was cancelled."""

    code = "run-cancelled"


class BranchesFailed(Failure, ExceptionGroup[Exception]):
    """Branches of a gather failed."""

    code = "branches-failed"

    def __new__(cls, message: str, failures: Sequence[Exception]) -> BranchesFailed:
        return ExceptionGroup.__new__(cls, message, failures)

    def __init__(self, message: str, failures: Sequence[Exception]) -> None:
        self.failures = tuple(failures)  # the message is the group's own, read-only

    def derive(self, excs: Sequence[Exception]) -> BranchesFailed:  # type: ignore[override]
        return BranchesFailed(self.message, excs)

    def record(self) -> dict[str, Any]:
        branches = [
            failure.record()
            if isinstance(failure, Failure)
            else {"code": "call-failed", "type": type(failure).__name__, "message": str(failure)}
            for failure in self.failures
        ]
        return {"code": self.code, "message": self.message, "branches": branches}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> BranchesFailed:
        return cls(str(record.get("message")), [failure_from_record(branch) for branch in record["branches"]])


class NotDone(ChargehandError):
    """Raised by the author of an effect: it surely did not happen."""

    code = "not-done"
    blame: ClassVar[Blame] = "world"

    def __init__(self, message: str | None = None, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


# -- the journal ----------


class JournalError(ChargehandError):
    """The journal could not be read or written."""

    code = "journal"
    blame: ClassVar[Blame] = "world"


class JournalFull(JournalError):
    """The disk of the journal is full. What was acknowledged is kept; make room and go on."""

    code = "journal-full"


class JournalLocked(JournalError):
    """Another program holds the journal's file."""

    code = "journal-locked"


class JournalCorrupt(JournalError):
    """The journal's file is damaged."""

    code = "journal-corrupt"


class JournalNewer(JournalError):
    """The journal was written by a newer version of Chargehand."""

    code = "journal-newer"


class WrongChainKey(JournalError):
    """The journal's hash chains were made with another key than the one given, or with one and none is given."""

    code = "wrong-chain-key"
    blame: ClassVar[Blame] = "yours"


class JournalOnNetwork(JournalError):
    """The journal lies on a network file system, where file locks cannot be trusted."""

    code = "journal-on-network"


class Fenced(JournalError):
    """Another driver has claimed this run; this one may not write to it any more."""

    code = "fenced"


class Overtaken(JournalError):
    """What an operation wanted to write about an effect no longer fits: another word about it came first. It looks again."""

    code = "overtaken"


class KeyHeld(JournalError):
    """A business key is taken. Carries who holds it."""

    code = "key-held"

    def __init__(self, holder: Any) -> None:
        super().__init__(f"The business key {holder.key!r} of {holder.tool} is held by run {holder.run_id!r}.")
        self.holder = holder


# -- control signals ----------


class ControlSignal(BaseException):
    """A signal of the engine. Use `except Exception`, which lets it through; never `except:` or `except BaseException`."""


class Unloading(ControlSignal):
    """The run leaves this process's memory. Nothing is lost; catch `Exception`, never `BaseException`."""


def _all_subclasses(root: type[E]) -> list[type[E]]:
    return [kind for child in root.__subclasses__() for kind in (child, *_all_subclasses(child))]


_FAILURES: dict[str, type[Failure]] = {}


def failure_from_record(record: dict[str, Any]) -> Failure:
    """Make a `Failure` again from its JSON form. An unknown code gives a plain `Failure` that keeps the message."""
    if not _FAILURES:
        _FAILURES.update({kind.code: kind for kind in _all_subclasses(Failure)})
    kind = _FAILURES.get(str(record.get("code")), Failure)
    return kind.from_record(record)


def error_classes() -> list[type[ChargehandError]]:
    """Return every error class, for the documentation's check."""
    return [ChargehandError, *_all_subclasses(ChargehandError)]
