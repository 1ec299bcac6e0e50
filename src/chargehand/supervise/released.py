"""What a run has released so far, as a gate sees it: the state of the moment it was asked, copied only when it looks.

Most gates look at the output alone, and a long run has released thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, overload

from chargehand.verdicts import ReleasedFact


class Released(Mapping[str, Any]):
    """The outputs released until now, by path.

    Args:
        releases: what each release says, by path, in the order in which they came; more may come later.
    """

    def __init__(self, releases: Mapping[str, Mapping[str, Any]]) -> None:
        self._releases, self._until_now = releases, len(releases)

    @cached_property
    def _outputs(self) -> dict[str, Any]:
        return {path: release.get("v") for path, release in islice(self._releases.items(), self._until_now)}

    def __getitem__(self, path: str) -> Any:
        return self._outputs[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return self._until_now

    def __repr__(self) -> str:
        return repr(self._outputs)


class ReleasedFacts(Sequence[ReleasedFact]):
    """The facts that the outputs released until now assert.

    Args:
        released: those outputs.
        known: returns the facts of everything that is released by then.
    """

    def __init__(self, released: Released, known: Callable[[], Sequence[ReleasedFact]]) -> None:
        self._released, self._known = released, known

    @cached_property
    def _facts(self) -> list[ReleasedFact]:
        return [fact for fact in self._known() if fact.path in self._released]

    @overload
    def __getitem__(self, index: int) -> ReleasedFact: ...
    @overload
    def __getitem__(self, index: slice) -> list[ReleasedFact]: ...
    def __getitem__(self, index: int | slice) -> ReleasedFact | list[ReleasedFact]:
        return self._facts[index]

    def __len__(self) -> int:
        return len(self._facts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(self._facts)
