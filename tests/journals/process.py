"""Another process with the same journal. The tests start it, read its lines, and stop or kill it.

python process.py append PATH TAG RUNS STEPS    append to own runs; a line for each acknowledged commit
python process.py hold PATH RUN                 enlist, own a run; then obey `beat`, `append` and `leave` from stdin
python process.py census PATH                   say who is gone
python process.py turn PATH                     take the turn to write and keep it
python process.py full PATH                     fill the disk up to a file size limit, then lift the limit
python process.py fork PATH                     fork after opening, and say what the child may do
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys

from chargehand.errors import ChargehandError, JournalFull
from chargehand.journals.sqlite import SqliteJournal
from chargehand.journals.turns import Turn
from chargehand.journals.workers import Workers

from .driven import Driven, JumpClock, created


def say(*words: object) -> None:
    """Tell the test something, at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def steps_of(run: Driven, steps: int) -> None:
    for _ in range(steps):
        await run.append("a" * 100)
        say("ack", run.row.id, run.seq)


async def append(path: str, tag: str, runs: str, steps: str) -> None:
    journal = SqliteJournal(path, clock=JumpClock())
    await journal.open()
    owner = await journal.enlist()
    driven = [await created(journal, f"{tag}-{number}", owner=owner) for number in range(int(runs))]
    await asyncio.gather(*(steps_of(run, int(steps)) for run in driven))
    await journal.dismiss(owner)
    await journal.close()


async def hold(path: str, run_id: str) -> None:
    journal = SqliteJournal(path, clock=JumpClock())
    await journal.open()
    owner = await journal.enlist()
    run = await created(journal, run_id, owner=owner)
    say("owner", owner)
    while order := (await asyncio.to_thread(sys.stdin.readline)).strip():
        try:
            if order == "beat":
                journal.beat(owner)
            elif order == "append":
                await run.append("a")
            elif order == "leave":
                await journal.dismiss(owner)
                await journal.close()
                return
            say("ok")
        except ChargehandError as error:
            say(error.code)


async def census(path: str) -> None:
    journal = SqliteJournal(path, clock=JumpClock())
    await journal.open()
    say("gone", *sorted((await journal.census(60)).gone))
    await journal.close()


async def turn(path: str) -> None:
    mine = Turn(path + "-turn")
    say("taken" if mine.take(10) else "not taken")
    await asyncio.to_thread(sys.stdin.readline)
    mine.give()


async def full(path: str) -> None:
    journal = SqliteJournal(path, clock=JumpClock())
    await journal.open()
    runs = [await created(journal, f"po-{number}") for number in range(10)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    failed = False
    while not failed:
        answers = await asyncio.gather(*(run.append("a" * 1000) for run in runs), return_exceptions=True)
        failed = any(isinstance(answer, BaseException) for answer in answers)
    say("full", all(isinstance(answer, JournalFull) for answer in answers))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for run in runs:
        say("ack", run.row.id, run.seq, (await run.now()).seq)
        await run.append("room again")
        await journal.verify(run.row.number)
    await journal.close()


async def fork(path: str) -> None:
    journal = SqliteJournal(path, clock=JumpClock())
    await journal.open()
    owner = await journal.enlist()
    child = os.fork()
    if child == 0:
        for name, attempt in (("read", journal.changed), ("beat", lambda: journal.beat(owner))):
            try:
                attempt()
                say(name, "allowed")
            except ChargehandError as error:
                say(name, error.code)
        seen = Workers(journal.path, JumpClock().monotonic).census([owner], lambda id: True, 60)
        say("gone", *seen.gone)
        os._exit(0)
    os.waitpid(child, 0)
    other = Workers(journal.path, JumpClock().monotonic).census([owner], lambda id: True, 60)
    say("gone", *other.gone)
    await journal.dismiss(owner)
    await journal.close()


if __name__ == "__main__":
    commands = {"append": append, "hold": hold, "census": census, "turn": turn, "full": full, "fork": fork}
    asyncio.run(commands[sys.argv[1]](*sys.argv[2:]))  # type: ignore[operator]
