"""Keeping a journal: proving it, taking it out, making it smaller. And what a person needs once: a principal, the demo."""

from __future__ import annotations

import getpass
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from chargehand.cli import doctoring, erasing
from chargehand.cli.forms import record_form, run_form
from chargehand.cli.given import json_lines, statuses_given, time_given
from chargehand.cli.invocation import Invocation, asking, command
from chargehand.cli.reading import Since, Status, Until, Workflow
from chargehand.cli.safe import as_json, counted, moment, one_line
from chargehand.cli.unknown import run_named
from chargehand.cli.writing import write_line, written_whole
from chargehand.config import hash_secret
from chargehand.demo import run_demo
from chargehand.durable import ChainLink, RunRow
from chargehand.errors import BadConfiguration, InvalidInput, JournalCorrupt
from chargehand.statuses import EXIT_JOURNAL, EXIT_OK
from chargehand.supervise.log import long_value, references
from chargehand.supervisor import Supervisor

PANEL = "Keep"
_PAGE = 500
_PRUNE_BATCH = 500
_PLACES = 10
_CHAIN_PLACE = re.compile(r"The chain of (?P<run>run .*) does not hold at (?P<seq>seq \d+): (?P<what>.*)", re.DOTALL)
SECRET_CHARS_MIN = 8


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app, "verify", PANEL)(verify)
    command(app, "export", PANEL)(export)
    erasing.register(app)
    command(app, "prune", PANEL)(prune)
    doctoring.register(app)
    command(app, "principal", PANEL)(principal)
    command(app, "demo", "Run")(demo)


async def _rows(face: Invocation, supervisor: Supervisor, ids: list[str] | None, **which: Any) -> AsyncIterator[RunRow]:
    """Yield the runs of these ids, else all that fit, newest first."""
    if ids:
        for id in ids:
            yield await run_named(face, supervisor, id)
        return
    before: int | None = None
    while rows := await supervisor.runs(before=before, limit=_PAGE, **which):
        for row in rows:
            yield row
        before = rows[-1].number


# -- verify ----------


async def verify(
    face: Invocation,
    run: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Only these runs; else all of this environment.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", metavar="FILE", help="Also compare with heads that `export --heads` wrote earlier and that were kept elsewhere."
        ),
    ] = None,
) -> int:
    """Prove that no event was changed or lost: every run's hash chain, and the journal-wide chain.

    Without a key the chains find accidents; against heads kept elsewhere they also find whoever rewrote the whole file.
    """
    heads = list(json_lines(against, "--against")) if against is not None else []
    found: list[str] = []
    count = 0
    async with face.keyed() as supervisor:
        with face.working("verifying") as step:
            async for row in _rows(face, supervisor, run):
                found += await _broken(supervisor.journal.verify(row.number))
                found += await _broken(_long_values(supervisor, row))
                count += 1
                step(count)
            if not run:
                found += await _broken(supervisor.journal.verify_chain())
            for number, head in heads:
                found += await _against(supervisor, head, f"line {number} of {against}")
    if face.json:
        face.answer({"runs": count, "heads": len(heads), "ok": not found, "broken": found})
    else:
        _say_broken(face, found)
        _say_verified(face, count, len(heads) if against is not None else None, len(found))
    return EXIT_JOURNAL if found else EXIT_OK


def _say_verified(face: Invocation, runs: int, heads: int | None, broken: int) -> None:
    compared = "" if heads is None else f", {counted(heads, 'head')} compared"
    if broken:
        face.say(f"{counted(runs, 'run')} verified{compared}: {broken} {'does' if broken == 1 else 'do'} not hold")
    elif runs or heads:
        face.say(f"{counted(runs, 'run')} verified{compared}: all hold")
    else:
        face.say(f"Nothing was verified: the journal has no runs in the environment {face.settings.environment!r}.", "yellow")


