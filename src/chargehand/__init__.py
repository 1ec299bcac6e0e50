"""Chargehand supervises teams of LLM agents: gates, an effect ledger, sagas, durable replay and approvals in one event log."""

from chargehand.carriers.embedded import Pace
from chargehand.contracts import injected
from chargehand.core.ladder import escalate, fall_back, give_up, reassign, retry
from chargehand.durable import RunRow, Waiting
from chargehand.errors import (
    BranchesFailed,
    BudgetExhausted,
    CallFailed,
    ChargehandError,
    DeadLettered,
    DeadlinePassed,
    DecisionRefused,
    DefinitionError,
    Denied,
    Failure,
    InvalidInput,
    JournalError,
    KeyConflict,
    Monoculture,
    NotDone,
    OutOfRole,
    OutsideRun,
    Rejected,
    RunCancelled,
    RunConflict,
    RunFailed,
    TimedOut,
    UnknownEntry,
    UnknownRun,
    UnsafeRetry,
)
from chargehand.events import Event
from chargehand.limits import AtOnce, Breaker, Budget, Rate, Retry
from chargehand.supervise.approvals import Person
from chargehand.supervise.call import Call
from chargehand.supervise.checks import complete, consistent, grounded, no_repeat
from chargehand.supervise.decisions import (
    Abandon,
    Answer,
    Approve,
    Decision,
    DoneByHand,
    Edit,
    Fail,
    Redrive,
    Reject,
    Release,
)
from chargehand.supervise.decisions import (
    NotDone as DidNotHappen,
)
from chargehand.supervise.decorators import agent, effect, read, step, workflow
from chargehand.supervise.definitions import Approval
from chargehand.supervise.gates import ahead_by, gate, human, quorum
from chargehand.supervise.verbs import (
    Failed,
    Finished,
    ask_human,
    fail,
    gather,
    now,
    random,
    saga,
    sleep,
    uuid4,
    wait_signal,
)
from chargehand.supervisor import Resource, RunView, Supervisor, run_sync
from chargehand.verdicts import Clarify, Done, Fact, Feedback, GateContext, Verdict

__version__ = "0.1.0"
