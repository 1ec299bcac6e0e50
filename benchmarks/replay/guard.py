"""One run's guard: the request, what the tools returned so far, the tables as they are, and the rules' answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from benchmarks.replay.calls import Asked, Seen, TableRow
from benchmarks.replay.office import Office
from benchmarks.replay.recording import COLUMNS, State
from benchmarks.replay.request import Request
from benchmarks.replay.rules import Found, check

_ADDRESS = re.compile(r"[\w.+-]+@[\w.-]+")


@dataclass(frozen=True)
class Directory:
    """What the tables say before any run: who is known, the office's own domain, the day it is.

    The day is that of the newest e-mail: the recorded office stands still on it.
    """

    addresses: frozenset[str]
    domain: str
    today: date

    @classmethod
    def of(cls, start: State) -> Directory:
        """Read it from the tables."""
        texts = (value for rows in start.values() for row in rows.values() for value in row if isinstance(value, str))
        counted = Counter(match.lower() for text in texts for match in _ADDRESS.findall(text))
        domains: Counter[str] = Counter()
        for address, times in counted.items():
            domains[address.split("@")[1]] += times
        sent = COLUMNS["email"].index("sent_datetime")
        newest = max(str(row[sent]) for row in start["email"].values())
        return cls(frozenset(counted), domains.most_common(1)[0][0], date.fromisoformat(newest[:10]))

    @property
    def first_names(self) -> frozenset[str]:
        """Return the first names of the colleagues."""
        return frozenset(address.split(".")[0] for address in self.addresses if address.endswith("@" + self.domain))


@dataclass(frozen=True)
class OfficeTables:
    """The tables of one office, as the rules see them."""

    office: Office
    directory: Directory

    def row(self, table: str, key: str) -> TableRow | None:
        """Return one row by column, or None."""
        return self.office.row(table, key)

    def rows(self, table: str) -> Sequence[TableRow]:
        """Return all rows of a table."""
        return self.office.rows(table)

    def knows(self, address: str) -> bool:
        """Say whether an address stood in the tables before the run."""
        return address in self.directory.addresses

    def colleague(self, address: str) -> bool:
        """Say whether an address is of the office's own domain."""
        return address.lower().endswith("@" + self.directory.domain)


@dataclass
class Guard:
    """Asks the rules about each change of one run, and remembers what the tools returned."""

    request: Request
    tables: OfficeTables
    history: list[Seen] = field(default_factory=list)

    def ask(self, call: Asked) -> Found:
        """Return what the rules say about a call that is about to be made."""
        return check(self.request, call, self.history, self.tables)

    def has_seen(self, seen: Seen) -> bool:
        """Say whether an equal call has succeeded before: where equal effects are done once, this one changed nothing."""
        return any(not old.failed and old.tool == seen.tool and old.arguments == seen.arguments for old in self.history)

    def saw(self, seen: Seen) -> None:
        """Remember a call that has returned."""
        self.history.append(seen)
