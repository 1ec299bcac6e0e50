"""Claims: who drives a run next."""

from __future__ import annotations

import asyncio

from chargehand.durable import Census, Journal

from .driven import NOBODY, START, claimed, created


async def test_due_runs_are_taken_earliest_first(journal: Journal) -> None:
    """What has waited longest goes first, and nothing before its time."""
    for number, due in enumerate([30.0, 10.0, 20.0, 40.0]):
        run = await created(journal, f"po-{number}")
        await run.append("a", status="waiting", due=START + due, leave=True)
    assert await journal.next_due(workflows=["procure", "refund"], environment="test") == START + 10
    taken = await claimed(journal, "w2", now=START + 30, limit=2)
    assert [(one.row.id, one.row.owner, one.row.epoch) for one in taken] == [("po-1", "w2", 2), ("po-2", "w2", 2)]
    taken = await claimed(journal, "w3", now=START + 30)
    assert [one.row.id for one in taken] == ["po-0"]
    assert await claimed(journal, "w3", now=START + 30) == []
    assert await journal.next_due(workflows=["procure"], environment="test") == START + 40


async def test_only_known_workflows_of_the_own_environment_are_taken(journal: Journal) -> None:
    """A worker never claims what it cannot run, nor another environment's runs."""
    await created(journal, "a", owner=None, workflow="refund")
    await created(journal, "b", owner=None, environment="live")
    await created(journal, "c", owner="dead", workflow="refund")
    await created(journal, "d", owner="dead", environment="live")
    census = await journal.census(60)
    assert census.gone == {"dead"}
    assert await claimed(journal, "w1", census=census) == []
    assert await claimed(journal, "w1", "a", "b", "c", "d", census=census) == []
    assert await journal.next_due(workflows=["procure"], environment="test") is None
    taken = await claimed(journal, "w1", census=census, workflows=["refund", "procure"])
    assert [one.row.id for one in taken] == ["c", "a"]


async def test_a_claim_says_what_became_of_the_last_driver(journal: Journal) -> None:
    """Left, gone or silent: only the last two count as a crash, and the lost come first."""
    await created(journal, "left", owner=None)
    await created(journal, "gone", owner="g")
    await created(journal, "silent", owner="s")
    await created(journal, "alive", owner="a")
    census = Census(gone=frozenset({"g"}), silent=frozenset({"s"}))
    answers = await journal.claim("w", workflows=["procure"], environment="test", now=START, limit=10, census=census)
    assert [(one.row.id, one.after, one.row.crashes) for one in answers] == [
        ("gone", "gone", 1),
        ("silent", "silent", 1),
        ("left", "left", 0),
    ]


async def test_a_worker_does_not_take_its_own_runs_away(journal: Journal) -> None:
    """A census that takes the asker for silent does not make it fence itself."""
    await created(journal, "po-1", owner="w1")
    assert await claimed(journal, "w1", census=Census(frozenset(), frozenset({"w1"}))) == []


async def test_a_claim_can_be_limited_to_run_ids(journal: Journal) -> None:
    """Whoever is handed a run id takes that run and no other."""
    for number in range(4):
        await created(journal, f"po-{number}", owner=None if number != 2 else "w9")
    taken = await claimed(journal, "w1", "po-3", "po-2", "po-1", "nothing")
    assert sorted(one.row.id for one in taken) == ["po-1", "po-3"]


async def test_finished_runs_are_never_claimed(journal: Journal) -> None:
    """What has ended stays ended."""
    run = await created(journal, "po-1", owner="dead")
    await run.append("end", status="failed")
    census = Census(frozenset({"dead"}), frozenset())
    assert await claimed(journal, "w2", census=census) == []
    assert await claimed(journal, "w2", "po-1", census=census) == []


async def test_each_run_is_claimed_by_one_of_many(journal: Journal) -> None:
    """Workers that ask at the same time never get the same run."""
    for number in range(30):
        await created(journal, f"po-{number}", owner=None)
    taken = await asyncio.gather(*(claimed(journal, f"w{number}", limit=7) for number in range(6)))
    ids = [one.row.id for some in taken for one in some]
    assert len(ids) == len(set(ids)) == 30
    assert all(one.row.epoch == 1 for some in taken for one in some)


async def test_a_claim_needs_a_due_time(journal: Journal) -> None:
    """A run that waits for mail only is nobody's until mail comes."""
    run = await created(journal, "po-1")
    await run.append("a", status="parked", reason="letter", leave=True)
    assert await claimed(journal, "w2") == []
    assert await claimed(journal, "w2", "po-1", census=NOBODY) == []


async def test_what_may_kill_its_worker_is_taken_alone(journal: Journal) -> None:
    """Of runs that cost a worker for the second time, one is taken with nothing beside it, or none."""
    for name in ("a", "b", "c"):
        await created(journal, name, owner="first")
    once = await claimed(journal, "second", census=Census(gone=frozenset({"first"}), silent=frozenset()))
    assert [one.row.crashes for one in once] == [1, 1, 1]
    await created(journal, "fresh", owner="second")
    dead = Census(gone=frozenset({"second"}), silent=frozenset())
    asked = {"workflows": ["procure"], "environment": "test", "now": START, "limit": 10, "census": dead}
    left = await journal.claim("third", suspects="left", **asked)
    assert [one.row.id for one in left] == ["fresh"]
    alone = await journal.claim("third", suspects="one alone", **asked)
    assert [(one.row.id, one.row.crashes) for one in alone] == [("a", 2)]
    rest = await journal.claim("third", **asked)
    assert [one.row.id for one in rest] == ["b", "c"]


async def test_without_a_suspect_a_careful_claim_takes_the_others(journal: Journal) -> None:
    """Asking for one suspect alone, where there is none, is an ordinary claim."""
    await created(journal, "a", owner=None)
    await created(journal, "b", owner=None)
    asked = {"workflows": ["procure"], "environment": "test", "now": START, "limit": 10, "census": Census(frozenset(), frozenset())}
    assert len(await journal.claim("w", suspects="one alone", **asked)) == 2
