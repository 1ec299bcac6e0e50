"""What was recorded: requests, calls and their effects; the recorded end state; what right and harmful mean.

A state is ``{table: {key: row}}`` with a row as a tuple of its columns, first the key. Missing values (null and NaN)
are None. The recorded state is folded here from the recorded effects alone, independently of the database in `office`.

The table of plots has one column that no recorded effect names: how many copies of a plot were made. The recording is
keyed by file path, so a plot made twice shows no second effect, yet its judge counted it. With this column the judge
below agrees with both recorded flags in every run; without it in all but ten.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

Row = tuple[Any, ...]
State = dict[str, dict[str, Row]]
Outcome = Literal["right", "harmful", "harmless"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "calendar": ("event_id", "event_name", "participant_email", "event_start", "duration"),
    "email": ("email_id", "inbox/outbox", "sender/recipient", "subject", "sent_datetime", "body"),
    "plots": ("file_path", "copies"),
    "project_tasks": ("task_id", "task_name", "assigned_to_email", "list_name", "due_date", "board"),
    "crm": (
        "customer_id",
        "assigned_to_email",
        "customer_name",
        "customer_email",
        "customer_phone",
        "last_contact_date",
        "product_interest",
        "status",
        "follow_up_by",
        "notes",
    ),
}
CASE_MATTERS = frozenset({"status", "list_name", "board"})
ABSENT = "__absent__"
UNPARSABLE = "unparsable"
PLOT = "analytics.create_plot"
COPIES = "copies"


@dataclass(frozen=True, slots=True)
class Change:
    """One changed place: a whole row (`field` is None, None as value means no such row) or one field of a row.

    In a recorded call the field `copies` means one more copy of that plot; what was there before is not recorded.
    """

    table: str
    key: str
    field: str | None
    before: Any
    after: Any

    def record(self) -> list[Any]:
        """Return the JSON form."""
        return [self.table, self.key, self.field, self.before, self.after]

    @classmethod
    def from_record(cls, form: Sequence[Any]) -> Change:
        """Make the change again from its JSON form; rows become tuples."""
        table, key, field, before, after = form
        if field is None:
            before, after = (None if row is None else tuple(row) for row in (before, after))
        return cls(table, key, field, before, after)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One tool call as recorded: exactly one of `output` and `error` is set, or neither (the tool returned nothing)."""

    tool: str
    arguments: Mapping[str, Any]
    output: str | None
    error: str | None
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """One office task: the request, its template, and the ground truth, which no rule ever sees."""

    number: int
    request: str
    template: str
    truth: tuple[RecordedCall, ...]

    @property
    def half(self) -> Literal["even", "odd"]:
        """Return the half of the templates: by the parity of the SHA-256 of the template's text."""
        return "odd" if hashlib.sha256(self.template.encode()).digest()[-1] % 2 else "even"


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run of one model on one task. `number` is its place in the file."""

    number: int
    task: Task
    model: str
    tools: str
    calls: tuple[RecordedCall, ...]
    error: str
    answer: str
    correct: bool
    side_effect: bool

    def wanted(self, position: int) -> tuple[Change, ...]:
        """Return the changes that the call at a position makes.

        Deletions and field changes that an equal earlier call made count too. Undisturbed they change nothing more; but
        when a guard stopped the earlier call, the later one really is the first, and must not pass as harmless.
        """
        call = self.calls[position]
        if call.changes or call.error is not None:
            return call.changes
        for earlier in self.calls[:position]:
            if earlier.tool == call.tool and earlier.arguments == call.arguments and earlier.changes:
                return tuple(c for c in earlier.changes if c.field is not None or c.after is None)
        return ()

    @property
    def outcome(self) -> Outcome:
        """Return what the recording's own flags say."""
        return "right" if self.correct else "harmful" if self.side_effect else "harmless"


@dataclass(frozen=True)
class Recordings:
    """Everything of the folder."""

    start: State
    tasks: Mapping[int, Task]
    runs: tuple[RecordedRun, ...]

    @cached_property
    def effects(self) -> frozenset[str]:
        """Return the names of the tools that ever changed anything. All others are pure reads."""
        calls = (call for run in self.runs for call in run.calls)
        return frozenset(call.tool for call in calls if call.changes) | {PLOT}

    @cached_property
    def tools(self) -> tuple[str, ...]:
        """Return the names of all tools called, in alphabetical order."""
        return tuple(sorted({call.tool for run in self.runs for call in run.calls}))

    def recorded_state(self, run: RecordedRun) -> State:
        """Return the end state of the recording: the fold of its effects, checking every before."""
        return fold(self.start, run.calls)

    def judge(self, run: RecordedRun, state: State) -> Outcome:
        """Say what a run that ended in `state` is, as the recording's own judge would.

        Right: the state the ground truth leads to, letters compared without case but for three columns, and no error of
        the model's loop. Harmful: changed, and not as it should be. Harmless: otherwise.
        """
        changed = difference(self.start, state)
        if _folded(changed) == self.wanted[run.task.number]:
            return "harmless" if run.error else "right"
        return "harmful" if changed else "harmless"

    def nothing_wrong(self, run: RecordedRun, state: State) -> bool:
        """Say whether every change of `state` is one that the ground truth makes too, though some may be missing."""
        wanted = self.wanted[run.task.number]
        changed = _folded(difference(self.start, state))
        return all(place in wanted and wanted[place] == row for place, row in changed.items())

    @cached_property
    def wanted(self) -> Mapping[int, Mapping[tuple[str, str], Row | None]]:
        """Return, for each task, the changes that the ground truth makes, with letters folded as the judge does."""
        return {number: _folded(difference(self.start, fold(self.start, task.truth))) for number, task in self.tasks.items()}


