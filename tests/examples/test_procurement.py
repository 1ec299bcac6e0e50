"""The README's example runs: rejected and mended, approved when dear, cancelled when nobody could be told."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chargehand import Approve, Person, Reject, Rejected, Resource, Supervisor
from chargehand.errors import Denied

EXAMPLE = Path(__file__).parents[2] / "examples" / "procurement.py"
PETRA = Person("petra")


@pytest.fixture
def example() -> Iterator[ModuleType]:
    """Return the example, imported afresh."""
    spec = importlib.util.spec_from_file_location("procurement", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["procurement"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["procurement"]


@pytest.fixture
def catalogue(example: ModuleType) -> Any:
    """Return the suppliers' side that the test can look into."""
    return example.Catalogue()


@pytest.fixture
async def supervisor(example: ModuleType, catalogue: Any) -> Any:
    """Return a supervisor with a journal in memory."""
    resource = Resource(example.Catalogue, lambda: catalogue)
    async with Supervisor("memory:", workflows=[example.procure], resources=[resource]) as supervisor:
        yield supervisor


async def types_of(run: Any, path: str) -> list[str]:
    """Return the types of a call's events."""
    return [event.type for event in await run.events() if event.path == path]


async def decide(supervisor: Supervisor, run: Any, decision: Any) -> None:
    """Decide about the one thing that the run waits for, as soon as it does."""
    async for event in supervisor.watch(run.id):
        if event.type == "effect.proposed":
            break
    (entry,) = await supervisor.waiting(run_id=run.id)
    await supervisor.decide(entry, decision, by=PETRA, shown=entry.digest)


async def test_a_small_order(example: ModuleType, supervisor: Supervisor, catalogue: Any) -> None:
    """The researcher's thin answer is sent back once; the cheapest of three is ordered, and nobody is asked."""
    run = await supervisor.start(example.procure(example.Part(sku="M8-BOLT", quantity=400)), id="po-1")
    order = await run.result(timeout=10)
    assert order == example.Order(id="SO-1", supplier="Cedar Metals", total=Decimal("88.00"))
    assert list(catalogue.orders.values()) == [order]
    assert await types_of(run, "researcher") == ["agent.rejected", "agent.released"]
    assert "effect.proposed" not in await types_of(run, "place_order")


async def test_a_dear_order_is_approved(example: ModuleType, supervisor: Supervisor, catalogue: Any) -> None:
    """Above 500 a person sees the very call, and only then it is made."""
    run = await supervisor.start(example.procure(example.Part(sku="M8-BOLT", quantity=4000)), id="po-2")
    await decide(supervisor, run, Approve())
    assert (await run.result(timeout=10)).total == Decimal("880.00")
    assert len(catalogue.orders) == 1


async def test_a_dear_order_is_refused(example: ModuleType, supervisor: Supervisor, catalogue: Any) -> None:
    """A no means that nothing is ordered, and the run fails with the reason."""
    run = await supervisor.start(example.procure(example.Part(sku="M8-BOLT", quantity=4000)), id="po-3")
    await decide(supervisor, run, Reject("too dear"))
    with pytest.raises(Denied, match="too dear"):
        await run.result(timeout=10)
    assert catalogue.orders == {}


async def test_an_order_that_nobody_was_told_of_is_cancelled(example: ModuleType, supervisor: Supervisor, catalogue: Any) -> None:
    """When the notifier gives up, the run fails and the order is taken back."""

    async def mumbles(order: Any) -> str:
        return "It is ordered."

    supervisor.site.replaced[example.notifier.full_name] = mumbles
    run = await supervisor.start(example.procure(example.Part(sku="M8-BOLT", quantity=400)), id="po-4")
    with pytest.raises(Rejected):
        await run.result(timeout=10)
    assert catalogue.orders == {}
    assert "undo.done" in await types_of(run, "place_order")


async def test_an_unknown_part_waits_for_a_person(example: ModuleType, supervisor: Supervisor, catalogue: Any) -> None:
    """Where there are no quotes the researcher cannot pass its gate, and a person is asked."""
    run = await supervisor.start(example.procure(example.Part(sku="M9-BOLT", quantity=400)), id="po-5")
    async for event in supervisor.watch(run.id):
        if event.type == "agent.escalated":
            break
    (entry,) = await supervisor.waiting(run_id=run.id)
    assert entry.kind == "escalation"
    assert catalogue.orders == {}


def chargehand(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder of its own."""
    program = "import sys; from chargehand.cli.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_readmes_command(tmp_path: Path) -> None:
    """The command in the README prints the order; a dear one waits, is approved, and goes on where it stood."""
    where = f"{EXAMPLE}:procure"
    ended = chargehand(tmp_path, "run", where, "--input", '{"sku": "M8-BOLT", "quantity": 400}')
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["total"] == "88.00"
    dear = ("run", where, "--input", '{"sku": "M8-BOLT", "quantity": 4000}', "--id", "po-9")
    ended = chargehand(tmp_path, *dear)
    assert ended.returncode == 3
    assert chargehand(tmp_path, "approve", "po-9").returncode == 0
    ended = chargehand(tmp_path, *dear)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["total"] == "880.00"
