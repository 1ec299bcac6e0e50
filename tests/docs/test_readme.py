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
