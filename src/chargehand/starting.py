"""What is checked on the way in and out: the journal that a URL names, ids, tags, decisions, names of workflows, outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from chargehand.contracts import NESTING_MAX, Codec, explain
from chargehand.durable import Clock, Journal, RunRow
from chargehand.errors import BadConfiguration, DefinitionError, InvalidInput, JournalCorrupt
from chargehand.events import Event
from chargehand.journals.memory import MemoryJournal
from chargehand.journals.sqlite import SqliteJournal
from chargehand.supervise.definitions import WorkflowDefinition


def journal_at(url: str, clock: Clock, chain_key: bytes = b"") -> Journal:
    """Return the journal that a URL names. `chain_key` keys its hash chains."""
    if url == "memory:":
        return MemoryJournal(clock, chain_key=chain_key)
    if url.startswith(("postgresql://", "postgres://")):
        raise BadConfiguration(f"This version keeps its journal in SQLite only; {url.split('@')[-1]!r} is PostgreSQL. Give a file name.")
    if "://" in url and not url.startswith("sqlite:///"):
        scheme, _, address = url.partition("://")
        raise BadConfiguration(f"Not a journal: {scheme + '://' + address.split('@')[-1]!r}. Give a file name, sqlite:///path or memory:.")
    return SqliteJournal(url.removeprefix("sqlite:///"), clock=clock, chain_key=chain_key)


def check_tags(tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidInput(f"A tag is a text with a text, not {name!r}: {value!r}.")


def check_id(id: str) -> None:
    """Raise `InvalidInput` when this cannot be a run's id."""
    if not isinstance(id, str) or not id or len(id) > 200 or "/" in id or not id.isprintable():
        raise InvalidInput(f"This cannot be a run's id: {id!r}. It has 1 to 200 printable characters and no slash.")


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


def refuse_main(workflows: Mapping[str, WorkflowDefinition[..., Any]], journal: Journal) -> None:
    """A definition in __main__ has no stable name, so a journal that others may open does not take it."""
    if isinstance(journal, MemoryJournal):
        return
    for definition in workflows.values():
        if definition.in_main and not definition.explicit_name:
            raise DefinitionError(
                f"The workflow {definition.name} is defined in __main__, which names it differently in every program. Give it name=…."
            )


def difference(recorded: Any, given: Any, at: str = "") -> dict[str, tuple[Any, Any]]:
    """Return where two inputs differ: by dotted name what is recorded and what is given, None where there is nothing."""
    if not isinstance(recorded, Mapping) or not isinstance(given, Mapping):
        return {at: (recorded, given)} if recorded != given else {}
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*recorded, *given]):
        found |= difference(recorded.get(name), given.get(name), f"{at}.{name}" if at else str(name))
    return found


def last_of(row: RunRow, events: Sequence[Event]) -> dict[str, Any]:
    """Return what the last event of an ended run says. Raises `JournalCorrupt` when it does not say how the run ended."""
    said = events[-1].payload if events else {}
    fits = "v" in said if row.status == "completed" else isinstance(said.get("e"), dict)
    if not fits:
        raise JournalCorrupt(
            f"Run {row.id!r} is {row.status}, and its last event does not say how. `chargehand verify {row.id}` tells more."
        )
    return said


def given_back(row: RunRow, codec: Codec, form: Any) -> Any:
    """Return a run's value as its type. Raises `InvalidInput` when the code's type is another by now."""
    try:
        return codec.from_json(form)
    except ValidationError as error:
        raise InvalidInput(f"Run {row.id!r} gave a value that is no longer {codec.where}: {explain(error)}.") from error