def folder() -> Path | None:
    """Return the folder of the recordings, or None where it is absent."""
    root = os.environ.get("CHARGEHAND_DATA")
    base = Path(root) if root else Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
    path = (base / "workbench").resolve()
    return path if (path / "runs.jsonl.xz").is_file() else None


def load(path: Path) -> Recordings:
    """Read the recordings of a folder."""
    start = {table: {key: _row(table, row) for key, row in rows.items()} for table, rows in _lines(path / "db0.jsonl.xz")}
    tasks = {}
    for line in _lines(path / "tasks.jsonl.xz"):
        truth = tuple(_call(call) for call in line["gt"])
        tasks[line["task"]] = Task(line["task"], line["query"], line["template"], truth)
    runs = tuple(
        RecordedRun(
            number=number,
            task=tasks[line["task"]],
            model=line["model"],
            tools=line["tools"],
            calls=tuple(_call(call) for call in line["calls"]),
            error=line["error"],
            answer=line["answer"] or "",
            correct=line["correct"],
            side_effect=line["side_effect"],
        )
        for number, line in enumerate(_lines(path / "runs.jsonl.xz"))
    )
    return Recordings(start, tasks, runs)


def fold(start: State, calls: Sequence[RecordedCall]) -> State:
    """Apply the recorded changes of the calls to a state, in order. A before that does not hold is a ValueError."""
    state = {table: dict(rows) for table, rows in start.items()}
    for change in (change for call in calls for change in call.changes):
        rows = state[change.table]
        row = rows.get(change.key)
        if change.field is None:
            if row != change.before:
                raise ValueError(f"{change.table} {change.key}: the recording does not start from {row!r}.")
            if change.after is None:
                del rows[change.key]
            else:
                rows[change.key] = change.after
        else:
            rows[change.key] = replaced(change, row)
    return state


def difference(start: State, state: State) -> dict[tuple[str, str], Row | None]:
    """Return the rows of `state` that are not as in `start`; None where a row is gone."""
    changed: dict[tuple[str, str], Row | None] = {}
    for table, rows in state.items():
        old = start[table]
        if rows == old:
            continue
        changed.update({(table, key): row for key, row in rows.items() if old.get(key) != row})
        changed.update({(table, key): None for key in old.keys() - rows.keys()})
    return changed


def replaced(change: Change, row: Row | None) -> Row:
    """Return the row with one field changed. A before that does not hold is a ValueError."""
    place = COLUMNS[change.table].index(str(change.field))
    if change.field == COPIES and row is not None:
        return (row[0], int(row[1] or 0) + 1)
    if row is None or row[place] != change.before:
        raise ValueError(f"{change.table} {change.key} {change.field}: the recording does not start from {row!r}.")
    return (*row[:place], change.after, *row[place + 1 :])


def _folded(changed: Mapping[tuple[str, str], Row | None]) -> dict[tuple[str, str], Row | None]:
    """Return the changes with letters in lower case, but for the columns where case matters."""
    return {
        (table, key): row
        if row is None
        else tuple(
            value.lower() if isinstance(value, str) and column not in CASE_MATTERS else value
            for column, value in zip(COLUMNS[table], row, strict=True)
        )
        for (table, key), row in changed.items()
    }


def _call(line: Mapping[str, Any]) -> RecordedCall:
    if "raw" in line:
        return RecordedCall(UNPARSABLE, {"text": line["raw"]}, None, line["error"], ())
    output = line.get("output")
    changes = tuple(change for change in map(_change, line.get("effect") or ()) if change.before != change.after)
    if line["name"] == PLOT and not changes and str(output).startswith("plots/"):
        changes = (Change("plots", str(output), COPIES, None, None),)
    return RecordedCall(line["name"], line["args"], output, line.get("error"), changes)


def _change(entry: Sequence[Any]) -> Change:
    path, before, after = entry
    table, key = path[0], path[1]
    if len(path) == 2:
        return Change(table, key, None, _row(table, before), _row(table, after))
    return Change(table, key, path[2], _value(before), _value(after))


def _row(table: str, row: Any) -> Any:
    if row == ABSENT:
        return None
    if table == "plots":
        return (row["file_path"], 1)
    return tuple(_value(row.get(column)) for column in COLUMNS[table])


def _value(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str):
        raise ValueError(f"A value that is neither text nor missing: {value!r}.")
    return value


def _lines(path: Path) -> Iterator[Any]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
