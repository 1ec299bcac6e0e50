"""Sagas: how the effects of a scope are undone when it fails, and what happens when that fails too.

1. A run's rollback begins with one commit that withdraws everything of it that waits. Calls in flight settle first.
2. Then one list, newest *done* first. An older effect is not touched before the newer one is accounted for.
3. An effect in doubt is looked up; else undone if its author allows that in doubt; else a person decides. It is never
   sent again to find out. A final effect in doubt opens an entry and holds nothing.
4. A done final effect is the pivot: what came after it is undone, what came before stands until a person decides.
5. An undo is keyed, journaled and retried like an effect; when it cannot be done it is a dead letter that holds the rest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from chargehand.core.history import History
from chargehand.core.identity import undo_key
from chargehand.core.lifecycle import OPEN_STAGES
from chargehand.core.states import EffectState
from chargehand.durable import KeyChange, KeySet
from chargehand.errors import KeyHeld, NotDone, Overtaken
from chargehand.failures import classify
from chargehand.supervise import pivot, telemetry, waiting
from chargehand.supervise.failing import paths_of, recorded_failure
from chargehand.supervise.log import Draft, Part

if TYPE_CHECKING:
    from chargehand.supervise.definitions import EffectDefinition
    from chargehand.supervise.run import RunDriver

_NOTHING_TO_UNDO = ("undone", "stands", "did not happen", "letter", "failed")


async def begin_rollback(driver: RunDriver, payload: dict[str, Any]) -> None:
    """Write down that the run has failed and withdraw what waits."""
    driver.log.put(Part([("run.rolling_back", "", payload)]))
    await driver.log.flush(close_all=True)


async def roll_back_run(driver: RunDriver) -> None:
    """Undo the run's effects and end it. May be started from any prefix."""
    history = driver.history
    await driver.settle_in_flight()
    begun = history.rolling_back
    if begun is None:
        return  # a person had the run go on before this operation came to work
    late = [waiting.current_id(driver, effect.path) for effect in history.effects() if effect.stage in ("proposed", "letter")]
    if late:  # asked as the rollback began: nobody is left to carry out what a person would decide
        await driver.log.commit(closed=late)
    stands = await undo_all(driver, history.effects())
    if stands and driver.workflow.after_final != "undo" and history.pivoted is None:
        await pivot.ask(driver, "", stands, begun.payload["e"])
    if history.rolling_back is None:
        return  # a person had the run go on
    if history.pivoted is not None:
        decision = await pivot.decision_on_run(driver)
        if decision == "go on":
            return
        if decision == "undo":
            await undo_all(driver, history.effects(), over_pivot=True)
    elif stands:
        await undo_all(driver, history.effects(), over_pivot=True)
    error = dict(begun.payload["e"])
    left = [effect.path for effect in history.effects() if effect.stage in ("stands", "done") and not effect.shared and not effect.dry]
    if begun.payload.get("by") == "cancel":
        await driver.finish_from_operation("run.cancelled", {"e": error, "standing": left}, "cancelled")
    else:
        await driver.finish_from_operation("run.failed", {"e": error, "standing": left}, "failed")


async def roll_back_scope(driver: RunDriver, path: str, error: BaseException) -> None:
    """Undo the effects of a scope that failed inside a run; then its failure goes on to the enclosing code."""
    scope = path.removesuffix(pivot.SUFFIX)
    history = driver.history
    if path not in history.rolling:
        await driver.log.commit(("scope.rolling_back", path, {"e": recorded_failure(error), "from": paths_of(error)}))
    stands = await undo_all(driver, history.effects(scope))
    if stands and driver.workflow.after_final != "undo":
        if path not in history.scope_pivots:
            await pivot.ask(driver, path, stands, recorded_failure(error))
        match await pivot.decision_on_scope(driver, path):
            case "go on":
                return
            case "leave":
                drafts: list[Draft] = [("undo.stands", effect.path, {"why": "left"}) for effect in stands]
                await driver.log.commit(*drafts)
            case _:
                await undo_all(driver, history.effects(scope), over_pivot=True)
    elif stands:
        await undo_all(driver, history.effects(scope), over_pivot=True)
    await driver.log.commit(("scope.rolled_back", path, {}), progress=True)


