"""Creating runs, and reading them back."""

from __future__ import annotations

from chargehand.durable import Journal, RunFilter

from .conftest import Beside
from .driven import START, created, new_run


async def test_a_created_run_has_its_first_event_and_its_owner(journal: Journal) -> None:
    """A run and its first event come into being together, claimed in epoch 1."""
    new = new_run("po-1", tags={"customer": "c-7"})
    [made] = await journal.create([new], "w1")
    row = made.row
    assert not made.existed
    assert (row.id, row.workflow, row.environment, row.input_digest) == ("po-1", "procure", "test", "digest-of-input")
    assert (row.status, row.reason, row.epoch, row.seq, row.head) == ("running", None, 1, 1, new.first.hash)
    assert (row.owner, row.due, row.crashes, row.standing) == ("w1", None, 0, 0)
    assert (row.tags, row.created, row.updated) == ({"customer": "c-7"}, START + 1, START + 1)
    assert await journal.load(row.number) == [new.first]
    assert await journal.run("po-1") == row


async def test_a_run_created_for_nobody_is_due_at_once(journal: Journal) -> None:
    """A run that nobody drives yet can be claimed whatever the clock says."""
    [made] = await journal.create([new_run("po-1")], None)
    assert (made.row.owner, made.row.epoch) == (None, 0)
    assert await journal.next_due(workflows=["procure"], environment="test") == 0.0


async def test_a_known_id_changes_nothing(journal: Journal) -> None:
    """Starting a run twice gives the run that is there, also within one call."""
    run = await created(journal, "po-1")
    await run.append("a")
    again, fresh, twice = await journal.create([new_run("po-1", workflow="other"), new_run("po-2"), new_run("po-2")], "w2")
    assert again.existed
    assert again.row == await run.now()
    assert not fresh.existed
    assert twice.existed
    assert twice.row == fresh.row
    assert len(await journal.load(run.row.number)) == 2


async def test_a_second_view_sees_what_the_first_wrote(journal: Journal, beside: Beside) -> None:
    """What a method has returned is there for everybody else."""
    run = await created(journal, "po-1")
    await run.append("a", "b")
    other = await beside()
    assert await other.load(run.row.number) == await journal.load(run.row.number)
    assert await other.run("po-1") == await run.now()


async def test_changed_tells_of_own_and_others_writes(journal: Journal, beside: Beside) -> None:
    """Whoever looks for news pays nothing while there is none, and misses none."""
    other = await beside()
    assert journal.changed()
    assert not journal.changed()
    run = await created(journal, "po-1")
    assert journal.changed()
    assert not journal.changed()
    assert other.changed()
    await other.append(run.commit("a"))
    assert journal.changed()
    assert not journal.changed()


async def test_runs_are_listed_newest_first_by_every_filter(journal: Journal) -> None:
    """A list shows what was asked for, newest first, and pages by row number."""
    for number, (workflow, environment, customer) in enumerate(
        [("procure", "test", "a"), ("refund", "test", "b"), ("procure", "live", "a"), ("procure", "test", "b")]
    ):
        await created(journal, f"r{number}", workflow=workflow, environment=environment, tags={"customer": customer})
    done = await created(journal, "r4", tags={"customer": "a", "size": "large"})
    await done.append("end", status="completed")

    async def ids(**which: object) -> list[str]:
        return [row.id for row in await journal.runs(RunFilter(**which))]  # type: ignore[arg-type]

    assert await ids() == ["r4", "r3", "r2", "r1", "r0"]
    assert await ids(limit=2) == ["r4", "r3"]
    assert await ids(workflow="procure") == ["r4", "r3", "r2", "r0"]
    assert await ids(environment="live") == ["r2"]
    assert await ids(status=["completed", "failed"]) == ["r4"]
    assert await ids(tags={"customer": "a"}) == ["r4", "r2", "r0"]
    assert await ids(tags={"customer": "a", "size": "large"}) == ["r4"]
    assert await ids(ids=["r1", "r3", "nothing"]) == ["r3", "r1"]
    assert await ids(before=done.row.number, limit=1) == ["r3"]
    assert await ids(since=START + 1) == ["r4", "r3", "r2", "r1", "r0"]
    assert await ids(since=START + 2) == []
    assert await ids(until=START + 1) == []
    assert await ids(until=START + 2, workflow="refund") == ["r1"]


async def test_unknown_things_are_none(journal: Journal) -> None:
    """Asking for what is not there is an answer, not an error."""
    assert await journal.run("nothing") is None
    assert await journal.entry("nothing") is None
    assert await journal.key("test", "refund", "k") is None
    assert await journal.next_due(workflows=["procure"], environment="test") is None
    assert await journal.load(99) == []
    assert await journal.mail([99]) == []
    assert await journal.mailed("w1") == []
    assert not await journal.still_mine(99, 1)
