"""Effects that are not sent: dry runs, and those that are made inside the journal's own transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from chargehand.contracts import Arguments
from chargehand.errors import Fenced, TimedOut
from chargehand.supervise.failing import recorded_failure
from chargehand.supervise.log import Draft

if TYPE_CHECKING:
    from chargehand.supervise.effects import Work


async def dry(effect: Work, arguments: Arguments) -> None:
    """Answer a dry run: recorded as such, never undone, holding no key."""
    definition, driver = effect.definition, effect.driver
    option = definition.options.dry_run
    value = await driver.site.run(option, arguments.values) if callable(option) else None
    payload = {
        "d": effect.call.arguments.digest,
        "tool": definition.full_name,
        **driver.asked_in(effect.path),
        "args": definition.contract.to_record(arguments),
        "v": definition.contract.result.to_json(value),
        "dry": True,
    }
    await effect.commit(("effect.done", payload), progress=True)


async def in_transaction(effect: Work, arguments: Arguments, intent: dict[str, Any]) -> None:
    """Make the effect inside the commit that records it: exactly once, with no intent before it, and without a business key.

    One that took too long did not happen, and need not be slow: the machine may have stood still. It is tried again. These
    tries are not recorded: who comes after a crash counts anew.
    """
    definition, driver = effect.definition, effect.driver
    async with AsyncExitStack() as places:
        if definition.limits:
            no_place = await effect.place(places, arguments)
            if no_place is not None:
                await _failed(effect, no_place)
                return
            if effect.overtaken(arguments):
                return
        filled = await driver.site.filled(definition.contract)
        tries = 0
        while True:
            tries += 1
            try:
                await driver.log.commit(progress=True, work=_work(effect, arguments, filled, intent))
            except Fenced:
                raise
            except Exception as error:
                driver.site.gauges.ended(definition, False)
                if not isinstance(error, TimedOut) or tries >= definition.policy.retry.attempts:
                    await _failed(effect, error)
                    return
                await driver.until(driver.clock.now() + definition.policy.retry.wait(tries, driver.dice(effect.path, tries)), effect.path)
                if effect.overtaken(arguments):
                    return
            else:
                driver.site.gauges.ended(definition, True)
                return


def _work(effect: Work, arguments: Arguments, filled: Mapping[str, Any], intent: dict[str, Any]) -> Callable[[Any], list[Draft]]:
    """Return what is done inside the transaction."""
    result = effect.definition.contract.result
    function = effect.driver.site.function_of(effect.definition)

    def work(transaction: Any) -> list[Draft]:
        value = function(transaction, **arguments.values, **filled)
        return [("effect.done", effect.path, intent | {"v": result.to_json(result.check(value))})]

    return work


async def _failed(effect: Work, error: Exception) -> None:
    form = recorded_failure(error, effect.definition.options.raises)
    failed = {"d": effect.call.arguments.digest, "tool": effect.definition.full_name, "e": form}
    await effect.commit(("effect.failed", failed), progress=True)
