"""What faces read of a journal: who works on it, its chain, and what is unfinished."""

from __future__ import annotations

from chargehand.durable import Journal
from chargehand.events import chain_hash

from .conftest import Beside
from .driven import START, created


async def test_a_worker_tells_what_it_serves(journal: Journal, beside: Beside) -> None:
    """Everybody sees the workers that live and what they said of themselves, until they are dismissed."""
    view = await beside()
    first = await journal.enlist({"environment": "test", "workflows": ["procure", "reklamé"]})
    second = await journal.enlist()
    for _ in range(2):
        found = {worker.id: dict(worker.about) for worker in await view.workers()}
        assert found == {first: {"environment": "test", "workflows": ["procure", "reklamé"]}, second: {}}
        journal.beat(first)
    await journal.dismiss(first)
    assert [worker.id for worker in await view.workers()] == [second]


async def test_the_chain_can_be_read_in_parts(journal: Journal) -> None:
    """The links of the journal-wide chain are numbered from 1 and hang together."""
    for number in range(3):
        run = await created(journal, f"po-{number}")
        await run.append("end", status="completed")
    await journal.prune(before=START + 1000, limit=1)
    links = await journal.chain()
    assert [(link.id, link.kind, link.run_id) for link in links] == [
        (1, "finished", "po-0"),
        (2, "finished", "po-1"),
        (3, "finished", "po-2"),
        (4, "pruned", "po-0"),
    ]
    assert await journal.chain(1, 2) == links[1:3]
    assert await journal.chain(4) == []
    last = links[3]
    assert last.hash == chain_hash(links[2].hash, last.run_id, last.seq, last.time, last.kind, "", last.head)


async def test_prune_may_keep_to_one_environment(journal: Journal) -> None:
    """Who serves one environment prunes its runs only."""
    for id, environment in (("a", "test"), ("b", "other")):
        run = await created(journal, id, environment=environment)
        await run.append("end", status="completed")
    assert await journal.prune(before=START + 1000, limit=9, environment="other") == 1
    assert await journal.run("a") is not None
    assert await journal.run("b") is None


async def test_unfinished_runs_are_counted_by_what_they_need(journal: Journal) -> None:
    """Statistics tell of unfinished runs which environment and workflow they belong to."""
    await created(journal, "a")
    await created(journal, "b", workflow="refund", environment="other")
    done = await created(journal, "c")
    await done.append("end", status="failed")
    assert (await journal.statistics())["unfinished"] == [
        {"environment": "other", "workflow": "refund", "status": "running", "runs": 1},
        {"environment": "test", "workflow": "procure", "status": "running", "runs": 1},
    ]
