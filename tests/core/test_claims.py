"""Just before something is sent: a driver whose claim may have run out by the time the call ends asks whether the run is still its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chargehand import effect, workflow
from chargehand.errors import Fenced
from chargehand.supervise.operations import Operations
from chargehand.testing import Supervised

COMMITTED = 100.0
SILENT_AFTER = 10.0


class Asked:
    """What `claim_holds` sees of a driver: its clock, its last commit, and a journal that takes some time to answer."""

    def __init__(self, since: float, *, mine: bool = True, takes: tuple[float, ...] = (0.0,)) -> None:
        self.now, self.mine, self.takes, self.asked = COMMITTED + since, mine, list(takes), list[tuple[int, int]]()
        self.clock = SimpleNamespace(monotonic=lambda: self.now)
        self.log = SimpleNamespace(committed_at=COMMITTED)
        self.row = SimpleNamespace(id="r", number=7, epoch=3)
        self.site = SimpleNamespace(silent_after=SILENT_AFTER, journal=SimpleNamespace(still_mine=self.still_mine))

    async def still_mine(self, number: int, epoch: int) -> bool:
        """Answer, some time later."""
        self.asked.append((number, epoch))
        self.now += self.takes.pop(0)
        return self.mine


async def holds(driver: Asked, timeout: float | None) -> None:
    """Ask whether the claim holds."""
    of_a_driver: Any = Operations.claim_holds
    await of_a_driver(driver, "pay", timeout)


@pytest.mark.parametrize(
    ("since", "timeout", "asks"),
    [(0, None, 0), (9.9, None, 0), (10, None, 1), (11, None, 1), (5, 4.9, 0), (5, 5, 1), (6, 5, 1), (0, 9.9, 0), (0, 10, 1), (0, 60, 1)],
)
async def test_it_asks_when_the_call_may_outlast_the_claim(since: float, timeout: float | None, asks: int) -> None:
    """The time since the last commit and the call's own timeout together reach what others wait before they take over."""
    driver = Asked(since)
    await holds(driver, timeout)
    assert driver.asked == [(7, 3)] * asks
    assert driver.log.committed_at == (COMMITTED + since if asks else COMMITTED)


async def test_a_run_that_was_taken_over_sends_nothing() -> None:
    """The driver is fenced, and its claim is no newer for having asked."""
    driver = Asked(SILENT_AFTER, mine=False)
    with pytest.raises(Fenced, match="'r' was taken over"):
        await holds(driver, None)
    assert driver.log.committed_at == COMMITTED


@pytest.mark.parametrize(("takes", "asks"), [((9.9,), 1), ((10.0, 0.0), 2), ((50.0, 12.0, 1.0), 3)])
async def test_an_answer_that_is_old_when_it_comes_is_asked_for_again(takes: tuple[float, ...], asks: int) -> None:
    """A process that stood still while it asked knows nothing; the claim counts from the moment of the question."""
    driver = Asked(SILENT_AFTER, takes=takes)
    await holds(driver, None)
    assert len(driver.asked) == asks
    assert driver.log.committed_at == COMMITTED + SILENT_AFTER + sum(takes[:-1])


@effect(final=True, approve=False, timeout=7)
async def pay() -> str:
    """Pay."""
    return "paid"


@workflow
async def pays() -> str:
    """Pay once."""
    return await pay()


async def test_an_effect_asks_with_its_own_timeout(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked before an effect is sent is the time that this effect may take."""
    inner, asked = Operations.claim_holds, list[tuple[str, Any]]()

    async def seen(self: Operations, path: str, timeout: float | None) -> None:
        asked.append((path, timeout))
        await inner(self, path, timeout)

    monkeypatch.setattr(Operations, "claim_holds", seen)
    value = await supervised.run(pays())
    assert (value, asked) == ("paid", [("pay", 7.0)])
