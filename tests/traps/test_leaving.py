"""The user's code asks the process to end, or never ends: neither holds or takes the process from the other runs in it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chargehand import (
    Approval,
    Approve,
    CallFailed,
    Person,
    RunFailed,
    RunRests,
    Supervisor,
    agent,
    effect,
    fail,
    gate,
    gather,
    give_up,
    injected,
    run_sync,
    step,
    workflow,
)
from chargehand.supervise.threads import Threads


@step
async def leaves(n: int) -> int:
    """Ask the process to end, as argparse does."""
    sys.exit(n)


@step
def leaves_in_a_thread(n: int) -> int:
    """Ask the process to end, in a thread."""
    sys.exit(n)


@step(timeout=5)
async def leaves_in_time(n: int) -> int:
    """Ask the process to end, under a timeout."""
    await asyncio.sleep(0)
    sys.exit(n)


@agent(role="Leaves.", ladder=[give_up()])
async def leaver(n: int) -> int:
    """Ask the process to end, as a body."""
    sys.exit(n)


@agent(role="Leaves.", ladder=[give_up()], timeout=5)
def leaver_in_a_thread(n: int) -> int:
    """Ask the process to end, as a body in a thread."""
    sys.exit(n)


async def unmake(result: int) -> None:
    """Take it back."""


@effect(undo=unmake)
async def leaving_effect(n: int, idempotency_key: str = injected()) -> int:
    """Ask the process to end in the middle of an effect."""
    sys.exit(n)


CALLS = [leaves, leaves_in_a_thread, leaves_in_time, leaver, leaver_in_a_thread]


@workflow(name="trap.leave")
async def leave(which: int) -> str:
    """Make one call that asks the process to end; say what became of it."""
    try:
        await CALLS[which](0)
    except CallFailed as failed:
        return str(failed)
    return "it came back"


@workflow(name="trap.stay")
async def stay() -> str:
    """Be another run in the same process."""
    return "stayed"


@pytest.mark.parametrize("which", range(len(CALLS)), ids=[call.name for call in CALLS])
async def test_a_call_that_asks_the_process_to_end_has_failed(which: int) -> None:
    """A SystemExit is a failure of the call that raised it, whatever its status; the other runs of the process go on."""
    async with Supervisor("memory:", [leave, stay]) as supervisor:
        run = await supervisor.start(leave(which))
        other = await supervisor.start(stay())
        assert "SystemExit: it asked the process to end: sys.exit(0)" in await run.result(timeout=20)
        assert await other.result(timeout=20) == "stayed"


@gate
def leaving_gate(n: int) -> None:
    """Ask the process to end instead of judging."""
    sys.exit(3)


@agent(role="Counts.", gates=[leaving_gate], ladder=[give_up()])
async def counter(n: int) -> int:
    """Give the number back."""
    return n


@workflow(name="trap.judged")
async def judged() -> str:
    """Ask the agent whose gate asks the process to end."""
    try:
        return str(await counter(1))
    except Exception as rejected:
        return str(rejected)


async def test_a_gate_that_asks_the_process_to_end_has_not_judged() -> None:
    """It abstains, with what it did as the reason, and an abstention does not pass."""
    async with Supervisor("memory:", [judged]) as supervisor:
        said = await (await supervisor.start(judged())).result(timeout=20)
        assert "asked the process to end: sys.exit(3)" in said


@workflow(name="trap.code")
async def leaving_code() -> int:
    """Ask the process to end in the workflow itself, in a branch."""

    async def branch() -> None:
        sys.exit(0)

    await gather(branch())
    return 1


def leaving_key(call: Any) -> str:
    """Ask the process to end where a business key is wanted."""
    sys.exit(0)


@effect(undo=unmake, key=leaving_key)
async def keyed(n: int, idempotency_key: str = injected()) -> int:
    """Have a key that is never told."""
    return n


@workflow(name="trap.callback")
async def leaving_callback() -> int:
    """Make an effect whose key asks the process to end."""
    return await keyed(1)


@pytest.mark.parametrize("flow", [leaving_code, leaving_callback], ids=["workflow code", "a callback"])
async def test_code_that_asks_the_process_to_end_parks_its_run_as_broken(flow: Any) -> None:
    """Workflow code and callbacks are the run's code: it parks until it is mended, and the process stays."""
    async with Supervisor("memory:", [flow, stay]) as supervisor:
        run = await supervisor.start(flow())
        while not (waits := await supervisor.waiting(run_id=run.id)):
            await asyncio.sleep(0.01)
        assert waits[0].kind == "broken"
        assert "SystemExit" in str(waits[0].shows["error"])
        assert await (await supervisor.start(stay())).result(timeout=20) == "stayed"


@workflow(name="trap.sent")
async def sent() -> int:
    """Make the effect that asks the process to end."""
    return await leaving_effect(0)


