"""Looking: runs, one run's timeline, and events as they come."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Annotated, Any

import typer

from chargehand.cli.forms import account_form, entry_form, event_form, run_form
from chargehand.cli.given import statuses_given, tags_given, time_given
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.loading import code_of
from chargehand.cli.safe import as_json, counted, duration, moment, one_line, short_json
from chargehand.cli.timeline import line_of, style_of
from chargehand.cli.unknown import run_named
from chargehand.cli.ways import quoted, verb
from chargehand.config import nearest
from chargehand.core.account import Account, account_of
from chargehand.core.history import History
from chargehand.core.states import AgentState
from chargehand.durable import FINAL_STATUSES, RunRow, Waiting
from chargehand.errors import JournalCorrupt
from chargehand.events import Event
from chargehand.supervise.definitions import AgentDefinition
from chargehand.supervise.discover import reachable
from chargehand.supervise.log import loaded
from chargehand.supervisor import Supervisor

PANEL = "Look"
_MINUTES = len("2026-01-31 12:00")
_LOOKED_AT = 1000
"""So many of the newest runs are looked at for the names of their workflows."""

Workflow = Annotated[str | None, typer.Option("--workflow", metavar="NAME", help="Only runs of this workflow.")]
Status = Annotated[
    list[str] | None, typer.Option("--status", metavar="STATUS", help="Only runs in this status, or `unfinished`. May be given again.")
]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="Only runs with this tag. May be given again.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Only runs started since then: a date, a time, or 7d for seven days ago.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only runs started before then.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]

_STATUS_STYLES = {"completed": "green", "failed": "red", "cancelled": "dim", "parked": "yellow", "waiting": "cyan", "rolling back": "red"}


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app, "runs", PANEL)(runs)
    command(app, "show", PANEL)(show)
    command(app, "watch", PANEL)(watch)


def status_text(row: RunRow) -> str:
    """Return a run's status with why it is parked and what it left behind."""
    reason = f" ({row.reason})" if row.status == "parked" and row.reason else ""
    standing = f", {row.standing} standing" if row.standing and row.status in ("failed", "cancelled") else ""
    return f"{row.status}{reason}{standing}"


