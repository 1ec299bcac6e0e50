"""The README: its example is the one that type checkers read, and every command of it runs as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .blocks import Block, blocks_of
from .generated import DOCS

ROOT = DOCS.parent
README = ROOT / "README.md"
API = ROOT / "tests" / "typing" / "api.py"
BEGIN, END = "# -- the README's example begins ----------\n", "# -- the README's example ends ----------\n"


def _python() -> str:
    return "\n".join(block.text for block in blocks_of(README) if block.language == "python")


def _shell() -> list[Block]:
    return [block for block in blocks_of(README) if block.language == "sh"]


def _run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_example_is_what_type_checkers_read() -> None:
    """The README's Python is, word for word, the first part of tests/typing/api.py."""
    api = API.read_text()
    assert api.partition(BEGIN)[2].partition(END)[0] == _python()


@pytest.mark.slow
def test_every_command_of_the_example_runs_as_the_text_says(tmp_path: Path) -> None:
    """The first order is placed after one rejection; the large one waits, is approved, and goes on."""
    (tmp_path / "procurement.py").write_text(_python())
    small, large = (_run(block.text, tmp_path) for block in _shell())
    assert small.returncode == 0, small.stdout + small.stderr
    assert '"supplier": "Cedar"' in small.stdout
    assert large.returncode == 0, large.stdout + large.stderr
    for said in (
        "po-7/place_order",
        "2 quotes; three different suppliers are needed. Search more.",
        "released by its gates",
        "approved",
        '"total": "880.00"',
    ):
        assert said in large.stdout, said


@pytest.mark.slow
def test_the_example_in_python_gives_the_order(tmp_path: Path) -> None:
    """``buy`` starts the run, waits for it, and called again gives the same order, because the id is the key."""
    (tmp_path / "procurement.py").write_text(_python())
    script = "import asyncio, procurement as p; print(asyncio.run(p.buy(p.Part(sku='M8-BOLT', quantity=400))).model_dump_json())"
    answers = [_run(f'{sys.executable} -c "{script}"', tmp_path) for _ in range(2)]
    assert [answer.returncode for answer in answers] == [0, 0], answers[0].stderr + answers[1].stderr
    assert answers[0].stdout == answers[1].stdout
    assert '"total":"88.00"' in answers[0].stdout


NEWCOMER = """
from pydantic import BaseModel

from chargehand import Feedback, Rejected, agent, effect, workflow


class Ticket(BaseModel):
    number: int
    text: str


def known_team(team):
    if team not in ("billing", "network"):
        raise Rejected(f"There is no team {team!r}. Use billing or network.")


@agent(role="Says which team takes a ticket.", gates=[known_team])
async def triager(ticket: Ticket, feedback: Feedback | None = None) -> str:
    return "network" if feedback else "internet"


@agent(role="Writes the answer to the customer.")
def answerer(ticket: Ticket, team: str) -> str:
    return f"Your ticket went to {team}."


def apologise(sent: str, number: int):
    open("mail.txt", "a").write(f"sorry, {number}\\n")


@effect(undo=apologise)
def send(number: int, text: str) -> str:
    open("mail.txt", "a").write(f"{number}: {text}\\n")
    return "sent"


@workflow
async def handle(ticket: Ticket) -> str:
    team = await triager(ticket)
    text = await answerer(ticket, team)
    return await send(ticket.number, text)
"""


@pytest.mark.slow
def test_two_agents_of_a_newcomer_are_supervised_by_the_five_steps(tmp_path: Path) -> None:
    """Two own agents, an untyped gate, a plain function with an undo, in an empty folder: it runs once, however often it is asked."""
    (tmp_path / "support.py").write_text(NEWCOMER)
    command = """chargehand run support:handle --input '{"number": 7, "text": "my line is dead"}' --id my-first"""
    for _ in range(2):
        assert _run(command, tmp_path).stdout == '"sent"\n'
    assert (tmp_path / "mail.txt").read_text() == "7: Your ticket went to network.\n"
    shown = _run("chargehand show my-first", tmp_path).stdout
    assert "There is no team 'internet'. Use billing or network." in shown
    assert _run("chargehand doctor", tmp_path).returncode == 0


def test_the_two_commands_are_in_the_makefile() -> None:
    """``make demo`` and ``make test`` are there, and the README names them."""
    targets = {line.partition(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if line and not line.startswith("\t")}
    assert {"demo", "test", "test-all", "check"} <= targets
    (commands,) = [block.text for block in blocks_of(README) if block.language == "console"]
    assert [line.split("#")[0].strip() for line in commands.splitlines()] == ["make demo", "make test"]


def test_what_and_why_fit_on_one_screen() -> None:
    """What Chargehand is, why, and the two commands come before the first heading, within forty lines."""
    first = README.read_text().partition("\n## ")[0]
    assert len(first.splitlines()) <= 40
    assert "make demo" in first
