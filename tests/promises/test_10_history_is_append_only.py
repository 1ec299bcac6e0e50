"""Promise 10: history is append-only, and with a key or a head kept elsewhere, tamper-evident."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chargehand import effect, injected, sleep, step, wait_signal, workflow
from chargehand.durable import Commit, Journal
from chargehand.errors import Fenced, JournalCorrupt
from chargehand.events import chain_hash
from chargehand.testing import Supervised, SupervisedRun


async def take_back(receipt: str) -> None: ...


@step
async def one() -> str:
    return "one"


@effect(undo=take_back)
async def two(what: str, idempotency_key: str = injected()) -> str:
    return what


@workflow
async def counts() -> str:
    return await one() + await two("two")


@workflow
async def listens() -> int:
    await one()
    return await wait_signal("go", int)


async def ended(supervised: Supervised) -> SupervisedRun[str]:
    """Return a run that has ended."""
    run = await supervised.start(counts(), "r")
    await run.result()
    return run


def tampered(supervised: Supervised, seq: int, **change: Any) -> None:
    """Change a stored event behind the journal's back."""
    store = supervised.world.journal._store
    events = store.runs[store.numbers["r"]].events
    events[seq - 1] = replace(events[seq - 1], record=events[seq - 1].record._replace(**change))


async def test_the_chain_holds(supervised: Supervised) -> None:
    """An untouched run verifies, and so does the journal-wide chain of finished heads."""
    run = await ended(supervised)
    journal = supervised.world.journal
    await journal.verify((await run.row()).number)
    await journal.verify_chain()
    previous = b"\0" * 32
    for record in await journal.load((await run.row()).number):
        assert record.hash != previous
        previous = record.hash
    assert previous == (await run.row()).head


@pytest.mark.parametrize(
    "change",
    [{"payload": b'{"d":"x","v":"none"}'}, {"time": 0.0}, {"type": "call.failed"}, {"path": "other"}],
    ids=["payload", "time", "type", "path"],
)
async def test_a_changed_event_is_found(supervised: Supervised, change: dict[str, Any]) -> None:
    """Any field of an event that is changed afterwards breaks the chain, and the error says where."""
    run = await ended(supervised)
    tampered(supervised, 2, **change)
    with pytest.raises(JournalCorrupt, match="2"):
        await supervised.world.journal.verify((await run.row()).number)


async def test_a_dropped_event_is_found(supervised: Supervised) -> None:
    """An event that is taken out leaves a hole."""
    run = await ended(supervised)
    store = supervised.world.journal._store
    del store.runs[store.numbers["r"]].events[2]
    with pytest.raises(JournalCorrupt):
        await supervised.world.journal.verify((await run.row()).number)


async def test_a_tail_that_is_cut_off_is_found(supervised: Supervised) -> None:
    """The run's row and the journal-wide chain hold the head, so a shortened history does not pass."""
    run = await ended(supervised)
    store = supervised.world.journal._store
    del store.runs[store.numbers["r"]].events[-1]
    with pytest.raises(JournalCorrupt):
        await supervised.world.journal.verify((await run.row()).number)


async def test_a_forged_chain_differs_from_the_head_kept_elsewhere(supervised: Supervised) -> None:
    """Whoever rewrites all hashes cannot rewrite the head that was exported before."""
    run = await ended(supervised)
    kept = (await run.row()).head
    head = b"\0" * 32
    for event in await run.events():
        forged = chain_hash(head, "r", event.seq, event.time, event.type, event.path, b"another payload")
        head = forged
    assert head != kept


async def test_nobody_but_the_claimant_appends(supervised: Supervised) -> None:
    """A zombie with an old epoch, and a driver with an old seq, are fenced off."""
    run = await supervised.start(listens(), "r")
    await supervised.rest()
    row = await run.row()
    assert row.status == "waiting"
    journal: Journal = supervised.world.journal
    for epoch, before in ((row.epoch - 1, row.seq), (row.epoch, row.seq - 1), (row.epoch + 1, row.seq)):
        commit = Commit(row.number, "r", row.environment, epoch, before, (), "running")
        with pytest.raises(Fenced):
            await journal.append(commit)


async def test_a_run_that_has_ended_takes_nothing_more(supervised: Supervised) -> None:
    """After the end there is no event; a late cancel changes nothing."""
    run = await ended(supervised)
    before = await run.history()
    await supervised.cancel(run)
    await supervised.crash()
    await supervised.advance(3600)
    assert await run.history() == before
    assert await run.status() == "completed"


async def test_times_never_decrease_within_a_run(supervised: Supervised) -> None:
    """A wall clock that is set back does not make history run backwards."""

    @workflow
    async def sleeps() -> None:
        await one()
        await sleep(10)
        await one()

    run = await supervised.start(sleeps())
    await supervised.rest()
    supervised.clock.step(-7200)
    await run.result()
    times = [event.time for event in await run.events()]
    assert times == sorted(times)


async def test_no_journal_can_change_an_event() -> None:
    """The port has no way to change or delete an event of a run that has not ended, only to append."""
    writing = {name for name in dir(Journal) if not name.startswith("_")}
    assert not {name for name in writing if name.startswith(("update", "delete", "set", "rewrite", "replace"))}
