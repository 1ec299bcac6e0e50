"""Mail: what others than the driver write."""

from __future__ import annotations

import pytest

from chargehand.durable import Journal, NewMail
from chargehand.errors import UnknownRun

from .conftest import Beside
from .driven import START, claimed, created


def signal(run_id: str, value: object = None) -> NewMail:
    """Return a signal."""
    return NewMail(run_id, "signal", {"name": "go", "value": value}, START + 5)


async def test_mail_comes_back_in_the_order_it_was_left(journal: Journal, beside: Beside) -> None:
    """Whoever left mail first is folded first, from whichever process."""
    run = await created(journal, "po-1")
    other = await created(journal, "po-2")
    view = await beside()
    first = await view.post([signal("po-1", {"a": [1]}), NewMail("po-2", "cancel", {}, START)])
    second = await journal.post([signal("po-1", "two")])
    numbers = [run.row.number, other.row.number]
    mail = await journal.mail(numbers)
    assert [one.id for one in mail] == first + second
    assert sorted(first + second) == first + second
    assert mail[0].body == {"name": "go", "value": {"a": [1]}}
    assert [one.run for one in mail] == [numbers[0], numbers[1], numbers[0]]
    assert [one.kind for one in mail] == ["signal", "cancel", "signal"]
    assert await journal.mail([numbers[1]]) == [mail[1]]


async def test_an_unknown_address_refuses_all_of_it(journal: Journal) -> None:
    """Mail for several runs is left for all of them or for none."""
    run = await created(journal, "po-1")
    with pytest.raises(UnknownRun, match="nothing"):
        await journal.post([signal("po-1"), signal("nothing")])
    assert await journal.mail([run.row.number]) == []
    assert (await run.now()).due is None


async def test_mail_makes_an_unowned_run_claimable(journal: Journal) -> None:
    """Leaving mail is the acknowledgement: somebody will drive the run."""
    run = await created(journal, "po-1")
    await run.append("a", status="waiting", leave=True)
    assert await claimed(journal, "w2") == []
    await journal.post([signal("po-1")])
    assert (await run.now()).due == 0.0
    assert [one.row.id for one in await claimed(journal, "w2", now=0.0)] == ["po-1"]


async def test_the_owner_is_told_which_of_its_runs_have_mail(journal: Journal) -> None:
    """A driver that holds ten thousand parked runs asks one question."""
    runs = [await created(journal, f"po-{number}", owner="w1" if number < 3 else "w2") for number in range(5)]
    await journal.post([signal("po-1"), signal("po-4"), signal("po-1"), signal("po-0")])
    assert await journal.mailed("w1") == [runs[0].row.number, runs[1].row.number]
    assert await journal.mailed("w2") == [runs[4].row.number]


async def test_folded_mail_is_gone_and_the_run_is_no_longer_due(journal: Journal) -> None:
    """Mail is deleted by the commit whose events account for it."""
    run = await created(journal, "po-1")
    ids = await journal.post([signal("po-1")])
    await run.append("folded", mail=ids, status="waiting", due=START + 60)
    assert await journal.mail([run.row.number]) == []
    assert await journal.mailed("w1") == []
    assert (await run.now()).due == START + 60


@pytest.mark.parametrize("leave", [False, True])
async def test_newer_mail_keeps_the_run_due(journal: Journal, leave: bool) -> None:
    """A driver that leaves while mail arrives leaves a run that is due, so the mail is not forgotten."""
    run = await created(journal, "po-1")
    [old] = await journal.post([signal("po-1", 1)])
    [new] = await journal.post([signal("po-1", 2)])
    await run.append("folded one", mail=[old], status="waiting", due=None, leave=leave)
    assert (await run.now()).due == 0.0
    assert [one.id for one in await journal.mail([run.row.number])] == [new]
    assert len(await claimed(journal, "w2")) == (1 if leave else 0)


async def test_mail_the_driver_has_not_read_keeps_the_run_due(journal: Journal) -> None:
    """A commit that names no mail does not clear the due time that mail has set."""
    run = await created(journal, "po-1")
    await journal.post([signal("po-1")])
    await run.append("step", status="waiting", due=START + 99, leave=True)
    assert (await run.now()).due == 0.0


async def test_a_fenced_commit_deletes_no_mail(journal: Journal) -> None:
    """A zombie cannot throw away what the new driver has to read."""
    zombie = await created(journal, "po-1", owner="dead")
    ids = await journal.post([signal("po-1")])
    await claimed(journal, "w2", census=await journal.census(60))
    with pytest.raises(Exception, match="claimed"):
        await zombie.append("folded", mail=ids)
    assert [one.id for one in await journal.mail([zombie.row.number])] == ids


async def test_only_the_runs_own_mail_can_be_folded(journal: Journal) -> None:
    """A commit names its own run's mail; another run's stays."""
    run = await created(journal, "po-1")
    other = await created(journal, "po-2")
    ids = await journal.post([signal("po-2")])
    await run.append("a", mail=ids)
    assert [one.id for one in await journal.mail([other.row.number])] == ids


async def test_mail_for_a_finished_run_is_kept_and_wakes_nobody(journal: Journal) -> None:
    """Late mail is not lost, and does not raise the dead."""
    run = await created(journal, "po-1")
    await run.append("end", status="completed")
    ids = await journal.post([signal("po-1")])
    assert [one.id for one in await journal.mail([run.row.number])] == ids
    assert (await run.now()).due is None
    assert await claimed(journal, "w2") == []


async def test_the_number_of_folded_mail_is_not_given_again(journal: Journal) -> None:
    """An id names one piece of mail for ever."""
    run = await created(journal, "po-1")
    first = await journal.post([signal("po-1")])
    await run.append("a", mail=first)
    assert await journal.post([signal("po-1")]) > first
