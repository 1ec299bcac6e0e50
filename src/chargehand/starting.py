"""What is checked on the way in and out: the journal that a URL names, ids, tags, decisions, names of workflows, outcomes."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import from_json

from chargehand.contracts import NESTING_MAX, Codec, explain
from chargehand.durable import Clock, Journal, Mail, NewRun, RunRow, Waiting
from chargehand.errors import (
    BadConfiguration,
    DecisionRefused,
    DefinitionError,
    InvalidInput,
    JournalCorrupt,
    RunConflict,
    UnknownWorkflow,
    WrongEnvironment,
)
from chargehand.events import Event, Record, chain_hash
from chargehand.journals.memory import MemoryJournal
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.sqlite_look import refuse_directory, refuse_no_journal
from chargehand.limits import Seconds, seconds
from chargehand.supervise.call import Call
from chargehand.supervise.decisions import Decision
from chargehand.supervise.definitions import EffectDefinition, WorkflowDefinition


def journal_at(url: str, clock: Clock, chain_key: bytes = b"") -> Journal:
    """Return the journal that a URL names. `chain_key` keys its hash chains."""
    if not isinstance(url, str) or not url.strip():
        raise BadConfiguration(f"This names no journal: {url!r}. Give a file name, sqlite:///path or memory:.")
    if url == "memory:":
        return MemoryJournal(clock, chain_key=chain_key)
    if url.startswith(("postgresql://", "postgres://")):
        raise BadConfiguration(f"This version keeps its journal in SQLite only; {url.split('@')[-1]!r} is PostgreSQL. Give a file name.")
    if "://" in url and not url.startswith("sqlite:///"):
        scheme, _, address = url.partition("://")
        raise BadConfiguration(f"Not a journal: {scheme + '://' + address.split('@')[-1]!r}. Give a file name, sqlite:///path or memory:.")
    path = url.removeprefix("sqlite:///")
    refuse_directory(path)
    return SqliteJournal(path, clock=clock, chain_key=chain_key)


def refuse_no_journal_at(url: str) -> None:
    """Raise `JournalError` when a URL names no journal that could be read: nothing is made of what is there."""
    if url == "memory:":
        raise BadConfiguration("The journal memory: lives and dies with one process, so there is nothing to read. Give --journal FILE.")
    if "://" not in url or url.startswith("sqlite:///"):
        refuse_no_journal(url.removeprefix("sqlite:///"))


def check_tags(tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInput(f"A tag is a text with a text, not {name!r}: {value!r}.")


def check_id(id: str) -> None:
    """Raise `InvalidInput` when this cannot be a run's id."""
    if not isinstance(id, str) or not id or len(id) > 200 or "/" in id or not id.isprintable():
        raise InvalidInput(f"This cannot be a run's id: {id!r}. It has 1 to 200 printable characters and no slash.")


@dataclass(frozen=True, slots=True)
class Started:
    """What runs that are started together have in common."""

    workflows: Mapping[str, WorkflowDefinition[..., Any]]
    environment: str
    now: float
    chain_key: bytes
    tags: Mapping[str, str]
    deadline: Seconds | None
    by: str | None


def new_run(call: Call[Any], id: str, started: Started) -> tuple[NewRun, Event]:
    """Return a run to be created, and its first event. Raises what is wrong with the call, the id or the tags."""
    if not isinstance(call, Call):
        raise InvalidInput(f"Only a call of a workflow can be started, such as procure(part), not {call!r}.")
    definition = call.definition
    if not isinstance(definition, WorkflowDefinition):
        raise DefinitionError(f"{definition.name} is no workflow. Only a workflow can be started.")
    if started.workflows.get(definition.full_name) is not definition:
        known = ", ".join(sorted(started.workflows)) or "none"
        raise UnknownWorkflow(f"This supervisor was not given the workflow {definition.full_name!r}. It knows: {known}.")
    check_id(id)
    check_tags(started.tags)
    bound = seconds(started.deadline) if started.deadline is not None else definition.deadline
    if bound is not None and not bound > 0:
        raise InvalidInput(f"deadline= is not a positive number of seconds: {started.deadline!r}. Nothing was started.")
    payload: dict[str, Any] = {
        "workflow": definition.full_name,
        "input": definition.contract.to_record(call.arguments),
        "seed": secrets.token_hex(16),
        "environment": started.environment,
    }
    if bound is not None:
        payload["deadline"] = started.now + bound
    if started.by is not None:
        payload["by"] = started.by
    raw = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    head = chain_hash(bytes(32), id, 1, started.now, "run.started", "", hashlib.sha256(raw).digest(), started.chain_key)
    first = Record(1, started.now, "run.started", "", raw, head)
    new = NewRun(id, definition.full_name, started.environment, call.arguments.digest, dict(started.tags), first)
    return new, first.event()


def refuse_another(row: RunRow, new: NewRun) -> None:
    """Raise when the run that has the wanted id is of another workflow or another environment."""
    if row.workflow != new.workflow:
        raise RunConflict(f"Run {row.id!r} exists and is of the workflow {row.workflow!r}, not {new.workflow!r}. Use another id.")
    if row.environment != new.environment:
        raise WrongEnvironment(f"Run {row.id!r} exists in the environment {row.environment!r}; this process serves {new.environment!r}.")


