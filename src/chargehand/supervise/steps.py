"""Steps, reads and waits: durable calls without an effect on the world.

A step that was in flight when its driver died is simply run again; so is one that failed transiently, after a durable
pause. One commit each: the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chargehand.contracts import Codec, explain
from chargehand.core.trampoline import Ask
from chargehand.errors import ChargehandError, Failure, NotDone, Rejected, TimedOut
from chargehand.failures import classify
from chargehand.supervise import waiting
from chargehand.supervise.budgets import Meter, current_meter
from chargehand.supervise.call import Call
from chargehand.supervise.failing import recorded_failure
from chargehand.supervise.log import Draft, Part
from chargehand.supervise.site import contained
from chargehand.verdicts import GateContext

if TYPE_CHECKING:
    from chargehand.supervise.definitions import StepDefinition
    from chargehand.supervise.run import RunDriver
    from chargehand.supervise.site import Site


def decoder_of(ask: Ask) -> Callable[[Any], Any]:
    """Return what makes the value of an asked call from its JSON form."""
    what = ask.what
    if isinstance(what, Call):
        codec: Codec = what.definition.contract.result
        return codec.from_json
    if isinstance(what, Wanted) and what.codec is not None:
        return what.codec.from_json
    return lambda form: form


class Wanted:
    """What a timer, a signal or a question waits for. `codec` decodes what comes."""

    __slots__ = ("codec", "due_in", "name", "role", "shows")

    def __init__(
        self,
        name: str,
        codec: Codec | None = None,
        due_in: float | None = None,
        role: str | None = None,
        shows: Any = None,
    ) -> None:
        self.name, self.codec, self.due_in, self.role, self.shows = name, codec, due_in, role, shows


async def perform(driver: RunDriver, call: Call[Any], path: str, *, told: bool = True) -> None:
    """Do a step or read until it has a value or has failed for good.

    `told`: return only when the value is on disk. Workflow code is told by the event, so its steps need not wait for that.
    """
    definition: StepDefinition[..., Any] = call.definition
    while True:
        state = driver.history.calls.get(path)
        if state is not None and state.due is not None and state.due > driver.clock.now():
            await driver.until(state.due, path)
        try:
            draft = await _once(driver, call, path)
        except Exception as error:
            if await _failed(driver, definition, call, path, error):
                return
            continue
        part = Part([draft], progress=True)
        if told:
            await driver.log.told(part)
        else:
            driver.log.put(part)
        return


async def _once(driver: RunDriver, call: Call[Any], path: str) -> Draft:
    """Do a step once and return the event of its result."""
    site, clock, definition = driver.site, driver.clock, call.definition
    site.at("before step", path)
    started = clock.monotonic()
    meter = Meter(driver, path)
    current_meter.set(meter)
    if definition.bare and site.bare:
        form = form_of(definition, await contained(definition.function(**call.arguments.values)))
    else:
        form = await _within_limits(driver, definition, call, path)
    site.at("after step", path)
    payload = {"d": call.arguments.digest, "v": form}
    if meter.settled:
        payload |= meter.record()
    elapsed = clock.monotonic() - started
    if elapsed >= 0.001:
        payload["s"] = round(elapsed, 3)
    return ("call.done", path, payload)


async def _within_limits(driver: RunDriver, definition: StepDefinition[..., Any], call: Call[Any], path: str) -> Any:
    """Call the function once, when its limits let it, and return the JSON form of its checked result."""
    site = driver.site
    if not definition.limits:
        value = await _called(site, definition, call)
        return await checked_result(driver, definition, call, path, value)
    async with site.gauges.place(definition, call.arguments.values):
        try:
            value = await _called(site, definition, call)
        except Exception:
            site.gauges.ended(definition, False)
            raise
        site.gauges.ended(definition, True)
    return await checked_result(driver, definition, call, path, value)


async def _called(site: Site, definition: StepDefinition[..., Any], call: Call[Any]) -> Any:
    values = call.arguments.values
    if definition.contract.filled:
        values = values | await site.filled(definition.contract)
    return await site.run(site.function_of(definition), values, definition.timeout)


def form_of(definition: Any, value: Any) -> Any:
    """Check a result against its annotation and return its JSON form. Raises `Rejected`."""
    codec: Codec = definition.contract.result
    try:
        return codec.to_json(codec.check(value))
    except ValidationError as error:
        raise Rejected(f"{definition.name} gave what its annotation does not allow: {explain(error)}", mode="SYS-schema") from error


async def checked_result(driver: RunDriver, definition: Any, call: Call[Any], path: str, value: Any) -> Any:
    """Check a result against its annotation and gates and return its JSON form. Raises `Rejected`."""
    codec: Codec = definition.contract.result
    form = form_of(definition, value)
    gates = definition.gates if hasattr(definition, "gates") else definition.options.gates
    if gates:
        context = GateContext(driver.row.id, path, 1, call.arguments.values, environment=driver.site.environment)
        for gate in gates:
            verdict = await driver.site.verdict(gate, codec.from_json(form), context)
            if verdict.outcome == "fail" or (verdict.outcome == "abstain" and gate.on_abstain != "pass"):
                raise Rejected(f"{definition.name}: {'; '.join(verdict.reasons) or verdict.outcome}", mode=verdict.mode)
    return form


async def _failed(driver: RunDriver, definition: StepDefinition[..., Any], call: Call[Any], path: str, error: Exception) -> bool:
    """Record a failed try; say whether it was the last."""
    state = driver.history.call(path)
    tries = state.tries + 1
    outcome = classify(error)
    ours = isinstance(error, (*definition.raises, ChargehandError)) and not isinstance(error, (TimedOut, NotDone))
    permanent = ours or not (outcome.transient or isinstance(error, TimedOut))
    if permanent and not isinstance(error, (Failure, NotDone, *definition.raises)) and isinstance(error, ChargehandError):
        raise error
    form = recorded_failure(error, definition.raises)
    if permanent or tries >= definition.retry.attempts:
        await driver.log.commit(("call.failed", path, {"d": call.arguments.digest, "e": form, "mode": outcome.mode}), progress=True)
        return True
    pause = definition.retry.wait(tries, driver.dice(path, tries), outcome.retry_after)
    due = driver.clock.now() + pause
    driver.dues[path] = due
    await driver.log.commit(("call.retrying", path, {"d": call.arguments.digest, "try": tries, "due": due, "e": form}))
    return False


# -- waits ----------


async def perform_wait(driver: RunDriver, ask: Ask) -> None:
    """Wait for a timer, a signal or an answer, durably."""
    match ask.kind:
        case "timer":
            await _timer(driver, ask)
        case "signal":
            await _signal(driver, ask)
        case "question":
            await _question(driver, ask)


async def _timer(driver: RunDriver, ask: Ask) -> None:
    state = driver.history.call(ask.path)
    if state.due is None:
        due = driver.clock.now() + (ask.what.due_in or 0.0)
        driver.hold(ask.path, due)
        try:
            await driver.log.commit(("timer.set", ask.path, {"d": ask.digest, "due": due}))
        finally:
            driver.release(ask.path)
    else:
        due = state.due
    await driver.until(due, ask.path)
    driver.log.note(("timer.fired", ask.path, {"d": ask.digest}), progress=True)


async def _signal(driver: RunDriver, ask: Ask) -> None:
    """Wait for mail of this name; mail that came before it was wanted counts."""
    wanted: Wanted = ask.what
    state = driver.history.call(ask.path)
    if state.digest is None or "want" not in state.facts:
        due = None if wanted.due_in is None else driver.clock.now() + wanted.due_in
        driver.hold(ask.path, due)
        try:
            await driver.log.commit(("signal.wanted", ask.path, {"d": ask.digest, "want": wanted.name, "due": due}))
        finally:
            driver.release(ask.path)
    state = driver.history.call(ask.path)
    while state.settled is None and (kept := driver.history.signals.get(wanted.name)):  # it came before it was wanted
        unfit, value = _unfit(wanted, kept[0]), kept[0]
        if unfit is not None:
            driver.log.note(("mail.ignored", ask.path, {"kind": "signal", "kept": wanted.name, "why": unfit}))
        else:  # noted, so folded at once: another wait of this name takes the next
            driver.log.note(("signal.received", ask.path, {"v": value, "kept": wanted.name}), progress=True)
    while state.settled is None:
        if not await driver.event_at(ask.path, state.due) and state.settled is None:
            failure = {"code": "timed-out", "message": f"The signal {wanted.name!r} did not come in time."}
            await driver.log.commit(("signal.expired", ask.path, {"e": failure}), progress=True)
            return


def _unfit(wanted: Wanted, value: Any) -> str | None:
    """Say why a value is not what is waited for."""
    try:
        if wanted.codec is not None:
            wanted.codec.from_json(value)
    except ValidationError as error:
        return f"the signal {wanted.name!r} does not fit: {explain(error)}"
    return None


async def _question(driver: RunDriver, ask: Ask) -> None:
    wanted: Wanted = ask.what
    state = driver.history.call(ask.path)
    if "question" not in state.facts:
        due = None if wanted.due_in is None else driver.clock.now() + wanted.due_in
        entry = waiting.question_entry(driver, ask.path, wanted, due)
        driver.hold(ask.path, due)
        try:
            payload = {"d": ask.digest, "question": wanted.name, "due": due, "entry": entry.id}
            await driver.log.commit(("question.asked", ask.path, payload), opened=[entry])
        finally:
            driver.release(ask.path)
    state = driver.history.call(ask.path)
    while state.settled is None:
        if not await driver.event_at(ask.path, state.due) and state.settled is None:
            failure = {"code": "denied", "message": f"Nobody answered {wanted.name!r} in time."}
            await driver.log.commit(
                ("question.answered", ask.path, {"e": failure}),
                closed=[waiting.current_id(driver, ask.path)],
                progress=True,
            )
            return
