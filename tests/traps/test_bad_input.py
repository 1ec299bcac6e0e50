"""Bad input: it is named, refused, or waits for a person; it never goes through and never goes round in circles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from chargehand import (
    Answer,
    Approval,
    Approve,
    DecisionRefused,
    DefinitionError,
    InvalidInput,
    OutsideRun,
    Person,
    Rejected,
    RunConflict,
    UnknownEntry,
    UnknownRun,
    agent,
    ask_human,
    effect,
    escalate,
    gate,
    give_up,
    injected,
    read,
    reassign,
    retry,
    sleep,
    step,
    wait_signal,
    workflow,
)
from chargehand.errors import CallFailed, ForeignAwait, InsideLoop, UnknownWorkflow, Unserialisable
from chargehand.scripts import run_sync
from chargehand.testing import Supervised, always, scripted


class Part(BaseModel):
    sku: str
    number: int


async def take_back(receipt: str) -> None: ...


@effect(undo=take_back)
async def order(part: Part, idempotency_key: str = injected()) -> str:
    return part.sku


@effect(undo=take_back, approve=True)
async def approved(part: Part) -> str:
    return f"{part.number} {part.sku}"


@step
async def hand_on(part: Part) -> Part:
    return part


@read
def halves(n: int) -> int:
    return n // 2


class NoStock(Exception):
    pass


@read(raises=(NoStock,))
async def stock(sku: str) -> int:
    raise NoStock(f"no {sku}")


@agent(role="Says a part.", ladder=[retry(2), give_up()])
async def speaker() -> Part:
    return Part(sku="a", number=1)


@agent(role="Halves on a thread.", uses=[halves])
def threaded(n: int) -> int:
    return halves(n).wait() + halves(n).wait()


@agent(role="Blocks where it must not.", uses=[halves], ladder=[retry(1), give_up()])
async def blocking(n: int) -> int:
    return halves(n).wait()


@gate
def never_ends_well(part: Part) -> None:
    raise KeyboardInterrupt if part.sku == "stop" else RuntimeError("a defect")


@workflow
async def orders(part: Part) -> str:
    return await order(part)


@workflow
async def orders_approved(part: Part) -> str:
    return await approved(part)


@workflow
async def speaks() -> Part:
    return await speaker()


@workflow
async def asks() -> int:
    return await ask_human("how many?", int, within=3600)


@workflow
async def uses_threads(n: int) -> int:
    return await threaded(n)


@workflow
async def blocks(n: int) -> int:
    return await blocking(n)


@workflow
async def asks_stock() -> str:
    try:
        return str(await stock("a"))
    except NoStock as error:
        await sleep(1)
        return f"caught {error}"


@workflow
async def keeps_what_it_gave(part: Part) -> int:
    given = await hand_on(part)
    given.number += 1
    again = await hand_on(part)
    return given.number * 10 + again.number


@workflow
async def waits() -> int:
    return await wait_signal("go", int)


@workflow
async def gathers_foreign() -> None:
    await asyncio.gather(sleep(1), sleep(2))  # type: ignore[call-overload]


@workflow
async def makes_a_task() -> None:
    asyncio.get_running_loop().create_task(_order_later())
    await sleep(1)


async def _order_later() -> None:
    try:
        await order(Part(sku="later", number=1))
    except ForeignAwait as error:
        SAID.append(str(error))


SAID: list[str] = []


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: orders("no part"), "part"),  # type: ignore[arg-type]
        (lambda: orders(Part.model_construct(sku="a")), "part"),
        (lambda: orders(), "part"),  # type: ignore[call-arg]
        (lambda: orders(Part(sku="a", number=1), why="me"), "why"),  # type: ignore[call-arg]
        (lambda: order(Part(sku="a", number=1), idempotency_key="mine"), "idempotency_key"),
    ],
)
def test_wrong_types_are_named_where_the_call_is_made(call: Callable[[], Any], says: str) -> None:
    """Nothing of a wrong type gets into a run, and nobody passes what the supervisor fills."""
    with pytest.raises((InvalidInput, Unserialisable), match=says):
        call()


async def test_garbage_of_an_agent_goes_back_with_the_reason(supervised: Supervised) -> None:
    """What does not fit the annotation is a rejection like any other, told to the agent."""
    model = scripted({"sku": 3}, None)
    supervised.replace(speaker, model)
    run = await supervised.start(speaks())
    with pytest.raises(Rejected, match="does not fit"):
        await run.result()
    assert "number" in str(model.calls[0]) or len(model.calls) == 2


async def test_an_agent_that_never_returns_is_left_by_its_timeout(supervised: Supervised) -> None:
    """A body that hangs holds nobody for ever where a timeout is declared; without one it is at least cancellable."""
    supervised.replace(speaker, lambda: asyncio.Event().wait())
    run = await supervised.start(speaks())
    await asyncio.sleep(0.01)
    await supervised.supervisor.cancel(run.id)
    await supervised.until(lambda: supervised.world.journal.has_ended(run.id), "the cancel")
    assert await run.status() == "cancelled"


async def test_unknown_ids_are_refused(supervised: Supervised) -> None:
    """No run, no entry, no workflow of that name: each says so and what to do."""
    await supervised.rest()
    supervisor, petra = supervised.supervisor, Person("petra")
    for refused in (
        supervisor.row("nobody"),
        supervisor.signal("nobody", "go"),
        supervisor.cancel("nobody"),
        supervisor.resume("nobody"),
        supervisor.run("nobody").result(),
    ):
        with pytest.raises(UnknownRun, match="nobody"):
            await refused
    with pytest.raises(UnknownEntry, match="inbox"):
        await supervisor.decide("nobody/pay", Approve(), by=petra)
    with pytest.raises(UnknownWorkflow, match="orders"):
        await supervisor.start(orders(Part(sku="a", number=1)))
    with pytest.raises(DefinitionError, match="no workflow"):
        await supervisor.start(order(Part(sku="a", number=1)))  # type: ignore[arg-type]


@pytest.mark.parametrize("id", ["", "a/b", "a\nb", "a\0b", "x" * 201])
async def test_ids_that_could_not_be_shown_are_refused(supervised: Supervised, id: str) -> None:
    """A run's id is part of entries, paths and addresses."""
    with pytest.raises(InvalidInput, match="id"):
        await supervised.start(waits(), id)


