"""`run --each`: one run for each line of a file, so many side by side, and a table of what became of them.

Every line is read and checked before the first run starts. A run's id comes from its line, so the same command again
finds what is done and does only what is missing, however the last one ended.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from chargehand.cli.given import json_lines
from chargehand.cli.invocation import Invocation
from chargehand.cli.loading import AnyWorkflow, call_of
from chargehand.cli.reading import status_text
from chargehand.cli.safe import as_json, counted, duration
from chargehand.cli.writing import write_line, written_whole
from chargehand.contracts import Codec
from chargehand.durable import FINAL_STATUSES, RunRow
from chargehand.errors import Erased, InvalidInput, RunConflict, WrongEnvironment, error_classes
from chargehand.failures import MAST, SYSTEM
from chargehand.resting import until_rest
from chargehand.starting import check_id
from chargehand.statuses import EXIT_FAILED, EXIT_OK, EXIT_PARKED, EXIT_WAITING
from chargehand.supervise.call import Call
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor

_FIELD = re.compile(r"\{([^{}]*)\}")
_PLAIN_LINE_SECONDS = 5.0


@dataclass(frozen=True)
class Batch:
    """What `--each` was told. `fail_above` is a share from 0 to 1, None to allow none but stop for none."""

    workflow: AnyWorkflow
    file: str
    id: str | None
    at_once: int
    fail_above: float | None
    out: str | None


@dataclass(frozen=True)
class Item:
    """One line: its number, the run's id and the call."""

    line: int
    id: str
    call: Call[Any]


@dataclass
class Outcome:
    """What became of one item. `failure` is the class of a failure.

    `known`: it had ended before this command. `left`: an earlier command began it, and this one did not drive it.
    """

    status: str
    known: bool = False
    left: bool = False
    failure: str | None = None
    value: Any = None
    error: Any = None


@dataclass
class Tally:
    """What became of all of them."""

    total: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    running: int = 0
    failed: int = 0

    def note(self, id: str, outcome: Outcome) -> None:
        """Take one outcome."""
        self.outcomes[id] = outcome
        self.failed += outcome.failure is not None


async def run_each(
    face: Invocation, supervisor: Supervisor, batch: Batch, *, tags: Mapping[str, str], deadline: float | None, by: str
) -> int:
    """Run every item; return the exit status. If the process dies inside, the same command does what is missing."""
    items = items_of(batch)
    if batch.out is not None:
        _refuse_out(batch.out)
    tally = Tally(len(items))
    began = time.monotonic()
    work = _Work(supervisor, batch, tally, tags, deadline, by)
    progress = _Shown(face, tally)
    async with face.driving(supervisor):
        with progress:
            new = await work.known(items, progress)  # what dies in here leaves --out as the last command wrote it
            try:
                await work.all(new, progress)
            finally:
                if batch.out is not None:
                    _write(batch.out, items, tally)
    return _close(face, batch, items, tally, time.monotonic() - began)


