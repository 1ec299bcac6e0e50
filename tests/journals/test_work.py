"""Transactional effects: the world and its event change together, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from chargehand.durable import Journal, KeyTake
from chargehand.errors import DefinitionError, Fenced, JournalError, KeyHeld, TimedOut
from chargehand.events import Record

from .conftest import PATIENCE
from .driven import Driven, created

Answer = tuple[Sequence[Record], Sequence[tuple[str, bytes]]]


def working(run: Driven, do: Callable[[Any], Any], *before: Any) -> Callable[[Any], Answer]:
    """Return the work of a commit: do something and record what came of it."""

    def work(tx: Any) -> Answer:
        value = do(tx)
        return run.records(*before, value)[len(before) :], [("blob", b"made inside")]

    return work


async def make_table(run: Driven) -> None:
    """Create the effect's own table."""

    def create(tx: Any) -> None:
        tx.execute("CREATE TABLE stock(sku TEXT PRIMARY KEY, pieces INTEGER NOT NULL CHECK (pieces >= 0))")
        tx.execute("INSERT INTO stock VALUES ('M8', 10)")

    await run.append(work=working(run, create))


def pieces(tx: Any) -> Any:
    """Return what is in stock."""
    return tx.execute("SELECT pieces FROM stock WHERE sku = ?", ("M8",))[0][0]


async def test_work_and_its_event_are_one_commit(journal: Journal) -> None:
    """The records that the work returns are appended with what it changed, after the commit's own."""
    run = await created(journal, "po-1")
    await make_table(run)

    def sell(tx: Any) -> Any:
        tx.execute("UPDATE stock SET pieces = pieces - 3")
        return pieces(tx)

    done = await run.append("first", work=working(run, sell, "first"))
    assert [record.payload for record in done] == [b'{"value": "first"}', b'{"value": 7}']
    assert await journal.load(run.row.number, after=2) == list(done)
    assert (await run.now()).seq == 4
    assert await journal.blob(run.row.number, "blob") == b"made inside"
    await journal.verify(run.row.number)


async def test_an_exception_of_the_work_undoes_all_of_it(journal: Journal) -> None:
    """What the work raises reaches its caller as it is, and nothing of the commit is there."""
    run = await created(journal, "po-1")
    await make_table(run)

    def oversell(tx: Any) -> None:
        tx.execute("UPDATE stock SET pieces = 1")
        raise LookupError("no such customer")

    with pytest.raises(LookupError, match="no such customer"):
        await run.append("x", work=working(run, oversell), keys=[KeyTake("sell", "k", "p", 1, "d")])
    assert (await run.now()).seq == 2
    assert await journal.key("test", "sell", "k") is None
    done = await run.append(work=working(run, pieces))
    assert done[0].payload == b'{"value": 10}'


async def test_a_failing_work_costs_the_others_nothing(journal: Journal) -> None:
    """Commits handed in beside a failing work stand."""
    runs = [await created(journal, f"po-{number}") for number in range(6)]

    def fail(tx: Any) -> None:
        raise LookupError

    answers = await asyncio.gather(
        *(run.append("a") for run in runs[:3]),
        runs[3].append(work=working(runs[3], fail)),
        *(run.append("a") for run in runs[4:]),
        return_exceptions=True,
    )
    assert [isinstance(answer, LookupError) for answer in answers] == [False] * 3 + [True] + [False] * 2
    assert [(await run.now()).seq for run in runs] == [2, 2, 2, 1, 2, 2]


async def test_a_fenced_work_is_never_called(journal: Journal) -> None:
    """A zombie's effect does not run at all."""
    run = await created(journal, "po-1")
    called: list[str] = []
    run.seq = 9
    with pytest.raises(Fenced):
        await run.append(work=working(run, lambda tx: called.append("x")))
    assert called == []


