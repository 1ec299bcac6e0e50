"""The processes of the demo. Each ends when its standard input closes, so none outlives the demo, however that ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from chargehand.demo.payment_client import ask

ENDS_WITHIN_SECONDS = 20


class DemoFailed(Exception):
    """The demo could not show what it is meant to show."""


class Process:
    """One module of the demo in a Python process of its own. What it prints goes to `log`, unless it `speaks` to us."""

    def __init__(self, module: str, *options: str, folder: Path, log: str, speaks: bool = False) -> None:
        self.log = folder / log
        with self.log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"chargehand.demo.{module}", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if speaks else errors,
                stderr=errors,
                text=True,
            )

    @property
    def id(self) -> int:
        """Return the process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def read_line(self) -> str:
        """Return the next line of its output. Raises `DemoFailed` when it ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise DemoFailed(f"A process of the demo ended early. Its errors are in {self.log}.")
        return line

    def kill(self) -> None:
        """Kill it (SIGKILL) and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def wait(self) -> int:
        """Wait until it ends by itself and return its exit status."""
        try:
            return self._process.wait(timeout=ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise DemoFailed(f"A process of the demo does not end. Its errors are in {self.log}.") from error

    def last_words(self) -> str:
        """Return the last line of its errors."""
        lines = self.log.read_text(encoding="utf-8").strip().splitlines()
        return lines[-1] if lines else "no word of why"

    def end(self) -> None:
        """Close its input, wait, and kill it if that does not end it. Does nothing to a process that has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        try:
            self._process.wait(timeout=ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


class PaymentService(Process):
    """The payment service, and the bench to hold its answers."""

    def __init__(self, folder: Path, seed: int) -> None:
        options = ("--books", str(folder / "payments.db"), "--seed", str(seed))
        super().__init__("payments", *options, folder=folder, log="payments.log", speaks=True)
        self.port = int(self.read_line())

    def hold(self) -> None:
        """Keep back the answers to charges from now on."""
        self._bench("POST", "/bench/hold")

    def wait_held(self) -> None:
        """Return when an answer to a charge is kept back: the money is out, and nobody has been told."""
        self._bench("GET", "/bench/held")

    def release(self) -> None:
        """Let the answers go."""
        self._bench("POST", "/bench/release")

    def _bench(self, method: str, path: str) -> None:
        status, answer = ask(self.port, method, path)
        if status != 200:
            raise DemoFailed(str(answer.get("error")))
