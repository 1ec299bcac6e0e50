"""The pytest plugin: the fixture `supervised`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from chargehand.testing.supervised import Supervised

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


__all__ = ["supervised"]