def _say_broken(face: Invocation, found: Sequence[str]) -> None:
    """Print each thing that does not hold; what is wrong in the same way with many runs is said once, with where."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for message in found:
        place = _CHAIN_PLACE.fullmatch(message)
        alike.setdefault(place["what"] if place else message, []).append(
            (message, f"{place['run']} at {place['seq']}" if place else message)
        )
    for what, found_so in alike.items():
        if len(found_so) == 1:
            face.say(found_so[0][0], "red")
            continue
        face.say(f"{len(found_so)} chains do not hold: {what}", "red")
        for _, where in found_so[:_PLACES]:
            face.say(f"  {where}", "red")
        if len(found_so) > _PLACES:
            face.say(f"  and {len(found_so) - _PLACES} more; --json lists each", "red")


async def _broken(check: Any) -> list[str]:
    try:
        await check
    except JournalCorrupt as error:
        return [error.message]
    return []


async def _long_values(supervisor: Supervisor, row: RunRow) -> None:
    """Raise `JournalCorrupt` where a long value is not what was written: events hold its digest, and the chain holds events."""
    for record in await supervisor.journal.load(row.number):
        for digest in references(record.event().payload).values():
            try:
                await long_value(supervisor.journal, row.number, record.seq, digest)
            except JournalCorrupt:
                raise JournalCorrupt(
                    f"The chain of run {row.id!r} does not hold at seq {record.seq}: a long value is not what was written."
                ) from None


async def _against(supervisor: Supervisor, head: Any, where: str) -> list[str]:
    """Compare one exported head with the journal. A run that was pruned since has its head in the journal's chain."""
    if not isinstance(head, dict) or head.get("kind") not in ("head", "chain"):
        raise InvalidInput(f"{where} is no head: {as_json(head)[:80]}. `chargehand export --heads` writes them.")
    try:
        wanted, seq = bytes.fromhex(head["hash"]), int(head["seq"])
        id = str(head["run"]) if head["kind"] == "head" else ""
    except (KeyError, TypeError, ValueError):
        raise InvalidInput(f"{where} is no whole head: {as_json(head)[:80]}. It has kind, run, seq and hash.") from None
    if head["kind"] == "chain":
        if seq == 0:
            return []
        links = await supervisor.journal.chain(seq - 1, 1)
        return [] if links and links[0].hash == wanted else [f"The journal's chain no longer has its head at link {seq}."]
    row = await supervisor.journal.run(id)
    if row is None:
        link = await _pruned(supervisor, id)
        if link is None:
            return [f"Run {id!r} had {seq} events and is gone, and no prune of it is noted."]
        same = link.seq > seq or (link.seq == seq and link.head == wanted)
        return [] if same else [f"Run {id!r} was pruned with another head than it had."]
    records = await supervisor.journal.load(row.number, after=seq - 1, limit=1)
    if not records or records[0].seq != seq:
        return [f"Run {id!r} had {seq} events and now has {row.seq}."]
    return [] if records[0].hash == wanted else [f"Run {id!r} has another history up to event {seq} than when its head was exported."]


async def _pruned(supervisor: Supervisor, id: str) -> ChainLink | None:
    after = 0
    found: ChainLink | None = None
    while links := await supervisor.journal.chain(after, 10_000):
        found = next((link for link in reversed(links) if link.kind == "pruned" and link.run_id == id), found)
        after = links[-1].id
    return found


# -- export ----------


async def export(
    face: Invocation,
    run: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Only these runs; else all of this environment that fit.")
    ] = None,
    heads: Annotated[
        bool,
        typer.Option("--heads", help="Only the newest hash of each run and of the journal: to keep elsewhere, for `verify --against`."),
    ] = False,
    workflow: Workflow = None,
    status: Status = None,
    since: Since = None,
    until: Until = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE", help="Write to this file, readable by you alone, else to standard output.")
    ] = None,
) -> None:
    """Write runs and their events as JSON lines, without what is redacted."""
    now = time.time()
    which = {
        "workflow": workflow,
        "status": statuses_given(status or ()),
        "since": time_given(since, "--since", now),
        "until": time_given(until, "--until", now),
    }
    count = 0
    async with face.reading() as supervisor:
        with _written(out, face) as file, face.working("exporting") as step:
            async for row in _rows(face, supervisor, run, **which):
                if heads:
                    write_line(file, {"kind": "head", "run": row.id, "seq": row.seq, "hash": row.head.hex(), "status": row.status})
                else:
                    await _export_run(face, supervisor, row, file)
                count += 1
                step(count)
            if heads:
                counts = await supervisor.journal.statistics()
                write_line(file, {"kind": "chain", "seq": counts["chain"], "hash": counts["chain_head"]})
    if out is not None:
        if face.json:
            face.answer({"runs": count, "out": out})
        else:
            face.note(f"{counted(count, 'run')} written to {out}")


