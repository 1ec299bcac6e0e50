"""The demo: the same four agents buy the same two things, first without supervision, then with it.

Real are the supplier database, the payment service, the processes, the SIGKILL and the counting. The agents are
stand-ins for language models, and the person who approves is played; both are said aloud. The kill needs no luck: the
payment service books the charge and keeps its answer back, and then the process that waits for the answer is killed.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from chargehand.demo import suppliers
from chargehand.demo.books import Half, Outcome, count, order_lines
from chargehand.demo.effort import Effort
from chargehand.demo.processes import DemoFailed, PaymentService, Process
from chargehand.demo.purchase import Need
from chargehand.demo.supervised import Crew
from chargehand.demo.telling import Teller
from chargehand.demo.worker import journal_of

SEED = 4
BOLTS = Need(reference="po-1042", sku="M8-BOLT", pieces=4000, within_days=7, requested_by="assembly")
SEALS = Need(reference="po-1043", sku="M6-SEAL", pieces=200, within_days=7, requested_by="line-9")
NEEDS = [BOLTS, SEALS]


def run_demo(*, keep: Path | None = None, console: Console) -> int:
    """Run the whole demo and return its exit status: 0 when the books show what it promises, else 1.

    Args:
        keep: An empty or new directory for the databases and logs; a temporary one otherwise. Printed at the end.
        console: Where to tell the story.

    If the process dies inside, the processes it started end by themselves.
    """
    teller = Teller(console)
    folder = Path(tempfile.mkdtemp(prefix="chargehand-demo-")) if keep is None else keep
    try:
        unsupervised, supervised = _folders(folder)
        teller.opening(BOLTS, SEALS)
        teller.heading("1. The same agents, unsupervised")
        before = unsupervised_half(unsupervised, teller)
        teller.heading("2. The same agents, supervised")
        after, effort = supervised_half(supervised, teller)
        teller.closing(before, after, effort)
        _check(before.outcome, after.outcome)
    except DemoFailed as error:
        teller.say(str(error), "bad")
        return 1
    finally:
        teller.say(f"Databases, journal and logs: {folder}")
    teller.say(f"Look inside: chargehand show {BOLTS.reference} --journal {journal_of(supervised)}")
    return 0


def _folders(folder: Path) -> tuple[Path, Path]:
    halves = folder.resolve() / "unsupervised", folder.resolve() / "supervised"
    for half in halves:
        try:
            half.mkdir(parents=True)
        except OSError as error:
            raise DemoFailed(f"{half} cannot be made: {error.strerror}. Give an empty directory.") from error
    return halves


def unsupervised_half(folder: Path, teller: Teller) -> Half:
    """Run the script for both needs: killed in mid-payment and started again for the first one."""
    began = time.perf_counter()
    suppliers.create(folder / "suppliers.db", SEED, NEEDS)
    with PaymentService(folder, SEED) as payments:

        def script(need: Need) -> Process:
            options = ("--folder", str(folder), "--port", str(payments.port), "--reference", need.reference)
            return Process("unsupervised", *options, folder=folder, log="script.log")

        payments.hold()
        with script(BOLTS) as process:
            payments.wait_held()
            process.kill()
            teller.killed(BOLTS.reference, "script", process.id)
        payments.release()
        with script(BOLTS) as process:
            status = process.wait()
            teller.say(f"{BOLTS.reference}: started again from its top, as cron would; exit status {status}")
        with script(SEALS) as process:
            status = process.wait()
            teller.say(f"{SEALS.reference}: exit status {status}: {process.last_words()}", "bad" if status else "")
    seconds = time.perf_counter() - began
    teller.orders(order_lines(folder))
    return Half(count(folder), seconds)


def supervised_half(folder: Path, teller: Teller) -> tuple[Half, Effort]:
    """Run the crew for both needs: its worker killed in mid-payment for the first one."""
    began = time.perf_counter()
    suppliers.create(folder / "suppliers.db", SEED, NEEDS)
    with PaymentService(folder, SEED) as payments:
        effort = asyncio.run(_supervised(folder, payments, teller))
    seconds = time.perf_counter() - began
    teller.orders(order_lines(folder))
    return Half(count(folder), seconds), effort


async def _supervised(folder: Path, payments: PaymentService, teller: Teller) -> Effort:
    def worker() -> Process:
        return Process("worker", "--folder", str(folder), "--port", str(payments.port), folder=folder, log="worker.log")

    async with Crew(folder, teller) as crew:
        payments.hold()
        with worker() as process:
            buying = asyncio.create_task(crew.buy(BOLTS))
            held = asyncio.gather(asyncio.to_thread(payments.wait_held), crew.paying.wait())
            racing: set[asyncio.Future[Any]] = {buying, held}
            await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
            if buying.done():
                raise DemoFailed(f"{BOLTS.reference} ended before it paid.") from buying.exception()
            await held
            process.kill()
            teller.killed(BOLTS.reference, "worker", process.id)
        payments.release()
        with worker() as process:
            teller.say(f"{BOLTS.reference}: another worker starts (process {process.id})")
            await buying
            await crew.buy(SEALS)
        return crew.effort


def _check(before: Outcome, after: Outcome) -> None:
    """Raise `DemoFailed` unless the books show what the demo promises."""
    shown = {
        "unsupervised, the wrong order goes out": before.wrong_orders > 0,
        "unsupervised, the crash charges twice": before.double_charges == 1,
        "supervised, no order is wrong": after.orders == 2 and after.wrong_orders == 0,
        "supervised, each purchase is charged once": after.charges == 2 and after.double_charges == 0,
        "supervised, the failed purchase is cancelled and refunded": after.cancelled_orders == after.refunds == 1,
        "supervised, nothing is paid that nobody is told of": after.paid_untold == 0,
    }
    missed = [promise for promise, kept in shown.items() if not kept]
    if missed:
        raise DemoFailed("The books do not show this: " + "; ".join(missed) + ".")
