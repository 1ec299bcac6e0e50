"""The same agents without supervision: a script that calls one after the other, started again when it dies.

It is no straw man. The payment's key is kept over the client's own retries, as good libraries do, so a dropped
connection charges nobody twice. What the script does not have is anything that outlives it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import uuid
from decimal import Decimal
from pathlib import Path

from chargehand.demo import agents
from chargehand.demo.agents import StandInModel
from chargehand.demo.payment_client import PaymentClient, PaymentError
from chargehand.demo.purchase import Charge, Choice, Need, Order
from chargehand.demo.suppliers import SupplierDatabase, UnknownAddress

ATTEMPTS = 8
PAUSE_SECONDS = 0.05


async def purchase(need: Need, suppliers: SupplierDatabase, payments: PaymentClient, model: StandInModel) -> None:
    """Buy what is needed: four agents in a row, each believing the one before."""

    async def place_order(choice: Choice, reference: str) -> Order:
        return await suppliers.place(choice, reference, key=uuid.uuid4().hex)

    async def pay(reference: str, amount: Decimal) -> Charge:
        return await keep_trying(payments, reference, amount, key=uuid.uuid4().hex)

    quotes = await agents.researcher(need, suppliers.search, model)
    choice = await agents.analyst(need, quotes, model)
    receipt = await agents.buyer(need, choice, place_order, pay, model)
    notice = await agents.notifier(need, receipt, suppliers.find_contact, model)
    await suppliers.post(notice, need.reference, key=uuid.uuid4().hex)


async def keep_trying(payments: PaymentClient, reference: str, amount: Decimal, key: str) -> Charge:
    """Charge under one key, again and again while the service is unavailable."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await payments.charge(reference, amount, key)
        except PaymentError as error:
            if error.status < 500:
                raise
        except OSError:
            pass
        await asyncio.sleep(PAUSE_SECONDS)
    return await payments.charge(reference, amount, key)


async def script(folder: Path, port: int, reference: str) -> int:
    """Run once for one need; 1 when it could not be finished."""
    suppliers = SupplierDatabase(folder / "suppliers.db")
    try:
        await purchase(await suppliers.need(reference), suppliers, PaymentClient(port), StandInModel(folder / "model.db"))
    except UnknownAddress as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description="The demo's crew without supervision.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--reference", required=True)
    options = parser.parse_args()
    sys.exit(asyncio.run(script(options.folder, options.port, options.reference)))


if __name__ == "__main__":
    main()