class _Work:
    """The runs of one batch."""

    def __init__(
        self, supervisor: Supervisor, batch: Batch, tally: Tally, tags: Mapping[str, str], deadline: float | None, by: str
    ) -> None:
        self.supervisor, self.batch, self.tally = supervisor, batch, tally
        self.tags, self.deadline, self.by = tags, deadline, by
        assert supervisor.carrier is not None
        self.mine: set[str] = set()
        supervisor.carrier.only = self.mine

    async def known(self, items: Sequence[Item], progress: _Shown) -> list[Item]:
        """Take what the journal has of runs that have ended; return the other items. No threshold hides what is recorded."""
        others: list[Item] = []
        for item in items:
            row = await self.supervisor.journal.run(item.id)
            if row is None or row.status not in FINAL_STATUSES:
                others.append(item)
                continue
            self.tally.note(item.id, await self._ended(item, row))
            progress.step()
        return others

    async def all(self, items: Sequence[Item], progress: _Shown) -> None:
        """Keep `at_once` runs going until all rest, or too many have failed: then say how those stand that began before."""
        queue = iter(items)
        crews = [asyncio.create_task(self._crew(queue, progress)) for _ in range(min(self.batch.at_once, len(items)))]
        try:
            await asyncio.gather(*crews)
        finally:
            for crew in crews:
                crew.cancel()
            await asyncio.gather(*crews, return_exceptions=True)

    async def _crew(self, queue: Iterator[Item], progress: _Shown) -> None:
        for item in queue:
            if self.too_many():
                await self._begun(item)
                continue
            self.tally.running += 1
            try:
                self.tally.note(item.id, await self._one(item))
            except BaseException:
                self.tally.note(item.id, Outcome("interrupted"))
                raise
            finally:
                self.tally.running -= 1
                self.mine.discard(item.id)
            progress.step()

    async def _begun(self, item: Item) -> None:
        """Note how a run stands that an earlier command began; nothing is started or driven."""
        row = await self.supervisor.journal.run(item.id)
        if row is not None:
            self.tally.note(item.id, await self._ended(item, row) if row.status in FINAL_STATUSES else Outcome(status_text(row), left=True))

    def too_many(self) -> bool:
        """Say whether more have failed than are allowed, whatever becomes of the rest."""
        bound = self.batch.fail_above
        return bound is not None and self.tally.failed > bound * self.tally.total

    async def _one(self, item: Item) -> Outcome:
        self.mine.add(item.id)
        refused = await self._refused(item)
        return refused or await self._outcome(item, await until_rest(self.supervisor, item.id))

    async def _ended(self, item: Item, row: RunRow) -> Outcome:
        """Return what became of a run that had ended before this command, unless it is another one of the same id."""
        return await self._refused(item) or await self._outcome(item, row, known=True)

    async def _refused(self, item: Item) -> Outcome | None:
        """Start an item's run, which does nothing when it is there already; return why that was refused."""
        try:
            await self.supervisor.start(item.call, item.id, tags=self.tags, deadline=self.deadline, by=self.by)
        except (RunConflict, WrongEnvironment) as error:
            return Outcome("refused", failure=error.code, error={"code": error.code, "message": error.message})
        return None

    async def _outcome(self, item: Item, row: RunRow, *, known: bool = False) -> Outcome:
        codec = item.call.definition.contract.result
        return await _outcome(self.supervisor, row, known, codec, keep=self.batch.out is not None)


async def _outcome(supervisor: Supervisor, row: RunRow, known: bool, codec: Codec, *, keep: bool) -> Outcome:
    """Return what became of a run that rests."""
    if row.status == "completed":
        return Outcome("completed", known, value=await _value(supervisor, row, codec) if keep else None)
    if row.status not in FINAL_STATUSES:
        return Outcome(status_text(row))
    (last,) = await loaded(supervisor.journal, row.number, after=row.seq - 1)
    error = last.payload.get("e") or {}
    return Outcome(row.status, known, failure=failure_class(error), error=error)


async def _value(supervisor: Supervisor, row: RunRow, codec: Codec) -> Any:
    """Return a completed run's value as JSON; None of one whose value was erased."""
    try:
        return codec.to_json(await supervisor.outcome(row, codec))
    except Erased:
        return None


def failure_class(error: Mapping[str, Any]) -> str:
    """Return the class under which a failure is counted: its MAST or system mode, else its code, of the first branch that says."""
    if error.get("mode"):
        return str(error["mode"])
    for branch in error.get("branches", ()):
        return failure_class(branch)
    return str(error.get("code") or "failure")


def _meaning(name: str) -> str:
    known = {kind.code: (kind.__doc__ or "").strip().rstrip(".") for kind in error_classes()}
    return MAST.get(name) or SYSTEM.get(name) or known.get(name, "")


# -- items ----------


def items_of(batch: Batch) -> list[Item]:
    """Return the items of the file, each checked. Two equal lines are one item. Raises `InvalidInput` that names the line."""
    items: dict[str, Item] = {}
    for number, form in json_lines(batch.file, "--each"):
        where = f"line {number} of {batch.file}"
        try:
            call = call_of(batch.workflow, form, beside=True)
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error.message}") from error
        id = f"{batch.workflow.name}-{call.arguments.digest[:16]}" if batch.id is None else _filled(batch.id, form, where)
        check_id(id)
        known = items.setdefault(id, Item(number, id, call))
        if known.call.arguments.digest != call.arguments.digest:
            raise InvalidInput(f"{where} and line {known.line} both give the id {id!r}, with different inputs. Put more into --id.")
    if not items:
        raise InvalidInput(f"{batch.file} holds no items. It is one JSON value for each line.")
    return list(items.values())


