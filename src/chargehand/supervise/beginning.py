"""Beginning an operation at once, in the turn of the loop that asked for it.

A task waits for the loop's next round before it runs. With hundreds of runs a round is long, and by the time the task's turn
comes everything it needs has left the processor's caches: measured with 200 runs at once, a third of the cost of a step.
So the task's first turn is taken out of the loop's queue and run where it was asked for. It is a real task all the same, with a
context of its own, and what it does not end in its first turn goes on by the loop. A loop that has no such queue, or whose
queue another thread has just added to, keeps its own order: nothing depends on it.
"""

from __future__ import annotations

import asyncio


def run_first_turn(task: asyncio.Task[None], running: asyncio.Task[None], loop: asyncio.AbstractEventLoop) -> None:
    """Run the first turn of a task that has just been created. `running` is the task that runs now."""
    queue = getattr(loop, "_ready", None)
    if not queue:
        return
    first_turn = queue.pop()
    if getattr(getattr(first_turn, "_callback", None), "__self__", None) is not task:
        queue.append(first_turn)
        return
    asyncio.tasks._leave_task(loop, running)
    try:
        first_turn._run()
    finally:
        asyncio.tasks._enter_task(loop, running)