async def test_work_without_its_business_key_is_never_called(journal: Journal) -> None:
    """Who does not get the key does not do the work."""
    run, other = await created(journal, "po-1"), await created(journal, "po-2")
    take = KeyTake("sell", "k", "p", 1, "d")
    called: list[str] = []
    await run.append(work=working(run, lambda tx: called.append("po-1")), keys=[take])
    with pytest.raises(KeyHeld):
        await other.append(work=working(other, lambda tx: called.append("po-2")), keys=[take])
    assert called == ["po-1"]
    held = await journal.key("test", "sell", "k")
    assert held is not None
    assert held.run_id == "po-1"


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "SAVEPOINT mine",
        "SELECT 1; COMMIT",
        "ATTACH ':memory:' AS other",
        "DETACH main",
        "PRAGMA synchronous = OFF",
        "PRAGMA user_version",
        "SELECT * FROM runs",
        "SELECT count(*) FROM events",
        "UPDATE Runs SET epoch = 9",
        "DELETE FROM main.events",
        "INSERT INTO mailbox(run, kind, body, time) VALUES (1, 'cancel', '{}', 0)",
        "DROP TABLE keys",
        "ALTER TABLE runs ADD COLUMN mine TEXT",
        "CREATE INDEX mine ON events(path)",
        "CREATE TRIGGER mine AFTER INSERT ON events BEGIN SELECT 1; END",
        "CREATE TEMP TRIGGER mine AFTER INSERT ON events BEGIN SELECT 1; END",
        "CREATE TEMP TABLE runs(x)",
        "CREATE VIEW blobs AS SELECT 1",
        "UPDATE sqlite_sequence SET seq = 0",
        "WITH mine AS (SELECT id FROM runs) SELECT * FROM mine",
    ],
)
async def test_work_cannot_touch_the_journal(sqlite: Journal, statement: str) -> None:
    """Transaction control, attached files, pragmas and our own tables are refused, and the journal goes on."""
    run = await created(sqlite, "po-1")
    with pytest.raises(DefinitionError, match="may not do this"):
        await run.append(work=working(run, lambda tx: tx.execute(statement)))
    assert (await run.now()).seq == 1
    await run.append("fine")
    await sqlite.verify(run.row.number)


async def test_a_refused_statement_that_is_swallowed_harms_nothing(journal: Journal) -> None:
    """Work that catches the refusal goes on in the same transaction."""
    run = await created(journal, "po-1")
    await make_table(run)

    def stubborn(tx: Any) -> Any:
        with pytest.raises(DefinitionError):
            tx.execute("COMMIT")
        tx.execute("UPDATE stock SET pieces = 4")
        return pieces(tx)

    assert (await run.append(work=working(run, stubborn)))[0].payload == b'{"value": 4}'


async def test_work_that_rolls_the_transaction_back_is_refused(journal: Journal) -> None:
    """SQL that ends the transaction behind our back leaves no half of a commit."""
    run = await created(journal, "po-1")
    await make_table(run)

    def sly(tx: Any) -> None:
        try:
            tx.execute("INSERT OR ROLLBACK INTO stock VALUES ('M8', 1)")
        except Exception:
            tx.execute("UPDATE stock SET pieces = 99")

    with pytest.raises(JournalError, match="rolled the effect's transaction back"):
        await run.append(work=working(run, sly))
    assert (await run.now()).seq == 2
    assert (await run.append(work=working(run, pieces)))[0].payload == b'{"value": 10}'


async def test_a_broken_rule_of_the_effects_own_table_reaches_the_effect(journal: Journal) -> None:
    """SQLite's errors are the effect's own, and it may handle them."""
    run = await created(journal, "po-1")
    await make_table(run)

    def careful(tx: Any) -> str:
        try:
            tx.execute("UPDATE stock SET pieces = -1")
        except Exception as error:
            return type(error).__name__
        return "no error"

    assert (await run.append(work=working(run, careful)))[0].payload == b'{"value": "ConstraintError"}'


async def test_endless_sql_is_interrupted(journal: Journal) -> None:
    """An effect cannot hold the only writer for ever; what it did is undone."""
    run = await created(journal, "po-1")
    await make_table(run)

    def endless(tx: Any) -> None:
        tx.execute("UPDATE stock SET pieces = 5")
        tx.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")

    journal._work_seconds = 0.01  # type: ignore[attr-defined]
    with pytest.raises(TimedOut):
        await run.append(work=working(run, endless))
    journal._work_seconds = PATIENCE  # type: ignore[attr-defined]
    assert (await run.append(work=working(run, pieces)))[0].payload == b'{"value": 10}'


async def test_the_transaction_ends_with_the_effect(journal: Journal) -> None:
    """A `tx` that was kept is of no use afterwards."""
    run = await created(journal, "po-1")
    kept: list[Any] = []
    await run.append(work=working(run, kept.append))
    with pytest.raises(DefinitionError, match="has ended"):
        kept[0].execute("SELECT 1")


async def test_work_can_end_the_run(journal: Journal) -> None:
    """The last step of a run may be a transactional one."""
    run = await created(journal, "po-1")
    await run.append(status="completed", work=working(run, lambda tx: tx.execute("SELECT 1")))
    row = await run.now()
    assert (row.status, row.seq) == ("completed", 2)
    await journal.verify(row.number)


async def test_control_flow_exceptions_of_the_work_reach_the_caller(journal: Journal) -> None:
    """Whatever the work raises, its caller is answered and the journal goes on."""
    run = await created(journal, "po-1")

    def stop(tx: Any) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run.append(work=working(run, stop))
    await run.append("fine")