def _filled(template: str, form: Any, where: str) -> str:
    """Fill ``{field}`` and ``{field.inner}`` of an id's template from an item."""

    def field_of(found: re.Match[str]) -> str:
        value = form
        for part in found[1].split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise InvalidInput(f"{where} has no {found[1]!r}, which --id {template!r} asks for.")
            value = value[part]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise InvalidInput(f"{where}: {found[1]!r} cannot be part of an id: {as_json(value)[:60]}. It is a text or a number.")
        return str(value)

    if "{" not in template:
        raise InvalidInput(f"--id {template!r} is the same for every line. Name fields of the items: '{{date}}-{{id}}'.")
    return _FIELD.sub(field_of, template)


# -- showing and writing ----------


class _Shown:
    """Progress: a bar on a terminal, a line now and then when piped."""

    def __init__(self, face: Invocation, tally: Tally) -> None:
        self._face, self._tally = face, tally
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._said = time.monotonic()
        if face.err.is_terminal and not face.json:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=face.err)
            self._task = self._bar.add_task("", total=tally.total)

    def __enter__(self) -> _Shown:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self) -> None:
        """Show that one more rests."""
        tally = self._tally
        state = f"{tally.failed} failed, {tally.running} running"
        if self._bar is not None:
            self._bar.update(self._task, completed=len(tally.outcomes), description=state)
        elif time.monotonic() - self._said > _PLAIN_LINE_SECONDS:
            self._said = time.monotonic()
            self._face.note(f"{len(tally.outcomes)} of {tally.total}: {state}")


def _refuse_out(out: str) -> None:
    """Raise `InvalidInput` when the results could not be written: before anything is run, not after."""
    path = Path(out)
    if path.is_dir():
        raise InvalidInput(f"--out cannot be written: {out!r} is a directory. Name a file.")
    if not path.parent.is_dir():
        raise InvalidInput(f"--out cannot be written: {out!r}: there is no directory {str(path.parent)!r}.")
    if not os.access(path.parent, os.W_OK):
        raise InvalidInput(f"--out cannot be written: {out!r}: {str(path.parent)!r} may not be written to.")


def _write(out: str, items: Sequence[Item], tally: Tally) -> None:
    """Write the results in the items' order, whole or not at all."""
    with written_whole(out) as file:
        for item in items:
            outcome = tally.outcomes.get(item.id, Outcome("not started"))
            form: dict[str, Any] = {"line": item.line, "id": item.id, "status": outcome.status}
            form |= {"value": outcome.value} if outcome.status == "completed" else {}
            form |= {"error": outcome.error, "failure": outcome.failure} if outcome.failure else {}
            write_line(file, form)


def _close(face: Invocation, batch: Batch, items: Sequence[Item], tally: Tally, seconds: float) -> int:
    """Print the closing table and return the exit status."""
    outcomes = tally.outcomes
    examples: dict[str, str] = {}
    for id, outcome in outcomes.items():
        examples.setdefault(outcome.failure or outcome.status, id)
    counts = Counter(outcome.failure or outcome.status for outcome in outcomes.values())
    failures = {outcome.failure for outcome in outcomes.values() if outcome.failure}
    known = sum(outcome.known for outcome in outcomes.values())
    driven = sum(not (outcome.known or outcome.left) for outcome in outcomes.values())
    not_started = len(items) - len(outcomes)
    status = _status(batch, tally)
    if face.json:
        form = {
            "items": len(items),
            "completed": counts["completed"],
            "known": known,
            "failed": {name: {"runs": counts[name], "meaning": _meaning(name), "example": examples[name]} for name in sorted(failures)},
            "resting": {name: count for name, count in sorted(counts.items()) if name not in failures and name != "completed"},
            "not_started": not_started,
            "seconds": round(seconds, 3),
        }
        face.answer(form)
        return status
    rows = [(name, count, "" if name not in failures else _meaning(name), examples[name]) for name, count in counts.most_common()]
    rows += [("not started", not_started, "too many failed", "")] if not_started else []
    face.table(("outcome", "runs", "meaning", "example"), rows, styles=lambda row: "red" if row[0] in failures else "")
    face.note(f"{counted(len(items), 'item')} in {duration(seconds)}; {known} had ended before, {driven} driven now")
    return status


def _status(batch: Batch, tally: Tally) -> int:
    if tally.failed > (batch.fail_above or 0.0) * tally.total:
        return EXIT_FAILED
    resting = [outcome.status for outcome in tally.outcomes.values() if outcome.failure is None and outcome.status != "completed"]
    if any(status != "waiting" for status in resting):
        return EXIT_PARKED
    return EXIT_WAITING if resting else EXIT_OK
