"""The pytest plugin: the fixtures `supervised` and `model_stand_in`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from chargehand.testing.supervised import Supervised

if TYPE_CHECKING:
    from chargehand.testing.standin import ModelScript, ModelStandIn, Reply

try:
    import pytest_asyncio
except ImportError:  # the fixture then works with whatever runs the test's event loop
    pytest_asyncio = None  # type: ignore[assignment]


if pytest_asyncio is not None:

    @pytest_asyncio.fixture
    async def supervised() -> AsyncIterator[Supervised]:
        """A supervised process in memory, with time that jumps and people who are played."""
        async with Supervised() as made:
            yield made

else:

    @pytest.fixture
    def supervised() -> Iterator[Supervised]:
        """A supervised process in memory, with time that jumps and people who are played."""
        made = Supervised()
        yield made
        made.abandon()


@pytest.fixture
def model_stand_in() -> Iterator[Callable[..., ModelStandIn]]:
    """A function that takes a script, or replies, and returns a stand-in for a model's endpoint that listens until the test ends."""
    from chargehand.testing.standin import ModelStandIn

    with ExitStack() as ending:

        def started(*script: ModelScript | Reply) -> ModelStandIn:
            return ending.enter_context(ModelStandIn(*script))

        yield started


__all__ = ["model_stand_in", "supervised"]
