"""What a gate sees of the run's releases is the state of the moment it was asked, and costs nothing when it does not look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chargehand import Fact, GateContext, agent, gate, workflow
from chargehand.supervise.released import Released, ReleasedFacts
from chargehand.testing import Supervised
from chargehand.verdicts import ReleasedFact


class Watched(dict[str, Mapping[str, Any]]):
    """Releases that say whether anybody has read them."""

    read = 0

    def items(self) -> Any:
        """Count."""
        self.read += 1
        return super().items()


def test_nothing_is_copied_before_a_gate_looks() -> None:
    """A long run's thousands of outputs are read by the gates that want them, once each."""
    releases = Watched({"a": {"v": 1}, "b": {"v": 2}})
    asked: list[int] = []

    def known() -> list[ReleasedFact]:
        asked.append(1)
        return [ReleasedFact(Fact("s", "x", 1), "a"), ReleasedFact(Fact("s", "y", 2), "c")]

    released = Released(releases)
    facts = ReleasedFacts(released, known)
    releases["c"] = {"v": 3}
    assert (len(released), releases.read, asked) == (2, 0, [])
    assert dict(released) == {"a": 1, "b": 2} == released, "what is released later is not seen"
    assert [one.path for one in facts] == ["a"]
    assert facts == [ReleasedFact(Fact("s", "x", 1), "a")]
    assert [facts == other for other in ([], "another thing", 7)] == [False] * 3
    assert (repr(released), repr(facts)) == (repr({"a": 1, "b": 2}), repr(list(facts)))
    assert (releases.read, asked) == (1, [1])


SEEN: list[tuple[dict[str, Any], list[str]]] = []


@gate
def looks(output: int, context: GateContext) -> None:
    SEEN.append((dict(context.released), [one.path for one in context.facts]))


@agent(role="Counts.", gates=[looks], facts=lambda number: [Fact("count", "is", number)])
async def counts(number: int) -> int:
    return number


@workflow
async def counting() -> None:
    for number in range(3):
        await counts(number)


async def test_a_gate_sees_what_was_released_before(supervised: Supervised) -> None:
    """Outputs and facts of the calls before its own, and no others."""
    SEEN.clear()
    await supervised.run(counting())
    assert SEEN == [({}, []), ({"counts": 0}, ["counts"]), ({"counts": 0, "counts#2": 1}, ["counts", "counts#2"])]
