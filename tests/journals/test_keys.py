"""Business keys: one holder at a time over all runs, and a key never used for two doings."""

from __future__ import annotations

import asyncio

import pytest

from chargehand.durable import Journal, KeySet, KeyShare, KeyTake
from chargehand.errors import JournalError, KeyHeld

from .driven import Driven, created


def take(path: str = "refund", generation: int = 1, digest: str = "d1", key: str = "refund-7") -> KeyTake:
    """Return the wish for a key."""
    return KeyTake("refund", key, path, generation, digest)


DONE = KeySet("refund", "refund-7", "done", b'{"id":1}')
OPEN = KeySet("refund", "refund-7", "open")


async def holder(journal: Journal) -> tuple[object, ...]:
    """Return what the journal says of the key."""
    row = await journal.key("test", "refund", "refund-7")
    assert row is not None
    return row.run_id, row.path, row.generation, row.digest, row.state, row.result, row.shared


async def test_a_key_goes_through_its_life(journal: Journal) -> None:
    """Held while in flight, done with a result, shared by others, open again after an undo."""
    run = await created(journal, "po-1")
    await run.append("intended", keys=[take()])
    assert await holder(journal) == ("po-1", "refund", 1, "d1", "held", None, 0)
    await run.append("done", keys=[DONE])
    assert await holder(journal) == ("po-1", "refund", 1, "d1", "done", b'{"id":1}', 0)
    other = await created(journal, "po-2")
    await other.append("shared", keys=[KeyShare("refund", "refund-7")])
    assert await holder(journal) == ("po-1", "refund", 1, "d1", "done", b'{"id":1}', 1)
    await run.append("undone", keys=[OPEN])
    assert await holder(journal) == ("po-1", "refund", 1, "d1", "open", None, 1)
    await other.append("intended", keys=[take("other/refund", 2, "d2")])
    assert await holder(journal) == ("po-2", "other/refund", 2, "d2", "held", None, 0)


@pytest.mark.parametrize("state", ["held", "done"])
async def test_a_taken_key_refuses_the_whole_commit(journal: Journal, state: str) -> None:
    """Who comes second writes nothing and learns who holds the key."""
    run = await created(journal, "po-1")
    await run.append("intended", keys=[take()])
    if state == "done":
        await run.append("done", keys=[DONE])
    late = await created(journal, "po-2")
    with pytest.raises(KeyHeld) as refused:
        await late.append("intended", keys=[take("x", 2, key="refund-8"), take("x", 2)])
    assert refused.value.holder == await journal.key("test", "refund", "refund-7")
    assert (await late.now()).seq == 1
    assert await journal.key("test", "refund", "refund-8") is None


async def test_of_many_askers_in_one_group_one_gets_the_key(journal: Journal) -> None:
    """Askers at the same instant are told apart: one holds, the others are refused alone."""
    runs = [await created(journal, f"po-{number}") for number in range(8)]
    answers = await asyncio.gather(*(run.append("intended", keys=[take()]) for run in runs), return_exceptions=True)
    assert [isinstance(answer, KeyHeld) for answer in answers] == [False] + [True] * 7
    assert [(await run.now()).seq for run in runs] == [2] + [1] * 7


async def test_the_holder_may_take_its_own_key_again(journal: Journal) -> None:
    """Recovery and a redrive keep key and generation; an older generation never comes back."""
    run = await created(journal, "po-1")
    await run.append("intended", keys=[take()])
    await run.append("again", keys=[take()])
    await run.append("edited", keys=[take(generation=2, digest="d2")])
    with pytest.raises(KeyHeld):
        await run.append("old", keys=[take(generation=1)])
    with pytest.raises(KeyHeld):
        await run.append("elsewhere", keys=[take(path="refund#2", generation=3)])
    assert await holder(journal) == ("po-1", "refund", 2, "d2", "held", None, 0)


async def test_an_open_key_is_taken_in_a_newer_generation_only(journal: Journal) -> None:
    """Two askers that both read generation 1 as open do not both get key 2: it would be one key for two doings."""
    first = await created(journal, "po-1")
    await first.append("intended", keys=[take()])
    await first.append("undone", keys=[OPEN])
    second, third = await created(journal, "po-2"), await created(journal, "po-3")
    await second.append("intended", keys=[take(generation=2)])
    await second.append("did not happen", keys=[OPEN])
    with pytest.raises(KeyHeld) as refused:
        await third.append("intended", keys=[take(generation=2)])
    assert (refused.value.holder.state, refused.value.holder.generation) == ("open", 2)
    await third.append("intended", keys=[take(generation=3)])
    assert (await holder(journal))[0] == "po-3"


async def test_only_the_holder_changes_the_state(journal: Journal) -> None:
    """A run cannot close or open another one's key, nor share what is not done."""
    run = await created(journal, "po-1")
    other = await created(journal, "po-2")
    await run.append("intended", keys=[take()])
    for change in (DONE, OPEN, KeyShare("refund", "refund-7")):
        with pytest.raises(KeyHeld):
            await other.append("no", keys=[change])
    with pytest.raises(JournalError, match="never taken"):
        await other.append("no", keys=[KeySet("refund", "unknown", "done")])
    assert (await other.now()).seq == 1
    assert (await holder(journal))[4] == "held"


async def test_keys_are_apart_by_environment_and_tool(journal: Journal) -> None:
    """The same key means something else in another environment or for another tool."""
    await (await created(journal, "po-1")).append("a", keys=[take(), KeyTake("pay", "refund-7", "pay", 1, "d")])
    live: Driven = await created(journal, "po-2", environment="live")
    await live.append("a", keys=[take()])
    row = await journal.key("live", "refund", "refund-7")
    assert row is not None
    assert row.run_id == "po-2"


async def test_one_commit_cannot_take_a_key_twice(journal: Journal) -> None:
    """Two calls of one run do not share a key because they came in one commit."""
    run = await created(journal, "po-1")
    with pytest.raises(KeyHeld):
        await run.append("a", keys=[take("one"), take("two")])
    assert await journal.key("test", "refund", "refund-7") is None


async def test_a_fenced_commit_takes_no_key(journal: Journal) -> None:
    """A zombie leaves no key behind."""
    run = await created(journal, "po-1")
    run.seq = 5
    with pytest.raises(Exception, match="no longer"):
        await run.append("a", keys=[take()])
    assert await journal.key("test", "refund", "refund-7") is None


async def test_what_others_share_is_not_withheld(journal: Journal) -> None:
    """While an effect is undone its key is held, unless somebody already uses the result; then the whole commit is refused."""
    run, other = await created(journal, "po-1"), await created(journal, "po-2")
    withheld = KeySet("refund", "refund-7", "held", unshared=True)
    await run.append("intended", keys=[take()])
    await run.append("done", keys=[DONE])
    await run.append("undoing", keys=[withheld])
    with pytest.raises(KeyHeld):
        await other.append("shared", keys=[KeyShare("refund", "refund-7")])
    await run.append("stands", keys=[DONE])
    await other.append("shared", keys=[KeyShare("refund", "refund-7")])
    with pytest.raises(KeyHeld):
        await run.append("undoing", keys=[withheld])
    assert await holder(journal) == ("po-1", "refund", 1, "d1", "done", b'{"id":1}', 1)
    await run.append("undoing", keys=[KeySet("refund", "refund-7", "held")])
    assert (await holder(journal))[4] == "held"