async def undo_all(driver: RunDriver, found: Sequence[EffectState], *, over_pivot: bool = False) -> list[EffectState]:
    """Undo effects, newest first. Returns what stands because of a pivot."""
    for effect in found:
        if effect.final and effect.stage in OPEN_STAGES:
            with suppress(Overtaken):  # a person's word came first
                await _settle_doubt(driver, effect)  # before anything older is touched: found done, it is the pivot
    line = 0 if over_pivot else max((effect.done_seq for effect in found if effect.final and effect.stage == "done"), default=0)
    stands: list[EffectState] = []
    for effect in found:
        while effect.stage in OPEN_STAGES and not effect.final:
            with suppress(Overtaken):  # a person's word came first: look again
                await _settle_doubt(driver, effect)
        if effect.stage in ("undoing", "undo backoff", "undo letter"):
            await undo(driver, effect)
        elif effect.stage == "done":
            if effect.shared or effect.dry:
                continue
            if effect.done_seq <= line:
                stands.append(effect)
            elif effect.final:
                await driver.log.commit(("undo.stands", effect.path, {"why": "final"}))
            else:
                await undo(driver, effect)
    await _wait_for_final_doubts(driver, found)
    return stands


async def _wait_for_final_doubts(driver: RunDriver, found: Sequence[EffectState]) -> None:
    """Wait for what was in doubt and held nothing back: an end before a person decided would close the entry in silence."""
    for effect in found:
        if effect.stage == "doubt":
            while effect.stage == "doubt":
                await driver.event_at(effect.path)
            if effect.stage == "done":
                await driver.log.commit(("undo.stands", effect.path, {"why": "final"}))


# -- doubt ----------


async def _settle_doubt(driver: RunDriver, effect: EffectState) -> None:
    """Find out about an effect whose outcome is unknown, without ever sending it again."""
    definition = driver.effect_definition(effect)
    if effect.stage == "backoff" and not effect.doubtful:
        await driver.log.commit(
            ("effect.did_not_happen", effect.path, {"e": dict(effect.error or {}), "permanent": True}),
            keys=_keys(effect, "open"),
        )
        return
    while effect.stage in OPEN_STAGES:
        if not driver.may_go_on(effect.path):  # what may still be going on elsewhere is neither looked up nor undone
            await _look_up(driver, effect, definition)
            if effect.stage not in OPEN_STAGES:
                return
            if definition is not None and definition.options.undo_in_doubt and definition.undo is not None:
                await undo(driver, effect)
                return
        if effect.stage != "doubt" or _withdrawn(driver, effect.facts["doubted"]):
            await _open_doubt(driver, effect)  # also when somebody redrove it as the rollback began: nothing is sent any more
        if effect.final:
            return
        if effect.stage in OPEN_STAGES:  # else a person's word came while it was asked for
            await driver.event_at(effect.path)


async def _look_up(driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any] | None) -> None:
    """Look an effect up, when it can be. One that cannot be looked up, or not now, stays as it was."""
    if definition is None or definition.lookup is None:
        return
    helper = definition.lookup
    answer: Exception | None = None
    arguments = definition.contract.from_record(effect.arguments or {}).values
    try:
        async with driver.site.gauges.of_resources(helper.contract.resources, arguments, partial(driver.holding, effect.path)):
            filled = await driver.site.filled(helper.contract, key=effect.key)
            values = {**helper.arguments(None, arguments), **filled}
            with telemetry.beside(driver, "look_up", definition.name, effect.path):
                value = await driver.site.run(driver.site.function_of(helper), values, definition.options.timeout)
        form = definition.contract.result.to_json(definition.contract.result.check(value))
    except Exception as error:
        answer = error
    if effect.stage not in OPEN_STAGES:
        return  # a person has said meanwhile what came of it
    if isinstance(answer, NotDone):
        await driver.log.commit(
            ("effect.did_not_happen", effect.path, {"by": "lookup", "permanent": True}),
            keys=_keys(effect, "open"),
            closed=_doubt_of(driver, effect),
        )
    elif answer is None:
        keys = () if effect.business is None else (KeySet(effect.tool, effect.business, "done", json.dumps(form).encode()),)
        await driver.log.commit(("effect.done", effect.path, {"v": form, "by": "lookup"}), keys=keys, closed=_doubt_of(driver, effect))


