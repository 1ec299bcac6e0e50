"""The effect ledger: how a call that changes the world is asked, approved, made, recovered, and given up.

The order, which is the promise:

1. *proposed* is on disk before a person is asked; *approved* binds exactly what was shown.
2. *intended* (and *again* for each further try) is on disk before anything is sent. It spends the approval and takes the
   business key in the same commit.
3. The call is made once. What it raised is classified by one table (`failures.classify`); what the table does not know
   *may have happened*.
4. *done* with the checked result is on disk before anybody sees it.

`perform` may be started from any prefix of this: it reads the stage and asks `core.effect_life.next_move` what is next.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any

from chargehand.contracts import Arguments
from chargehand.core.effect_life import after_try, next_move
from chargehand.core.identity import base_key, key_of
from chargehand.core.lifecycle import OPEN_STAGES
from chargehand.core.states import EffectState
from chargehand.durable import FINAL_STATUSES, KeyChange, KeySet, KeyShare, KeyTake
from chargehand.errors import ChargehandError, Failure, KeyConflict, KeyHeld, NotDone, Overtaken, Rejected, WrongEnvironment
from chargehand.failures import Classified, classify
from chargehand.supervise import approvals, telemetry, unsent, waiting
from chargehand.supervise.budgets import Meter, current_meter
from chargehand.supervise.call import Call
from chargehand.supervise.failing import recorded_failure
from chargehand.supervise.log import Draft
from chargehand.supervise.site import Withheld
from chargehand.supervise.steps import checked_result

if TYPE_CHECKING:
    from chargehand.supervise.definitions import EffectDefinition
    from chargehand.supervise.run import RunDriver

_KEY_POLL_SECONDS = 1.0


async def perform(driver: RunDriver, call: Call[Any], path: str) -> None:
    """Carry one effect to its settlement, from wherever it stands."""
    definition: EffectDefinition[..., Any] = call.definition
    if not definition.allowed_in(driver.site.environment):
        raise WrongEnvironment(
            f"{definition.name} may not be made in the environment {driver.site.environment!r}. Its environment= names where."
        )
    effect = driver.history.effect(path)
    work = Work(driver, definition, call, path)
    while effect.settled is None:
        if work.too_late:
            raise asyncio.CancelledError  # as if it had been cancelled at a wait
        with suppress(Overtaken):  # a person's word, or a rollback, came first: look again
            await work.step()


class Work:
    """One effect on its way."""

    def __init__(self, driver: RunDriver, definition: EffectDefinition[..., Any], call: Call[Any], path: str) -> None:
        self.driver, self.definition, self.call, self.path = driver, definition, call, path
        self.needs_approval: tuple[int, bool] | None = None
        self.meter = Meter(driver, path)
        self.looked = False

    @property
    def effect(self) -> EffectState:
        """The effect as it stands."""
        return self.driver.history.effect(self.path)

    @property
    def too_late(self) -> bool:
        """Whether the run is being rolled back: nothing new is proposed, intended or sent; the rollback settles what is open."""
        return self.driver.history.rolling_back is not None

    def arguments(self) -> Arguments:
        """Return what is dispatched: what was recorded, or a person's edit, else what was asked."""
        effect = self.effect
        return self.call.arguments if effect.arguments is None else self.definition.contract.from_record(effect.arguments)

    def asks_person(self) -> bool:
        """Say whether the effect needs approval; asked once, at the ask, and again for a person's edit."""
        generation = self.effect.generation
        if self.needs_approval is None or self.needs_approval[0] != generation:
            self.needs_approval = (generation, approvals.needed(self.driver, self.definition, self.arguments()))
        return self.needs_approval[1]

    def must_ask(self) -> bool:
        """Say whether a person has to be asked before it is begun: at the ask, and at a redrive that no approval covers any more."""
        effect = self.effect
        if effect.stage == "redriven":
            arguments = self.arguments()
            asks = approvals.needed(self.driver, self.definition, arguments)
            return asks and not approvals.covers(self.driver, self.definition, effect, arguments)
        return effect.stage == "new" and self.asks_person()

    async def step(self) -> None:
        """Make the next move."""
        driver, effect, path = self.driver, self.effect, self.path
        move = next_move(effect, self.definition.policy, self.must_ask(), driver.clock.now())
        match move:
            case "propose" if not await self._answered_by_key():
                await approvals.propose(driver, self.definition, effect, self.arguments(), path, self.call.arguments.digest)
            case "person":
                await self._person()
            case "intend":
                await self._intend()
            case "wait":
                assert effect.due is not None
                await driver.until(effect.due, path)
            case "send again":
                await self._again()
            case "look up":
                await self._look_up(crashed=effect.stage == "intended")
            case "doubt":
                await self._doubt("the process died while it was being made" if effect.stage == "intended" else "its outcome is unknown")
            case "letter":
                await self._letter()
            case "fail":
                await self.commit(("effect.failed", {"e": dict(effect.error or {})}), progress=True)

    async def commit(self, *drafts: tuple[str, dict[str, Any]], **more: Any) -> None:
        """Commit events at this effect's path."""
        full: list[Draft] = [(kind, self.path, payload) for kind, payload in drafts]
        await self.driver.log.commit(*full, **more)

    async def _person(self) -> None:
        """Wait until a person decided or the entry expired; a doubt about a silent worker ends when that worker is gone."""
        effect = self.effect
        if (
            effect.stage == "doubt"
            and effect.facts.get("silent")
            and not self.driver.may_go_on(self.path)
            and self.definition.lookup
            and not self.looked
        ):
            self.looked = True
            await self._look_up()
            return
        if not await self.driver.event_at(self.path, effect.due) and effect.stage == "proposed":
            failure = {"code": "denied", "message": f"Nobody approved {self.definition.name} in time."}
            await self.commit(
                ("effect.denied", {"e": failure, "by": "expiry"}),
                closed=[waiting.current_id(self.driver, self.path)],
                progress=True,
            )

    # -- making it ----------

    async def _intend(self) -> None:
        """Take the key, spend the approval, write the intent; then send."""
        driver, effect, definition = self.driver, self.effect, self.definition
        arguments = self.arguments()
        if effect.stage == "approved" and not approvals.still_fits(driver, definition, effect, arguments):
            await approvals.propose(driver, definition, effect, arguments, self.path, self.call.arguments.digest)
            return
        if definition.options.dry_run:
            await unsent.dry(self, arguments)
            return
        business = self._business(arguments)
        generation = effect.generation
        keys: tuple[KeyChange, ...] = ()
        if business is not None:
            took = await self._take(business, arguments)
            if took is None:
                return
            generation, keys = took
        key = key_of(base_key(driver.seed, self.path, business), generation)
        if definition.options.transactional:
            await unsent.in_transaction(self, arguments, self.intent(arguments, generation, key, None))
            return
        payload = self.intent(arguments, generation, key, business)
        if not await self._make(arguments, ("effect.intended", payload), keys):
            await driver.until(driver.clock.now() + _KEY_POLL_SECONDS, self.path)

    async def _make(self, arguments: Arguments, draft: tuple[str, dict[str, Any]], keys: tuple[KeyChange, ...] = ()) -> bool:
        """Wait for a place, write down that it is made now, make it. Says False when somebody else took the key meanwhile.

        While it waits for a place nothing is on disk, and what is next may become another question (`overtaken`).
        """
        driver = self.driver
        async with AsyncExitStack() as places:
            no_place: Exception | None = None
            if self.definition.limits:
                no_place = await self.place(places, arguments)
            if self.overtaken(arguments):
                return True
            if draft[0] == "effect.intended":
                driver.site.at("before intent", self.path)
            try:
                await self.commit(draft, keys=keys)
            except KeyHeld:
                return False
            await self._send(arguments, no_place)
        return True

    def overtaken(self, arguments: Arguments) -> bool:
        """Say whether a wait for a place was too long: a rollback has begun, an approval expired, the world may have forgotten the key."""
        effect, now = self.effect, self.driver.clock.now()
        if effect.stage in ("backoff", "intended") and next_move(effect, self.definition.policy, False, now) != "send again":
            return True
        return self.too_late or (effect.stage == "approved" and not approvals.still_fits(self.driver, self.definition, effect, arguments))

    async def place(self, places: AsyncExitStack, arguments: Arguments) -> Exception | None:
        """Wait until it may be made, as one waits for time. Returns what keeps it from ever being made: a `per=` that raised."""
        try:
            await places.enter_async_context(self.driver.site.gauges.place(self.definition, arguments.values, self._hold))
        except Exception as error:
            return error
        return None

    def _hold(self, due: float) -> AbstractAsyncContextManager[None]:
        return self.driver.holding(self.path, due)

    def intent(self, arguments: Arguments, generation: int, key: str, business: str | None) -> dict[str, Any]:
        """Return what is written down before it is made."""
        payload: dict[str, Any] = {
            "d": self.call.arguments.digest,
            "tool": self.definition.full_name,
            **self.driver.asked_in(self.path),
            "args": self.definition.contract.to_record(arguments),
            "generation": generation,
            "key": key,
        }
        if business is not None:
            payload["business"] = business
        if self.definition.options.final:
            payload["final"] = True
        return payload

    def _business(self, arguments: Arguments) -> str | None:
        """Return the business key of the call as it would be made now."""
        key = self.definition.options.key
        return None if key is None else str(key(approvals.Shown(arguments.values)))

    async def _answered_by_key(self) -> bool:
        """Say whether the business key spares a person the question: it is done, in conflict, or being done at this moment."""
        arguments = self.arguments()
        business = None if self.definition.options.dry_run else self._business(arguments)
        return business is not None and await self._take(business, arguments) is None

    async def _take(self, business: str, arguments: Arguments) -> tuple[int, tuple[KeyChange, ...]] | None:
        """Ask who holds a business key. Returns the generation to make and the change, or None when that settled it."""
        driver, definition, effect = self.driver, self.definition, self.effect
        held = await driver.site.journal.key(driver.site.environment, definition.full_name, business)
        digest = definition.contract.partial_digest(arguments, definition.options.advisory)
        if held is None or (held.run_id == driver.row.id and held.path == self.path):
            generation = effect.generation
        elif held.state == "open":
            generation = held.generation + 1
        elif held.state == "held":
            holder = await driver.site.journal.run(held.run_id)
            if holder is None or holder.status in FINAL_STATUSES:  # its doubt was given up: nobody will ever know
                await self._conflict(
                    f"The key {business!r} of {definition.name} was used by run {held.run_id!r} ({held.path}), which has ended without "
                    "anybody finding out whether it happened. Find out, and use another key if it did not."
                )
            else:
                await driver.until(driver.clock.now() + _KEY_POLL_SECONDS, self.path)
            return None
        elif held.digest == digest:
            await self._share(arguments, business, held.result, held.run_id)
            return None
        else:
            await self._conflict(
                f"The key {business!r} of {definition.name} was used by run {held.run_id!r} ({held.path}) for other arguments. Use another key, or the same arguments."
            )
            return None
        return generation, (KeyTake(definition.full_name, business, self.path, generation, digest),)

    async def _conflict(self, message: str) -> None:
        payload = {"d": self.call.arguments.digest, "tool": self.definition.full_name, "e": KeyConflict(message).record()}
        await self.commit(("effect.failed", payload), progress=True)

    async def _share(self, arguments: Arguments, business: str, result: bytes | None, holder: str) -> None:
        """Take over the recorded result of an equal effect of another run, without owning it; its holder counts us."""
        payload = {
            "d": self.call.arguments.digest,
            "tool": self.definition.full_name,
            **self.driver.asked_in(self.path),
            "args": self.definition.contract.to_record(arguments),
            "v": json.loads(result) if result else None,
            "shared": True,
            "holder": holder,
        }
        others = holder != self.driver.row.id  # a second ask of the same run is no second owner
        keys = (KeyShare(self.definition.full_name, business),) if others else ()
        try:
            await self.commit(("effect.done", payload), keys=keys, progress=True)
        except KeyHeld:  # it was undone in the meantime: ask again
            return

    async def _again(self) -> None:
        """Write down that the effect is sent again under the same key, then send."""
        effect = self.effect
        crashed = effect.stage == "intended"
        payload = {"try": effect.tries if crashed else effect.tries + 1, "doubtful": effect.doubtful or crashed}
        if crashed:
            payload["crashed"] = True
        await self._make(self.arguments(), ("effect.again", payload))

    async def _send(self, arguments: Arguments, no_place: Exception | None) -> None:
        """Make the call. From here until its outcome is on disk the effect may have happened."""
        driver, definition, effect = self.driver, self.definition, self.effect
        driver.site.at("after intent", self.path)
        await driver.claim_holds(self.path, definition.options.timeout)
        contract = definition.contract
        started = driver.clock.monotonic()
        self.meter = Meter(driver, self.path)
        current_meter.set(self.meter)
        sent, value = False, None
        try:
            if no_place is not None:
                raise no_place
            values = {**arguments.values, **await driver.site.filled(contract, key=effect.key)}
            sent = True
            function = driver.site.function_of(definition)
            value = await driver.site.run(
                function, values, definition.options.timeout, dispatch=driver.row.id, unless=lambda: self.too_late
            )
        except Withheld:  # a rollback has begun since this was written: nothing is sent any more
            sent = False
        except Exception as error:
            driver.site.gauges.ended(definition, False)
            await self._tried(error, classify(error) if sent else _unsent(error))
            return
        if not sent:
            await self._not_sent()
            return
        driver.site.gauges.ended(definition, True)
        driver.site.at("after send", self.path)
        await self._made(value, driver.clock.monotonic() - started)

    async def _not_sent(self) -> None:
        """Record that this try was not made; what an earlier one did, the rollback finds out."""
        if self.effect.doubtful:
            return
        failure = {"code": "not-sent", "message": "The run was being rolled back; it was not sent."}
        payload = {"e": failure, "permanent": True, "by": "rollback"}
        await self.commit(("effect.did_not_happen", payload), keys=self._key_set("open"))

    async def _made(self, value: Any, elapsed: float) -> None:
        """Record the result; a result that cannot be recorded leaves the effect in doubt: it happened, result unknown."""
        effect, sent = self.effect, self.call
        if self.definition.options.gates:
            sent = Call(self.definition, self.arguments())  # with a person's edit: that is what the result is of
        try:
            form = await checked_result(self.driver, self.definition, sent, self.path, value)
        except (Rejected, ChargehandError) as error:
            self.effect.error = recorded_failure(error)
            await self._unknown(f"it happened, but its result cannot be used: {error}", returned=True)
            return
        payload: dict[str, Any] = {"v": form, **self.meter.record()}
        if elapsed >= 0.001:
            payload["s"] = round(elapsed, 3)
        await self.commit(("effect.done", payload), keys=self._key_set("done", form), closed=self._answered(), progress=True)
        self.driver.site.at("after done", effect.path)

    def _answered(self) -> list[str]:
        """Return the entry of a doubt that a look-up ends."""
        return [waiting.current_id(self.driver, self.path)] if self.effect.stage == "doubt" else []

    def _key_set(self, state: Any, form: Any = None) -> tuple[KeyChange, ...]:
        business = self.effect.business
        if business is None:
            return ()
        result = None if state != "done" else json.dumps(form).encode()
        return (KeySet(self.definition.full_name, business, state, result),)

    # -- when it did not work ----------

    async def _tried(self, error: BaseException, outcome: Classified) -> None:
        """Record a try that raised, and go where the rules lead."""
        driver, effect, policy = self.driver, self.effect, self.definition.policy
        form = recorded_failure(error, self.definition.options.raises)
        effect.error = form
        match after_try(effect, policy, outcome, driver.clock.now()):
            case "again later":
                pause = policy.retry.wait(max(effect.tries, 1), driver.dice(self.path, effect.tries), outcome.retry_after)
                due = driver.clock.now() + pause
                driver.dues[self.path] = due
                doubtful = effect.doubtful or outcome.happened == "may have happened"
                payload = {
                    "try": effect.tries,
                    "e": form,
                    "happened": outcome.happened,
                    "mode": outcome.mode,
                    "due": due,
                    "doubtful": doubtful,
                }
                await self.commit(("effect.tried", payload), progress=True)
            case "look up":
                await self._look_up()
            case "doubt":
                await self._doubt(f"{form.get('type', form['code'])}: {form.get('message', '')}")
            case "did not happen":
                payload = {"e": form, "permanent": not outcome.transient, "mode": outcome.mode}
                await self.commit(("effect.did_not_happen", payload), keys=self._key_set("open"))

    async def _look_up(self, *, crashed: bool = False) -> None:
        """Ask the outside world. Only an answer ends the doubt; an error leaves it."""
        driver, definition, effect = self.driver, self.definition, self.effect
        assert definition.lookup is not None
        if driver.may_go_on(self.path) and effect.stage == "intended":
            await self._unknown("the process that made it is silent but not dead, so its call may still be going on", silent=True)
            return
        helper = definition.lookup
        arguments, generation = self.arguments().values, effect.generation
        answer: Exception | None = None
        try:
            async with driver.site.gauges.of_resources(helper.contract.resources, arguments, self._hold):
                filled = await driver.site.filled(helper.contract, key=effect.key)
                values = {**helper.arguments(None, arguments), **filled}
                with telemetry.beside(driver, "look_up", definition.name, self.path):
                    value = await driver.site.run(driver.site.function_of(helper), values, definition.options.timeout)
        except Exception as error:
            answer = error
        if self.effect.stage not in OPEN_STAGES or self.effect.generation != generation:
            return  # a person has said meanwhile what came of it
        if isinstance(answer, NotDone):
            await self._not_found(answer, crashed)
        elif answer is not None:
            await self._unknown(f"the look-up failed: {type(answer).__name__}: {answer}")
        else:
            await self._made(value, 0.0)

    async def _not_found(self, answer: NotDone, crashed: bool) -> None:
        """It surely did not happen: send it again if tries are left. A crash uses up none."""
        driver, effect, policy = self.driver, self.effect, self.definition.policy
        tries = effect.tries - 1 if crashed else effect.tries
        failure = dict(effect.error or recorded_failure(answer))
        if answer.permanent or tries >= policy.retry.attempts or effect.stage == "doubt":
            payload = {"e": failure, "by": "lookup", "permanent": True}
            await self.commit(("effect.did_not_happen", payload), keys=self._key_set("open"), closed=self._answered())
            return
        pause = 0.0 if crashed else policy.retry.wait(max(tries, 1), driver.dice(self.path, tries), answer.retry_after)
        due = driver.clock.now() + pause
        driver.dues[self.path] = due
        payload = {"try": tries, "e": failure, "happened": "did not happen", "by": "lookup", "due": due, "doubtful": False}
        await self.commit(("effect.tried", payload))

    async def _doubt(self, why: str) -> None:
        await self._unknown(why)

    async def _unknown(self, why: str, *, silent: bool = False, returned: bool = False) -> None:
        """Open the doubt for a person; never send to find out."""
        driver, effect = self.driver, self.effect
        if effect.stage == "doubt":
            return
        entry = waiting.doubt(driver, effect, self.definition, why, returned=returned)
        driver.hold(self.path)
        try:
            payload = {"why": why, "e": dict(effect.error or {}), "entry": entry.id}
            await self.commit(("effect.doubted", payload | ({"silent": True} if silent else {})), opened=[entry])
        finally:
            driver.release(self.path)

    async def _letter(self) -> None:
        driver, effect = self.driver, self.effect
        entry = waiting.effect_letter(driver, effect, self.definition)
        driver.hold(self.path)
        try:
            await self.commit(("effect.lettered", {"e": dict(effect.error or {}), "entry": entry.id}), opened=[entry])
        finally:
            driver.release(self.path)


def _unsent(error: Exception) -> Classified:
    """Classify what stopped an effect before it was sent: a `per=` that raised, a resource that could not be made."""
    outcome = classify(error)
    ours = isinstance(error, ChargehandError) and not isinstance(error, Failure)
    return Classified("did not happen", outcome.transient and not ours, outcome.mode, outcome.retry_after)
