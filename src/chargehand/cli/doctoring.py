"""`doctor`: whether the journal is sound, who works on it, what nobody works on, and what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer

import chargehand
from chargehand.cli.forms import is_overdue
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.loading import look_beside, resources_at, workflow_at
from chargehand.cli.safe import counted, one_line
from chargehand.config import CHAIN_KEY
from chargehand.durable import Worker
from chargehand.errors import BadConfiguration, ChargehandError, JournalCorrupt, WrongChainKey
from chargehand.statuses import EXIT_FAILED, EXIT_OK
from chargehand.supervisor import Supervisor

PANEL = "Keep"
Level = Literal["ok", "look", "bad"]
_STYLES: Mapping[Level, str] = {"ok": "green", "look": "yellow", "bad": "red"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    about: str
    says: str


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "doctor", PANEL)(doctor)


async def doctor(face: Invocation) -> int:
    """Look at configuration, configured code, journal, workers, runs that no live worker knows, and what waits.

    Imports the configured workflows and resources, as a worker does. Leaves with 1 when something is bad.
    """
    findings = [*_configuration(face), *_code(face)]
    has_key = _chain_key(face, findings)
    face.needs_journal()
    async with face.supervisor(work=False, signs=has_key) as supervisor:
        counts = dict(await supervisor.journal.statistics())
        workers = await supervisor.journal.workers()
        findings += _journal(face, counts)
        findings += await _chain(supervisor) if has_key else []
        findings += _workers(workers, supervisor.environment)
        findings += _unknown_runs(counts, workers, supervisor.environment)
        findings += await _waiting(supervisor)
    bad = any(finding.level == "bad" for finding in findings)
    if face.json:
        listed = [{"level": finding.level, "about": finding.about, "says": finding.says} for finding in findings]
        alive = [{"id": worker.id, **worker.about} for worker in workers]
        face.answer({"ok": not bad, "findings": listed, "workers": alive, "statistics": counts})
    else:
        for finding in findings:
            face.say(f"{finding.level:<5}{finding.about}: {one_line(finding.says)}", _STYLES[finding.level])
    return EXIT_FAILED if bad else EXIT_OK


def _configuration(face: Invocation) -> list[Finding]:
    settings = face.settings
    found = [Finding("ok", "chargehand", f"{chargehand.__version__}")]
    found.append(Finding("ok", "configuration", str(settings.file) if settings.file else "no file; defaults, variables and options"))
    found.append(Finding("ok", "environment", f"{settings.environment} (from {settings.origins.get('environment', 'the default')})"))
    found.append(Finding("ok", "approvals", f"{settings.approve} (from {settings.origins.get('approve', 'the default')})"))
    if settings.principals:
        found.append(Finding("ok", "principals", ", ".join(sorted(settings.principals))))
    else:
        found.append(Finding("look", "principals", "none are configured: whoever is logged in decides, without any role"))
    return found


def _code(face: Invocation) -> list[Finding]:
    """Import what a worker would be given."""
    settings, found = face.settings, list[Finding]()
    look_beside(settings)
    for about, references, load in (("workflows", settings.workflows, workflow_at), ("resources", settings.resources, resources_at)):
        for reference in references:
            try:
                load(reference)
            except ChargehandError as error:
                found.append(Finding("bad", about, error.message))
            else:
                found.append(Finding("ok", about, f"{reference} can be imported"))
    return found


def _journal(face: Invocation, counts: Mapping[str, Any]) -> list[Finding]:
    path = Path(face.settings.journal.removeprefix("sqlite:///")).resolve()
    runs = ", ".join(f"{count} {status}" for status, count in sorted(counts["runs"].items())) or "no runs"
    found = [
        Finding(
            "ok",
            "journal",
            f"{path}, schema {counts.get('schema')}, {counts.get('bytes', 0):,} bytes, {counted(counts['events'], 'event')}",
        ),
        Finding("ok", "runs", f"{runs} (all environments)"),
    ]
    mode = path.stat().st_mode & 0o077
    if mode:
        found.append(Finding("look", "journal", f"others than its owner have access to it (mode {path.stat().st_mode & 0o777:o})"))
    return found


def _chain_key(face: Invocation, findings: list[Finding]) -> bool:
    """Find where the chain key comes from; say whether it can be used."""
    settings = face.settings
    try:
        key = settings.chain_key()
    except BadConfiguration as error:
        findings.append(Finding("bad", "chain key", error.message))
        return False
    if not key:
        findings.append(Finding("ok", "chain key", "none is configured: the hash chains find accidents, not intruders"))
        return True
    where = CHAIN_KEY if settings.chain_key_given is not None else settings.chain_key_file
    findings.append(Finding("ok", "chain key", f"from {where}"))
    if settings.chain_key_given is None and (mode := Path(settings.chain_key_file).stat().st_mode) & 0o077:
        findings.append(Finding("look", "chain key", f"others than its owner have access to {where} (mode {mode & 0o777:o})"))
    return True


async def _chain(supervisor: Supervisor) -> list[Finding]:
    try:
        await supervisor.check_chain_key()
        await supervisor.journal.verify_chain()
    except (JournalCorrupt, WrongChainKey) as error:
        return [Finding("bad", "chain", error.message)]
    return [Finding("ok", "chain", "the journal-wide chain holds; `chargehand verify` looks at every run")]


def _workers(workers: Sequence[Worker], environment: str) -> list[Finding]:
    if not workers:
        return [Finding("look", "workers", "none lives; start one with `chargehand worker`")]
    return [
        Finding(
            "ok" if worker.about.get("environment") == environment else "look",
            "worker",
            f"{worker.id} serves {worker.about.get('environment')}: {', '.join(worker.about.get('workflows', ()))}",
        )
        for worker in workers
    ]


def _unknown_runs(counts: Mapping[str, Any], workers: Sequence[Worker], environment: str) -> list[Finding]:
    """Name the workflows of unfinished runs that no live worker of this environment knows."""
    known = {name for worker in workers if worker.about.get("environment") == environment for name in worker.about.get("workflows", ())}
    unfinished: Counter[str] = Counter()
    for row in counts["unfinished"]:
        if row["environment"] == environment:
            unfinished[row["workflow"]] += row["runs"]
    lost = {name: count for name, count in sorted(unfinished.items()) if name not in known}
    if not lost:
        says = f"{counted(sum(unfinished.values()), 'run')}, each known to a live worker" if unfinished else "no runs"
        return [Finding("ok", "unfinished", says)]
    return [Finding("bad", "unfinished", f"{counted(count, 'run')} of {name}, which no live worker knows") for name, count in lost.items()]


async def _waiting(supervisor: Supervisor) -> list[Finding]:
    entries = await supervisor.waiting(limit=100_000)
    if not entries:
        return [Finding("ok", "waiting", "nothing waits for a person")]
    now = supervisor.clock.now()
    kinds = Counter(entry.kind for entry in entries)
    overdue = sum(is_overdue(entry, now) for entry in entries)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    level: Level = "bad" if overdue or kinds["doubt"] else "look"
    return [Finding(level, "waiting", listed + (f"; {overdue} overdue" if overdue else ""))]
