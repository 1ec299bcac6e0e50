"""docs/tutorial.md: every block, in order, in one empty folder, as a reader would do it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .blocks import Block, blocks_of
from .generated import DOCS

PAGE = DOCS / "tutorial.md"


def merged(source: str, change: str) -> str:
    """Return a module after a reader made a change: imports go to the top, a definition of the same name is replaced,
    a new one comes before the workflow."""
    lines, old = source.splitlines(), ast.parse(source)
    added = change.splitlines()
    imports: list[str] = []
    for node in ast.parse(change).body:
        assert node.end_lineno is not None
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports += added[node.lineno - 1 : node.end_lineno]
            continue
        text = added[_start(node) - 1 : node.end_lineno]
        same = next((other for other in old.body if _name(other) is not None and _name(other) == _name(node)), None)
        place = same or next(other for other in old.body if _is_workflow(other))
        start, end = _start(place) - 1, place.end_lineno if same else _start(place) - 1
        lines[start:end] = text if same else [*text, "", ""]
        old = ast.parse("\n".join(lines))
    first = next(node.lineno for node in old.body if isinstance(node, (ast.Import, ast.ImportFrom)))
    return "\n".join([*lines[: first - 1], *imports, *lines[first - 1 :]]) + "\n"


def _start(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return getattr(node, "name", None)


def _is_workflow(node: ast.stmt) -> bool:
    return any(isinstance(decorator, ast.Name) and decorator.id == "workflow" for decorator in getattr(node, "decorator_list", []))


def _shell(block: Block, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "400"}
    done = subprocess.run(
        ["bash", "-eu", "-c", block.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_block_in_order(tmp_path: Path) -> None:
    """Files are written or changed, commands are run and leave with status 0, and what the page shows was printed."""
    printed = ""
    for block in blocks_of(PAGE):
        if block.title is not None:
            file = tmp_path / block.title
            file.write_text(merged(file.read_text(), block.text) if file.exists() else block.text)
        elif block.language == "sh":
            printed = _shell(block, tmp_path)
        elif block.language == "text":
            said = " ".join(printed.split())
            for line in block.text.splitlines():
                assert " ".join(line.split()) in said, f"{line!r} was not printed:\n{printed}"
        else:
            raise AssertionError(f"nobody runs a block of {block.language}")
    log = (tmp_path / "visits.log").read_text().splitlines()
    assert len(log) == len(set(log)) == 4, "each page was published once, the interrupted one too"
    assert len(list((tmp_path / "site").iterdir())) == 3, "the page of the run that failed is down again"


def test_the_page_has_the_whole_way() -> None:
    """Two agents, a gate, an effect with an undo, an approval, a kill and a resume."""
    text = PAGE.read_text()
    assert len(re.findall(r"^@agent", text, re.MULTILINE)) >= 2
    for needed in ("@gate", "@effect(undo=", "approve=", "kill -9", "chargehand approve"):
        assert needed in text


def test_a_change_is_made_as_a_reader_makes_it() -> None:
    """Imports go up, a definition is replaced where it stands, and a new one comes before the workflow."""
    before = "import a\n\nX = 1\n\n@agent\ndef f(): return 1\n\n@workflow\ndef w(): return f()\n"
    after = merged(before, "import b\n\n@agent\ndef f(): return 2\n\ndef g(): return 3\n")
    assert after.split() == [
        "import",
        "b",
        "import",
        "a",
        "X",
        "=",
        "1",
        "@agent",
        "def",
        "f():",
        "return",
        "2",
        "def",
        "g():",
        "return",
        "3",
        "@workflow",
        "def",
        "w():",
        "return",
        "f()",
    ]
