"""An operation begun at once is a task like any other."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import pytest

from chargehand.supervise.beginning import run_first_turn

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")


def begun(operation: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begin an operation at once."""
    task = asyncio.create_task(operation)
    mine = asyncio.current_task()
    assert mine is not None
    run_first_turn(task, mine, asyncio.get_running_loop())
    return task


async def test_it_has_run_to_its_first_wait() -> None:
    """What an operation does before its first wait is done when it has been begun, and the rest follows."""
    done: list[str] = []

    async def operation() -> None:
        done.append("began")
        await asyncio.sleep(0)
        done.append("went on")

    task = begun(operation())
    assert done == ["began"]
    assert not task.done()
    await task
    assert done == ["began", "went on"]


async def test_it_is_its_own_task_with_its_own_context() -> None:
    """The code in it sees its own task, so that asyncio's timeouts end it and not who began it, and leaves no variable behind."""
    seen: list[asyncio.Task[None] | None] = []

    async def operation() -> None:
        seen.append(asyncio.current_task())
        variable.set("inside")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()

    mine = asyncio.current_task()
    task = begun(operation())
    assert asyncio.current_task() is mine
    await task
    assert seen == [task]
    assert variable.get() == "outside"


async def test_one_that_raises_at_once_raises_nothing_here() -> None:
    """A failure, or a cancellation, in the first turn is the task's."""

    async def operation() -> None:
        raise ValueError("at once")

    task = begun(operation())
    assert task.done()
    assert isinstance(task.exception(), ValueError)


async def test_another_thread_in_between_takes_nothing_away() -> None:
    """When another thread adds to the loop's queue at that very moment, both turns still come, in their order."""
    order: list[str] = []
    loop = asyncio.get_running_loop()

    async def operation() -> None:
        order.append("operation")

    mine = asyncio.current_task()
    assert mine is not None
    task = loop.create_task(operation())
    loop.call_soon(order.append, "thread")  # what a thread's call_soon_threadsafe does between the two lines
    run_first_turn(task, mine, loop)
    assert order == []
    await task
    assert order == ["operation", "thread"]