async def test_an_effect_that_asks_the_process_to_end_is_not_taken_for_undone() -> None:
    """Nobody knows whether it happened: it waits for a person, as after any other error of an effect without a status."""
    async with Supervisor("memory:", [sent]) as supervisor:
        run = await supervisor.start(sent())
        while not (waits := await supervisor.waiting(run_id=run.id)):
            await asyncio.sleep(0.01)
        assert waits[0].kind in ("doubt", "letter")
        assert (await run.row()).standing == 1


def script(folder: Path, text: str) -> subprocess.Popen[str]:
    """Start a script in a process of its own."""
    file = folder / "script.py"
    file.write_text(textwrap.dedent(text))
    return subprocess.Popen([sys.executable, str(file)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_signal_handler_of_the_host_may_end_the_process(tmp_path: Path) -> None:
    """A handler that raises SystemExit in the middle of a step ends the process: that is the host's will, not the step's failure."""
    process = script(
        tmp_path,
        """
        import signal, sys, time
        from chargehand import run_sync, step, workflow

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))

        @step(name="spins")
        async def spins() -> int:
            print("spinning", flush=True)
            while True:
                time.sleep(0.01)

        @workflow(name="script.spin")
        async def spin() -> int:
            return await spins()

        run_sync(spin())
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "spinning\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 9


ENDLESS = """
    import asyncio, threading
    from chargehand import agent, gate, give_up, run_sync, workflow

    @agent(role="Never returns.", timeout=0.2, ladder=[give_up()])
    def endless(n: int) -> int:
        threading.Event().wait()
        return n

    @gate(timeout=0.2, blocking=True)
    def endless_gate(n: int) -> None:
        threading.Event().wait()

    @agent(role="Is judged.", gates=[endless_gate], ladder=[give_up()])
    async def judged(n: int) -> int:
        return n

    @workflow(name="script.wait")
    async def wait() -> str:
        said = []
        for call in (endless(1), judged(1)):
            try:
                await call
            except Exception as failed:
                said.append(type(failed).__name__)
        return " ".join(said)

    print(run_sync(wait()), flush=True)
"""


def test_a_function_that_never_returns_does_not_keep_the_process(tmp_path: Path) -> None:
    """The timeout ends the call, and the process ends when the script does, and says what it leaves behind."""
    process = script(tmp_path, ENDLESS)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "TimedOut Rejected\n"), err
    assert "endless, endless_gate" in err


def test_threads_are_used_again_and_bounded() -> None:
    """An idle thread takes the next call; what is handed in at once gets threads of its own; after shutdown nothing is taken."""
    threads = Threads()
    assert threads.submit(lambda: 1).result(10) == 1
    while threads.busy or not threads._idle:
        time.sleep(0.001)
    assert threads.submit(threading.current_thread).result(10).name == "chargehand-1"
    together = threading.Barrier(8)
    assert sorted(future.result(10) for future in [threads.submit(together.wait) for _ in range(8)]) == list(range(8))
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(10)
    threads.shutdown()
    with pytest.raises(RuntimeError):
        threads.submit(lambda: 1)


# -- run_sync ----------


@effect(final=True)
async def wire(n: int, idempotency_key: str = injected()) -> int:
    """Send money: a person must say yes."""
    return n


@effect(undo=unmake, approve=Approval(role="buyer"))
async def buy(n: int, idempotency_key: str = injected()) -> int:
    """Buy, when a buyer says so."""
    return n


@workflow(name="trap.bug")
async def bug() -> int:
    """Have a bug."""
    return {}["x"]  # type: ignore[no-any-return]


@workflow(name="trap.buying")
async def buying() -> int:
    """Ask for approval."""
    return await buy(7)


@workflow(name="trap.failing")
async def failing() -> int:
    """Fail."""
    fail("no")


@pytest.mark.parametrize(("flow", "says"), [(bug, "parked .broken.*'x'"), (buying, "waiting.*approval")], ids=["a bug", "an approval"])
def test_run_sync_raises_when_the_run_rests(flow: Callable[[], Any], says: str) -> None:
    """A script does not hang on a run that only a person can move on: it is told what the run waits for."""
    with pytest.raises(RunRests, match=says):
        run_sync(flow())


def test_run_sync_goes_on_with_a_run_that_was_decided(tmp_path: Path) -> None:
    """In a file nothing is lost: after the decision the same call gives the value."""
    url = str(tmp_path / "journal.db")
    with pytest.raises(RunRests, match="same id"):
        run_sync(buying(), url, id="b-1")

    async def decide() -> None:
        async with Supervisor(url, [buying], work=False) as office:
            (entry,) = await office.waiting()
            await office.decide(entry, Approve(), by=Person("ann", roles=["buyer"]))

    asyncio.run(decide())
    assert run_sync(buying(), url, id="b-1") == 7


def test_run_sync_raises_what_the_run_failed_with() -> None:
    """A failed run is no run that rests."""
    with pytest.raises(RunFailed, match="no"):
        run_sync(failing())


assert os.name == "posix"  # signals as they are used here
