"""Whether what a person gives fits what waits for it: known where the run's code is at hand, before anything is sent.

Nothing is executed: the run is replayed up to where it waits, and what waits there says which type it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from chargehand.cli.invocation import Invocation
from chargehand.cli.loading import code_of
from chargehand.cli.safe import short_json
from chargehand.contracts import Codec, explain
from chargehand.durable import RunRow, Waiting
from chargehand.errors import DecisionRefused, InvalidInput
from chargehand.supervise.call import Call
from chargehand.supervise.check import Check
from chargehand.supervise.log import loaded
from chargehand.supervise.steps import Wanted
from chargehand.supervisor import Supervisor

Code = Annotated[
    list[str] | None,
    typer.Option("--code", metavar="MODULE:WORKFLOW", help="The run's code, to see whether a value fits; else the configured workflows."),
]


def knowing(face: Invocation, supervisor: Supervisor, row: RunRow, code: Sequence[str] | None) -> Supervisor | None:
    """Return a supervisor on the same journal that knows the run's code; None when the code is not at hand."""
    definition, why = code_of(row.workflow, code or (), face.settings)
    if definition is None and code:
        raise InvalidInput(why)
    return None if definition is None else face.supervisor([definition], work=False, journal=supervisor.journal)


async def signal_fits(known: Supervisor, row: RunRow, name: str, carried: Any) -> bool:
    """Hold a signal's value against the wait that it would go to; say whether that could be done. Raises `DecisionRefused`."""
    if any(letter.kind == "signal" and letter.body.get("name") == name for letter in await known.journal.mail([row.number])):
        return False  # that one takes the wait, if it fits; what the next wait takes nobody knows yet
    check = await _replayed(known, row)
    for path, wanted in check.wanted():
        if check.history.call(path).facts.get("want") == name and isinstance(wanted, Wanted) and wanted.codec is not None:
            _refuse_unfit(f"Run {row.id!r} waits for the signal {name!r} at {path}", carried, wanted.codec)
            return True
    return False


async def answer_fits(known: Supervisor, row: RunRow, entry: Waiting, value: Any) -> None:
    """Hold an answer or an edited output against what waits. Raises `DecisionRefused`."""
    ask = (await _replayed(known, row)).ask_at(entry.path)
    if entry.kind == "question" and isinstance(ask, Wanted) and ask.codec is not None:
        _refuse_unfit(f"The question {entry.id!r} waits for an answer", value, ask.codec)
    if entry.kind == "escalation" and isinstance(ask, Call):
        _refuse_unfit(f"{entry.id!r} waits for an output", value, ask.definition.contract.result)


async def _replayed(known: Supervisor, row: RunRow) -> Check:
    check = Check(known.site, row, await loaded(known.journal, row.number))
    check.replay()
    return check


def _refuse_unfit(waits: str, value: Any, codec: Codec) -> None:
    try:
        codec.from_json(value)
    except ValidationError as error:
        raise DecisionRefused(
            f"{waits}, and {short_json(value, 80)} does not fit: {explain(error)}. It takes {short_json(codec.schema(), 200)}. "
            "Nothing was sent."
        ) from None
