"""The whole demo, run as a user runs it: its claims hold in the services' own books, and it leaves no process behind."""

from __future__ import annotations

import ast
import inspect
import io
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from chargehand.demo import crew, run_demo
from chargehand.demo.books import count, order_lines
from chargehand.demo.processes import PaymentService
from chargehand.demo.story import BOLTS, SEALS


@pytest.mark.slow
def test_the_whole_demo(tmp_path: Path) -> None:
    """Wrong, twice and left behind without supervision; right, once and taken back with it."""
    others = set(psutil.Process().children(recursive=True))
    console = Console(file=io.StringIO(), width=100, markup=False)
    assert run_demo(keep=tmp_path / "kept", console=console) == 0
    before, after = count(tmp_path / "kept" / "unsupervised"), count(tmp_path / "kept" / "supervised")
    assert (before.orders, before.wrong_orders, before.cancelled_orders) == (3, 3, 0)
    assert (before.charges, before.double_charges, before.refunds, before.paid_untold) == (3, 1, 0, 1)
    assert (after.orders, after.wrong_orders, after.cancelled_orders) == (2, 0, 1)
    assert (after.charges, after.double_charges, after.refunds, after.paid_untold) == (2, 0, 1, 0)
    kept, cancelled = order_lines(tmp_path / "kept" / "supervised")
    assert (kept.reference, kept.status, cancelled.reference, cancelled.status) == (
        BOLTS.reference,
        "placed",
        SEALS.reference,
        "cancelled",
    )
    assert after.money_out == kept.total
    assert after.money_out + cancelled.total == after.money_needed
    assert before.money_out > 10 * after.money_out > Decimal(0)
    output = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in output
    assert "[red]" not in output
    for said in ("Stand-ins", "played by this demo", "SIGKILL to the worker", "same key", str(tmp_path / "kept")):
        assert said in output
    assert set(psutil.Process().children(recursive=True)) <= others


def test_refuses_a_directory_in_use(tmp_path: Path) -> None:
    """A directory that holds an earlier demo is left alone, and the demo says so."""
    (tmp_path / "supervised").mkdir()
    console = Console(file=io.StringIO(), width=300)
    assert run_demo(keep=tmp_path, console=console) == 1
    assert "cannot be made" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    """`chargehand demo --keep DIR` refuses a directory in use before anything is started."""
    (tmp_path / "supervised").mkdir()
    program = "import sys; from chargehand.cli.main import main; sys.exit(main())"
    ended = subprocess.run([sys.executable, "-c", program, "demo", "--keep", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "is not empty" in ended.stderr


@pytest.mark.slow
def test_no_process_outlives_the_demo(tmp_path: Path) -> None:
    """When the demo itself is killed (SIGKILL), the payment service ends by itself."""
    program = (
        "import sys; from pathlib import Path; from chargehand.demo.processes import PaymentService;"
        "service = PaymentService(Path(sys.argv[1]), 1); print(service.id, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    service = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    gone, _ = psutil.wait_procs([service], timeout=20)
    assert gone


@pytest.mark.slow
def test_a_service_ends_when_told(tmp_path: Path) -> None:
    """The service ends by its own process, and ending it twice is ending it once."""
    with PaymentService(tmp_path, 1) as payments:
        process = psutil.Process(payments.id)
        payments.end()
        assert not process.is_running()


def _functions() -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(inspect.getsource(crew))
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _decorator(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return ast.unparse(function.decorator_list[0]).partition("(")[0] if function.decorator_list else ""


def test_gates_are_three_lines() -> None:
    """The demo is not won by clever gates: each has at most three lines."""
    gates = [function for function in _functions() if _decorator(function) == "gate"]
    assert len(gates) == 6
    for function in gates:
        body = function.body[1:]
        assert (body[-1].end_lineno or 0) - body[0].lineno + 1 <= 3, function.name


def test_both_halves_run_the_same_agents() -> None:
    """A supervised agent's body is one call of the plain function of its name."""
    agents = [function for function in _functions() if _decorator(function) == "agent"]
    assert [function.name for function in agents] == ["researcher", "analyst", "buyer", "notifier"]
    for function in agents:
        (statement,) = function.body[1:]
        assert ast.unparse(statement).startswith(f"return await agents.{function.name}(need, ")
