"""The log filter: records say which run and call they are about, and a replay says nothing twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from chargehand import Retry, RunLogFilter, agent, effect, gather, read, sleep, workflow
from chargehand.testing import Supervised

log = logging.getLogger("tests.telemetry")


class Kept(logging.Handler):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(RunLogFilter())
        self.setFormatter(logging.Formatter("%(run)s|%(path)s|%(attempt)s|%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Iterator[Kept]:
    """What the tests' logger writes."""
    handler = Kept()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)


DOWN: list[Exception] = []


async def back() -> None: ...


@read(retry=Retry(attempts=2, first=1, jitter=False))
def reads(what: str) -> str:
    log.info("reading %s", what)
    if DOWN:
        raise DOWN.pop()
    return what


@effect(undo=back)
async def puts(what: str) -> str:
    log.info("putting")
    return what


@agent(role="Works.", uses=[reads, puts])
async def works(what: str) -> str:
    log.info("working")
    await reads(what)
    return await puts(what)


@workflow
async def logs(what: str) -> str:
    log.info("began")
    await works(what)
    log.info("worked")
    await sleep(10)
    log.info("slept")
    await sleep(10)
    log.info("ends")
    return what


@workflow
async def branches(what: str) -> str:
    log.info("begins")
    await gather(inner("a"), inner("b"))
    log.info("gathered")
    await sleep(5)
    return what


@workflow
async def inner(what: str) -> str:
    log.info("inner %s", what)
    await reads(what)
    log.info("has read %s", what)
    return what


async def test_records_name_run_call_and_try(supervised: Supervised, kept: Kept) -> None:
    """From workflow code, from bodies, from calls inside them, and from threads."""
    DOWN[:] = [ConnectionResetError("peer")]
    await supervised.run(logs("x"), "r1")
    log.info("outside")
    lines = [line.split("|") for line in kept.lines]
    assert [(run, attempt, said) for run, path, attempt, said in lines] == [
        ("r1", "", "began"),
        ("r1", "1", "working"),
        ("r1", "1", "reading x"),
        ("r1", "2", "reading x"),
        ("r1", "1", "putting"),
        ("r1", "", "worked"),
        ("r1", "", "slept"),
        ("r1", "", "ends"),
        ("", "", "outside"),
    ]
    assert lines[0][1] == ""
    assert lines[1][1] == "works"
    assert lines[2][1].startswith("works/try1/reads~")


async def test_a_replay_logs_nothing_twice(supervised: Supervised, kept: Kept) -> None:
    """What workflow code said before it left memory it says again when it is replayed; that is dropped."""
    run = await supervised.start(logs("x"), "r1")
    await supervised.unload()
    await supervised.advance(10)
    await supervised.unload()
    await supervised.crash()
    await run.result()
    assert [line.rpartition("|")[2] for line in kept.lines] == ["began", "working", "reading x", "putting", "worked", "slept", "ends"]


async def test_branches_are_replayed_in_silence_too(supervised: Supervised, kept: Kept) -> None:
    """Branches and nested workflows know where they are, and say it once."""
    run = await supervised.start(branches("x"), "r1")
    await supervised.rest()
    await supervised.crash()
    await run.result()
    said = [(path, message) for _, path, _, message in (line.split("|") for line in kept.lines)]
    assert len(said) == len(set(said)) == 8
    assert said[0] == ("", "begins")
    assert {("gather.1/inner", "inner a"), ("gather.2/inner", "has read b"), ("", "gathered")} <= set(said)
