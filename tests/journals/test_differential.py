"""The same operations against the model and against SQLite give the same answers, whatever they are."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chargehand.durable import (
    Census,
    Claimed,
    Commit,
    Created,
    Journal,
    KeySet,
    KeyShare,
    KeyTake,
    NewMail,
    RunFilter,
    RunRow,
)
from chargehand.errors import ChargehandError
from chargehand.journals.memory import MemoryJournal
from chargehand.journals.sqlite import SqliteJournal

from .driven import START, Driven, JumpClock, entry, new_run

IDS = [f"po-{number}" for number in range(6)]
ENTRIES = [f"e{number}" for number in range(5)]
KEYS = ["k1", "k2"]
STATUSES = ["running", "running", "waiting", "parked", "rolling back", "completed", "failed", "cancelled"]
OPERATIONS = ["append"] * 12 + ["create", "post", "claim", "work", "group"] * 2
OPERATIONS += ["enlist", "beat", "dismiss", "census", "pass time", "erase", "prune", "verify", "list"]


class Pair:
    """A model and a real journal that must not be told apart, and the workers known to both."""

    def __init__(self, model: MemoryJournal, real: SqliteJournal, clock: JumpClock) -> None:
        self.model, self.real, self.clock = model, real, clock
        self.names: dict[str, str] = {}
        self.census = Census(frozenset(), frozenset())

    def same(self, answer: Any) -> Any:
        """Return an answer of the real journal in the names of the model."""
        if isinstance(answer, list):
            return [self.same(one) for one in answer]
        if isinstance(answer, RunRow):
            return replace(answer, owner=self.names.get(answer.owner or "", answer.owner))
        if isinstance(answer, Created):
            return replace(answer, row=self.same(answer.row))
        if isinstance(answer, Claimed):
            return replace(answer, row=self.same(answer.row), before=self.names.get(answer.before or "", answer.before))
        if isinstance(answer, Census):
            gone, silent = ({self.names.get(id, id) for id in ids} for ids in (answer.gone, answer.silent))
            return Census(frozenset(gone), frozenset(silent))
        return answer

    def real_name(self, name: str) -> str:
        """Return what the real journal calls a worker of the model."""
        return next((real for real, model in self.names.items() if model == name), name)

    def real_census(self) -> Census:
        """Return the latest census in the names of the real journal."""
        gone, silent = (frozenset(map(self.real_name, ids)) for ids in (self.census.gone, self.census.silent))
        return Census(gone, silent)

    async def both(self, ask: Callable[[Journal], Awaitable[Any]]) -> Any:
        """Ask both, compare, and return the answer: a value, or the kind of error."""
        expected = await outcome(ask(self.model))
        found = self.same(await outcome(ask(self.real)))
        assert found == expected
        return expected

    async def compare(self) -> None:
        """Compare all that can be read."""
        rows = await self.both(lambda journal: journal.runs(RunFilter(limit=1000)))
        numbers = [row.number for row in rows]
        await self.both(lambda journal: journal.waiting())
        await self.both(lambda journal: journal.mail(numbers))
        for key in KEYS:
            await self.both(lambda journal, key=key: journal.key("test", "refund", key))  # type: ignore[misc]
        for number in numbers:
            await self.both(lambda journal, number=number: journal.load(number))  # type: ignore[misc]
        await self.both(lambda journal: journal.next_due(workflows=["procure", "refund"], environment="test"))
        counts = [dict(await journal.statistics()) for journal in (self.model, self.real)]
        assert {name: counts[1][name] for name in counts[0]} == counts[0]


async def outcome(answer: Awaitable[Any]) -> Any:
    """Return what came of it, so that two outcomes can be compared."""
    try:
        found = await answer
    except ChargehandError as error:
        return type(error).__name__, getattr(error, "holder", None)
    return list(found) if isinstance(found, tuple) else found


@pytest_asyncio.fixture
async def pair(tmp_path: Path, clock: JumpClock) -> AsyncIterator[Pair]:
    """An empty model and an empty file."""
    real = SqliteJournal(tmp_path / "journal.db", clock=clock)
    await real.open()
    yield Pair(MemoryJournal(clock), real, clock)
    await real.close()


async def some_commit(pair: Pair, dice: random.Random) -> Commit | None:
    """Return a commit for some run: mostly a fitting one, sometimes a zombie's, sometimes nonsense."""
    rows = await pair.model.runs(RunFilter())
    if not rows:
        return None
    unfinished = [row for row in rows if row.status not in ("completed", "failed", "cancelled")]
    row = dice.choice(unfinished if unfinished and dice.random() < 0.9 else rows)
    status = dice.choice(STATUSES)
    mail = [one.id for one in await pair.model.mail([row.number])]
    opened = dice.sample(ENTRIES, dice.choice([0, 0, 1, 2]))
    commit = Driven(pair.model, row).commit(
        *(dice.choice(["a", 1, None, {"x": [1]}]) for _ in range(dice.randint(0, 3))),
        status=status,
        reason=dice.choice(["letter", "doubt", None]) if status == "parked" else None,
        due=dice.choice([None, 0.0, START + dice.randint(0, 50)]),
        standing=dice.randint(0, 2),
        opened=[entry(id, row.id, created=START + dice.randint(0, 3)) for id in opened],
        closed=dice.sample(ENTRIES, dice.choice([0, 0, 1])),
        close_all=dice.random() < 0.1,
        mail=dice.sample(mail, dice.randint(0, len(mail))),
        blobs=[("d", b"content")] if dice.random() < 0.1 else [],
        progress=dice.random() < 0.3,
        leave=dice.random() < 0.3,
        keys=[some_key(dice) for _ in range(dice.choice([0, 0, 0, 1, 1, 2]))],
    )
    if dice.random() < 0.1:
        return replace(commit, epoch=commit.epoch + dice.choice([-1, 1]))
    return replace(commit, before=commit.before + dice.choice([-1, 1])) if dice.random() < 0.05 else commit


