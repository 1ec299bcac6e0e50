"""Judging mutants: a pytest plugin that collects once, then runs the tests of each mutant in a fork."""

from __future__ import annotations

import fnmatch
import gc
import json
import os
import resource
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from tests.mutation.lines import noting_lines, users
from tests.mutation.tables import entries, known_users, noting

SURVIVED, KILLED, STUCK = 0, 1, 2
MEASURED = Path("measured.json")
"""How long each test takes and what it runs, for a run that goes on with an interrupted one."""
PATIENCE, BUSY = 8.0, 0.5
"""A mutant under which a test is not over after so many seconds, or is busy for so many, counts as one that never ends."""


def forked(work: Callable[[int], int], patience: float) -> tuple[int | None, bytes]:
    """Do some work in a child that writes into a pipe; return its exit status (None: it went silent) and what it wrote."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        status = KILLED
        try:
            status = work(writes)
        finally:
            os._exit(status)
    os.close(writes)
    written = b""
    while select.select([reads], [], [], patience)[0]:
        part = os.read(reads, 1 << 16)
        written += part
        if not part:
            break
    else:
        os.kill(child, signal.SIGKILL)
    os.close(reads)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if status == -signal.SIGKILL else status, written


class Judge:
    """The loop over the mutants, in the place of pytest's loop over the tests."""

    def __init__(
        self, patterns: list[str], names: Mapping[str, str], wanted: Callable[[str], bool], quickest: float, goes_on: bool
    ) -> None:
        self.patterns, self.names, self.wanted, self.quickest, self.goes_on = patterns, names, wanted, quickest, goes_on
        self.keep: Callable[[dict[str, str]], None] = lambda results: None
        self.results: dict[str, str] = {}
        self.killers: Counter[tuple[str, str]] = Counter()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure the tests once, then judge every mutant."""
        items = {item.nodeid: item for item in session.items}
        started = time.monotonic()
        seconds, runs = self._measured(session)
        print(f"\n{len(items)} tests measured in {time.monotonic() - started:.0f} s", flush=True)
        begins: dict[str, Callable[[], None]] = {name: _switched_to(name) for name in self.names}
        begins |= {name: begin for name, begin in entries().items() if any(fnmatch.fnmatch(name, one) for one in self.patterns)}
        chosen = [name for name in begins if self.wanted(name)]
        gc.freeze()  # what was collected here is no garbage in any fork
        for number, name in enumerate(chosen, 1):
            able = self._users(name, runs, items)
            self.results[name] = self._judge(session, name, begins[name], [items[test] for test in able], seconds)
            if number % 25 == 0:
                self.keep(self.results)
            if number % 25 == 0 or self.results[name] != "killed":
                print(f"{number}/{len(chosen)} {time.monotonic() - started:.0f} s: {name} {self.results[name]}", flush=True)
        return True

    def _users(self, name: str, runs: dict[str, list[str]], items: Mapping[str, Any]) -> list[str]:
        if name in self.names:
            return users(name, self.names[name], runs)
        return runs.get(name, [] if known_users(name) else list(items))

    def _measured(self, session: pytest.Session) -> tuple[dict[str, float], dict[str, list[str]]]:
        if not (self.goes_on and MEASURED.exists()):
            status, written = forked(lambda pipe: self._measure(session, pipe), 3600.0)
            if status != 0:
                raise pytest.UsageError("The tests fail without any mutant.")
            MEASURED.write_bytes(written)
        seconds, runs = json.loads(MEASURED.read_text("utf-8"))
        known = {item.nodeid for item in session.items}
        return seconds, {name: [test for test in tests if test in known] for name, tests in runs.items()}

    def _measure(self, session: pytest.Session, pipe: int) -> int:
        """Run every test unmutated; write how long each takes, and which tests run each function."""
        seconds: dict[str, float] = {}
        runs: dict[str, list[str]] = {}
        set_mutant_under_test("stats")
        noting(state()._stats.add)
        noting_lines(state()._stats.add)
        since = time.monotonic()
        for item in _run(session, session.items):
            seconds[item.nodeid], since = time.monotonic() - since, time.monotonic()
            for function in state()._stats:
                runs.setdefault(function, []).append(item.nodeid)
            state()._stats.clear()
        with os.fdopen(pipe, "w") as out:
            json.dump([seconds, runs], out)
        return 1 if session.testsfailed else 0

    def _judge(
        self, session: pytest.Session, name: str, begin: Callable[[], None], able: list[pytest.Item], seconds: dict[str, float]
    ) -> str:
        if not able:
            return "no tests"
        family = name.rpartition("__mutmut_")[0] or name.partition("[")[0]
        module = family.rpartition(".")[0]
        able.sort(
            key=lambda item: (
                -self.killers[(family, item.nodeid)],
                -self.killers[(module, item.nodeid)] // 4,
                *_rank(item, module, seconds),
            )
        )
        taken = accumulate(seconds[item.nodeid] for item in able)
        able = [item for item, until in zip(able, taken, strict=True) if until < self.quickest]

        def work(pipe: int) -> int:
            begin()
            signal.signal(signal.SIGPROF, lambda *_: os._exit(STUCK))
            for item in _run(session, able, lambda item: signal.setitimer(signal.ITIMER_PROF, BUSY + 3 * seconds[item.nodeid])):
                os.write(pipe, b"." if not session.testsfailed else item.nodeid.encode())
                if session.testsfailed:
                    return KILLED
            return SURVIVED

        status, written = forked(work, PATIENCE)
        killer = written.lstrip(b".") if status == KILLED else b""
        if killer:
            self.killers[(family, killer.decode())] += 1
            self.killers[(module, killer.decode())] += 1
        return {SURVIVED: "survived", STUCK: "timeout", None: "timeout"}.get(status, "killed")


def _run(
    session: pytest.Session, items: list[pytest.Item], begun: Callable[[pytest.Item], Any] = lambda item: None
) -> Iterator[pytest.Item]:
    """Run tests in this order, one by one and in silence; yield each when it is over."""
    session.config.pluginmanager.get_plugin("terminalreporter")._tw._file = open(os.devnull, "w")  # noqa: SIM115 - as long as the fork lives
    for item, following in zip(items, [*items[1:], None], strict=True):
        begun(item)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        yield item


def _rank(item: pytest.Item, module: str, seconds: Mapping[str, float]) -> tuple[bool, float]:
    """Order tests that have found nothing yet: the quick ones first; outside the core first the long transcripts, which see most."""
    transcript = "/scenarios/" in item.nodeid and ".core." not in module
    return not transcript, -seconds[item.nodeid] if transcript else seconds[item.nodeid]


def _switched_to(name: str) -> Callable[[], None]:
    return lambda: set_mutant_under_test(name)
