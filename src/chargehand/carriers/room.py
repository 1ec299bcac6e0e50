"""Room: how many runs of a workflow this process may drive now. `AtOnce` and `Rate` on workflows.

The rules of this file:

1. A run has a place from when it is claimed until it has left memory. One that waits for a place is not claimed: it lies in the
   journal, any other process may take it, and nobody waits behind it.
2. A run that waits for people, or for a time that is not near, leaves memory when another one wants its place, and comes
   back like any other. One whose agent's body waits keeps its place: it could not leave without losing an attempt.
3. A rate counts runs that are driven for the first time. One that comes too early is left, due when its turn will be. Only
   when that is a second away, or mail makes the run due before its turn, does it wait as a claim, with no place. None of this
   counts as a crash or an attempt, and a cancel waits for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from chargehand.durable import Census, Commit, RunRow
from chargehand.limits import RateWindow
from chargehand.supervise.definitions import Limits
from chargehand.supervise.gauges import PLACE_POLL_SECONDS, Line
from chargehand.supervise.run import RunDriver
from chargehand.supervise.site import Site


class Room:
    """The places and rates of one carrier's workflows."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._inside: dict[str, set[int]] = {}
        self._lines: dict[str, Line] = {}
        self._plans: dict[str, RateWindow] = {}
        self._turn = 0

    # -- places ----------

    def entered(self, row: RunRow) -> None:
        """Note that a run is taken into memory."""
        if self._limits(row.workflow).at_once is not None:
            self._inside.setdefault(row.workflow, set()).add(row.number)

    def left(self, row: RunRow) -> None:
        """Note that a run has left memory."""
        inside = self._inside.get(row.workflow)
        if inside is not None:
            inside.discard(row.number)

    def places(self, workflow: str) -> int | None:
        """Return how many more runs of a workflow may be taken; None when that is not bounded."""
        at_once = self._limits(workflow).at_once
        return None if at_once is None else max(0, at_once.n - len(self._inside.get(workflow, ())))

    def groups(self, limit: int) -> list[tuple[list[str], int]]:
        """Return which workflows to claim together, and how many runs. Each group is the first in its turn, so that none is left out."""
        unbounded: list[str] = []
        groups: list[tuple[list[str], int]] = []
        for workflow in self._site.workflows:
            places = self.places(workflow)
            if places is None:
                unbounded.append(workflow)
            elif places:
                groups.append(([workflow], min(places, limit)))
        if unbounded:
            groups.append((unbounded, limit))
        if groups:
            order = deque(groups)
            order.rotate(-(self._turn % len(groups)))
            self._turn += 1
            groups = list(order)
        return groups

    def might_take(self, workflow: str, drivers: Collection[RunDriver]) -> bool:
        """Say whether there is a place for a run of a workflow, or one that another run would leave."""
        return self.places(workflow) != 0 or any(self._could_leave(driver) for driver in drivers if driver.row.workflow == workflow)

    async def asked_to_leave(self, drivers: Iterable[RunDriver], census: Census) -> list[RunDriver]:
        """Return the runs that only wait and whose places others want."""
        if not any(self._inside.values()):
            return []
        idle: dict[str, list[RunDriver]] = {}
        for driver in drivers:
            workflow = driver.row.workflow
            if self._inside.get(workflow) and self.places(workflow) == 0 and self._could_leave(driver):
                idle.setdefault(workflow, []).append(driver)
        found: list[RunDriver] = []
        for workflow, waiting in idle.items():
            due = await self._site.journal.next_due(workflows=[workflow], environment=self._site.environment)
            if census.gone or census.silent or (due is not None and due <= self._site.clock.now()):
                found += waiting
        return found

    def _could_leave(self, driver: RunDriver) -> bool:
        soon = self._site.clock.now() + PLACE_POLL_SECONDS
        return driver.evictable and all(due > soon for path, due in driver.dues.items() if path != "!deadline")

    # -- rates ----------

    def begins(self, row: RunRow) -> bool:
        """Say whether a claimed run may be driven now; what is driven for the first time is counted."""
        line = self._line(row.workflow)
        return line is None or row.seq > 1 or line.window.take(self._site.clock.monotonic()) <= 0

    async def turn(self, row: RunRow) -> bool:
        """Wait for the turn of a run that comes too early, and say True; or say False when it was left, to be due by then.

        If the process dies inside: the run is left, or others find that its worker is gone.
        """
        line, now = self._line(row.workflow), self._site.clock.monotonic()
        if line is None:
            return True
        near = line.window.pause(now) <= PLACE_POLL_SECONDS and line.waiting < line.window.rate.n
        mailed = row.epoch > 1 and bool(await self._site.journal.mail([row.number]))  # it would be due at once again
        if near or mailed:
            await line.room(self._site.clock)
            return True
        plan = self._plans.setdefault(row.workflow, RateWindow(line.window.rate))
        await self.leave(row, max(line.window.pause(now), plan.book(now)))
        return False

    async def leave(self, row: RunRow, pause: float) -> None:
        """Give a claim back before anything was done with it; the run is due again after so many seconds."""
        commit = Commit(
            run=row.number,
            run_id=row.id,
            environment=row.environment,
            epoch=row.epoch,
            before=row.seq,
            records=(),
            status=row.status,
            reason=row.reason,
            due=self._site.clock.now() + pause,
            standing=row.standing,
            leave=True,
        )
        await self._site.journal.append(commit)

    async def is_cancelled(self, row: RunRow) -> bool:
        """Say whether somebody has cancelled a run that has not begun; that need not wait for its turn."""
        return any(mail.kind == "cancel" for mail in await self._site.journal.mail([row.number]))

    # -- definitions ----------

    def _limits(self, workflow: str) -> Limits:
        definition = self._site.workflows.get(workflow)
        return Limits() if definition is None else definition.limits

    def _line(self, workflow: str) -> Line | None:
        rate = self._limits(workflow).rate
        if rate is None:
            return None
        line = self._lines.get(workflow)
        if line is None:
            line = self._lines[workflow] = Line(rate)
        return line
