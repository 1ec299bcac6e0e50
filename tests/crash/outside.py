"""Everybody who is not the run: people who decide, who send signals, who cancel and who mend code; and time.

They know nothing but the journal and the world's books, so they go on alike after a crash of the run's process, and of
their own.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from chargehand import Decision, DoneByHand, Person, Supervisor, UnknownEntry, Waiting
from chargehand.durable import FINAL_STATUSES, RunRow
from chargehand.errors import DecisionRefused
from chargehand.supervise.log import loaded

from .clock import FakeClock
from .example import MENDED, Example, LetItExpire
from .world import Fact, World

ROUNDS = 300
"""How often the outside may act on a run of the catalogue. More means that it goes in circles."""

PATIENCE = 60.0
"""Real seconds in which a run has to come to rest."""


class Stuck(AssertionError):
    """A run waits, and nothing waits for it."""


@dataclass
class Outside:
    """Plays the outside of some runs through one supervisor."""

    supervisor: Supervisor
    world: World
    clock: FakeClock
    example: Example
    ids: Sequence[str] = ()
    voters: Counter[str] = field(default_factory=Counter)
    calls: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        before = self.world.seen
        self.world.seen = lambda fact: (before and before(fact), self.saw(fact))

    def saw(self, fact: Fact) -> None:
        """Cancel at once, while the run works, when this is the fact that somebody cancels upon."""
        if self.example.cancel_when is not None and fact[:3] == self.example.cancel_when[:3]:
            call = asyncio.ensure_future(self._cancel(self.ids[0]))
            self.calls.add(call)
            call.add_done_callback(self.calls.discard)

    async def play(self, ids: Sequence[str]) -> None:
        """Act until every run has ended. Raises `Stuck` with the run's events."""
        self.ids = ids
        if ids:
            await self._cancel(ids[0])
        for _ in range(ROUNDS):
            await self.rest(ids)
            rows = [row for id in ids if (row := await self.supervisor.row(id)).status not in FINAL_STATUSES]
            if not rows:
                return
            if not [row.id for row in rows if await self._act(row)]:
                await self._let_time_pass(rows)
        raise Stuck(f"The outside acted {ROUNDS} times on {ids}.\n" + await self.told(ids))

    # -- waiting for the runs to rest ----------

    async def rest(self, ids: Sequence[str]) -> None:
        """Wait until the runs do nothing but wait for time or people."""
        until = time.monotonic() + PATIENCE
        calm = 0
        while calm < 5:
            calm = 0 if await self._busy(ids) else calm + 1
            if self.world.hanging and (wait := self.clock.next_wait()) is not None:
                self.clock.jump(wait)
            await asyncio.sleep(0 if calm or self.clock.next_wait() is None else 0.0002)
            if time.monotonic() > until:
                raise Stuck(f"The runs {ids} do not come to rest.\n" + await self.told(ids))

    async def _busy(self, ids: Sequence[str]) -> bool:
        carrier, site = self.supervisor.carrier, self.supervisor.site
        assert carrier is not None
        for id in ids:
            row = await self.supervisor.row(id)
            if row.status in FINAL_STATUSES:
                continue
            if await site.journal.mail([row.number]):
                return True
            driver = carrier._drivers.get(row.number)
            if driver is None:
                unclaimed = row.owner is None and (row.due is None or row.due > self.clock.now())
                if not unclaimed:
                    return True
            elif carrier.pace.keep_loaded == 0 and driver.evictable:
                return True  # it is about to leave
            elif not driver.idle or any(path not in driver._holding for path in driver.tasks):
                return True
        return False

    async def told(self, ids: Sequence[str]) -> str:
        """Return what the runs' journals say, for whoever has to find out why."""
        lines: list[str] = []
        for id in ids:
            row = await self.supervisor.row(id)
            lines.append(repr(row))
            lines += [f"  {e.seq:3} {e.type:20} {e.path:30} {e.payload}"[:300] for e in await loaded(self.supervisor.journal, row.number)]
        return "\n".join(lines)

    # -- acting ----------

    async def _act(self, row: RunRow) -> bool:
        """Do one thing about a run that rests; say whether there was one."""
        if await self._signal(row) or await self._cancel(row.id):
            return True
        for entry in await self.supervisor.journal.waiting(run_id=row.id):
            try:
                decision = self._decision(entry)
            except LetItExpire:
                continue
            self.voters[entry.id] += 1
            person = Person(f"person {self.voters[entry.id]}", ["ops", entry.role] if entry.role else ["ops"])
            try:
                await self.supervisor.decide(entry, decision, by=person, shown=entry.digest)
            except (UnknownEntry, DecisionRefused):
                continue
            return True
        return False

    async def _signal(self, row: RunRow) -> bool:
        """Send the next signal that nobody has sent yet."""
        events = await loaded(self.supervisor.journal, row.number)
        sent = sum(1 for event in events if event.type in ("signal.kept", "signal.received") and "kept" not in event.payload)
        signals = [*self.example.early, *self.example.signals]
        if sent >= len(signals):
            return False
        if sent >= len(self.example.early) and not any(e.payload.get("want") == signals[sent][0] for e in events):
            return False
        await self.supervisor.signal(row.id, *signals[sent])
        return True

    async def _cancel(self, id: str) -> bool:
        """Cancel a run, unless it was not time yet, or somebody has."""
        wanted = self.example.cancel_when
        if wanted is None or not any(fact[:3] == wanted[:3] for fact in self.world.book.facts()):
            return False
        row = await self.supervisor.row(id)
        events = await loaded(self.supervisor.journal, row.number)
        if any(event.type in ("cancel.requested", "run.rolling_back") for event in events):
            return False
        if await self.supervisor.journal.mail([row.number]):
            return False
        await self.supervisor.cancel(id, "somebody cancelled")
        return True

    def _decision(self, entry: Waiting) -> Decision:
        """Decide as this example's people do, else as a sensible person who can look into the world's books."""
        if self.example.people is not None:
            special = self.example.people(entry, self.world)
            if special is not None:
                return special
        match entry.kind:
            case "approval":
                return Decision("approve")
            case "escalation":
                return Decision("release", reason="good enough")
            case "question":
                return Decision("answer", "yes")
            case "broken":
                MENDED["now"] = True
                return Decision("resume")
            case "doubt":
                return self._found_out(entry)
            case "letter" if "redrive" in entry.decisions and entry.title.endswith("could not be undone"):
                undone = not self.world.stands(*_service(entry))
                return Decision("done") if undone else Decision("redrive")
            case "letter" if entry.path == "":
                return Decision("undo")
            case "letter":
                return Decision("redrive")
            case _:
                return Decision("resume")

    def _found_out(self, entry: Waiting) -> Decision:
        """Say of an effect in doubt what the service's own books say."""
        tool, ref = _service(entry)
        return DoneByHand(f"{tool}-{ref}-receipt") if self.world.stands(tool, ref) else Decision("not-done")

    async def _let_time_pass(self, rows: Sequence[RunRow]) -> None:
        """Jump to the next time that anything waits for."""
        times = [row.due for row in rows if row.owner is None and row.due is not None]
        if (wait := self.clock.next_wait()) is not None:
            times.append(wait)
        if not times:
            ids = [row.id for row in rows]
            raise Stuck(f"The runs {ids} wait, and nothing waits for them.\n" + await self.told(ids))
        self.clock.jump(min(times))


def _service(entry: Waiting) -> tuple[str, str]:
    """Return the service and the order that an entry is about."""
    tool = {"order": "charge", "slow order": "charge", "open account": "account"}.get(entry.shows["tool"], entry.shows["tool"])
    return tool, entry.shows["arguments"]["ref"]
