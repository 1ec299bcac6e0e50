"""A value that looks like what the journal writes in the place of a large value."""

from __future__ import annotations

from typing import Any

import pytest

from chargehand import step, wait_signal, workflow
from chargehand.testing import Supervised


@step
async def says(value: dict[str, Any]) -> dict[str, Any]:
    """Give back what a model said."""
    return value


@workflow
async def flow(value: dict[str, Any]) -> dict[str, Any]:
    """Hold what was said over a wait."""
    found = await says(value)
    await wait_signal("go", int)
    return found


@pytest.mark.parametrize(
    "value", [{"$blob": "0" * 32, "bytes": 3}, {"a": {"$blob": "0" * 32, "bytes": 3}}, {"$erased": True}, {"$blob": 1}]
)
async def test_a_value_that_looks_like_a_reference_is_a_value(supervised: Supervised, value: dict[str, Any]) -> None:
    """After a crash the workflow gets back what was said, word for word."""
    run = await supervised.start(flow(value))
    await supervised.rest()
    await supervised.crash()
    await supervised.signal(run, "go", 1)
    assert await run.result() == value
