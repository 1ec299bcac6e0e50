"""A command line in an empty directory: in this process for speed, as a process of its own where that is the point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chargehand.cli.main import main

FLOWS = Path(__file__).parent / "flows"
SHOP = str(FLOWS / "shop.py")


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error as JSON."""
        return json.loads(self.err)["error"]


Command = Callable[..., Said]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty directory, without variables of ours, and leave the module path as it was."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CHARGEHAND_"):
            monkeypatch.delenv(name)
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        status = main(words)
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return run


@pytest.fixture
def shop(cli: Command) -> Command:
    """Run a workflow of the shop: ``shop("pay", 50, id="p-1")``."""

    def run(name: str, value: Any, *words: str, id: str | None = None) -> Said:
        named = ("--id", id) if id is not None else ()
        return cli("run", f"{SHOP}:{name}", "--input", json.dumps(value), *named, *words)

    return run


@dataclass
class Started:
    """A command as a process of its own."""

    process: subprocess.Popen[str]

    def line(self) -> str:
        """Return the next line of its standard output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ended(self, timeout: float = 60.0) -> Said:
        """Wait for its end."""
        out, err = self.process.communicate(timeout=timeout)
        return Said(self.process.returncode, out, err)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Start a command as a process; what still runs at the end of the test is killed."""
    started: list[Started] = []

    def run(*words: str) -> Started:
        command = [sys.executable, "-m", "chargehand.cli.main", *words]
        process = subprocess.Popen(
            command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(Started(process))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def until(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Return what a condition gives once it is true; fail after so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("the condition did not come true in time")


def lines_of(name: str) -> list[str]:
    """Return the lines of a file in the current directory; none when it is not there."""
    path = Path(name)
    return path.read_text().splitlines() if path.exists() else []
