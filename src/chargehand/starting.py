"""What is opened and checked before anything runs: the journal that a URL names, ids, tags, decisions, names of workflows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chargehand.durable import Clock, Journal
from chargehand.errors import BadConfiguration, DefinitionError, InvalidInput
from chargehand.journals.memory import MemoryJournal
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.sqlite_look import refuse_directory, refuse_no_journal
from chargehand.supervise.definitions import WorkflowDefinition

_SHOWN_CHARS = 200


def journal_at(url: str, clock: Clock, chain_key: bytes = b"") -> Journal:
    """Return the journal that a URL names. `chain_key` keys its hash chains."""
    if url == "memory:":
        return MemoryJournal(clock, chain_key=chain_key)
    if url.startswith(("postgresql://", "postgres://")):
        raise BadConfiguration(f"This version keeps its journal in SQLite only; {url.split('@')[-1]!r} is PostgreSQL. Give a file name.")
    if "://" in url and not url.startswith("sqlite:///"):
        raise BadConfiguration(f"Not a journal: {url!r}. Give a file name, sqlite:///path or memory:.")
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


def difference(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return sentences that say which arguments of two inputs differ, and how; long values are cut."""
    names = [name for name in {**recorded, **wanted} if recorded.get(name) != wanted.get(name)]
    return "; ".join(f"{name!r} is {_cut(recorded.get(name))} there and {_cut(wanted.get(name))} here" for name in names) + "."


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}… ({len(text.encode()):,} bytes)"


def check_json(body: dict[str, Any]) -> None:
    try:
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"The decision holds what JSON cannot: {error}") from error


def refuse_main(workflows: Mapping[str, WorkflowDefinition[..., Any]], journal: Journal) -> None:
    """A definition in __main__ has no stable name, so a journal that others may open does not take it."""
    if isinstance(journal, MemoryJournal):
        return
    for definition in workflows.values():
        if definition.in_main and not definition.explicit_name:
            raise DefinitionError(
                f"The workflow {definition.name} is defined in __main__, which names it differently in every program. Give it name=…."
            )
