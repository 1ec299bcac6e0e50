"""The lineage of real runs: agents with tools, branches, nested workflows, people, failures, code that has changed."""

from __future__ import annotations

from pydantic import BaseModel

from chargehand import (
    Answer,
    Approve,
    Rejected,
    agent,
    ask_human,
    effect,
    gate,
    gather,
    give_up,
    read,
    retry,
    saga,
    step,
    wait_signal,
    workflow,
)
from chargehand.core.lineage import Lineage
from chargehand.supervise.tracing import INPUT, RESULT, trace
from chargehand.testing import Supervised, SupervisedRun


class Offer(BaseModel):
    """What a supplier offers."""

    supplier: str
    price: str


@read
async def catalogue(sku: str) -> list[Offer]:
    return [Offer(supplier="Beech Industrial", price="852.10"), Offer(supplier="Alder Fasteners", price="717.30")]


async def cancel(result: str) -> None:
    return None


@effect(undo=cancel)
async def order(supplier: str, amount: str) -> str:
    return "SO-0001"


@gate
async def dearest(output: Offer) -> None:
    if output.supplier.startswith("Alder"):
        raise Rejected("too cheap")


@agent(role="Chooses.", gates=[dearest], uses=[catalogue], ladder=[retry(3), give_up()])
async def chooser(sku: str) -> Offer:
    offers = await catalogue(sku)
    chooser_turns.append(1)
    return offers[1] if len(chooser_turns) % 2 else offers[0]


chooser_turns: list[int] = []


@agent(role="Buys.", uses=[order])
async def buyer(offer: Offer) -> str:
    return await order(offer.supplier, offer.price)


@step
async def report(text: str) -> str:
    return f"filed as {len(text)}"


@workflow(name="buying")
async def buying(sku: str) -> str:
    offer = await chooser(sku)
    number = await buyer(offer)
    await report(f"Ordered {number} for {sku}")
    return number


@workflow(name="branching")
async def branching(skus: list[str]) -> str:
    one, two = await gather(label(skus[0]), label(skus[1]))
    both = await together(one, two)
    agreed = await ask_human("Is it so?", str, role="boss", about={"text": both})
    said = await wait_signal("word", str)
    return await report(f"{agreed}; {said}")


@step
async def label(sku: str) -> str:
    return f"the label of {sku}"


@workflow(name="together")
async def together(one: str, two: str) -> str:
    return await joined([one, two])


@step
async def joined(parts: list[str]) -> str:
    return " and ".join(parts) + ", joined"


@workflow(name="undoing")
async def undoing(sku: str) -> str:
    async with saga():
        number = await order("Beech Industrial", "852.10")
        await refuse(number)
    return number


@step(raises=[Rejected])
async def refuse(number: str) -> None:
    raise Rejected(f"{number} is refused")


@effect(undo=cancel, approve=True)
async def careful_order(supplier: str, amount: str) -> str:
    return "SO-0002"


@workflow(name="approving")
async def approving(sku: str) -> str:
    offers = await catalogue(sku)
    return await careful_order(offers[0].supplier, offers[0].price)


@workflow(name="buying")
async def buying_otherwise(sku: str) -> str:
    offer = await chooser(sku)
    return await buyer(Offer(supplier=offer.supplier, price="1.00"))


async def traced(supervised: Supervised, run: SupervisedRun[str], *, code: bool = True) -> Lineage:
    """Return a run's lineage."""
    found = trace(supervised.supervisor.site if code else None, await run.row(), await run.events())
    assert found.unfit == ""
    assert found.replayed == code
    return found.lineage


def strengths(lineage: Lineage) -> dict[tuple[str, str], str]:
    """Return the edges by source and target, content segments without their digest."""
    return {(edge.source.partition("~")[0], edge.target.partition("~")[0]): edge.strength for edge in lineage.edges}


async def test_a_crew(supervised: Supervised) -> None:
    """From the catalogue to the order and the report: by agents, their tools and text; rejected attempts lead nowhere."""
    chooser_turns.clear()
    run = await supervised.start(buying("M8-BOLT"), id="run-1")
    assert await run.result() == "SO-0001"
    lineage = await traced(supervised, run)
    assert strengths(lineage) == {
        (INPUT, "chooser"): "exact",
        ("chooser/try2/catalogue", "chooser"): "part",
        ("chooser", "buyer"): "exact",
        ("chooser", "buyer/order"): "part",
        ("buyer/order", "buyer"): "exact",
        (INPUT, "report"): "exact",
        ("buyer", "report"): "exact",
        ("buyer", RESULT): "exact",
    }
    reached = {path.partition("~")[0]: strength for path, strength in lineage.forward("chooser").items()}
    assert reached == {"buyer": "exact", "buyer/order": "part", "report": "exact", RESULT: "exact"}


async def test_a_crew_without_the_code(supervised: Supervised) -> None:
    """Only what effects were given is recorded; the rest is possible."""
    chooser_turns.clear()
    run = await supervised.start(buying("M8-BOLT"), id="run-1")
    await run.result()
    found = strengths(await traced(supervised, run, code=False))
    assert found["buyer/order", "buyer"] == "exact"
    assert found["chooser/try2/catalogue", "chooser"] == "part"
    assert found["buyer", RESULT] == "exact"
    assert found["chooser", "buyer/order"] == "part"  # what an effect was given is recorded
    assert ("chooser", "buyer") not in found


async def test_branches_nested_workflows_and_people(supervised: Supervised) -> None:
    """What a nested workflow passes on is seen through; people and signals are sources like any."""
    run = await supervised.start(branching(["M8-BOLT-1", "M9-BOLT-2"]), id="run-1")
    supervised.decide("question", Answer("it is as you say it is"))
    await supervised.signal(run, "word", "quite so, said the other one")
    await run.result()
    assert strengths(await traced(supervised, run)) == {
        (INPUT, "gather.1/label"): "part",
        (INPUT, "gather.2/label"): "part",
        ("gather.1/label", "together/joined"): "exact",
        ("gather.2/label", "together/joined"): "exact",
        ("together/joined", "ask_human"): "exact",
        ("ask_human", "report"): "exact",
        ("wait_signal", "report"): "exact",
        ("report", RESULT): "exact",
    }


async def test_a_failed_run(supervised: Supervised) -> None:
    """A run that was undone shows what led to its failure."""
    run = await supervised.start(undoing("M8-BOLT"), id="run-1")
    await run.ended()
    found = strengths(await traced(supervised, run))
    assert found["saga/order", "saga/refuse"] == "exact"


async def test_an_edited_effect_was_given_what_the_person_wrote(supervised: Supervised) -> None:
    """The arguments that were sent count, not those that were asked for."""
    run = await supervised.start(approving("M8-BOLT"), id="run-1")
    supervised.decide("approval", Approve({"supplier": "Beech Industrial", "amount": "5.00"}))
    await run.result()
    lineage = await traced(supervised, run)
    assert [edge.at for edge in lineage.edges if edge.target == "careful_order"] == [("supplier",)]


async def test_code_that_has_changed_says_so(supervised: Supervised) -> None:
    """Where the code no longer asks as it was recorded the lineage goes on by the record alone, and says where."""
    chooser_turns.clear()
    run = await supervised.start(buying("M8-BOLT"), id="run-1")
    await run.result()
    other = Supervised([buying_otherwise])
    async with other:
        found = trace(other.supervisor.site, await run.row(), await run.events())
    assert found.replayed
    assert "buyer" in found.unfit
    edges = strengths(found.lineage)
    assert ("chooser", "buyer") not in edges
    assert edges["chooser", "buyer/order"] == "part"  # what an effect was given is recorded