def refuse_another_input(row: RunRow, recorded: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> NoReturn:
    """Raise `RunConflict` that names where two inputs differ. Who guessed an id learns no value; `difference` has them for the program."""
    if recorded is None:
        raise RunConflict(f"Run {row.id!r} exists, and what it was started with was erased. Use another id.")
    differing = difference(recorded, wanted)
    named = ", ".join(repr(at) for at in differing) or "how it is written"
    raise RunConflict(
        f"Run {row.id!r} exists with another input, which differs in {named}. Use another id, or the recorded input.", difference=differing
    )


def difference(recorded: Any, given: Any, at: str = "") -> dict[str, tuple[Any, Any]]:
    """Return where two inputs differ: by dotted name what is recorded and what is given, None where there is nothing."""
    if not isinstance(recorded, Mapping) or not isinstance(given, Mapping):
        return {at: (recorded, given)} if recorded != given else {}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*recorded, *given]):
        found |= difference(recorded.get(name), given.get(name), f"{at}.{name}" if at else str(name))
    return found


def refuse_second(entry: Waiting, mailed: Sequence[Mail]) -> None:
    """Raise `DecisionRefused` when a decision on this entry lies in the run's mailbox already."""
    for mail in mailed:
        if mail.kind == "decision" and mail.body.get("entry") == entry.id:
            who = (mail.body.get("by") or {}).get("id")
            raise DecisionRefused(
                f"{entry.id!r} was decided already: {mail.body.get('decision')} by {who}. It is carried out as soon as a worker sees it."
            )


def refuse_second_resume(run_id: str, mailed: Sequence[Mail]) -> None:
    """Raise `DecisionRefused` when the run was told to go on already: what a second word accepts would be lost."""
    for mail in mailed:
        if mail.kind == "resume":
            who = f" by {mail.body['by']}" if mail.body.get("by") else ""
            accepted = f", accepting {', '.join(mail.body['accept'])}" if mail.body.get("accept") else ""
            raise DecisionRefused(
                f"Run {run_id!r} was told to go on already{who}{accepted}. It does as soon as a worker sees it; if it parks again, resume it again."
            )


def check_json(body: dict[str, Any]) -> None:
    """Raise `InvalidInput` when a decision could not be written, or not be read again."""
    try:
        text = json.dumps(body, allow_nan=False, ensure_ascii=False)
        text.encode()
        if text.count("[") + text.count("{") > NESTING_MAX:
            from_json(text)
    except RecursionError as error:
        raise InvalidInput("The decision holds what JSON cannot: it is nested too deep.") from error
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The decision holds what JSON cannot: {error}") from error


def check_value(effects: Mapping[str, EffectDefinition[..., Any]], entry: Waiting, decision: Decision) -> None:
    """Hold what a person gave against the effect's types, where this process knows the effect. Raises `DecisionRefused`."""
    effect = effects.get(str(entry.shows.get("tool")))
    if effect is None or entry.kind not in ("approval", "letter", "doubt"):
        return
    try:
        if decision.name == "edit":
            effect.contract.from_record(decision.value or {})
        elif decision.name == "done" and "could not be undone" not in entry.title:
            effect.contract.result.from_json(decision.value)
    except InvalidInput as error:
        raise DecisionRefused(f"{decision.name!r} on {entry.id!r} is refused: {error}") from None
    except ValidationError as error:
        raise DecisionRefused(f"{decision.name!r} on {entry.id!r} is refused: the result does not fit: {explain(error)}.") from None


def refuse_main(workflows: Mapping[str, WorkflowDefinition[..., Any]], journal: Journal) -> None:
    """A definition in __main__ has no stable name, so a journal that others may open does not take it."""
    if isinstance(journal, MemoryJournal):
        return
    for definition in workflows.values():
        if definition.in_main and not definition.explicit_name:
            raise DefinitionError(
                f"The workflow {definition.name} is defined in __main__, which names it differently in every program. Give it name=…."
            )


def last_of(row: RunRow, events: Sequence[Event]) -> Event:
    """Return the event that ended a run. Raises `JournalCorrupt` when the last one does not say how the run ended."""
    if events and events[-1].type == f"run.{row.status}":
        said = events[-1].payload
        if said.get("$erased") or ("v" in said if row.status == "completed" else isinstance(said.get("e"), dict)):
            return events[-1]
    raise JournalCorrupt(f"Run {row.id!r} is {row.status}, and its last event does not say how. `chargehand verify {row.id}` tells more.")


def given_back(id: str, codec: Codec, form: Any) -> Any:
    """Return a run's value as its type. Raises `InvalidInput` when the code's type is another by now."""
    try:
        return codec.from_json(form)
    except ValidationError as error:
        raise InvalidInput(f"Run {id!r} gave a value that is no longer {codec.where}: {explain(error)}.") from error
