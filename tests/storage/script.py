"""What a journal is told, one thing after the other, and what has to be in the file after each.

A script is drawn by a seed and played once on a sound disk. That gives, for each thing told, the answer and a picture:
every row of every table. Whatever happens to the disk later, what is in the file is one of these pictures.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apsw

from chargehand.durable import FINAL_STATUSES, Census, Commit, Journal, KeySet, KeyShare, KeyTake, NewMail, RunFilter, RunRow
from chargehand.errors import ChargehandError, JournalError
from chargehand.journals.sqlite import SqliteJournal
from journals.driven import START, Driven, JumpClock, entry, new_run

NOBODY = Census(frozenset(), frozenset())
GONE = Census(frozenset({"w1", "w2"}), frozenset({"w3"}))
STATUSES = ["running", "running", "waiting", "parked", "rolling back", "completed", "failed", "cancelled"]
KEYS = ["k1", "k2", "k3"]

KINDS = ["append"] * 10 + ["group"] * 4 + ["create", "post", "claim", "work", "read"] * 3 + ["dismiss", "erase", "prune"]
"""What is told, as often as here on average."""

FIXED = [
    *("create", "create", "append", "group", "post", "append", "claim", "append", "work", "read", "append", "group", "erase"),
    *("append", "post", "append", "append", "work", "group", "claim", "append", "dismiss", "claim", "append", "append"),
    *("prune", "group", "read", "append", "append"),
]
"""One of each kind at least, with pages enough that the log is copied into the file on the way."""

Ask = Callable[[Journal], Awaitable[Any]]


@dataclass(frozen=True)
class Told:
    """One thing that the journal is told, what it answers, and the file afterwards."""

    name: str
    ask: Ask
    answer: Any = None
    after: str = ""


Step = list[Told]
"""What is told in one tick of the loop: one thing, or the commits of several runs."""


@dataclass(frozen=True)
class Script:
    """What a journal is told. `blank` is the picture of a journal that was told nothing."""

    blank: str
    steps: Sequence[Step]

    @property
    def pictures(self) -> list[str]:
        """The pictures after nothing, after the first thing told, and so on."""
        return [self.blank, *(told.after for step in self.steps for told in step)]


def picture(path: str) -> str:
    """Return a digest of every row of every table of a journal's file; nothing in the file or beside it is changed."""
    return hashlib.sha256(repr(rows_of(path)).encode()).hexdigest()


