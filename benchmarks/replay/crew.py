"""The crew: every recorded tool as one of our reads or effects, the recorded model as an agent, and the workflows.

A tool is a read when no call of that name ever changed anything, and an effect otherwise; the name decides, never the
single call. An effect can be looked up by its key: without that, one that a crash interrupted and that then refuses its
arguments would stay in doubt, rightly. The agent issues its recorded calls in their order. It cannot react: a refused
call is a call without result, and the next one comes all the same. Recorded errors are raised as errors; what could not
be parsed is a call of the tool `unparsable`, which always fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.replay.calls import Seen
from benchmarks.replay.desk import Desk
from benchmarks.replay.recording import Change, RecordedCall, Recordings
from benchmarks.replay.rules import Ask, Rejection
from chargehand import Failure, NotDone, Rejected, agent, effect, fail, gate, give_up, injected, read, workflow

Arguments = dict[str, Any]
Result = dict[str, Any]
"""``{"output": text or None, "changes": [...]}``: what an effect gave back, and what it changed."""


class ToolFailed(Exception):
    """A recorded error of a tool."""


@dataclass(frozen=True)
class Mode:
    """How a pass is played.

    `repeat`: whether equal effects of one agent are done once (the default) or each time. `guarded`: the rules stand
    before every effect. `whole`: an answer for which an effect was refused is not released, so all it did is undone.
    """

    repeat: Literal["once", "each"] = "once"
    guarded: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Crew:
    """The workflows of one pass: `play` plays a run, `play_and_fail` makes it fail after its last effect."""

    play: Any
    play_and_fail: Any


def crew(recordings: Recordings, desk: Desk, mode: Mode) -> Crew:
    """Define tools, agent and workflows for a pass."""
    tools = {name: _effect(name, desk, mode) if name in recordings.effects else _read(name) for name in recordings.tools}
    model = agent(
        name="recorded_model",
        role="Does an office task with the tools it is given. Never asks.",
        uses=list(tools.values()),
        gates=[nothing_refused] if mode.whole else [],
        ladder=[give_up()],
    )(_body(tools, mode))

    @workflow(name="play")
    async def play(run: int, request: str) -> Result:
        released: Result = await model(run, request)
        return released

    @workflow(name="play_and_fail")
    async def play_and_fail(run: int, request: str) -> Result:
        await model(run, request)
        fail("the run is made to fail after its last effect")

    return Crew(play, play_and_fail)


@gate
def nothing_refused(answer: Result) -> None:
    """Reject an answer for which an effect was refused: what it says was done was not."""
    if answer["refused"]:
        raise Rejected(f"Refused: {answer['refused']}")


# -- tools -------------------------------------------------------------------------------------------------------------


def _read(name: str) -> Any:
    async def look(arguments: Arguments, run: int, position: int, desk: Desk = injected()) -> str | None:
        await desk.at(run, f"call {position}")
        call = desk.call(run, position)
        if call.error is not None:
            raise ToolFailed(call.error)
        return call.output

    return read(name=name, raises=(ToolFailed,))(look)


def _effect(name: str, desk: Desk, mode: Mode) -> Any:
    async def take_back(made: Result, run: int, idempotency_key: str = injected(), desk: Desk = injected()) -> None:
        await desk.at(run, "undo")
        desk.office(run).revert(idempotency_key, [Change.from_record(form) for form in made["changes"]])
        await desk.at(run, "undone")

    async def change(arguments: Arguments, run: int, position: int, idempotency_key: str = injected(), desk: Desk = injected()) -> Result:
        await desk.at(run, f"call {position}")
        call = desk.call(run, position)
        if call.error is not None:
            raise NotDone(call.error, permanent=True)
        if mode.guarded and isinstance(found := desk.found(run, position), Rejection):
            raise NotDone(f"{found.rule}: {found.reason}", permanent=True)
        made = desk.office(run).perform(idempotency_key, desk.recordings.runs[run].wanted(position))
        await desk.at(run, f"called {position}")
        return _result(call, made)

    async def look_up(run: int, position: int, idempotency_key: str = injected(), desk: Desk = injected()) -> Result:
        made = desk.office(run).made_under(idempotency_key)
        if made is None:
            raise NotDone("the office does not know the key", permanent=True)
        return _result(desk.call(run, position), made)

    return effect(
        name=name,
        undo=take_back,
        lookup=look_up,
        approve=_asks(desk) if mode.guarded else False,
        advisory=("position",),
        repeat=mode.repeat,
        on_exhausted="raise",
    )(change)


def _result(call: RecordedCall, made: list[Change]) -> Result:
    return {"output": call.output, "changes": [entry.record() for entry in made]}


def _asks(desk: Desk) -> Callable[[Any], bool]:
    return lambda call: isinstance(desk.found(call.run, call.position), Ask)


# -- the recorded model --------------------------------------------------------------------------------------------------


def _body(tools: dict[str, Any], mode: Mode) -> Any:
    async def recorded_model(run: int, request: str, desk: Desk = injected()) -> Result:
        recorded = desk.recordings.runs[run]
        refused: list[str] = []
        for position, call in enumerate(recorded.calls):
            await desk.at(run, f"before {position}")
            given = await _issue(tools[call.tool], call, run, position)
            if isinstance(given, Exception) and call.error is None:
                refused.append(call.tool)
            if mode.guarded:
                seen = _seen(call, given)
                guard = desk.guard(run)
                again = mode.repeat == "once" and guard.has_seen(seen)
                guard.saw(replace(seen, changed=False) if again else seen)
        return {"answer": recorded.answer, "error": recorded.error, "refused": refused}

    return recorded_model


async def _issue(tool: Any, call: RecordedCall, run: int, position: int) -> Any:
    """Make one recorded call; an error is a result like any other."""
    try:
        return await tool(dict(call.arguments), run, position)
    except (Failure, ToolFailed) as error:
        return error


def _seen(call: RecordedCall, given: Any) -> Seen:
    if isinstance(given, Exception):
        return Seen(call.tool, call.arguments, str(given), failed=True, changed=False)
    if isinstance(given, dict):
        return Seen(call.tool, call.arguments, given["output"] or "", failed=False, changed=bool(given["changes"]))
    return Seen(call.tool, call.arguments, given or "", failed=False, changed=False)
