"""The README's example, word for word, and what type checkers say of the public names. mypy and pyright read this, strictly.

``tests/docs/test_readme.py`` holds the text between the two marks against the README's blocks, and runs it.
"""
# ruff: noqa: E402, E701, E702, I001, RET504

# fmt: off
# -- the README's example begins ----------
from decimal import Decimal

from pydantic import BaseModel

from chargehand import Call, Done, Feedback, Rejected, agent, effect, gate, give_up, injected, read, retry, workflow
from chargehand import Resource, Supervisor

class Part(BaseModel):  sku: str; quantity: int
class Quote(BaseModel): supplier: str; sku: str; unit_price: Decimal; lead_days: int
class Order(BaseModel): id: str; supplier: str; total: Decimal

class Catalogue:                                    # yours: a client of a database or of a service
    def search(self, sku: str) -> list[Quote]:
        prices = {"Alder": "0.31", "Birch": "0.24", "Cedar": "0.22"}
        return [Quote(supplier=name, sku=sku, unit_price=Decimal(price), lead_days=4) for name, price in prices.items()]

catalogue = Resource(Catalogue, {"development": Catalogue})    # what a call needs and a journal must not hold, per environment

@read                                               # no side effect: may be repeated; agents may use it as a tool
async def search_catalogue(sku: str, catalogue: Catalogue = injected()) -> list[Quote]:
    return catalogue.search(sku)

async def cancel_order(order: Order, idempotency_key: str = injected()) -> None:
    print(f"cancelled {order.id} under the key {idempotency_key}")

@effect(undo=cancel_order, approve=lambda call: call.quote.unit_price * call.quantity > 500)
async def place_order(quote: Quote, quantity: int, idempotency_key: str = injected()) -> Order:
    return Order(id=f"SO-{idempotency_key[:6]}", supplier=quote.supplier, total=quote.unit_price * quantity)

@gate(detects="FM-1.1")                             # MAST: disobeys the task specification
def three_suppliers(quotes: list[Quote]) -> None:
    if len({quote.supplier for quote in quotes}) < 3:
        raise Rejected(f"{len(quotes)} quotes; three different suppliers are needed. Search more.")

@agent(role="Finds supplier quotes for one part. Never orders.",
       done=[Done("Quotes of three different suppliers, with price and lead time.", by=three_suppliers)],
       uses=[search_catalogue], family="openai")
async def researcher(part: Part, feedback: Feedback | None = None) -> list[Quote]:    # any code: an LLM client, a framework's agent
    quotes = await search_catalogue(part.sku)
    return quotes if feedback else quotes[:2]       # a stand-in that stops too early, until it is told what is missing

@agent(role="Chooses the cheapest quote. Never orders.")
async def analyst(quotes: list[Quote]) -> Quote:
    return min(quotes, key=lambda quote: quote.unit_price)

@agent(role="Tells the buyer what was ordered.", ladder=[retry(3), give_up()])
async def notifier(order: Order) -> str:
    return f"{order.id}: {order.total} to {order.supplier}"

@workflow
async def procure(part: Part) -> Order:
    quotes = await researcher(part)                 # released by its gates, or not at all
    best = await analyst(quotes)
    order = await place_order(best, part.quantity)  # asks a person, runs once, can be undone
    await notifier(order)                           # its ladder ends in give_up(): then the order is cancelled
    return order

async def buy(part: Part) -> Order:
    async with Supervisor("work.db", workflows=[procure], resources=[catalogue]) as supervisor:      # a SQLite file
        run = await supervisor.start(procure(part), id="po-1042", tags={"customer": "c-7"})   # the id is the run's idempotency key
        order = await run.result()
        return order
# -- the README's example ends ----------
# fmt: on

import datetime
import uuid
from typing import Any, assert_type

from chargehand import (
    Approve,
    AtOnce,
    BranchesFailed,
    Clarify,
    DoneByHand,
    Event,
    Fact,
    Failed,
    Finished,
    GateContext,
    Person,
    Rate,
    Retry,
    RunRow,
    RunView,
    Verdict,
    Waiting,
    ahead_by,
    ask_human,
    complete,
    consistent,
    escalate,
    fail,
    fall_back,
    gather,
    grounded,
    human,
    no_repeat,
    now,
    quorum,
    random,
    reassign,
    run_sync,
    saga,
    sleep,
    step,
    uuid4,
    wait_signal,
)
# -- calling makes a typed call ----------

part = Part(sku="M8-BOLT", quantity=400)


def calling() -> None:
    """What calling makes, and what a script gets."""
    assert_type(researcher(part), Call[list[Quote]])
    assert_type(procure(part), Call[Order])
    assert_type(search_catalogue("M8-BOLT"), Call[list[Quote]])
    assert_type(researcher(part).at("second"), Call[list[Quote]])
    assert_type(run_sync(procure(part), "work.db", id="po-1"), Order)


