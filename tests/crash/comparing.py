"""What a run that was disturbed owes to one that was not."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chargehand import Supervisor
from chargehand.events import Event
from chargehand.supervise.log import loaded

from .example import Example
from .instants import Kind
from .world import Fact, gross, net

BARE = ("post", "reserve", "post!undo")
"""Services that know no keys: whatever arrives there happens again."""


@dataclass
class End:
    """How a run came out: what its journal says, and what the world's books say."""

    outcomes: dict[str, Any]
    standing: dict[str, int]
    events: dict[str, list[Event]]
    facts: list[Fact]
    entries: list[str]
    keys: dict[str, Any]

    def sent(self, tool: str, what: str = "arrived") -> Counter[str]:
        """Count the arrivals at a service by what was ordered."""
        return Counter(fact.ref for fact in self.facts if fact.what == what and fact.tool == tool)


async def end_of(supervisor: Supervisor, ids: Sequence[str], facts: list[Fact], kind: Kind, journal: Any) -> End:
    """Read how runs came out, and check what must hold of every run that has ended."""
    outcomes: dict[str, Any] = {}
    standing: dict[str, int] = {}
    events: dict[str, list[Event]] = {}
    for id in ids:
        row = await supervisor.row(id)
        events[id] = await loaded(supervisor.journal, row.number)
        last = events[id][-1]
        outcomes[id] = (row.status, last.type, last.payload.get("v"), last.payload.get("e"))
        standing[id] = row.standing
        await supervisor.journal.verify(row.number)
        assert not await supervisor.journal.mail([row.number]), "mail is left"
        assert not await supervisor.journal.waiting(run_id=id), "an ended run has something waiting"
        assert (row.owner, row.due) == (None, None)
        check_life(events[id])
    await supervisor.journal.verify_chain()
    held = [await supervisor.journal.key(supervisor.environment, "open account", f"account-{ref}") for ref in ("one", "two")]
    keys = {row.key: (row.state, row.run_id, row.path, row.generation) for row in held if row is not None}
    return End(outcomes, standing, events, facts, kind.entries(journal), keys)


def check_life(events: Sequence[Event]) -> None:
    """Check that nothing was decided twice: one release, one done, one undo for each call and generation."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert all(a.time <= b.time for a, b in itertools.pairwise(events)), "times decrease"
    done: Counter[tuple[str, str]] = Counter()
    for event in events:
        if event.type in ("effect.edited", "run.resumed"):  # a person had something made anew
            done.clear()
        if event.type in ("call.done", "call.failed", "agent.released", "agent.failed", "effect.done", "undo.done", "timer.fired"):
            done[(event.type, event.path)] += 1
            assert done[(event.type, event.path)] == 1, f"{event.type} twice at {event.path}"


def steps_done(events: Sequence[Event]) -> Counter[str]:
    """Count the recorded values of steps and reads by their label."""
    values = [event.payload.get("v") for event in events if event.type == "call.done"]
    return Counter(str(value[0] if isinstance(value, list) and value else value) for value in values)


def check_steps(expected: End, found: End, before: Sequence[Fact], recorded: Sequence[Event], lost: int) -> None:
    """Check that no finished step ran again: after the crash there ran at most those whose value was not on disk.

    `lost` is how many commits of one and the same process were refused: each may cost what was in flight.
    """
    after = Counter(fact.ref for fact in found.facts[len(before) :] if fact.what == "ran")
    allowed = expected.sent("step", "ran") - steps_done(recorded)
    allowed += Counter(dict.fromkeys(allowed, lost))
    assert after <= allowed, f"finished steps ran again: {after - allowed}"


def check_equal(example: Example, expected: End, found: End, before: Sequence[Fact], recorded: Sequence[Event], lost: int = 0) -> None:
    """Check that a disturbed run ended as the undisturbed one, and that the world saw no more of it than it may.

    `before` are the facts at the instant of death, `recorded` the events that were on disk then.
    """
    assert found.outcomes == expected.outcomes
    assert found.standing == expected.standing
    assert found.entries == expected.entries, "a transactional effect is not exactly once"
    assert found.keys == expected.keys
    left, wanted = +net(found.facts), +net(expected.facts)
    assert left == wanted, f"what stands in the world differs: {left} instead of {wanted}"
    assert -net(found.facts) == -net(expected.facts), "something was taken back twice, or what never happened was"
    made, may = gross(found.facts), gross(expected.facts)
    if example.gross_varies:
        assert all(times <= max(1, may[place]) for place, times in made.items()), f"made too often: {made - may}"
    else:
        assert made == may, f"made {made - may} too often, {may - made} too seldom"
    check_keys(example, expected, found)
    for tool in BARE:
        check_bare(tool, expected, found)
    check_steps(expected, found, before, recorded, lost)
    if example.ordered and not example.gross_varies:
        assert undo_order(found.facts) == undo_order(expected.facts)
    assert found.events["run-1"][: len(recorded)] == list(recorded), "history was rewritten"


def check_keys(example: Example, expected: End, found: End) -> None:
    """Check that nothing arrived under a key that the undisturbed run did not use for it."""
    used = {(fact.tool, fact.ref, fact.key) for fact in expected.facts if fact.key}
    strange = {(fact.tool, fact.ref, fact.key) for fact in found.facts if fact.key} - used
    if example.gross_varies:
        strange = {one for one in strange if (one[0], one[1]) in {(tool, ref) for tool, ref, _ in used}}
    assert not strange, f"other keys: {strange}"


def check_bare(tool: str, expected: End, found: End) -> None:
    """Check that what has no key was never sent again when it may have happened."""
    assert found.sent(tool) <= expected.sent(tool), f"{tool} was sent again: {found.sent(tool) - expected.sent(tool)}"


def undo_order(facts: Sequence[Fact]) -> list[tuple[str, str]]:
    """Return what was taken back, each at its first time."""
    return list(dict.fromkeys((fact.tool, fact.ref) for fact in facts if fact.what == "undone"))
