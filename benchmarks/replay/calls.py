"""Calls and tables as the rules see them, and what can be read out of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from benchmarks.replay.request import Request

Fields = Mapping[str, Any]
TableRow = Mapping[str, str | None]

ADDRESS_ARGUMENTS = ("recipient", "participant_email", "assigned_to_email")
TABLE_OF = {
    "calendar.delete_event": ("calendar", "event_id"),
    "calendar.update_event": ("calendar", "event_id"),
    "email.delete_email": ("email", "email_id"),
    "email.forward_email": ("email", "email_id"),
    "email.reply_email": ("email", "email_id"),
    "project_management.update_task": ("project_tasks", "task_id"),
    "customer_relationship_manager.delete_customer": ("crm", "customer_id"),
    "customer_relationship_manager.update_customer": ("crm", "customer_id"),
}
"""Which row a call means: the table, and the argument that names the row."""

CREATES = ("calendar.create_event", "project_management.create_task", "customer_relationship_manager.add_customer")
SENDS = ("email.send_email", "email.forward_email", "email.reply_email")
PERSON_OF = {
    "calendar": "participant_email",
    "email": "sender/recipient",
    "project_tasks": "assigned_to_email",
    "crm": "assigned_to_email",
}
TITLE_OF = {"calendar": "event_name", "email": "subject", "project_tasks": "task_name", "crm": "customer_name"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that changes the world, before it is made."""

    tool: str
    arguments: Fields

    def text(self, name: str) -> str:
        """Return an argument as text, empty when it is not given."""
        value = self.arguments.get(name)
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Seen:
    """A call of this run that has returned: what it gave back, and whether it changed something."""

    tool: str
    arguments: Fields
    output: str
    failed: bool
    changed: bool


class Tables(Protocol):
    """The tables as they are now."""

    def row(self, table: str, key: str) -> TableRow | None:
        """Return one row by column, or None."""

    def rows(self, table: str) -> Sequence[TableRow]:
        """Return all rows of a table."""

    def knows(self, address: str) -> bool:
        """Say whether an address stood in the tables before the run."""

    def colleague(self, address: str) -> bool:
        """Say whether an address is of the office's own domain."""


def addresses_of(call: Asked) -> list[str]:
    found = [call.text(name) for name in ADDRESS_ARGUMENTS if call.text(name)]
    if call.text("field") in ADDRESS_ARGUMENTS:
        found.append(call.text("new_value"))
    return found


def is_address(text: str) -> bool:
    return re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)*", text) is not None


def first_name_of(address: str) -> str:
    return re.split(r"[.@]", address.lower())[0]


def has_returned(seen: Seen) -> bool:
    """Say whether a call told something without changing anything."""
    return bool(seen.output.strip()) and not seen.changed


def row_of(call: Asked, tables: Tables) -> tuple[str, TableRow | None]:
    """Return the table and the row that a call means; no row when it names none that exists."""
    if call.tool not in TABLE_OF:
        return "", None
    table, argument = TABLE_OF[call.tool]
    return table, tables.row(table, call.text(argument))


def alike(request: Request, table: str, row: TableRow, tables: Tables) -> list[TableRow]:
    """Return the rows the request may mean as well: of a person or with a title that it names."""
    person, title = PERSON_OF[table], TITLE_OF[table]
    if (row[title] or "").lower() in request.lower:
        return [other for other in tables.rows(table) if other[title] == row[title]]
    if first_name_of(row[person] or "") in request.people:
        return [other for other in tables.rows(table) if other[person] == row[person]]
    return []


def names_title(request: Request, table: str, tables: Tables) -> bool:
    """Say whether the request contains the title of a row of the table."""
    titles = {(row[TITLE_OF[table]] or "").lower() for row in tables.rows(table)}
    return any(title and title in request.lower for title in titles)


def quotes_subject(request: Request, tables: Tables) -> bool:
    """Say whether the request quotes the subject of an e-mail."""
    return bool(request.quotes) and any((row["subject"] or "").lower() in request.quotes for row in tables.rows("email"))


def moment_of(text: str) -> datetime | None:
    """Read a time as the tables write it."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def day_of(text: str) -> date | None:
    """Read a day as the tables write it."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def minutes_of(text: str) -> float | None:
    """Read a number of minutes."""
    try:
        return float(text)
    except ValueError:
        return None


def taken_on(day: date, tables: Tables) -> list[tuple[datetime, datetime]]:
    """Return begin and end of the meetings of a day."""
    found = []
    for row in tables.rows("calendar"):
        start, minutes = moment_of(row["event_start"] or ""), minutes_of(row["duration"] or "")
        if start is not None and minutes is not None and start.date() == day:
            found.append((start, start + timedelta(minutes=minutes)))
    return found


def is_free(start: datetime, length: timedelta, taken: Sequence[tuple[datetime, datetime]]) -> bool:
    """Say whether a meeting would overlap none of these."""
    return all(start + length <= begin or end <= start for begin, end in taken)