def rows_of(path: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table of a journal's file."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("BEGIN")
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
        found = {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names}
        found["version"] = list(connection.execute("PRAGMA user_version"))
        connection.execute("COMMIT")
        return found
    finally:
        connection.close()


async def outcome(answer: Awaitable[Any]) -> Any:
    """Return an answer so that it can be compared: a refusal by its name, errors of the journal's world are raised."""
    try:
        found = await answer
    except JournalError as error:
        if type(error).__name__ not in ("Fenced", "KeyHeld"):
            raise
        return type(error).__name__
    except ChargehandError as error:
        return type(error).__name__
    return list(found) if isinstance(found, tuple) else found


async def drawn(folder: Path, seed: object, kinds: Sequence[str]) -> Script:
    """Draw a script of these kinds of things by a seed, playing it on a sound disk."""
    path, dice, steps = folder / "drawn.db", random.Random(f"{seed}"), []
    journal = SqliteJournal(path, clock=JumpClock())
    await journal.open()
    blank = picture(str(path))
    try:
        for kind in kinds:
            step = []
            for name, ask in await _asks(journal, kind, dice):
                with suppress(JournalError):  # nonsense, such as a result for a key that was never taken: not told
                    step.append(Told(name, ask, await outcome(ask(journal)), picture(str(path))))
            if step:
                steps.append(step)
    finally:
        await journal.close()
    return Script(blank, steps)


async def _asks(journal: Journal, kind: str, dice: random.Random) -> list[tuple[str, Ask]]:
    rows = await journal.runs(RunFilter(limit=1000))
    going = [row for row in rows if row.status not in FINAL_STATUSES]
    match kind:
        case "create":
            return [("create", _create(len(rows), dice))]
        case "post" if rows:
            return [_post(rows, dice)]
        case "claim" if rows:
            return [("claim", _claim(dice))]
        case "append" | "work" if going:
            commit = await _commit(journal, dice.choice(going), dice)
            one = _with_work(commit) if kind == "work" else commit
            return [(kind, lambda journal: journal.append(one))]
        case "group" if going:
            commits = [await _commit(journal, row, dice) for row in dice.sample(going, min(3, len(going)))]
            together = [("append in a group", lambda journal, commit=commit: journal.append(commit)) for commit in commits]
            return [_post(rows, dice), *together]  # mail is no run's own, so none of them goes ahead of the others
        case "dismiss":
            return [("dismiss", lambda journal: journal.dismiss("w3"))]
        case "erase" if rows:
            number, seqs = dice.choice(rows).number, [dice.randrange(1, 4)]
            return [("erase", lambda journal: journal.erase(number, seqs, ["d"]))]
        case "prune":
            return [("prune", lambda journal: journal.prune(before=START + 1e6, limit=1))]
        case "read" if rows:
            return [("read", _read(dice.choice(rows)))]
    return []


def _create(known: int, dice: random.Random) -> Ask:
    news = [new_run(f"po-{known + number}", tags={"n": dice.choice("ab")}) for number in range(dice.randrange(1, 4))]
    owner = dice.choice([None, "w1", "w2"])
    return lambda journal: journal.create(news, owner)


def _post(rows: Sequence[RunRow], dice: random.Random) -> tuple[str, Ask]:
    mail = [NewMail(dice.choice(rows).id, "signal", {"n": dice.randrange(10)}, START) for _ in range(2)]
    return "post", lambda journal: journal.post(mail)


def _claim(dice: random.Random) -> Ask:
    owner, limit, census = dice.choice(["w1", "w3"]), dice.randrange(1, 3), dice.choice([NOBODY, GONE])
    return lambda journal: journal.claim(owner, workflows=["procure"], environment="test", now=START + 1e6, limit=limit, census=census)


def _read(row: RunRow) -> Ask:
    async def read(journal: Journal) -> Any:
        found: list[Any] = [await journal.run(row.id), await journal.load(row.number), await journal.mail([row.number])]
        found += [await journal.waiting(), await journal.runs(RunFilter()), await journal.key("test", "refund", "k1")]
        found += [await journal.chain(), await journal.next_due(workflows=["procure"], environment="test")]
        await journal.verify(row.number)
        return found

    return read


async def _commit(journal: Journal, row: RunRow, dice: random.Random) -> Commit:
    mail = [one.id for one in await journal.mail([row.number])]
    status = dice.choice(STATUSES) if row.seq > 3 else "running"
    commit = Driven(journal, row).commit(
        *(dice.choice(["a", 1, "b" * 3000, {"x": [1]}]) for _ in range(dice.randrange(1, 4))),
        status=status,
        reason="letter" if status == "parked" else None,
        due=dice.choice([None, 0.0, START + 5]),
        standing=dice.randrange(3),
        opened=[entry(f"{row.id} {dice.randrange(3)}", row.id)] if dice.random() < 0.4 else [],
        closed=[f"{row.id} {dice.randrange(3)}"] if dice.random() < 0.3 else [],
        mail=dice.sample(mail, dice.randrange(len(mail) + 1)),
        blobs=[("d", dice.randbytes(6000))] if dice.random() < 0.2 else [],
        progress=dice.random() < 0.3,
        leave=dice.random() < 0.3,
        keys=[_key(dice)] if dice.random() < 0.4 else [],
    )
    return replace(commit, epoch=commit.epoch + 1) if dice.random() < 0.05 else commit


def _key(dice: random.Random) -> KeyTake | KeySet | KeyShare:
    key = dice.choice(KEYS)
    match dice.choice(["take", "take", "done", "open", "share"]):
        case "take":
            return KeyTake("refund", key, "p", dice.randrange(1, 4), "d1")
        case "share":
            return KeyShare("refund", key)
        case "done":
            return KeySet("refund", key, "done", b"{}")
    return KeySet("refund", key, "open")


def _with_work(commit: Commit) -> Commit:
    records = commit.records

    def work(tx: Any) -> Any:
        tx.execute("CREATE TABLE IF NOT EXISTS mine(n INTEGER)")
        tx.execute("INSERT INTO mine VALUES (?)", (commit.before,))
        return records, [("made", b"inside" * 1000)]

    return replace(commit, records=[], work=work)


async def tell(journal: Journal, step: Step) -> list[Any]:
    """Tell the journal the things of one step in one tick; return each answer or error of the journal."""
    return list(await asyncio.gather(*(outcome(told.ask(journal)) for told in step), return_exceptions=True))
