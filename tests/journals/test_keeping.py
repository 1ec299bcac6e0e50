"""Keeping: verify, erase, prune, count."""

from __future__ import annotations

import pytest

from chargehand.durable import Journal, KeySet, KeyTake, NewMail
from chargehand.errors import JournalCorrupt, UnknownRun
from chargehand.events import chain_hash

from .driven import START, Driven, JumpClock, created, entry


async def finished(journal: Journal, id: str) -> Driven:
    """Create a run with a history and end it."""
    run = await created(journal, id, tags={"customer": "a"})
    await run.append("a", blobs=[(f"blob-{id}", b"large")])
    await run.append("end", status="completed")
    return run


async def test_an_untouched_run_verifies(journal: Journal) -> None:
    """The chain of every run holds, finished or not, and so does the journal's."""
    run = await created(journal, "po-1")
    await run.append("a", "b")
    done = await finished(journal, "po-2")
    await journal.verify(run.row.number)
    await journal.verify(done.row.number)
    await journal.verify_chain()
    with pytest.raises(UnknownRun):
        await journal.verify(99)


async def test_a_wrong_hash_is_found_and_placed(journal: Journal) -> None:
    """A driver that wrote a wrong hash is found at the event where it did."""
    run = await created(journal, "po-1")
    await run.append("a")
    run.head = bytes(32)
    await run.append("b", "c")
    with pytest.raises(JournalCorrupt, match=r"'po-1' does not hold at seq 3"):
        await journal.verify(run.row.number)


async def test_an_erased_payload_leaves_the_chain_valid(journal: Journal) -> None:
    """What must be forgotten can be, and everyone can see that something was."""
    run = await finished(journal, "po-1")
    before = await journal.load(run.row.number)
    assert await journal.erase(run.row.number, [2, 77], ["blob-po-1"]) == 1
    assert await journal.erase(run.row.number, [2]) == 0
    after = await journal.load(run.row.number)
    assert after[1].payload == b'{"$erased": true}'
    assert after[1].hash == before[1].hash
    assert [after[0], after[2]] == [before[0], before[2]]
    with pytest.raises(JournalCorrupt, match="blob"):
        await journal.blob(run.row.number, "blob-po-1")
    await journal.verify(run.row.number)
    await journal.verify_chain()
    assert (await journal.statistics())["chain"] == 2
    with pytest.raises(UnknownRun):
        await journal.erase(99, [1])


async def test_prune_deletes_finished_runs_and_keeps_their_keys(journal: Journal, clock: JumpClock) -> None:
    """Retention removes what has ended before a time, oldest first, and never a business key or an unfinished run."""
    old = await finished(journal, "old")
    await finished(journal, "older")
    keyed = await created(journal, "keyed")
    await keyed.append("a", keys=[KeyTake("refund", "k", "p", 1, "d")], opened=[entry("e1", "keyed")])
    await keyed.append("b", keys=[KeySet("refund", "k", "done", b"{}")])
    await keyed.append("c", status="failed")
    await journal.post([NewMail("keyed", "cancel", {}, START)])
    open_run = await created(journal, "open")
    clock.seconds = 1000.0
    assert await journal.prune(before=START + 3, limit=10) == 0
    assert await journal.prune(before=START + 4, limit=1) == 1
    assert await journal.run("old") is None
    assert await journal.load(old.row.number) == []
    assert await journal.run("older") is not None
    assert await journal.prune(before=START + 1000, limit=10) == 2
    assert await journal.run("open") == open_run.row
    key = await journal.key("test", "refund", "k")
    assert key is not None
    assert (key.run_id, key.state) == ("keyed", "done")
    await journal.verify_chain()
    counts = await journal.statistics()
    assert counts["runs"] == {"running": 1}
    assert (counts["events"], counts["mail"], counts["keys"], counts["chain"]) == (1, 0, 1, 6)


async def test_prune_can_be_kept_to_one_environment(journal: Journal) -> None:
    """A development process cleans up after itself and nobody else."""
    for id, environment in (("test", "test"), ("live", "live")):
        run = await created(journal, id, environment=environment)
        await run.append("end", status="completed")
    assert await journal.prune(before=START + 1000, limit=10, environment="live") == 1
    assert await journal.run("live") is None
    assert await journal.run("test") is not None


async def test_the_journals_chain_can_be_taken_elsewhere(journal: Journal) -> None:
    """Its links come in order, in pages, each bound to all before it: with the last one kept elsewhere, none is changed."""
    for number in range(3):
        await finished(journal, f"po-{number}")
    links = await journal.chain()
    assert [(link.id, link.kind, link.run_id, link.seq) for link in links] == [
        (number + 1, "finished", f"po-{number}", 3) for number in range(3)
    ]
    assert await journal.chain(after=1, limit=1) == links[1:2]
    previous = bytes(32)
    for link in links:
        previous = chain_hash(previous, link.run_id, link.seq, link.time, link.kind, "", link.head)
        assert link.hash == previous


async def test_a_pruned_number_is_not_given_again(journal: Journal) -> None:
    """A row number names one run for ever, so a driver that still holds an old one meets nobody else's run."""
    run = await finished(journal, "po-1")
    await journal.prune(before=START + 1000, limit=10)
    again = await created(journal, "po-1")
    assert again.row.number > run.row.number


async def test_statistics_count_what_is_there(journal: Journal) -> None:
    """`doctor` shows true numbers."""
    run = await created(journal, "po-1")
    await run.append("a", opened=[entry("e1", "po-1"), entry("e2", "po-1", kind="letter")])
    await created(journal, "po-2", owner=None)
    await finished(journal, "po-3")
    await journal.post([NewMail("po-1", "cancel", {}, START)])
    counts = await journal.statistics()
    assert counts["runs"] == {"running": 2, "completed": 1}
    assert counts["waiting"] == {"approval": 1, "letter": 1}
    assert (counts["events"], counts["mail"], counts["keys"], counts["chain"]) == (6, 1, 0, 1)