def some_key(dice: random.Random) -> KeyTake | KeySet | KeyShare:
    key = dice.choice(KEYS)
    kind = dice.choice(["take", "take", "set", "set", "share"])
    if kind == "take":
        return KeyTake("refund", key, dice.choice(["p", "q"]), dice.randint(1, 4), dice.choice(["d1", "d2"]))
    if kind == "set":
        return KeySet("refund", key, dice.choice(["held", "done", "open"]), dice.choice([None, b"{}"]), dice.random() < 0.3)
    return KeyShare("refund", key)


def with_work(commit: Commit, fail: bool) -> Commit:
    """Return the commit with its records made inside the transaction, by work that may fail at its end."""
    records = commit.records

    def work(tx: Any) -> Any:
        tx.execute("CREATE TABLE IF NOT EXISTS mine(n INTEGER)")
        tx.execute("INSERT INTO mine VALUES (1)")
        if fail:
            raise ChargehandError("the work failed")
        return records, [("made", b"inside")]

    return replace(commit, records=[], work=work)


async def operate(pair: Pair, dice: random.Random) -> None:
    """Do one thing to both."""
    what, both = dice.choice(OPERATIONS), pair.both
    workers = sorted(pair.names.values())
    name = dice.choice(workers) if workers else None
    if what in ("append", "work"):
        commit = await some_commit(pair, dice)
        if commit is not None:
            one = with_work(commit, dice.random() < 0.3) if what == "work" else commit
            await both(lambda journal: journal.append(one))
    elif what == "group":
        await operate_group(pair, dice)
    elif what == "create":
        ids = [dice.choice(IDS) for _ in range(dice.randint(1, 3))]
        news = [new_run(id, workflow=dice.choice(["procure", "refund"]), tags={"n": dice.choice("ab")}) for id in ids]
        await both(lambda journal: journal.create(news, owner_in(pair, journal, name)))
    elif what == "post":
        mail = [NewMail(dice.choice(IDS), "signal", {"n": dice.randint(0, 9)}, START) for _ in range(dice.randint(1, 2))]
        await both(lambda journal: journal.post(mail))
    elif what == "claim":
        await operate_claim(pair, dice, name)
    elif what == "enlist":
        pair.names[await pair.real.enlist()] = await pair.model.enlist()
    elif what == "beat" and name is not None:
        pair.model.beat(name)
        pair.real.beat(pair.real_name(name))
    elif what == "dismiss" and name is not None:
        await both(lambda journal: journal.dismiss(str(owner_in(pair, journal, name))))
        del pair.names[pair.real_name(name)]
    elif what == "census":
        pair.census = await both(lambda journal: journal.census(10))
    elif what == "pass time":
        pair.clock.seconds += dice.choice([1.0, 6.0])
    else:
        await operate_on_history(pair, dice, what)


