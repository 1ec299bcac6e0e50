"""What is opened and checked before anything runs: the journal that a URL names, ids, tags, decisions, names of workflows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from chargehand.contracts import NESTING_MAX
from chargehand.durable import Clock, Journal
from chargehand.errors import BadConfiguration, DefinitionError, InvalidInput
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
