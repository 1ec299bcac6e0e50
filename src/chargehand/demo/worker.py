"""A worker of the demo: drives supervised runs until its standard input closes, or until it is killed."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from chargehand import Resource, Supervisor
from chargehand.demo.agents import StandInModel
from chargehand.demo.crew import purchase
from chargehand.demo.payment_client import PaymentClient
from chargehand.demo.suppliers import SupplierDatabase

ENVIRONMENT = "development"


def journal_of(folder: Path) -> str:
    """Return where the demo keeps its journal."""
    return str(folder / "journal.db")


async def work(folder: Path, port: int) -> None:
    """Drive runs. If the process dies inside, the next worker goes on from the last commit."""
    resources: list[Resource[Any]] = [
        Resource(SupplierDatabase, {ENVIRONMENT: lambda: SupplierDatabase(folder / "suppliers.db")}),
        Resource(PaymentClient, {ENVIRONMENT: lambda: PaymentClient(port)}),
        Resource(StandInModel, {ENVIRONMENT: lambda: StandInModel(folder / "model.db")}),
    ]
    async with Supervisor(journal_of(folder), workflows=[purchase], environment=ENVIRONMENT, resources=resources):
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Run a worker."""
    parser = argparse.ArgumentParser(description="A worker of the demo.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(work(options.folder, options.port))


if __name__ == "__main__":
    main()
