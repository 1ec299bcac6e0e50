"""How the demo talks: plain sentences, colour only where there is a terminal, and one table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chargehand.demo.books import Half, OrderLine, Outcome
from chargehand.demo.effort import Effort, Happening
from chargehand.demo.purchase import Need

Row = tuple[str, Callable[[Outcome], int | Decimal], bool]

ROWS: tuple[Row, ...] = (
    ("orders", lambda outcome: outcome.orders, False),
    ("  of these wrong", lambda outcome: outcome.wrong_orders, True),
    ("  of these cancelled", lambda outcome: outcome.cancelled_orders, False),
    ("charges", lambda outcome: outcome.charges, False),
    ("  of these double", lambda outcome: outcome.double_charges, True),
    ("refunds", lambda outcome: outcome.refunds, False),
    ("paid for, but nobody told", lambda outcome: outcome.paid_untold, True),
    ("money out, EUR", lambda outcome: outcome.money_out, False),
)
"""What the closing table counts, how, and whether anything above zero is bad."""

_STYLES = {"good": "green", "bad": "red", "aside": "dim"}


class Teller:
    """Prints the demo's story on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str, style: str = "") -> None:
        """Tell one thing that happened. Styles: good, bad, aside."""
        plain = not self._console.is_terminal
        self._console.print(Text(text, style=_STYLES.get(style, "")), soft_wrap=plain, highlight=False)

    def heading(self, text: str) -> None:
        """Begin a part."""
        self._console.print()
        self._console.print(Text(text, style="bold"), highlight=False)

    def opening(self, *needs: Need) -> None:
        """Say what is real here and what is not, and what is to be bought."""
        self.say("Real: the supplier database, the payment service, the processes, the SIGKILL, the counting.")
        self.say("Stand-ins: the agents are scripts in the place of language models, with small mistakes built in.")
        self.say("Played: the person who approves. The payment service is flaky on purpose, the same in both halves.")
        self.say("The crew: researcher -> analyst -> buyer -> notifier. What it has to buy:")
        for need in needs:
            self.say(f"  {need.reference}: {need.pieces:,} pieces of {need.sku} within {need.within_days} days, for {need.requested_by}")

    def killed(self, reference: str, what: str, process_id: int) -> None:
        """Tell the kill."""
        self.say(
            f"{reference}: SIGKILL to the {what}, process {process_id}: the payment is booked, and its answer was still on the way",
            "bad",
        )

    def orders(self, lines: Sequence[OrderLine]) -> None:
        """Tell the orders as the suppliers have them."""
        self.say("In the suppliers' books:")
        for line in lines:
            pieces = line.packs * line.pack
            wrong = pieces >= line.pieces_needed + line.pack
            self.say(
                f"  {line.id} for {line.reference}: {line.packs:,} packs of {line.pack} = {pieces:,} pieces"
                f" for a need of {line.pieces_needed:,}, from {line.supplier}, EUR {line.total:,}, {line.status}",
                "bad" if wrong else "",
            )

    def approval(self, reference: str, entry: Any, person: str) -> None:
        """Tell what the person saw and said."""
        choice = entry.shows["arguments"]["choice"]
        self.say(
            f"{reference}: waits for a person: {choice['packs']} packs of {choice['quote']['pack']} from"
            f" {choice['quote']['supplier']} for EUR {choice['total']}"
        )
        self.say(f"{reference}: {person}, played by this demo, approves exactly that", "good")

    def event(self, reference: str, event: Happening) -> None:
        """Tell an event of a run, if it is worth a line."""
        told = _TOLD.get(event.type)
        if told is not None:
            text, style = told(event)
            self.say(f"{reference}: {text}", style)

    def closing(self, before: Half, after: Half, effort: Effort) -> None:
        """Print the closing table, and what supervision cost."""
        table = Table(box=box.SIMPLE_HEAD if self._console.is_terminal else box.ASCII2, title="From the services' own books")
        table.add_column("")
        table.add_column("unsupervised", justify="right")
        table.add_column("supervised", justify="right")
        for name, value, bad in ROWS:
            table.add_row(name, _cell(value(before.outcome), bad), _cell(value(after.outcome), bad))
        self._console.print()
        self._console.print(table)
        self.say(f"Rightly bought, both needs cost EUR {after.outcome.money_needed:,}; one of them could not be finished.")
        self._cost(before, after, effort)

    def _cost(self, before: Half, after: Half, effort: Effort) -> None:
        self.say("What it took (the time is mostly that of starting processes and of waiting for the flaky service):")
        for name, half in (("unsupervised", before), ("supervised", after)):
            outcome = half.outcome
            self.say(
                f"  {name + ':':<14}{outcome.model_calls} agent calls, {outcome.payment_requests} payment requests"
                f" ({outcome.failed_requests} dropped, refused or kept waiting), {half.seconds:.1f} s"
            )
        self.say(
            f"Supervision itself: {effort.sent_back} outputs sent back, {effort.approvals} approval,"
            f" {effort.gate_seconds * 1000:.1f} ms of gates, {effort.events} events in the journal."
        )


def _cell(value: int | Decimal, bad: bool) -> Text:
    style = "" if not bad else _STYLES["bad"] if value else _STYLES["good"]
    return Text(f"{value:,}", style=style)


def _call(event: Happening) -> str:
    """Return whose call it is: ``buyer/pay~3f2a.1`` is "buyer, pay"."""
    return ", ".join(segment.partition("~")[0] for segment in event.path.split("/"))


def _rejected(event: Happening) -> tuple[str, str]:
    said = [f"{verdict['gate']}: {' '.join(verdict['reasons'])}" for verdict in event.payload["verdicts"]]
    return f"{_call(event)}, attempt {event.payload['attempt']}: rejected by {'; '.join(said)}", "bad"


def _released(event: Happening) -> tuple[str, str]:
    return f"{_call(event)}, attempt {event.payload['attempt']}: released by its {event.payload['by']}", "good"


def _again(event: Happening) -> tuple[str, str]:
    if event.payload.get("crashed"):
        return f"{_call(event)}: the journal says it was on its way; asked again under the same key", ""
    return f"{_call(event)}: asked again under the same key", "aside"


def _tried(event: Happening) -> tuple[str, str]:
    error = event.payload["e"]
    return f"{_call(event)}: {error.get('type', error['code'])}: {error.get('message', '')}", "aside"


def _rolling_back(event: Happening) -> tuple[str, str]:
    return f"fails for good ({event.payload['e'].get('message')}); what it did is undone, last first", "bad"


_TOLD: dict[str, Callable[[Happening], tuple[str, str]]] = {
    "agent.rejected": _rejected,
    "agent.released": _released,
    "effect.intended": lambda event: (f"{_call(event)}: intended; now it is sent", "aside"),
    "effect.tried": _tried,
    "effect.again": _again,
    "effect.done": lambda event: (f"{_call(event)}: done, once", "good"),
    "run.rolling_back": _rolling_back,
    "undo.tried": _tried,
    "undo.done": lambda event: (f"{_call(event)}: undone", "good"),
    "run.completed": lambda event: ("completed", "good"),
    "run.failed": lambda event: ("failed, and nothing is left behind", ""),
}
"""What the teller says of an event, by its type; of other types it says nothing."""