async def test_a_known_id_with_another_input_is_a_conflict(supervised: Supervised) -> None:
    """The difference is shown; the run of that id is left alone."""
    await supervised.start(orders(Part(sku="a", number=1)), "po-1")
    with pytest.raises(RunConflict, match="number"):
        await supervised.start(orders(Part(sku="a", number=2)), "po-1")
    with pytest.raises(RunConflict, match="workflow"):
        await supervised.start(waits(), "po-1")


async def test_arguments_edited_into_invalid_ones_are_not_taken(supervised: Supervised) -> None:
    """Wrong type, missing, too many: refused with the reason, and the call waits as it was."""
    run = await supervised.start(orders_approved(Part(sku="a", number=1)))
    for wrong in ({"part": {"sku": "a"}}, {"part": 7}, {}, {"part": {"sku": "a", "number": 2}, "and": 1}):
        with pytest.raises(DecisionRefused, match="approved"):
            await supervised.decide("approval", Approve(edit=wrong))
    assert "effect.edited approved" not in await run.history()
    await supervised.decide("approval", Approve(edit={"part": {"sku": "b", "number": 3}}))
    assert await run.result() == "3 b"


async def test_a_decision_needs_somebody(supervised: Supervised) -> None:
    """Nobody, and somebody without a name, decide nothing; neither does a value that JSON cannot hold."""
    await supervised.start(asks())
    (entry,) = await supervised.waiting()
    for nobody in (None, Person("")):
        with pytest.raises(DecisionRefused, match="person"):
            await supervised.supervisor.decide(entry, Answer(1), by=nobody)
    with pytest.raises(InvalidInput):
        await supervised.supervisor.decide(entry, Answer(object()), by=Person("petra"))
    assert len(await supervised.waiting()) == 1


async def test_a_clock_that_jumps_back_expires_nothing_early(supervised: Supervised) -> None:
    """The wall clock is set back an hour: what is due by it waits an hour longer, and history does not run backwards."""
    run = await supervised.start(asks())
    await supervised.rest()
    supervised.clock.step(-3600)
    await supervised.advance(3600)
    assert await run.status() == "waiting"
    await supervised.decide("question", Answer(2))
    assert await run.result() == 2
    times = [event.time for event in await run.events()]
    assert times == sorted(times)


async def test_a_clock_that_jumps_forward_does_not_lose_the_claim(supervised: Supervised) -> None:
    """Liveness never uses the wall clock: a year's jump takes no run from a living worker."""
    run = await supervised.start(waits())
    other = supervised.beside([waits])
    await other.rest()
    owner = (await run.row()).owner
    supervised.clock.step(365 * 24 * 3600)
    await supervised.rest()
    assert (await run.row()).owner == owner
    await supervised.signal(run, "go", 1)
    assert await run.result() == 1
    await other.close()


async def test_two_processes_claim_a_run_once(supervised: Supervised) -> None:
    """A run that nobody holds is driven by one of them."""
    web = supervised.beside([orders], work=False)
    run = await web.start(orders(Part(sku="a", number=1)))
    calls = always("done")
    first, second = supervised.beside([orders]), supervised.beside([orders])
    for process in (first, second):
        process.replace(order, calls)
        await process.rest()
    assert await run.result() == "done"
    assert len(calls.calls) == 1
    assert [event.type for event in await run.events()].count("effect.intended") == 1


