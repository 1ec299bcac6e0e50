"""Words and sends that come too late: decisions that no longer fit, and what was about to be sent when a rollback began."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chargehand import (
    Approve,
    AtOnce,
    DidNotHappen,
    Failure,
    Person,
    Reject,
    Retry,
    Supervisor,
    agent,
    effect,
    give_up,
    injected,
    reassign,
    sleep,
    workflow,
)
from chargehand.durable import Commit, NewMail
from chargehand.testing import Supervised

SENT: list[str] = []
LOOKS: list[str] = []
OPEN: dict[str, asyncio.Event] = {}


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what earlier tests sent."""
    SENT.clear()
    LOOKS.clear()
    OPEN.clear()
    OPEN["door"] = asyncio.Event()


async def take_back() -> None:
    SENT.append("undo")


@effect(undo=take_back, approve=True)
async def approved(n: int) -> str:
    return f"sent {n}"


@workflow
async def asks() -> str:
    return await approved(1)


@effect(undo=take_back, retry=Retry(attempts=1))
async def refused() -> str:
    SENT.append("refused")
    await OPEN["door"].wait()
    raise ConnectionRefusedError("down")


@workflow
async def is_refused() -> str:
    return await refused()


@effect(final=True, approve=False, at_once=AtOnce(1))
async def narrow(who: str) -> str:
    SENT.append(who)
    await OPEN["door"].wait()
    return who


@workflow
async def queues(who: str) -> str:
    return await narrow(who)


@effect(final=True, approve=False, retry=Retry(attempts=4, first=0.3, jitter=False))
async def again(idempotency_key: str = injected()) -> str:
    SENT.append("again")
    raise ConnectionRefusedError("down")


@workflow
async def tries() -> str:
    return await again()


async def look() -> str:
    LOOKS.append("look")
    if len(LOOKS) == 1:
        raise RuntimeError("the look-up is down")
    return "paid"


@effect(undo=take_back, lookup=look, retry=Retry(attempts=1))
async def lost(n: int) -> str:
    SENT.append("lost")
    raise RuntimeError("reset")


@agent(role="Copes.", uses=[])
async def second() -> str:
    return "second"


@agent(role="Pays.", uses=[lost], ladder=[reassign(second), give_up()])
async def first() -> str:
    async def pays() -> str:
        return await lost(1)

    try:
        return await asyncio.wait_for(pays(), 0.1)
    except TimeoutError:
        raise ValueError("this attempt breaks") from None


@workflow
async def is_copied() -> str:
    await first()
    await sleep(3600)
    return "copied"


PEOPLE: dict[str, Callable[[], Awaitable[None]]] = {}


async def look_slowly(what: str) -> str:
    """Fail at first; then have a person decide, and answer while that is being written."""
    LOOKS.append("look")
    if len(LOOKS) == 1:
        raise RuntimeError("the look-up is down")
    await PEOPLE["decides"]()
    await OPEN["door"].wait()
    return what


@effect(undo=take_back, lookup=look_slowly, key=lambda call: call.what, retry=Retry(attempts=1))
async def lost_by_key(what: str) -> str:
    raise RuntimeError("reset")


@effect(final=True, approve=False, lookup=look_slowly, key=lambda call: call.what, retry=Retry(attempts=1))
async def lost_for_good(what: str) -> str:
    raise RuntimeError("reset")


@agent(role="Leaves its call behind.", uses=[lost_by_key, lost_for_good], ladder=[give_up()])
async def leaves(which: str) -> str:
    async def one() -> None:
        await (lost_for_good if which == "final" else lost_by_key)(which)

    leaving = asyncio.ensure_future(one())
    for _ in range(20):
        await asyncio.sleep(0)
    leaving.cancel()
    raise ValueError("this attempt breaks")


@workflow
async def drops(which: str) -> str:
    try:
        return await leaves(which)
    except Failure:
        await sleep(3600)
        return "dropped"