def _doubt_of(driver: RunDriver, effect: EffectState) -> list[str]:
    """Return the entry of a doubt that ends without a person."""
    return [waiting.current_id(driver, effect.path)] if effect.stage == "doubt" else []


def _withdrawn(driver: RunDriver, opened: int) -> bool:
    """Say whether an entry opened at this seq was closed by the commit with which the run's rollback began."""
    return opened < driver.history.withdrawn


async def _open_doubt(driver: RunDriver, effect: EffectState) -> None:
    shows = {
        "tool": effect.tool,
        "arguments": effect.arguments,
        "key": effect.key,
        "happened": "unknown",
        "why": "the run is being rolled back and this outcome is unknown",
    }
    entry = waiting.entry(driver, effect.path, "doubt", f"{effect.tool}: did it happen?", shows, ("done", "not-done", "abandon"))
    await driver.log.commit(("effect.doubted", effect.path, {"why": shows["why"], "entry": entry.id}), opened=[entry])


# -- undo ----------


async def undo(driver: RunDriver, effect: EffectState) -> None:
    """Undo one effect, from wherever its undo stands. Ends when it is undone or a person accepted that it stands."""
    definition = driver.effect_definition(effect)
    while effect.stage not in _NOTHING_TO_UNDO:
        with suppress(Overtaken):  # a person's word came first: look again
            await _undo_step(driver, effect, definition)


async def _undo_step(driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any] | None) -> None:
    if effect.stage == "undo letter":
        if _withdrawn(driver, effect.facts["letter"]["seq"]):
            await _letter(driver, effect, definition, effect.facts["letter"]["why"])
        await driver.event_at(effect.path)
    elif definition is None or definition.undo is None:
        await _letter(driver, effect, None, "this process does not know the effect's code; start one that does")
    elif effect.stage == "undo backoff" and effect.due is not None and effect.due > driver.clock.now():
        await driver.until(effect.due, effect.path)
    elif effect.stage == "undoing" and not _undo_is_keyed(definition):
        await _letter(
            driver,
            effect,
            definition,
            "the process died while it was being undone, and the undo takes no key: it may have happened",
        )
    else:
        await _try_undo(driver, effect, definition)


def _undo_is_keyed(definition: EffectDefinition[..., Any]) -> bool:
    return definition.undo is not None and any(filled.what == "key" for filled in definition.undo.contract.filled)


async def _try_undo(driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any]) -> None:
    """Undo once: wait for what its resources want, write down that it is undone now, undo it."""
    async with AsyncExitStack() as places:
        no_place = await _place(driver, effect, definition, places)
        if effect.stage in _NOTHING_TO_UNDO:
            return  # a person decided meanwhile
        crashed = effect.stage == "undoing"
        number = effect.undo_tries if crashed else effect.undo_tries + 1
        key = undo_key(effect.key)
        driver.site.at("before undo", effect.path)
        try:
            await driver.log.commit(
                ("undo.intended", effect.path, {"try": number, "key": key}), keys=_withheld(effect), closed=_doubt_of(driver, effect)
            )
        except KeyHeld:
            await _letter(driver, effect, definition, "another run uses the result of this effect", shared=True)
            return
        driver.site.at("after undo intent", effect.path)
        await driver.claim_holds(f"the undo of {effect.path}", definition.options.timeout)
        try:
            if no_place is not None:
                raise no_place
            await _send_undo(driver, effect, definition, key)
        except Exception as error:
            await _undo_failed(driver, effect, definition, number, error)
            return
        driver.site.at("after undo", effect.path)
        await driver.log.commit(("undo.done", effect.path, {}), keys=_keys(effect, "open"), progress=True)


