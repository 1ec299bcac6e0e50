"""The wheel: what is in it, and that it works where only it and its dependencies are installed."""

from __future__ import annotations

import email
import email.message
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import chargehand

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def _run(*command: str, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this checkout, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
    _run(*pip, "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT), folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel; the dependencies are those of this one, after its own packages."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    _run(
        str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps", str(wheel), folder=folder
    )
    packages = Path(_run(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def _metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every module of the package, py.typed and the licence are in the wheel; no test, no cache, no database."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
        licences = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    there = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".typed", ".sql", ".toml")}
    assert names == there
    assert licences


def test_the_metadata_says_what_is_needed(wheel: Path) -> None:
    """Version, Python, licence, the four dependencies and the extras; none is promised that this version does not have."""
    metadata = _metadata(wheel)
    assert (metadata["Name"], metadata["Version"]) == ("chargehand", chargehand.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    needed = sorted(
        re.split(r"[<>=!~;\[ ]", requirement)[0] + requirement.partition(";")[2] for requirement in metadata.get_all("Requires-Dist") or []
    )
    assert needed == [
        "apsw",
        "langgraph extra == 'langgraph'",
        "mcp extra == 'mcp'",
        "openai-agents extra == 'openai-agents'",
        "opentelemetry-api extra == 'telemetry'",
        "pydantic",
        "pydantic-ai-slim extra == 'llm'",
        "rich",
        "typer",
        "uvicorn extra == 'mcp'",
        "uvicorn extra == 'testing'",
    ]
    assert metadata.get_all("Provides-Extra") == ["langgraph", "llm", "mcp", "openai-agents", "telemetry", "testing"]
    assert "the worker who answers for a crew's output" in str(metadata.get_payload())


def test_the_command_works_where_only_the_wheel_is(python: Path, tmp_path: Path) -> None:
    """``chargehand --version`` runs from the wheel's own files, and so does a workflow."""
    command = python.parent / "chargehand"
    assert _run(str(command), "--version", folder=tmp_path) == f"chargehand {chargehand.__version__}"
    place = _run(str(python), "-c", "import chargehand; print(chargehand.__file__)", folder=tmp_path)
    assert Path(place).is_relative_to(python.parents[1])
    (tmp_path / "crew.py").write_text(
        "from chargehand import agent, workflow\n\n"
        '@agent(role="Shouts.")\ndef shout(text: str) -> str:\n    return text.upper()\n\n'
        "@workflow\nasync def loud(text: str) -> str:\n    return await shout(text)\n"
    )
    assert _run(str(command), "run", "crew:loud", "--input", '"hello"', folder=tmp_path) == '"HELLO"'


def test_the_entry_points_lead_somewhere(python: Path, tmp_path: Path) -> None:
    """The command and the pytest plugin can be loaded from the installed package."""
    script = (
        "from importlib.metadata import distribution\n"
        "points = distribution('chargehand').entry_points\n"
        "print(sorted((point.group, point.name) for point in points if point.load()))"
    )
    assert _run(str(python), "-c", script, folder=tmp_path) == "[('console_scripts', 'chargehand'), ('pytest11', 'chargehand')]"


def test_type_checkers_see_the_installed_package(python: Path, tmp_path: Path) -> None:
    """With py.typed in place, mypy reads the README's example strictly against the installed wheel."""
    example = tmp_path / "api.py"
    example.write_text((ROOT / "tests" / "typing" / "api.py").read_text())
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache"))
    assert "Success" in _run(*mypy, "--python-executable", str(python), str(example), folder=tmp_path)