async def _export_run(face: Invocation, supervisor: Supervisor, row: RunRow, file: TextIO) -> None:
    write_line(file, {"kind": "run", **run_form(row, face.shown)})
    for record in await supervisor.journal.load(row.number):
        event = record.event()
        for name, digest in references(event.payload).items():
            event.payload[name] = json.loads(await long_value(supervisor.journal, row.number, event.seq, digest))
        write_line(file, face.shown(record_form(row.id, record, event)))


def _written(out: str | None, face: Invocation) -> AbstractContextManager[TextIO]:
    """Open what is written to."""
    return nullcontext(face.out.file) if out is None else written_whole(out)  # type: ignore[arg-type]


# -- prune ----------


async def prune(
    face: Invocation,
    before: Annotated[
        str, typer.Option("--before", metavar="TIME", help="Runs that ended before then: a date, or 90d for ninety days ago.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. What is deleted does not come back.")] = False,
) -> None:
    """Delete ended runs of this environment for good. Business keys stay, and the journal's chain notes each prune.

    An id is forgotten with its run: started again, it would run anew, and its effects would be made again.
    """
    bound = time_given(before, "--before", time.time())
    assert bound is not None
    done = 0
    async with face.keyed() as supervisor:
        if not yes or dry_run:
            final = ("completed", "failed", "cancelled")
            done = sum([row.updated < bound async for row in _rows(face, supervisor, None, status=final)])
        if not dry_run and (done or yes):
            if not yes and not _agreed(done, bound, supervisor.environment, asks=not face.json and sys.stdin.isatty()):
                face.note("Nothing was pruned.")
                return
            done = 0
            with face.working("pruning") as step:
                while count := await supervisor.journal.prune(before=bound, limit=_PRUNE_BATCH, environment=supervisor.environment):
                    done += count
                    step(done)
    if face.json:
        face.answer({"pruned": 0 if dry_run else done, "would_prune": done if dry_run else 0})
    else:
        face.say(f"{counted(done, 'run')} {'would be pruned' if dry_run else 'pruned'}")


def _agreed(runs: int, bound: float, environment: str, *, asks: bool) -> bool:
    """Ask whether so many runs shall be deleted. Raises `InvalidInput` where nobody can be asked."""
    which = f"{counted(runs, 'run')} of {environment} that ended before {moment(bound)}"
    if not asks:
        raise InvalidInput(f"{which} would be deleted for good. Say so with --yes.")
    with asking():
        return typer.confirm(f"Delete {which}, for good?", err=True)


# -- principal and demo ----------


def principal(
    face: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The principal's name.")],
    role: Annotated[list[str] | None, typer.Option("--role", metavar="ROLE", help="A role of theirs. May be given again.")] = None,
) -> None:
    """Print a hashed entry for the configuration. The secret comes from CHARGEHAND_SECRET or a prompt, never from an option."""
    if not name.strip() or not name.isprintable():
        raise InvalidInput(f"This is no name: {name!r}. Write who it is, in one line.")
    secret = face.variables.get("CHARGEHAND_SECRET")
    if secret is None:
        if not sys.stdin.isatty():
            raise BadConfiguration("There is no secret to hash. Set CHARGEHAND_SECRET, or run this on a terminal.")
        secret = getpass.getpass("Secret: ", sys.stderr)
        if getpass.getpass("Again: ", sys.stderr) != secret:
            raise InvalidInput("The two secrets differ. Nothing was made.")
    if len(secret) < SECRET_CHARS_MIN:
        raise InvalidInput(f"The secret has {len(secret)} characters. Take at least {SECRET_CHARS_MIN}.")
    roles, hashed = list(role or ()), hash_secret(secret)
    if face.json:
        face.answer({"name": name, "roles": roles, "secret": hashed})
        return
    key = name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else as_json(name)
    table = (
        f"tool.chargehand.principals.{key}"
        if face.settings.file is not None and face.settings.file.name == "pyproject.toml"
        else f"principals.{key}"
    )
    face.raw(f"[{table}]\nroles = {as_json(roles)}\nsecret = {as_json(hashed)}")
    face.note(f"Put this into {one_line(face.settings.file or 'chargehand.toml')}.")


def demo(
    face: Invocation,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIRECTORY", help="Keep databases, journal and logs in this new directory.")
    ] = None,
) -> int:
    """Run one purchasing crew unsupervised and supervised, counted from the books of the services it used."""
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise InvalidInput(f"--keep is not empty: {str(keep)!r}. Name a directory that is empty or not there yet.")
    status = run_demo(keep=keep, console=face.err if face.json else face.out)
    if face.json:
        face.answer({"ok": status == EXIT_OK})
    return status