def owner_in(pair: Pair, journal: Journal, name: str | None) -> str | None:
    """Return what this journal calls a worker."""
    return name if name is None or journal is pair.model else pair.real_name(name)


async def operate_group(pair: Pair, dice: random.Random) -> None:
    """Hand several runs' commits to the real journal in one tick; the model takes them one after the other."""

    commits: dict[int, Commit] = {}
    for _ in range(4):
        commit = await some_commit(pair, dice)
        if commit is not None:
            commits.setdefault(commit.run, commit)
    expected = [await outcome(pair.model.append(commit)) for commit in commits.values()]
    found = await asyncio.gather(*(outcome(pair.real.append(commit)) for commit in commits.values()))
    assert list(found) == expected


async def operate_claim(pair: Pair, dice: random.Random, name: str | None) -> None:
    """Claim for a worker, with the census as it was last taken."""
    only = dice.sample(IDS, 2) if dice.random() < 0.3 else []
    workflows = dice.choice([["procure"], ["procure", "refund"]])
    now, limit = START + dice.randint(0, 60), dice.randint(1, 4)

    async def claim(journal: Journal) -> list[Claimed]:
        owner = owner_in(pair, journal, name) or "nobody"
        census = pair.census if journal is pair.model else pair.real_census()
        taken = await journal.claim(owner, workflows=workflows, environment="test", now=now, limit=limit, census=census, only=only)
        return sorted(taken, key=lambda one: one.row.number)

    if name is not None:
        await pair.both(claim)


async def operate_on_history(pair: Pair, dice: random.Random, what: str) -> None:
    """Erase, prune, verify or list."""
    number = dice.randint(1, 8)
    if what == "erase":
        seqs = [dice.randint(1, 6) for _ in range(2)]
        await pair.both(lambda journal: journal.erase(number, seqs, ["d"]))
    elif what == "prune":
        before, limit = START + dice.randint(0, 12), dice.randint(1, 2)
        environment = dice.choice([None, "test", "live"])
        await pair.both(lambda journal: journal.prune(before=before, limit=limit, environment=environment))
    elif what == "verify":
        await pair.both(lambda journal: journal.verify(number))
        await pair.both(lambda journal: journal.verify_chain())
        await pair.both(lambda journal: journal.chain(after=2, limit=3))
    else:
        which = RunFilter(tags={"n": dice.choice("ab")}, status=dice.sample(STATUSES, 3), limit=dice.randint(1, 3))  # type: ignore[arg-type]
        await pair.both(lambda journal: journal.runs(which))
        await pair.both(lambda journal: journal.waiting(run_id=IDS[0], limit=2))


@pytest.mark.parametrize("seed", range(6))
async def test_model_and_file_answer_alike(pair: Pair, seed: int) -> None:
    """Over a random life of a few runs, no answer of the file differs from the model's."""
    dice = random.Random(seed)
    for _ in range(60):
        await operate(pair, dice)
    await pair.compare()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
async def test_model_and_file_answer_alike_for_long(pair: Pair, seed: int) -> None:
    """The same over many longer lives, with everything readable compared after each operation."""
    dice = random.Random(seed)
    for _ in range(150):
        await operate(pair, dice)
        await pair.compare()


async def test_the_file_is_a_plain_sqlite_file(pair: Pair) -> None:
    """Whoever has only the standard library can read a closed journal."""
    await pair.real.create([new_run("po-1")], None)
    await pair.real.close()
    connection = sqlite3.connect(pair.real.path)
    assert connection.execute("SELECT id FROM runs").fetchall() == [("po-1",)]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
