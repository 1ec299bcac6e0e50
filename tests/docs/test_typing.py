"""The public names as two type checkers see them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
API = ROOT / "tests" / "typing" / "api.py"


def _run(*command: str) -> None:
    if not (BIN / command[0]).exists():
        pytest.skip(f"{command[0]} is not installed beside this Python")
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_mypy_strict_accepts_the_public_names(tmp_path: Path) -> None:
    """``mypy --strict`` finds every type of the README's example and of tests/typing/api.py, without a package option."""
    _run("mypy", "--strict", "--python-version", "3.11", "--config-file", "", "--cache-dir", str(tmp_path), str(API))


@pytest.mark.slow
def test_pyright_strict_accepts_the_public_names() -> None:
    """pyright in strict mode agrees, and every ignore in the file is needed."""
    _run("pyright", "--pythonpath", sys.executable, "-p", str(ROOT))
