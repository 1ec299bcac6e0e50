"""What the demo's tests share: a supplier database, and the payment service inside the test's own process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

import pytest

from chargehand.demo import suppliers
from chargehand.demo.payments import Behaviour, Books, PaymentServer
from chargehand.demo.story import BOLTS, SEALS, SEED
from chargehand.demo.suppliers import SupplierDatabase

Serve = Callable[..., PaymentServer]


@pytest.fixture
def market(tmp_path: Path) -> SupplierDatabase:
    """Return the demo's supplier database."""
    path = tmp_path / "suppliers.db"
    suppliers.create(path, SEED, [BOLTS, SEALS])
    return SupplierDatabase(path)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts the service; it behaves as given, request by request, and well after that."""
    servers: list[PaymentServer] = []

    def start(*behaviours: Behaviour) -> PaymentServer:
        server = PaymentServer(Books(tmp_path / "payments.db"), chain(behaviours, repeat("answer")))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
