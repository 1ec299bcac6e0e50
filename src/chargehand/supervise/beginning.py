"""Beginning an operation at once, in the turn of the loop that asked for it.

A task waits for the loop's next round before it runs. With hundreds of runs a round is long, and by the time the task's turn
comes everything it needs has left the processor's caches: measured with 200 runs at once, a third of the cost of a step.
So the task's first turn is taken out of the loop's queue and run where it was asked for. It is a real task all the same, with a
context of its own, and what it does not end in its first turn goes on by the loop. A loop that has no such queue, or whose
queue another thread has just added to, keeps its own order: nothing depends on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def create_task(
    operation: Coroutine[Any, Any, None], name: str, known: Callable[[asyncio.Task[None]], None], *, now: bool
) -> asyncio.Task[None]:
    """Return the operation as a task. `known` is told of it before it runs; `now`: it has had its first turn on return."""
    loop = asyncio.get_running_loop()
    task: asyncio.Task[None] = loop.create_task(operation, name=name)
    known(task)
    if not now:
        return task
    queue = getattr(loop, "_ready", None)
    if not queue:
        return task
    first_turn = queue.pop()
    if _task_of(first_turn) is not task:
        queue.append(first_turn)
        return task
    running = asyncio.current_task(loop)
    if running is not None:
        asyncio.tasks._leave_task(loop, running)
    try:
        first_turn._run()
    finally:
        if running is not None:
            asyncio.tasks._enter_task(loop, running)
    return task


def _task_of(turn: Any) -> object:
    """Return the task whose turn it is."""
    return getattr(getattr(turn, "_callback", None), "__self__", None)
