"""An environment of its own for each peer, with pinned versions; one that cannot be made is skipped by name, with the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = Path(__file__).resolve().parent / "systems"
PEERS = ROOT / "build" / "peers"

REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "dbos": ("dbos==3.4.0", "sqlalchemy==2.1.9"),
    "langgraph": ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"),
    "call4agents": ("call4agents==0.5.0",),
    "plots": ("matplotlib==3.11.2",),
}

TITLES = {
    "dbos": "DBOS 3.4.0, SQLite",
    "langgraph": 'LangGraph 1.2.22, SQLite saver, durability="sync"',
    "call4agents": "call4agents 0.5.0, SQLite",
    "chargehand": "**Chargehand**, SQLite",
    "nothing": "no engine: asyncio, one writer thread, group commit",
}


class NotThere(Exception):
    """An environment cannot be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Runner:
    """How a system is started: its name, and the Python of its environment."""

    name: str
    python: Path

    def command(self, asked: str) -> list[str]:
        """Return the command that measures it."""
        return [str(self.python), str(SYSTEMS / f"with_{self.name}.py"), asked]


def ours(name: str) -> Runner:
    """Return a runner in the environment of this process."""
    return Runner(name, Path(sys.executable))


def environment(name: str) -> Path:
    """Make an environment unless it is there, and return its Python. Raises `NotThere`."""
    place, wanted = PEERS / name, "\n".join(REQUIREMENTS[name])
    python, made = place / "bin" / "python", place / "made-of.txt"
    if made.exists() and made.read_text() == wanted and python.exists():
        return python
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", *REQUIREMENTS[name]],
    )
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=variables, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotThere(f"{' '.join(REQUIREMENTS[name])} cannot be installed: {error}") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"status {done.returncode}"]
            raise NotThere(f"{' '.join(REQUIREMENTS[name])} cannot be installed: {lines[-1].strip()}")
    made.write_text(wanted)
    return python


def peers(skipped: dict[str, str]) -> list[Runner]:
    """Return the peers that can be run; notes in `skipped` why others cannot."""
    found = []
    for name in ("dbos", "langgraph", "call4agents"):
        try:
            found.append(Runner(name, environment(name)))
        except NotThere as reason:
            skipped[name] = str(reason)
    return found
