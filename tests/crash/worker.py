"""A worker process of the crash tests, and how the tests start, kill, stop and await one.

Workers come from a fork server that has everything imported, so that a new one costs milliseconds. Each is its own
process with its own locks; SIGKILL, SIGSTOP and SIGTERM mean to it what they mean to any.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from chargehand import Pace, Resource, Supervisor
from chargehand.journals.sqlite import SqliteJournal

from .faulty import no_pause
from .hurried import HurriedClock
from .instants import PATIENT
from .ledger import RemoteWorld
from .market import MARKET
from .stepping import SteppingClock
from .world import FileBook, World

QUICK = Pace(poll=0.01)


@dataclass(frozen=True)
class Orders:
    """What a worker is told.

    `stop_at`: the worker stops itself (SIGSTOP) when it comes to this point at this path for the first time. `gate`: a
    file without which services do not answer. `ledger`: where the services answer, if not in a file; `steps`: the file by
    which the clock is set. `eager`: a run whose journal could not be written is driven again after a blink.
    """

    journal: str
    book: str
    pace: Pace = QUICK
    slow: float = 0.002
    stop_at: tuple[str, str] | None = None
    gate: str | None = None
    log: str | None = None
    ledger: str | None = None
    steps: str | None = None
    eager: bool = False


class GatedWorld(World):
    """A world whose answers wait for a file."""

    gate: str | None = None

    async def ask(self, what: str, tool: str, ref: str, key: str) -> str:
        """Do as ordered at once, answer when the gate is open."""
        answer = await super().ask(what, tool, ref, key)
        while self.gate is not None and not os.path.exists(self.gate):
            await asyncio.sleep(0.01)
        return answer


def world_of(orders: Orders) -> World:
    """Return the world that all workers share."""
    if orders.ledger is not None:
        return RemoteWorld(orders.ledger, orders.slow)
    world = GatedWorld(FileBook(orders.book), slow=orders.slow)
    world.gate = orders.gate
    return world


def work(orders: Orders) -> None:
    """Be a worker until SIGTERM; then let calls in flight settle and leave."""
    if orders.log is not None:
        logging.basicConfig(filename=orders.log, level=logging.WARNING, force=True)
    asyncio.run(_work(orders))


async def _work(orders: Orders) -> None:
    world = world_of(orders)
    clock = HurriedClock() if orders.steps is None else SteppingClock(orders.steps)
    journal = SqliteJournal(orders.journal, clock=clock, work_seconds=PATIENT)  # a process that was stopped has not taken long
    supervisor = Supervisor(
        orders.journal, MARKET, journal=journal, clock=clock, pace=orders.pace, resources=[Resource(World, lambda: world)]
    )
    if orders.stop_at is not None:
        supervisor.site.crash_point = stopper(orders.stop_at)
        if orders.stop_at[0] == "commit on disk":
            supervisor.journal.append = appending(supervisor.journal.append, orders.stop_at[1])  # type: ignore[method-assign]
    if orders.eager:
        no_pause(supervisor.carrier)
    leave = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave.set)
    async with supervisor:
        await leave.wait()


def stopper(where: tuple[str, str]) -> Callable[[str, str], None]:
    """Return a crash point at which the process stops once."""
    left = [where]

    def at(point: str, path: str) -> None:
        if left and (point, path) == left[0]:
            left.clear()
            os.kill(os.getpid(), signal.SIGSTOP)

    return at


def appending(append: Any, event: str) -> Any:
    """Return an append that stops the process once, when an event of this type is on disk and nobody knows it yet."""
    left = [event]

    async def stopping(commit: Any) -> Any:
        records = await append(commit)
        if left and any(record.type == left[0] for record in commit.records):
            left.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        return records

    return stopping


# -- from the test's side ----------


@dataclass
class Crew:
    """The worker processes of one test."""

    processes: list[ForkServerProcess] = field(default_factory=list)

    def start(self, target: Callable[..., None], *args: Any) -> ForkServerProcess:
        """Start a process."""
        process = fork_server().Process(target=target, args=args, daemon=True)
        process.start()
        self.processes.append(process)
        return process

    def close(self) -> None:
        """Kill whatever is left."""
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join(10)


def fork_server() -> Any:
    """Return the context whose server has imported this module."""
    tests = str(Path(__file__).parents[1])
    known = os.environ.get("PYTHONPATH", "")
    if tests not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [tests, known]))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["crash.worker", "crash.dying"])
    return context


def kill(process: ForkServerProcess) -> None:
    """SIGKILL, and wait until the process is no more."""
    process.kill()
    process.join(10)
    assert not process.is_alive()


def send(process: ForkServerProcess, number: signal.Signals) -> None:
    """Send a signal to a process of ours."""
    assert process.pid is not None
    os.kill(process.pid, number)