@step
def draft(text: str) -> str:
    """A plain function is a step as well; its call is awaited all the same."""
    return text


@step(retry=Retry(attempts=2), timeout=3)
async def fetched(url: str) -> bytes:
    """A step with options keeps its signature."""
    return url.encode()


bounded = Resource(Catalogue, Catalogue, at_once=AtOnce(2), rate=Rate(10, 60))


@workflow(at_once=AtOnce(3), rate=Rate(10, 60.0))
async def bounded_runs(sku: str) -> int:
    """A workflow with places and a rate keeps its signature."""
    return await stock(sku)


@read(at_once=AtOnce(4, per=lambda call: call.sku), rate=Rate(10, 1.0))
def stock(sku: str) -> int:
    """A read with options keeps its signature."""
    return len(sku)


@effect(final=True, approve=False)
def announce(text: str) -> None:
    """An effect of a plain function keeps its signature."""
    return print(text)


@agent(role="May ask instead of guessing.", gates=[human(role="buyer")], ladder=[retry(2), fall_back("nothing")])
async def asker(topic: str) -> str | Clarify:
    """The question is for the supervisor: the workflow gets the other type."""
    return topic if topic else Clarify("Which one?")


@agent(role="Says yes or no.", family="other")
async def voter(output: str) -> bool:
    """Votes."""
    return bool(output)


@agent(
    role="Uses everything a gate may be.",
    gates=[complete(), consistent(tolerance=0.01), grounded(derived="any"), no_repeat(), quorum(1, of=[voter]), ahead_by(1, of=[voter])],
    facts=lambda text: [Fact("text", "length", len(text), "m")],
    family="openai",
    ladder=[retry(2), reassign(asker), escalate("buyer", within=60, otherwise=give_up())],
)
async def everything(text: str) -> str:
    """Stand in."""
    return text


@gate
def with_context(output: str, context: GateContext) -> Verdict | None:
    """A gate may return a verdict."""
    return Verdict.fail("too long") if len(output) > len(context.inputs) else None


@workflow
async def all_verbs(text: str) -> str:
    """What each verb gives back in workflow code."""
    assert_type(await draft(text), str)
    assert_type(await fetched(text), bytes)
    assert_type(await stock(text), int)
    assert_type(await announce(text), None)
    assert_type(await asker(text), str)
    assert_type(await step("length", len, text, into=int), int)
    assert_type(await gather(draft(text), stock(text)), tuple[str, int])
    assert_type(await gather(*[draft(text) for _ in range(3)]), tuple[str, ...])
    assert_type(await gather(*[draft(text)], contain=True), tuple[Finished[str] | Failed, ...])
    assert_type(await sleep(1), None)
    assert_type(await wait_signal("go", int, within=5), int)
    assert_type(await ask_human("Which?", str, role="buyer"), str)
    assert_type(now(), datetime.datetime)
    assert_type(uuid4(), uuid.UUID)
    assert_type(random(), float)
    assert_type(await procure(part), Order)
    async with saga():
        await announce(text)
    try:
        await gather(draft(text), draft(text))
    except BranchesFailed as failed:
        assert_type(failed.failures, tuple[Exception, ...])
    if not text:
        fail("There is no text.")
    return text


async def outside(supervisor: Supervisor) -> None:
    """What a host application gets from a supervisor."""
    run = await supervisor.start(procure(part), deadline=datetime.timedelta(hours=1))
    assert_type(run, RunView[Order])
    assert_type(await run.result(timeout=5), Order)
    assert_type(await run.events(), list[Event])
    assert_type(await supervisor.start_many([(procure(part), "a"), (procure(part), "b")]), list[RunView[Order]])
    assert_type(supervisor.run("a"), RunView[Any])
    assert_type(await supervisor.runs(status="waiting", tags={"customer": "c-7"}), list[RunRow])
    assert_type(await supervisor.waiting(kinds=["approval"]), list[Waiting])
    async for event in supervisor.watch("a", after=3):
        assert_type(event, Event)
    for entry in await supervisor.waiting():
        await supervisor.decide(entry, Approve(), by=Person("ann", ["buyer"], vouched_by="shop"), shown=entry.digest)
        await supervisor.decide(entry.id, DoneByHand({"id": "SO-1"}), by=Person("ann"))


# -- what type checkers refuse ----------


def refused() -> None:
    """Each of these is an error of its own; an unused ignore would be one too."""
    researcher("M8-BOLT")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    procure(part, quantity=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    researcher(part).result()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
