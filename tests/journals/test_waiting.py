"""What waits for a person."""

from __future__ import annotations

import asyncio

from chargehand.durable import Journal
from chargehand.errors import JournalError

from .driven import START, created, entry


async def test_an_entry_comes_back_as_it_was_opened(journal: Journal) -> None:
    """The person sees exactly what the driver showed."""
    run = await created(journal, "po-1")
    opened = entry("e1", "po-1", role="ops", due=START + 60, shows={"order": {"total": "12.50", "Größe": [1, None]}})
    await run.append("asked", opened=[opened], status="waiting")
    assert await journal.entry("e1") == opened
    assert await journal.waiting() == [opened]


async def test_entries_are_listed_oldest_first_by_every_filter(journal: Journal) -> None:
    """One list of everything that waits, over all runs."""
    live = await created(journal, "po-1", environment="live")
    test = await created(journal, "po-2")
    await live.append("a", opened=[entry("e3", "po-1", created=START + 3), entry("e1", "po-1", created=START + 1)])
    await test.append("a", opened=[entry("e2", "po-2", created=START + 2, kind="letter")])
    await test.append("b", opened=[entry("e4", "po-2", created=START + 2, kind="doubt")])

    async def ids(**which: object) -> list[str]:
        return [one.id for one in await journal.waiting(**which)]  # type: ignore[arg-type]

    assert await ids() == ["e1", "e2", "e4", "e3"]
    assert await ids(limit=2) == ["e1", "e2"]
    assert await ids(run_id="po-2") == ["e2", "e4"]
    assert await ids(kinds=["approval", "doubt"]) == ["e1", "e4", "e3"]
    assert await ids(environment="live") == ["e1", "e3"]
    assert await ids(environment="live", kinds=["letter"]) == []


async def test_entries_close_one_by_one_or_all_at_once(journal: Journal) -> None:
    """An answered entry goes in the commit that answers it; a rollback closes all of a run's, and nobody else's."""
    run = await created(journal, "po-1")
    other = await created(journal, "po-2")
    await run.append("a", opened=[entry("e1", "po-1"), entry("e2", "po-1"), entry("e3", "po-1")])
    await other.append("a", opened=[entry("o1", "po-2")])
    await run.append("b", closed=["e2", "o1"])
    assert [one.id for one in await journal.waiting()] == ["e1", "e3", "o1"]
    await run.append("c", close_all=True, opened=[entry("e4", "po-1", kind="letter")])
    assert [one.id for one in await journal.waiting()] == ["o1", "e4"]


async def test_opening_again_replaces_what_is_shown(journal: Journal) -> None:
    """A call that is proposed anew shows the new proposal, under the same id."""
    run = await created(journal, "po-1")
    await run.append("a", opened=[entry("e1", "po-1")])
    await run.append("b", opened=[entry("e1", "po-1", digest="d2", title="Place the changed order?")])
    [shown] = await journal.waiting()
    assert (shown.digest, shown.title) == ("d2", "Place the changed order?")


async def test_an_entry_of_another_run_cannot_be_replaced(journal: Journal) -> None:
    """Two runs never share an entry."""
    run = await created(journal, "po-1")
    other = await created(journal, "po-2")
    await run.append("a", opened=[entry("e1", "po-1")])
    third = await created(journal, "po-3")
    refused, good = await asyncio.gather(other.append("a", opened=[entry("e1", "po-2")]), third.append("a"), return_exceptions=True)
    assert isinstance(refused, JournalError)
    assert "another run" in str(refused)
    assert list(good) == await journal.load(third.row.number, after=1)  # type: ignore[arg-type]
    assert (await other.now()).seq == 1
    assert [one.run_id for one in await journal.waiting()] == ["po-1"]
