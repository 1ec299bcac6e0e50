"""Storms: hundreds of real kills and stops at random moments, clocks that step, disks that fill up. Nothing is lost or done twice.

The three storms together are more than 500 kills. Each prints what it did.
"""

from __future__ import annotations

import sys
from pathlib import Path

import apsw
import pytest

from .instants import entries_in
from .storm import Storm, Weather, storm_over
from .worker import Crew
from .world import gross

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WEATHERS = {
    "kills and stops": Weather(kills=200, stops=40),
    "the clock steps": Weather(kills=160, stops=15, steps=True),
    "the disk fills up": Weather(kills=160, stops=15, full=True),
}


def told(name: str, storm: Storm) -> str:
    """Return what a storm did, in one line."""
    made, undone = gross(storm.book.facts()).total(), gross(storm.book.facts(), "undone").total()
    return f"{name}: {dict(storm.done)}, {storm.started} runs, {made} effects made, {undone} undone, decided {dict(storm.decided)}"


@pytest.mark.parametrize("name", WEATHERS)
async def test_storm(name: str, tmp_path: Path, crew: Crew) -> None:
    """No run is lost, none is stuck, each has its outcome, and the services' own books show each effect as often as it may be."""
    weather = WEATHERS[name]
    async with storm_over(tmp_path, crew, weather) as storm:
        await storm.rage(seed=sum(map(ord, name)))
        print(told(name, storm), file=sys.stderr)
    print(told(name, storm), file=sys.stderr)
    assert storm.done["kill"] >= weather.kills
    assert storm.done["stop"] >= weather.stops
    assert storm.done["fell"] == 0 or weather.full, "a worker died that nobody killed"
    assert storm.done["step"] > 20 or not weather.steps
    assert storm.done["fill"] > 20 or not weather.full
    entries = entries_in(apsw.Connection(storm.orders.journal))
    assert entries == sorted(f"{number} e" for number in range(storm.started) if number % 4 == 0), (
        "a transactional effect is not exactly once"
    )