async def _place(
    driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any], places: AsyncExitStack
) -> Exception | None:
    """Wait for what the resources of an undo want. Returns what keeps it from ever having a place."""
    helper = definition.undo
    assert helper is not None
    try:
        values = definition.contract.from_record(effect.arguments or {}).values
        place = driver.site.gauges.of_resources(helper.contract.resources, values, partial(driver.holding, effect.path))
        await places.enter_async_context(place)
    except Exception as error:
        return error
    return None


async def _send_undo(driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any], key: str) -> None:
    contract, helper = definition.contract, definition.undo
    assert helper is not None
    arguments = contract.from_record(effect.arguments or {}).values
    result = contract.result.from_json(effect.result) if effect.done_seq else None
    filled = await driver.site.filled(helper.contract, key=key)
    values = {**helper.arguments(result, arguments), **filled}
    with telemetry.beside(driver, "undo", definition.name, effect.path):
        await driver.site.run(driver.site.function_of(helper), values, definition.options.timeout, dispatch=driver.row.id)


async def _undo_failed(
    driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any], number: int, error: Exception
) -> None:
    """Retry an undo by the same rule as an effect: unless it is keyed, only when it surely did not happen."""
    outcome = classify(error)
    form = recorded_failure(error)
    safe = outcome.happened == "did not happen" or _undo_is_keyed(definition)
    policy = definition.options.undo_retry
    if safe and outcome.transient and number < policy.attempts:
        due = driver.clock.now() + policy.wait(number, driver.dice(effect.path + "!undo", number), outcome.retry_after)
        await driver.log.commit(("undo.tried", effect.path, {"try": number, "e": form, "due": due}))
        return
    effect.error = form
    why = f"{form.get('type', form['code'])}: {form['message']}"
    await _letter(driver, effect, definition, why)


async def _letter(
    driver: RunDriver, effect: EffectState, definition: EffectDefinition[..., Any] | None, why: str, *, shared: bool = False
) -> None:
    """Make the undo a dead letter: nothing older is touched until a person resolves it."""
    drafts: list[Draft] = []
    if effect.stage not in ("undoing", "undo backoff", "undo letter"):
        drafts.append(("undo.intended", effect.path, {"try": 0, "key": undo_key(effect.key)}))
    entry = waiting.undo_letter(driver, effect, definition, why)
    payload = {"why": why, "e": dict(effect.error or {}), "entry": entry.id}
    drafts.append(("undo.lettered", effect.path, payload | ({"shared": True} if shared else {})))
    driver.hold(effect.path)
    try:
        await driver.log.commit(*drafts, opened=[entry])
    finally:
        driver.release(effect.path)


def _withheld(effect: EffectState) -> tuple[KeyChange, ...]:
    """Return what keeps others from sharing what is being undone. Refused when somebody shares it, unless a person was told so."""
    if effect.business is None:
        return ()
    told = effect.facts.get("letter", {}).get("shared")
    return (KeySet(effect.tool, effect.business, "held", unshared=not told),)


def _keys(effect: EffectState, state: Any) -> tuple[KeyChange, ...]:
    return () if effect.business is None else (KeySet(effect.tool, effect.business, state),)


def poison_report(history: History, crashes: int) -> dict[str, Any]:
    """Return what a poison entry shows: the calls that were in flight when the workers died."""
    unsettled = [path for path, state in history.calls.items() if state.settled is None]
    undoing = [effect.path for effect in history.effects() if effect.stage == "undoing"]
    in_flight = [*history.in_flight(), *undoing]
    why = (
        f"in flight when the worker died: {', '.join(in_flight)}"
        if in_flight
        else "no effect was in flight: the worker died in the workflow's own code, or in a step, read or agent that left nothing yet"
    )
    return {"crashes": crashes, "why": why, "in_flight": in_flight, "unsettled": unsettled[:50]}