async def runs(
    face: Invocation,
    workflow: Workflow = None,
    status: Status = None,
    tag: Tags = None,
    since: Since = None,
    until: Until = None,
    before: Annotated[
        int | None, typer.Option("--before", metavar="NUMBER", min=1, help="The page after this one: runs before this number.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 50,
) -> None:
    """List runs of this environment, newest first."""
    now = time.time()
    wanted = statuses_given(status or ())
    bounds = time_given(since, "--since", now), time_given(until, "--until", now)
    async with face.reading() as supervisor:
        rows = await supervisor.runs(
            workflow=workflow, status=wanted, tags=tags_given(tag or ()), since=bounds[0], until=bounds[1], before=before, limit=limit
        )
        none = await _no_runs(supervisor, workflow, filtered=bool(status or tag or since or until or before)) if not rows else ""
    more = rows[-1].number if len(rows) == limit else None
    if face.json:
        face.answer({"runs": [run_form(row, face.shown) for row in rows], "next": more})
        return
    if not rows:
        face.note(none)
        return
    shown = [
        (
            row.id,
            row.workflow,
            status_text(row),
            _tags(face, row),
            moment(row.created)[:_MINUTES] if face.out.is_terminal else moment(row.created),
            row.seq,
        )
        for row in rows
    ]
    face.table(
        ("run", "workflow", "status", "tags", "started", "events"),
        shown,
        styles=lambda row: _STATUS_STYLES.get(str(row[2]).split(" (")[0], ""),
    )
    if more is not None:
        face.note(f"More: the same with --before {more}")


async def _no_runs(supervisor: Supervisor, workflow: str | None, *, filtered: bool) -> str:
    """Return why a list of runs is empty."""
    known = {row.workflow for row in await supervisor.runs(limit=_LOOKED_AT)}
    if not known:
        return f"No runs in the environment {supervisor.environment!r}."
    if workflow is not None and workflow not in known:
        ends = sorted(name for name in known if name.endswith(f".{workflow}"))
        near = ends[0] if ends else nearest(workflow, known)
        return f"No runs of {workflow!r}. " + (
            f"Did you mean {near!r}?" if near else f"There are runs of: {', '.join(sorted(known)[:10])}."
        )
    return "No runs that fit these options." if filtered or workflow else "No runs."


async def watch(
    face: Invocation,
    run: RunId,
    after: Annotated[int, typer.Option("--after", metavar="SEQ", min=0, help="Begin after this event.")] = 0,
) -> None:
    """Print a run's events as they come, from whichever process; ends when the run has ended."""
    async with face.reading() as supervisor:
        row = await run_named(face, supervisor, run)
        if row.status not in FINAL_STATUSES and face.err.is_terminal:
            face.note(f"{row.id} is {row.status}. Ctrl-C leaves; the run is not touched.")
        started = row.created
        async for event in supervisor.watch(run, after):
            tell(face, event, started)


def tell(face: Invocation, event: Event, started: float) -> None:
    """Print one event."""
    seen = Event(event.seq, event.time, event.type, event.path, face.shown(event.payload))
    if face.json:
        face.raw(as_json(event_form(seen)))
    else:
        face.say(_line(seen, started), style_of(seen))


def _line(event: Event, started: float) -> str:
    """Return an event's line. Raises `JournalCorrupt` when it does not say what an event of its type says."""
    try:
        return line_of(event, started)
    except Exception as error:
        raise damaged(f"Event {event.seq} ({event.type})", error) from error


def damaged(what: str, error: Exception) -> JournalCorrupt:
    """Return the error of something read that no driver wrote so."""
    return JournalCorrupt(f"{what} cannot be read: {type(error).__name__}: {error}. `chargehand verify` tells which runs are whole.")


# -- show ----------


async def show(
    face: Invocation,
    run: RunId,
    code: Annotated[
        list[str] | None,
        typer.Option(
            "--code",
            metavar="MODULE:WORKFLOW",
            help="The run's code, to say which done-clauses no gate checks; else the configured workflows.",
        ),
    ] = None,
) -> None:
    """Show one run: its timeline, its effects, what it cost, and what supervising it cost."""
    async with face.reading() as supervisor:
        row = await run_named(face, supervisor, run)
        events = await loaded(supervisor.journal, row.number)
        waits = await supervisor.waiting(run_id=run)
        now = supervisor.clock.now()
        alive = {worker.id for worker in await supervisor.journal.workers()}
    history, account = _understood(run, events, now)
    unchecked, unknown = _unchecked(face, row, history, code or ())
    seen = [Event(event.seq, event.time, event.type, event.path, face.shown(event.payload)) for event in events]
    if face.json:
        face.answer(
            {
                "run": run_form(row, face.shown),
                "events": [event_form(event) for event in seen],
                "effects": face.shown(_effects(history)),
                "waiting": [face.shown(entry_form(entry, now)) for entry in waits],
                "unchecked": unchecked,
                "account": None if account is None else account_form(account),
            }
        )
        return
    _show_head(face, row, seen[0], alive)
    for event in seen:
        face.say(_line(event, row.created), style_of(event))
    _show_effects(face, _effects(history))
    _show_waits(face, waits)
    _show_unchecked(face, unchecked, unknown)
    _show_account(face, account, ended=row.status in FINAL_STATUSES)


def _understood(run: str, events: Sequence[Event], now: float) -> tuple[History, Account | None]:
    """Return what the events say in all; of a run whose payloads were erased, nothing but its events can be told."""
    if any(event.payload.get("$erased") for event in events):
        return History(), None
    try:
        return History().fold_all(events), account_of(events, now)
    except Exception as error:
        raise damaged(f"The history of run {run!r}", error) from error


def _show_head(face: Invocation, row: RunRow, first: Event, alive: Collection[str]) -> None:
    face.say(one_line(f"{row.id}  {row.workflow}  {status_text(row)}"), "bold")
    facts = [f"environment {row.environment}", f"started {moment(row.created)}", f"last event {moment(row.updated)}"]
    if first.payload.get("deadline"):
        facts.append(f"deadline {moment(first.payload['deadline'])}")
    if row.tags:
        facts.append("tags " + _tags(face, row))
    if row.crashes:
        facts.append(f"{counted(row.crashes, 'crash', 'crashes')} without progress")
    if row.owner is not None:
        facts.append(f"driven by worker {row.owner}" + ("" if row.owner in alive else ", which is gone: the next worker takes it over"))
    elif row.status in ("running", "rolling back"):
        facts.append("driven by nobody now: the next worker takes it up")
    face.say(one_line(", ".join(facts)))
    face.say()


def _tags(face: Invocation, row: RunRow) -> str:
    return " ".join(f"{name}={value}" for name, value in face.shown(dict(row.tags)).items())


def _effects(history: History) -> list[dict[str, Any]]:
    return [
        {
            "path": effect.path,
            "tool": effect.tool,
            "stage": effect.stage,
            "generation": effect.generation,
            "key": effect.key,
            "tries": effect.tries,
            "final": effect.final,
            "arguments": effect.arguments,
            "result": effect.result,
        }
        for effect in reversed(history.effects())
    ]


def _show_effects(face: Invocation, effects: Sequence[dict[str, Any]]) -> None:
    if not effects:
        return
    face.say()
    face.say("Effects", "bold")
    rows = [
        (
            effect["path"],
            effect["stage"] + (", final" if effect["final"] else ""),
            effect["generation"],
            effect["tries"],
            short_json(effect["result"], 80),
        )
        for effect in effects
    ]
    face.table(("effect", "stage", "generation", "tries", "result"), rows)


def _show_waits(face: Invocation, waits: Sequence[Waiting]) -> None:
    if not waits:
        return
    face.say()
    face.say(f"Waits for a person; `chargehand inbox {quoted(waits[0].run_id)}` shows it whole", "bold")
    for entry in waits:
        face.say(
            one_line(f"{entry.id}  {entry.kind}: {one_line(entry.title, 200)}  ({', '.join(verb(entry, one) for one in entry.decisions)})"),
            "yellow",
        )


def _show_unchecked(face: Invocation, unchecked: dict[str, list[str]] | None, unknown: str) -> None:
    if unchecked is None:
        face.say()
        face.say(f"Unchecked done-clauses: not known, {one_line(unknown)}", "dim")
        return
    if unchecked:
        face.say()
        face.say("Unchecked done-clauses: no gate holds these", "bold")
        for agent, clauses in unchecked.items():
            for clause in clauses:
                face.say(one_line(f"{agent}: {clause}"), "yellow")


def _show_account(face: Invocation, account: Account | None, *, ended: bool) -> None:
    face.say()
    face.say("Account", "bold")
    if account is None:
        face.say("not known: payloads of this run were erased")
        return
    spent = account.spent
    cost = "not measured" if spent is None else f"{spent.tokens} tokens, {spent.usd} USD in {counted(spent.calls, 'model call')}"
    face.say(
        f"took {duration(account.elapsed_seconds)}{'' if ended else ' so far'}: {counted(account.agents, 'agent call')}, "
        f"{account.steps} steps and reads, {counted(account.effects, 'effect')}"
    )
    face.say(f"spent: {cost}")
    face.say(
        f"supervision: {counted(account.repeated, 'repeated call')} "
        f"({counted(account.attempts - account.agents, 'attempt')}, {counted(account.votes, 'vote')}), "
        f"{counted(account.gates, 'verdict')} in {account.gate_seconds:.3f} s, {counted(account.rejections, 'rejection')}, "
        f"{account.undone} undone; "
        f"{duration(account.retry_seconds)} of retries, {duration(account.person_seconds)} of waiting for people"
    )


def _unchecked(face: Invocation, row: RunRow, history: History, references: Sequence[str]) -> tuple[dict[str, list[str]] | None, str]:
    """Return per agent of this run the done-clauses that no gate checks; None and why when the code is not at hand."""
    called = {
        path.rpartition("/")[2].partition("#")[0].partition("~")[0]
        for path, state in history.calls.items()
        if isinstance(state, AgentState)
    }
    if not called:
        return {}, ""
    workflow, why = code_of(row.workflow, references, face.settings)
    if workflow is None:
        return None, why
    found = {
        agent.name: [done.clause for done in agent.done if done.by is None]
        for agent in reachable([workflow])
        if isinstance(agent, AgentDefinition) and agent.name in called
    }
    return {name: clauses for name, clauses in sorted(found.items()) if clauses}, ""