async def keep() -> None:
    raise PermissionError("nobody may take it back")


@effect(undo=keep, undo_retry=Retry(attempts=1))
async def kept() -> str:
    return "kept"


@effect(undo=take_back, approve=True, key=lambda call: "the one")
async def asked_about() -> str:
    return "never sent"


@effect(undo=take_back, retry=Retry(attempts=1))
async def fails(how: str) -> str:
    SENT.append(how)
    await OPEN["door"].wait()
    raise ConnectionRefusedError("down") if how == "letter" else RuntimeError("reset")


@workflow
async def is_late(how: str) -> str:
    await kept()
    return await (asked_about() if how == "proposal" else fails(how))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("decision", {"decision": "edit", "value": ["n"]}),
        ("decision", {"decision": "edit", "value": {"m": 1}}),
        ("decision", {"decision": "not-done"}),
        ("decision", {"decision": "approve", "by": "ann"}),
        ("decision", {}),
        ("decision", {"entry": ["r1"], "decision": "approve"}),
        ("signal", {}),
    ],
)
async def test_a_letter_that_cannot_be_read_is_ignored(supervised: Supervised, kind: Any, body: dict[str, Any]) -> None:
    """A decision that made the driver stumble was folded again by every driver that took the run up: it never went on."""
    run = await supervised.start(asks())
    await supervised.rest()
    (entry,) = await run.waiting()
    await supervised.supervisor.journal.post([NewMail(run.id, kind, {"entry": entry.id, **body}, supervised.clock.now())])
    await supervised.rest()
    assert "mail.ignored" in [event.type for event in await run.events()]
    await supervised.decide("approval", Approve())
    assert await run.result() == "sent 1"


async def test_no_letter_is_opened_once_a_rollback_has_begun(supervised: Supervised) -> None:
    """The letter of a call that nobody waits for any more offered decisions that could not be carried out."""
    run = await supervised.start(is_refused())
    await supervised.until(lambda: bool(SENT))
    await supervised.supervisor.cancel(run.id)
    await _soon(lambda: _rolling(supervised, run.id))
    OPEN["door"].set()
    await supervised.rest()
    assert await run.status() == "cancelled"
    assert "effect.lettered" not in [event.type for event in await run.events()]


async def test_a_doubt_that_a_release_settles_leaves_the_list(tmp_path: Path) -> None:
    """What was looked up and undone by a release went on waiting for a person, whose decision then fitted nothing."""
    async with Supervisor(str(tmp_path / "journal.db"), [is_copied]) as supervisor:
        run = await supervisor.start(is_copied(), id="r")
        assert await _status(run, "waiting")
        assert SENT == ["lost", "undo"]
        assert await supervisor.waiting() == []


async def test_what_waits_for_a_place_is_not_sent_after_a_cancel(supervised: Supervised) -> None:
    """A call that waited for a place counted as in flight: the cancel waited for it, and then it was sent."""
    ahead = await supervised.start(queues("ahead"))
    await supervised.until(lambda: SENT == ["ahead"])
    behind = await supervised.start(queues("behind"))
    await _soon(lambda: behind.id in _driven(supervised))
    await supervised.supervisor.cancel(behind.id)
    assert await _status(behind, "cancelled")
    OPEN["door"].set()
    assert await ahead.result() == "ahead"
    assert SENT == ["ahead"]
    assert "effect.intended" not in [event.type for event in await behind.events()]


async def test_what_was_written_as_the_rollback_began_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A try whose *again* came to the journal just behind the rollback's first commit was sent all the same."""
    async with Supervisor(str(tmp_path / "journal.db"), [tries]) as supervisor:
        append = supervisor.journal.append

        async def slow(commit: Commit) -> Any:
            if any(record.type == "run.rolling_back" for record in commit.records):
                await asyncio.sleep(0.6)
            return await append(commit)

        monkeypatch.setattr(supervisor.journal, "append", slow)
        run = await supervisor.start(tries(), id="r")
        await _soon(lambda: bool(SENT))
        await supervisor.cancel("r")
        assert await _status(run, "cancelled")
        types = [event.type for event in await run.events()]
    assert SENT == ["again"]
    assert types[-4:] == ["run.rolling_back", "effect.again", "effect.did_not_happen", "run.cancelled"]


