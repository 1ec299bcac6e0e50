"""What is answered in JSON: runs, events and entries as plain data, times in UTC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from chargehand.cli.safe import iso
from chargehand.cli.ways import ways
from chargehand.core.account import Account
from chargehand.durable import RunRow, Waiting
from chargehand.events import Event, Record


def run_form(row: RunRow, shown: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a run's row; `shown` takes what is redacted out of its tags."""
    return {
        "id": row.id,
        "workflow": row.workflow,
        "environment": row.environment,
        "status": row.status,
        "reason": row.reason,
        "tags": shown(dict(row.tags)),
        "created": iso(row.created),
        "updated": iso(row.updated),
        "due": iso(row.due) if row.due else None,
        "events": row.seq,
        "standing": row.standing,
        "crashes": row.crashes,
        "owner": row.owner,
        "number": row.number,
    }


def event_form(event: Event) -> dict[str, Any]:
    """Return an event."""
    return {"seq": event.seq, "time": iso(event.time), "type": event.type, "path": event.path, "payload": event.payload}


def record_form(run_id: str, record: Record, event: Event) -> dict[str, Any]:
    """Return an event as `export` writes it: with its run and its hash."""
    return {"kind": "event", "run": run_id, **event_form(event), "hash": record.hash.hex()}


def entry_form(entry: Waiting, now: float) -> dict[str, Any]:
    """Return something that waits for a person."""
    return {
        "id": entry.id,
        "run": entry.run_id,
        "path": entry.path,
        "kind": entry.kind,
        "title": entry.title,
        "shows": dict(entry.shows),
        "decisions": list(entry.decisions),
        "commands": [way.command for way in ways(entry)],
        "role": entry.role,
        "created": iso(entry.created),
        "due": iso(entry.due),
        "overdue": is_overdue(entry, now),
        "digest": entry.digest,
    }


def is_overdue(entry: Waiting, now: float, older_than: float | None = None) -> bool:
    """Say whether an entry should have been decided by now."""
    return (entry.due is not None and entry.due <= now) or (older_than is not None and now - entry.created > older_than)


def account_form(account: Account) -> dict[str, Any]:
    """Return what a run did and what supervising it cost."""
    form = asdict(account)
    form["spent"] = None if account.spent is None else account.spent.record()
    for name in ("elapsed_seconds", "gate_seconds", "retry_seconds", "person_seconds"):
        form[name] = round(form[name], 3)
    return form
