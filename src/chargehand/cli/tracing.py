"""`lineage`: which released value went into which call of a run, forward and backward, as text, JSON or a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from chargehand.cli.drawing import svg_of
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.loading import code_of
from chargehand.cli.reading import RunId, damaged
from chargehand.cli.safe import counted, one_line
from chargehand.cli.unknown import run_named
from chargehand.cli.writing import written_whole
from chargehand.config import nearest
from chargehand.core.lineage import STRENGTHS, Edge, Lineage, Strength
from chargehand.durable import RunRow
from chargehand.errors import InvalidInput
from chargehand.events import Event
from chargehand.supervise.definitions import WorkflowDefinition
from chargehand.supervise.log import loaded
from chargehand.supervise.tracing import Traced, trace
from chargehand.supervisor import Supervisor

PANEL = "Look"
_PLACES = 4
_STYLES: dict[Strength, str] = {"exact": "green", "part": "cyan", "possible": "dim"}


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "lineage", PANEL)(lineage)


async def lineage(
    face: Invocation,
    run: RunId,
    path: Annotated[str | None, typer.Argument(metavar="[PATH]", help="Only what led to this call and what it reached.")] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(
            "--code", metavar="MODULE:WORKFLOW", help="The run's code, to know what calls were given; else the configured workflows."
        ),
    ] = None,
    svg: Annotated[str | None, typer.Option("--svg", metavar="FILE", help="Draw it into this file.")] = None,
) -> None:
    """Show which value went into which call: replays the run's code against its record, executing nothing.

    An edge is exact (the whole value is there), part (something telling of it is), or possible (several values have it, or
    nothing but the order speaks for it). What code computed from a value leaves no trace: that edge is missing.
    """
    async with face.reading() as reader:
        row = await run_named(face, reader, run)
        events = await loaded(reader.journal, row.number)
    if any(event.payload.get("$erased") for event in events):
        raise InvalidInput(f"The lineage of {run!r} cannot be told: payloads of the run were erased.")
    workflow, unknown = code_of(row.workflow, code or (), face.settings)
    traced = await _traced(face, workflow, row, events)
    found = traced.lineage
    if path is not None:
        path = _known(path, found)
    if svg is not None:
        marked = {path, *found.forward(path), *found.backward(path)} if path is not None else set()
        with written_whole(svg, "--svg") as file:
            file.write(svg_of(found, f"{row.id} {row.workflow} ({row.status})", marked))
    if face.json:
        face.answer(_form(face, row, traced, path, unknown))
        return
    if path is None:
        _say_edges(face, found)
    else:
        _say_reach(face, found, path)
    _say_limits(face, traced, unknown)


async def _traced(face: Invocation, workflow: WorkflowDefinition[..., Any] | None, row: RunRow, events: Sequence[Event]) -> Traced:
    try:
        if workflow is None:
            return trace(None, row, events)
        async with face.supervisor([workflow], work=False) as supervisor:
            return trace(_at(supervisor), row, events)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise damaged(f"The history of run {row.id!r}", error) from error


def _at(supervisor: Supervisor) -> Any:
    return supervisor.site


def _known(path: str, found: Lineage) -> str:
    """Return the call's full path. The digest of a call inside an agent may be left out. Raises `InvalidInput`."""
    paths = [node.path for node in found.nodes]
    if path in paths:
        return path
    starts = [one for one in paths if one.partition("~")[0] == path]
    if len(starts) == 1:
        return starts[0]
    near = starts or [one for one in [nearest(path, paths)] if one is not None]
    meant = f" Did you mean {' or '.join(repr(one) for one in near[:3])}?" if near else f" It has: {', '.join(paths[:10])}."
    raise InvalidInput(f"The run has no call {path!r}.{meant}")


def _say_edges(face: Invocation, found: Lineage) -> None:
    into: dict[str, list[Edge]] = {node.path: [] for node in found.nodes}
    for edge in found.edges:
        into[edge.target].append(edge)
    for node in found.nodes:
        face.say(f"{one_line(node.path)}  ({node.kind})", "bold")
        for edge in sorted(into[node.path], key=lambda edge: STRENGTHS.index(edge.strength)):
            face.say(f"  {edge.strength:<9}{one_line(edge.source)}{_places(edge)}", _STYLES[edge.strength])


def _places(edge: Edge) -> str:
    if not edge.at:
        return ""
    more = f" and {len(edge.at) - _PLACES} more" if len(edge.at) > _PLACES else ""
    return "  in " + one_line(f"{', '.join(edge.at[:_PLACES])}{more}")


def _say_reach(face: Invocation, found: Lineage, path: str) -> None:
    kinds = {node.path: node.kind for node in found.nodes}
    for heading, reached in (("led to it", found.backward(path)), ("it reached", found.forward(path))):
        effects = sum(1 for one in reached if kinds[one] == "effect")
        face.say(
            f"{heading}: {counted(len(reached), 'call') if reached else 'nothing'}"
            + (f", {counted(effects, 'effect')}" if effects else ""),
            "bold",
        )
        for one, strength in reached.items():
            face.say(f"  {strength:<9}{one_line(one)}  ({kinds[one]})", _STYLES[strength])


def _say_limits(face: Invocation, traced: Traced, unknown: str) -> None:
    if not traced.replayed:
        face.note(
            f"What calls were given is not known without the code, but for effects: {unknown or 'it does not begin as recorded.'}", "yellow"
        )
    elif traced.unfit:
        face.note(f"The code no longer fits the record; what comes behind was not replayed: {one_line(traced.unfit)}", "yellow")


def _form(face: Invocation, row: RunRow, traced: Traced, path: str | None, unknown: str) -> dict[str, Any]:
    found = traced.lineage
    form: dict[str, Any] = {
        "run": row.id,
        "replayed": traced.replayed,
        "why": unknown or traced.unfit,
        "calls": [{"path": node.path, "kind": node.kind, "seq": node.seq, "inside": node.inside} for node in found.nodes],
        "edges": [{"source": e.source, "target": e.target, "strength": e.strength, "at": list(e.at)} for e in found.edges],
    }
    if path is not None:
        form |= {"path": path, "forward": found.forward(path), "backward": found.backward(path)}
    return form
