"""docs/guides/gates.md: every block runs as it stands there, and every figure is measured again."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from chargehand.supervise.gates import Gate

from .generated import DOCS

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks import gates_guide  # noqa: E402
from benchmarks.gates import RECORDED_GATES, held_out, measure  # noqa: E402
from benchmarks.handoffs import Handoff, incident, invoices, tau, workbench  # noqa: E402
from examples.incident import gates as incident_gates  # noqa: E402
from examples.invoices import gates as invoices_gates  # noqa: E402

PAGE = DOCS / "guides" / "gates.md"


def test_every_block_of_the_guide_runs(tmp_path: Path) -> None:
    """The blocks, saved as files beside each other, pass under pytest with no configuration but asyncio's mode."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for number, block in enumerate(blocks):
        named = re.match(r"# (\w+\.py)\n", block)
        (tmp_path / (named[1] if named else f"test_block_{number}.py")).write_text(block)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto"]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(blocks) >= 6


SOURCES: dict[str, Callable[[], tuple[Iterable[Handoff], dict[str, Any], Any]]] = {
    "incident": lambda: (incident.handoffs(), incident_gates.GATES, incident_gates.facts_of),
    "invoices": lambda: (invoices.handoffs(), invoices_gates.GATES, invoices_gates.facts_of),
    "workbench, held out": lambda: ([run for run in workbench.handoffs() if held_out(run)], recorded(), None),
    "tau": lambda: (tau.handoffs(), recorded(), None),
}
HERE = {"workbench, held out": workbench.folder, "tau": tau.folder}


def recorded() -> dict[str, list[Gate]]:
    """Return the gates of the recorded hand-offs that the page shows."""
    return {"*": [gate for gate in RECORDED_GATES if gate.name in gates_guide.SHOWN]}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "source",
    [
        "incident",
        "invoices",
        pytest.param("workbench, held out", marks=pytest.mark.data),
        pytest.param("tau", marks=pytest.mark.data),
    ],
)
async def test_the_figures_are_those_that_are_measured(source: str) -> None:
    """The lines of the page's tables are what `python benchmarks/gates.py --guide` would write."""
    if source in HERE and not HERE[source]().is_dir():
        pytest.skip("the recordings are not beside the checkout")
    handoffs, gates, facts_of = SOURCES[source]()
    tally = await measure(source, handoffs, gates, facts_of, "")
    shown = gates_guide.lines_in(gates_guide.SOURCES[source], PAGE.read_text())
    if gates_guide.SOURCES[source] == "crews":
        shown = [line for line in shown if line.startswith(f"| {source} |")]
    assert shown == gates_guide.lines_of(source, tally.rows())
