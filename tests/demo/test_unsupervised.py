"""The unsupervised half of the demo does what the demo says it does, counted from the services' own books."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from chargehand.demo.books import count, order_lines
from chargehand.demo.story import unsupervised_half
from chargehand.demo.telling import Teller


@pytest.mark.slow
def test_wrong_order_and_double_charge(tmp_path: Path) -> None:
    """Every order is wrong, the crash orders and charges twice, and one payment stands that nobody is told of."""
    console = Console(file=io.StringIO(), record=True, width=200)
    outcome = unsupervised_half(tmp_path, Teller(console)).outcome
    assert (outcome.orders, outcome.wrong_orders, outcome.cancelled_orders) == (3, 3, 0)
    assert (outcome.charges, outcome.double_charges, outcome.refunds) == (3, 1, 0)
    assert outcome.paid_untold == 1
    assert outcome.money_out == sum((line.total for line in order_lines(tmp_path)), Decimal(0))
    assert outcome.money_out > 10 * outcome.money_needed
    assert outcome == count(tmp_path)
    assert "SIGKILL" in console.export_text()