async def test_a_sync_body_waits_on_its_own_thread(supervised: Supervised) -> None:
    """call.wait() blocks the body's thread only; on the loop's thread it is refused by name."""
    assert await supervised.run(uses_threads(8)) == 8
    with pytest.raises((CallFailed, InsideLoop, Rejected), match="await the call"):
        await supervised.run(blocks(8))


async def test_calls_belong_into_runs() -> None:
    """Awaiting a call outside a run says what to do, and run_sync inside a loop names the await form."""
    with pytest.raises(OutsideRun, match="Supervisor"):
        await order(Part(sku="a", number=1))
    with pytest.raises(InsideLoop, match="await"):
        run_sync(waits())


async def test_declared_exceptions_come_back_as_themselves(supervised: Supervised) -> None:
    """raises=(NoStock,) is caught by its type, live and on replay; the type is the code's, not the journal's."""
    run = await supervised.start(asks_stock())
    await supervised.rest()
    await supervised.crash()
    assert await run.result() == "caught no a"


async def test_a_workflow_changes_its_own_copy_only(supervised: Supervised) -> None:
    """What the record gives back is fresh each time: changing it changes no other result, live as on replay."""
    run = await supervised.start(keeps_what_it_gave(Part(sku="a", number=1)))
    assert await run.result() == 21


@pytest.mark.parametrize("foreign", [gathers_foreign, makes_a_task])
async def test_asyncios_own_concurrency_is_refused(supervised: Supervised, foreign: Any) -> None:
    """A bare gather or task could not be ordered on replay; the message names chargehand's gather."""
    SAID.clear()
    run = await supervised.start(foreign())
    await supervised.advance(5)
    story = SAID + [str(entry.shows) for entry in await run.waiting()]
    assert "gather" in story[0]
    assert not [event for event in await run.events() if event.type.startswith("effect.")]


async def test_closing_the_waiting_client_leaves_the_run_alone(supervised: Supervised) -> None:
    """Whoever awaited the result goes away; the run does not notice."""
    run = await supervised.start(waits())
    await supervised.rest()
    client = asyncio.ensure_future(supervised.supervisor.run(run.id).result())
    await asyncio.sleep(0)
    client.cancel()
    await asyncio.wait([client])
    await supervised.signal(run, "go", 7)
    assert await run.result() == 7


@pytest.mark.parametrize(
    ("define", "says"),
    [
        (lambda: effect()(_plain), "undo"),
        (lambda: effect(undo=take_back, advisory=("nothing",))(_plain), "advisory"),
        (lambda: effect(undo=take_back, transactional=True)(_plain), "plain def"),
        (lambda: agent(role=" ")(_plain), "role"),
        (lambda: agent(role="x", uses=[_plain])(_plain), "uses"),  # type: ignore[list-item]
        (lambda: workflow(_sync), "async"),  # type: ignore[arg-type]
        (lambda: step(_untyped), "result"),
        (lambda: step(name="a/b")(_plain), "path"),
        (lambda: gate(detects="FM-9.9")(lambda out: None), "FM"),
        (lambda: effect(undo=3)(_plain), "undo of _plain is no function: 3"),
        (lambda: effect(undo=take_back, lookup="there")(_plain), "lookup of _plain is no function"),
        (lambda: effect(_plain), r"@effect stands over _plain without its options. Write @effect\(undo=…\)"),  # type: ignore[call-arg]
        (lambda: agent(_plain), r"Write @agent\(role=…\)"),  # type: ignore[call-arg]
        (lambda: agent("Plans."), r"Write @agent\(role=…\)"),  # type: ignore[call-arg]
        (lambda: agent(rolle="Plans."), "missing a required argument: 'role'"),  # type: ignore[call-arg]
        (lambda: agent(role="x", done=[3])(_plain), "done when 3"),  # type: ignore[list-item]
        (lambda: agent(role="x", ladder=[])(_plain), r"ladder=\[give_up\(\)\]"),
        (lambda: agent(role="x", timeout=-1)(_plain), "timeout= is not a positive number of seconds: -1"),
        (lambda: step(timeout=0)(_plain), "timeout= is not a positive"),
        (lambda: effect(undo=take_back, idempotent_for=-1)(_plain), "idempotent_for= is not a positive"),
        (lambda: workflow(deadline=timedelta(0))(_plain), "deadline= is not a positive"),
        (lambda: Approval(within=0), r"Approval\(within=…\) is not a positive"),
        (lambda: Approval(votes=0), r"Approval\(votes=0\) asks nobody"),
        (lambda: escalate(within=-1), r"escalate\(within=…\) is not a positive"),
        (lambda: reassign(_plain, 0), "attempts=0"),
    ],
)
def test_definitions_are_checked_before_anything_starts(define: Callable[[], Any], says: str) -> None:
    """What could never work is refused where it is defined, and the message names it."""
    with pytest.raises(DefinitionError, match=says):
        define()


async def _plain(what: str) -> str:
    return what


def _sync() -> str:
    return ""


async def _untyped(what: str):  # type: ignore[no-untyped-def]
    return what
