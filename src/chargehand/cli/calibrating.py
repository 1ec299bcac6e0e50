"""`judge-check`: how good a judge is, measured on labelled outputs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chargehand.cli.given import json_lines
from chargehand.cli.invocation import Invocation, command
from chargehand.cli.loading import thing_at
from chargehand.cli.safe import counted, short_json
from chargehand.errors import BadConfiguration, Failure, InvalidInput
from chargehand.supervise.calibration import Example, Heard, Share, Together, hear, pairs_of
from chargehand.supervise.gates import Gate
from chargehand.supervise.judges import JudgeDefinition

ENOUGH = 30
"""With fewer right, or fewer wrong, outputs an interval is wider than a third: it says next to nothing about either rate."""


PANEL = "Keep"


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "judge-check", PANEL)(judge_check)


async def judge_check(
    face: Invocation,
    labelled: Annotated[
        str,
        typer.Argument(
            metavar="LABELLED.jsonl",
            help='One JSON object per line: {"output": …, "right": true, "inputs": {…}, "tools": […]}; - is standard input.',
        ),
    ],
    judge: Annotated[str, typer.Argument(metavar="MODULE:JUDGE", help="The gate: judge(…), or quorum(…)/ahead_by(…) of judges.")],
    at_once: Annotated[int, typer.Option("--at-once", min=1, max=64, metavar="N", help="How many asks may be under way at once.")] = 4,
) -> int:
    """Ask a judge about outputs that are known to be right or wrong: what it finds, what it falsely rejects, with whom it errs.

    Nothing is journaled. Every ask costs what the model costs.
    """
    judges = judges_at(judge)
    examples = [_example(labelled, number, form) for number, form in json_lines(labelled, "labelled outputs")]
    if not examples:
        raise InvalidInput(f'{labelled} has no examples. Each line is {{"output": …, "right": true or false}}.')
    heard = []
    try:
        for one in judges:
            heard.append(await hear(one, examples, at_once))
    except* Failure as failures:
        raise failures.exceptions[0] from None
    if face.json:
        face.answer(
            {
                "examples": len(examples),
                "judges": [_form(one) for one in heard],
                "pairs": [_pair(one, other, both) for one, other, both in pairs_of(heard)],
            }
        )
    else:
        _tell(face, heard)
    return 0


def judges_at(reference: str) -> list[JudgeDefinition]:
    """Return the judges of the gate that ``module:name`` names."""
    thing = thing_at(reference)
    voters = thing.voters if isinstance(thing, Gate) else ()
    judges = [voter for voter in voters if isinstance(voter, JudgeDefinition)]
    if not judges or len(judges) < len(voters):
        what = f"{type(thing).__name__}" if not isinstance(thing, Gate) else f"the gate {thing.name}"
        raise BadConfiguration(f"{reference} is no judge but {what}. Name a judge(…), or a quorum(…) or ahead_by(…) of judges alone.")
    return judges


def _example(file: str, number: int, form: Any) -> Example:
    if not isinstance(form, dict) or "output" not in form or not isinstance(form.get("right"), bool):
        wanted = '{"output": …, "right": true or false}'
        raise InvalidInput(f"Line {number} of {file} is no labelled output: {short_json(form, 80)}. It is {wanted}, and may have inputs.")
    inputs = form.get("inputs", {})
    if not isinstance(inputs, dict):
        raise InvalidInput(f"Line {number} of {file}: inputs is no object of arguments by name: {short_json(inputs, 80)}.")
    return Example(form["output"], form["right"], inputs, form.get("tools", ()))


def _form(heard: Heard) -> dict[str, Any]:
    return {
        "judge": heard.judge.name,
        "model": heard.judge.model,
        "recall": heard.rejected(right=False).form(),
        "false_alarms": heard.rejected(right=True).form(),
        "abstained": heard.count("abstain"),
        "lost": heard.count("lost"),
        "errors_with_producer": heard.with_producer.form(),
        "tells_apart": heard.tells_apart,
        "input_tokens": heard.input_tokens,
        "output_tokens": heard.output_tokens,
        "usd": None if heard.usd is None else str(heard.usd),
    }


def _pair(one: Heard, other: Heard, both: Together) -> dict[str, Any]:
    return {"judges": [one.judge.name, other.judge.name], **both.form()}


def _tell(face: Invocation, heard: list[Heard]) -> None:
    names = ("JUDGE", "MODEL", "RECALL", "FALSE ALARMS", "ABSTAINED", "LOST", "ERRS WITH PRODUCER", "TOKENS", "USD")
    rows = [
        (
            one.judge.name, one.judge.model, _share(one.rejected(right=False)), _share(one.rejected(right=True)), str(one.count("abstain")),
            str(one.count("lost")), _phi(one.with_producer), str(one.input_tokens + one.output_tokens), "" if one.usd is None else f"{one.usd:.4f}",
        )
        for one in heard
    ]  # fmt: skip
    face.table(names, rows)
    for one, other, both in pairs_of(heard):
        face.say(f"{one.judge.name} and {other.judge.name} err together: {_phi(both)}.")
    for one in heard:
        if not one.tells_apart:
            face.say(f"These examples do not show that {one.judge.name} rejects wrong outputs more often than right ones.")
    wrong, right = heard[0].rejected(right=False).of, heard[0].rejected(right=True).of
    if min(wrong, right) < ENOUGH:
        face.say(f"{counted(wrong, 'wrong output')} and {counted(right, 'right one')} prove little: take at least {ENOUGH} of each.")


def _share(share: Share) -> str:
    low, high = share.interval
    return f"{share.hits} of {share.of} ({low:.0%} to {high:.0%})" if share.of else "none counted"


def _phi(both: Together) -> str:
    low, high = both.interval
    return f"φ {both.phi:.2f} ({low:.2f} to {high:.2f})" if both.phi is not None else "not to be told"
