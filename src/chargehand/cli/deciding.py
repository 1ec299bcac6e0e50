"""Deciding: every verb a person has. A decision is on disk when the command returns; a worker carries it out.

What is decided is what was read: the digest of the entry goes along, and a worker refuses a decision on something else
than what waits by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from chargehand.cli.fitting import Code, answer_fits, knowing
from chargehand.cli.given import json_given, kinds_given
from chargehand.cli.inbox import LETTER_KINDS
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.posting import PANEL, As, Wait, posted
from chargehand.cli.safe import holds_mark, one_line, short_json
from chargehand.cli.unknown import refuse_entry
from chargehand.cli.ways import article, how
from chargehand.config import nearest
from chargehand.durable import Waiting
from chargehand.errors import DecisionRefused, InvalidInput, UnknownEntry
from chargehand.statuses import EXIT_OK, EXIT_REFUSED
from chargehand.supervise.decisions import Abandon, Answer, Approve, Decision, DoneByHand, Edit, Fail, NotDone, Redrive, Reject, Release
from chargehand.supervisor import Supervisor

_SHOWN_CHARS_MIN = 8

Entry = Annotated[str, typer.Argument(metavar="ENTRY", help="The entry's id, or its run's when only one thing in it can be decided so.")]
Shown = Annotated[
    str | None,
    typer.Option("--shown", metavar="DIGEST", help="Decide only about what was shown under this digest (its first 8 characters do)."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded.")]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for name, body in (
        ("approve", approve), ("reject", reject), ("release", release), ("answer", answer), ("redrive", redrive),
        ("resolve", resolve), ("fail", fail), ("abandon", abandon),
    ):  # fmt: skip
        command(app, name, PANEL)(body)


# -- decisions on entries ----------


async def approve(
    face: Invocation,
    entry: Entry,
    edit: Annotated[
        str | None, typer.Option("--edit", metavar="JSON", help="Approve with these arguments changed, the others as shown.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; it is recorded.")] = None,
    code: Code = None,
    as_: As = None,
    shown: Shown = None,
    wait: Wait = False,
) -> int:
    """Approve an effect exactly as shown, or with changed arguments. The approval is spent by that one call."""
    changes = _changes(edit)
    decision = Decision(Approve().name, reason=reason) if changes is None else Edit({}, reason)
    return await _decide(face, entry, decision, as_, shown, wait, code=code, changes=changes, kinds=("approval",))


async def reject(face: Invocation, entry: Entry, reason: Reason, as_: As = None, shown: Shown = None, wait: Wait = False) -> int:
    """Say no; the agent or the workflow receives the reason."""
    return await _decide(face, entry, Reject(reason_given(reason)), as_, shown, wait)


async def release(
    face: Invocation,
    entry: Entry,
    reason: Reason,
    edit: Annotated[
        str | None, typer.Option("--edit", metavar="JSON", help="Put this output in its place; it passes all gates again.")
    ] = None,
    code: Code = None,
    as_: As = None,
    shown: Shown = None,
    wait: Wait = False,
) -> int:
    """Let an escalated output through on your name, as it is or edited."""
    decision = Release(reason_given(reason)) if edit is None else Edit(_unmarked(json_given(edit, "--edit")), reason_given(reason))
    return await _decide(face, entry, decision, as_, shown, wait, code=code, kinds=("escalation",))


async def answer(
    face: Invocation,
    entry: Entry,
    value: Annotated[str, typer.Argument(metavar="JSON", help="The answer; what is not JSON is taken as text.")],
    code: Code = None,
    as_: As = None,
    shown: Shown = None,
    wait: Wait = False,
) -> int:
    """Answer a question that a workflow or an agent asks."""
    try:
        given = json_given(value, "the answer")
    except InvalidInput:
        if value[:1] in '@{["':
            raise
        given = value
    return await _decide(face, entry, Answer(given), as_, shown, wait, code=code)


async def resolve(
    face: Invocation,
    entry: Entry,
    done: Annotated[str | None, typer.Option("--done", metavar="JSON", help="It is done, and this came of it.")] = None,
    not_done: Annotated[bool, typer.Option("--not-done", help="It did not happen.")] = False,
    go_on: Annotated[bool, typer.Option("--go-on", help="After a final effect: the run goes on.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="After a final effect: undo what can be undone.")] = False,
    leave: Annotated[bool, typer.Option("--leave", help="After a final effect: leave what stands.")] = False,
    code: Code = None,
    as_: As = None,
    shown: Shown = None,
    wait: Wait = False,
) -> int:
    """Say what became of a call that could not be finished or is in doubt. Give one of the options."""
    chosen: list[Decision] = []
    if done is not None:
        chosen.append(DoneByHand(_unmarked(json_given(done, "--done"))))
    chosen += [
        decision
        for given, decision in ((not_done, NotDone()), (go_on, Decision("go on")), (undo, Decision("undo")), (leave, Decision("leave")))
        if given
    ]
    if len(chosen) != 1:
        raise InvalidInput(f"resolve takes one of --done, --not-done, --go-on, --undo, --leave; {len(chosen)} were given.")
    return await _decide(face, entry, chosen[0], as_, shown, wait, code=code)


async def fail(face: Invocation, entry: Entry, as_: As = None, shown: Shown = None, wait: Wait = False) -> int:
    """Give a dead letter up: its failure is raised into the workflow. Only for what did not happen."""
    return await _decide(face, entry, Fail(), as_, shown, wait)


async def abandon(face: Invocation, entry: Entry, reason: Reason, as_: As = None, shown: Shown = None, wait: Wait = False) -> int:
    """Give the run up and roll it back; on the letter of an undo: accept that the effect stands."""
    return await _decide(face, entry, Abandon(reason_given(reason)), as_, shown, wait)


async def redrive(
    face: Invocation,
    entry: Annotated[str | None, typer.Argument(metavar="[ENTRY]", help="The entry's id, or its run's.")] = None,
    edit: Annotated[
        str | None, typer.Option("--edit", metavar="JSON", help="With these arguments changed; only for what did not happen.")
    ] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", metavar="NAME", help="Every letter of this workflow's runs.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Every entry of this kind: letter or doubt.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every letter of this environment.")] = False,
    code: Code = None,
    as_: As = None,
    shown: Shown = None,
    wait: Wait = False,
) -> int:
    """Try dead letters again: one, or a selection.

    A doubt is redriven only where its key makes that safe, and never in a run that is being rolled back.
    """
    selecting = workflow is not None or kind is not None or all_
    if (entry is None) == (not selecting):
        raise InvalidInput("redrive takes one ENTRY, or a selection by --workflow, --kind or --all.")
    changes = _changes(edit)
    if entry is not None:
        decision = Redrive() if changes is None else Redrive({})
        return await _decide(face, entry, decision, as_, shown, wait, code=code, changes=changes, kinds=LETTER_KINDS)
    if changes is not None or shown is not None or wait:
        raise InvalidInput("--edit, --shown and --wait belong to one ENTRY, not to a selection.")
    return await _redrive_many(face, workflow, kind, as_)


async def _redrive_many(face: Invocation, workflow: str | None, kind: str | None, as_: str | None) -> int:
    kinds = LETTER_KINDS if kind is None else kinds_given([kind])
    if not set(kinds) <= set(LETTER_KINDS):
        raise InvalidInput(f"--kind is {' or '.join(LETTER_KINDS)} here, not {kind!r}: nothing else is redriven.")
    by = face.person(as_)
    redriven: list[str] = []
    refused: list[dict[str, str]] = []
    async with face.keyed() as supervisor:
        workflows: dict[str, str] = {}
        for one in await supervisor.waiting(kinds=kinds, limit=100_000):
            if "redrive" not in one.decisions:
                continue
            if one.run_id not in workflows:
                workflows[one.run_id] = (await supervisor.row(one.run_id)).workflow
            if workflow is not None and workflows[one.run_id] != workflow:
                continue
            try:
                await supervisor.decide(one, Redrive(), by=by, shown=one.digest)
                redriven.append(one.id)
            except (DecisionRefused, UnknownEntry) as error:
                refused.append({"entry": one.id, "why": error.message})
    if face.json:
        face.answer({"redriven": redriven, "refused": refused})
    elif not redriven and not refused:
        face.note("Nothing waits that fits and could be redriven. `chargehand letters` lists what waits.")
    else:
        face.say(f"{len(redriven)} redriven, {len(refused)} refused")
        for one_refused in refused:
            face.say(one_line(f"{one_refused['entry']}: {one_refused['why']}"), "red")
    return EXIT_REFUSED if refused else EXIT_OK


async def _decide(
    face: Invocation,
    named: str,
    decision: Decision,
    as_: str | None,
    shown: str | None,
    wait: bool,
    *,
    code: Sequence[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    kinds: Sequence[str] = (),
) -> int:
    """Post one decision; with `wait`, see what became of it."""
    async with face.keyed() as supervisor:
        entry = await _entry(supervisor, named, decision.name, kinds)
        if shown is not None and len(shown) < _SHOWN_CHARS_MIN:
            raise InvalidInput(
                f"--shown is too short: {shown!r}. Give at least {_SHOWN_CHARS_MIN} characters of what stands at 'shown as'."
            )
        if shown is not None and not entry.digest.startswith(shown):
            raise DecisionRefused(
                f"What waits at {entry.id!r} is not what was shown as {shown!r} but as {entry.digest!r}. Look at it again."
            )
        if changes is not None:
            decision = Edit(_edited(entry, changes), decision.reason)
        by = face.person(as_)
        if entry.role is not None and entry.role not in by.roles:
            hint = face.who_has(entry.role)
            raise DecisionRefused(f"{by.id!r} does not have the role {entry.role!r}, which decides {entry.id!r}. {hint}")
        row = await supervisor.row(entry.run_id)
        known = knowing(face, supervisor, row, code) if decision.value is not None or code else None
        if known is not None and decision.value is not None:
            await answer_fits(known, row, entry, decision.value)
        await (known or supervisor).decide(entry, decision, by=by, shown=entry.digest)
        if not face.json:
            given = "" if decision.value is None else f" with {short_json(face.shown(decision.value), 300)}"
            face.say(f"{decision.name} by {one_line(by.id)}: {one_line(entry.id)}, {one_line(entry.title)}{given}")
            if given and known is None:
                face.note("Whether it fits is seen when a worker takes it up; with --code MODULE:WORKFLOW it is seen now.")
        mail = {"kind": "decision", "entry": entry.id, "decision": decision.name}
        return await posted(face, supervisor, row, mail, wait)


async def _entry(supervisor: Supervisor, named: str, decision: str, kinds: Sequence[str]) -> Waiting:
    """Return the entry of an id, or the only one of a run on which this decision can be made."""
    entry = await supervisor.journal.entry(named)
    if entry is None:
        waits = await supervisor.waiting(run_id=named)
        found = [one for one in waits if decision in one.decisions and (not kinds or one.kind in kinds)]
        if len(found) > 1:
            listed = ", ".join(one.id for one in found[:5])
            raise DecisionRefused(f"In run {named!r} {len(found)} entries can be decided so: {listed}. Name one.")
        alone = found or [one for one in waits if not kinds or one.kind in kinds]
        if len(alone) != 1:
            await refuse_entry(supervisor, named, among=waits)
        entry = alone[0]
    if decision not in entry.decisions or (kinds and entry.kind not in kinds):
        listed = "; ".join(f"chargehand {how(entry, one)}" for one in entry.decisions)
        why = await _not_redriven(supervisor, entry) if (entry.kind, decision) == ("doubt", "redrive") else ""
        raise DecisionRefused(f"{entry.id!r} is {article(entry.kind)} and is not decided so.{why} It can be decided by: {listed}.")
    return entry


async def _not_redriven(supervisor: Supervisor, entry: Waiting) -> str:
    """Return why a doubt cannot be redriven."""
    if (await supervisor.row(entry.run_id)).status == "rolling back":
        return " Its run is being rolled back, in which nothing is sent any more, also not under the same key."
    return " Nothing keeps it from happening twice: it takes no idempotency_key, or its key is older than idempotent_for."


def _edited(entry: Waiting, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that an entry shows, with these changed."""
    arguments = entry.shows.get("arguments")
    known = dict(arguments) if isinstance(arguments, Mapping) else {}
    for name in changes.keys() - known.keys() if known else ():
        near = nearest(name, known)
        hint = f"Did you mean {near!r}?" if near else f"It shows: {', '.join(known)}."
        raise InvalidInput(f"--edit changes {name!r}, which is no argument of {entry.id!r}. {hint}")
    return {**known, **changes}


def _changes(edit: str | None) -> dict[str, Any] | None:
    if edit is None:
        return None
    changes = _unmarked(json_given(edit, "--edit"))
    if not isinstance(changes, dict):
        raise InvalidInput(f"--edit is no object of arguments by name: {short_json(changes)}.")
    return changes


def _unmarked(value: Any) -> Any:
    if holds_mark(value):
        raise InvalidInput(
            "The value holds '[redacted]', which stands for what is not shown. Write the value itself, or leave its name out."
        )
    return value


def reason_given(reason: str) -> str:
    """Return a reason that is not empty."""
    if not reason.strip():
        raise InvalidInput("--reason is empty. Say why in a sentence; it is recorded.")
    return reason