@pytest.mark.parametrize("which", ["undoable", "final"])
async def test_a_word_that_is_written_as_a_look_up_ends(supervised: Supervised, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """What the look-up found came too late for the journal. The person's word counts, and whoever looked it up goes on."""
    journal = supervised.supervisor.journal
    append = journal.append

    async def slow(commit: Commit) -> Any:
        done = await append(commit)
        if any(record.type == "effect.did_not_happen" for record in commit.records):
            OPEN["door"].set()
            for _ in range(20):
                await asyncio.sleep(0)
        return done

    async def decides() -> None:
        (entry,) = await supervised.supervisor.waiting(kinds=["doubt"])
        await supervised.supervisor.decide(entry, DidNotHappen(), by=Person("eve"))

    PEOPLE["decides"] = decides
    monkeypatch.setattr(journal, "append", slow)
    run = await supervised.start(drops(which))
    await supervised.rest()
    if which == "final":
        await supervised.decide("escalation", Reject("no"))
    assert await run.result() == "dropped"
    (told,) = [event for event in await run.events() if event.path.startswith("leaves/") and event.type.startswith(("effect.d", "undo"))][
        1:
    ]
    assert (told.type, told.payload["by"]["id"]) == ("effect.did_not_happen", "eve")
    assert LOOKS == ["look", "look"]
    assert SENT == []


@pytest.mark.parametrize(
    ("how", "event", "waits"),
    [
        ("proposal", "effect.proposed", [("letter", "kept")]),
        ("letter", "effect.lettered", [("letter", "kept")]),
        ("doubt", "effect.doubted", [("doubt", "fails")]),
    ],
)
async def test_who_was_asked_as_the_rollback_began(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch, how: str, event: str, waits: list[tuple[str, str]]
) -> None:
    """A question that came to the journal just behind the rollback's first commit is taken back; a doubt stays one for people."""
    journal = supervised.supervisor.journal
    append, key = journal.append, journal.key

    async def slow(commit: Commit) -> Any:
        types = [record.type for record in commit.records]
        if "effect.did_not_happen" in types:
            await supervised.supervisor.cancel(run.id)  # it is folded in the driver's next turn, as the letter is being written
        if "run.rolling_back" in types:
            OPEN["door"].set()
            for _ in range(50):
                await asyncio.sleep(0)
        return await append(commit)

    async def answered_late(*asked: str) -> Any:
        SENT.append("asked")
        await OPEN["door"].wait()
        return await key(*asked)

    monkeypatch.setattr(journal, "append", slow)
    monkeypatch.setattr(journal, "key", answered_late)
    run = await supervised.start(is_late(how))
    await supervised.until(lambda: bool(SENT))
    if how == "letter":
        OPEN["door"].set()
    else:
        await supervised.supervisor.cancel(run.id)
    await supervised.rest()
    types = [event.type for event in await run.events()]
    assert types.index(event) == types.index("run.rolling_back") + 1
    assert [(entry.kind, entry.path) for entry in await supervised.waiting()] == waits


def _driven(supervised: Supervised) -> list[str]:
    carrier = supervised.supervisor.carrier
    return [driver.row.id for driver in carrier._drivers.values() if driver.tasks]


def _rolling(supervised: Supervised, run: str) -> bool:
    drivers = supervised.supervisor.carrier._drivers.values()
    return any(driver.row.id == run and driver.history.rolling_back is not None for driver in drivers)


async def _soon(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about in five seconds")


async def _status(run: Any, wanted: str) -> bool:
    for _ in range(500):
        if (await run.status()) == wanted:
            return True
        await asyncio.sleep(0.01)
    return False
