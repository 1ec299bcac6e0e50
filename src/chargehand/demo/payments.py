"""The payment service of the demo: HTTP on loopback, a process of its own, books of its own, flaky on purpose.

It is the outside world: it knows nothing of Chargehand. ``POST /charges`` and ``POST /refunds`` honour
``Idempotency-Key`` as the usual payment services do: the same key with the same body gets the first answer again, with
another body 422. A charge, its key and its answer are one transaction, so a key that was answered is answered for good.

*Flaky*: every request draws the next card of a shuffled pack (`plan`): it is carried out and answered, or the
connection is dropped before or after the work, or 503 is answered, or the answer comes later than the client waits.

*Hold*: so that a client can be killed in mid-payment without guessing times, ``POST /bench/hold`` makes the service
keep back every answer to a charge that is in its books; ``GET /bench/held`` returns as soon as one is kept back, and
``POST /bench/release`` lets them go.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

Behaviour = Literal["answer", "drop before", "drop after", "unavailable", "slow"]
PACK: tuple[Behaviour, ...] = ("answer", "answer", "drop before", "drop after", "unavailable", "slow")
SLOW_SECONDS = 1.4
HELD_WITHIN_SECONDS = 30

SCHEMA = """
CREATE TABLE charges (
    number INTEGER PRIMARY KEY, reference TEXT NOT NULL, amount_cents INTEGER NOT NULL CHECK (amount_cents > 0)
);
CREATE TABLE refunds (
    number INTEGER PRIMARY KEY, charge INTEGER NOT NULL UNIQUE REFERENCES charges, amount_cents INTEGER NOT NULL
);
CREATE TABLE keys (key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, answer TEXT NOT NULL);
CREATE TABLE requests (
    number INTEGER PRIMARY KEY, path TEXT NOT NULL, key TEXT, behaviour TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('booked', 'answered from its key', 'refused', 'nothing done'))
);
"""


def plan(seed: int) -> Iterator[Behaviour]:
    """Return how the service behaves, request by request: pack after pack, each shuffled by the seed."""
    dice = random.Random(seed)
    while True:
        yield from dice.sample(PACK, len(PACK))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the books say to a request."""

    status: int
    body: dict[str, Any]
    outcome: str


class Books:
    """Charges, refunds, keys and requests, in one SQLite file that only this process writes."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.executescript(SCHEMA)

    def log(self, path: str, key: str | None, behaviour: Behaviour, outcome: str) -> None:
        """Write a request down."""
        with self._lock, self._database:
            self._database.execute(
                "INSERT INTO requests (path, key, behaviour, outcome) VALUES (?, ?, ?, ?)",
                (path, key, behaviour, outcome),
            )

    def carry_out(self, path: str, key: str | None, request: dict[str, Any]) -> Answer:
        """Do what is asked and keep the answer under its key, in one transaction."""
        digest = hashlib.sha256(json.dumps([path, request], sort_keys=True).encode()).hexdigest()
        with self._lock, self._database:
            known = self._database.execute("SELECT request, status, answer FROM keys WHERE key = ?", (key,)).fetchone()
            if known is not None and known[0] != digest:
                return Answer(422, {"error": "The Idempotency-Key was used for another request."}, "refused")
            if known is not None:
                return Answer(known[1], json.loads(known[2]), "answered from its key")
            answer = self._charge(request) if path == "/charges" else self._refund(request)
            if key is not None and answer.outcome == "booked":
                self._database.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", (key, digest, answer.status, json.dumps(answer.body)))
            return answer

    def _charge(self, request: dict[str, Any]) -> Answer:
        reference, amount = request.get("reference"), request.get("amount_cents")
        if not isinstance(reference, str) or not isinstance(amount, int) or amount <= 0:
            return Answer(400, {"error": "A charge has a reference and a positive amount_cents."}, "refused")
        cursor = self._database.execute("INSERT INTO charges (reference, amount_cents) VALUES (?, ?)", (reference, amount))
        return Answer(201, {"id": cursor.lastrowid, "reference": reference, "amount_cents": amount}, "booked")

    def _refund(self, request: dict[str, Any]) -> Answer:
        charge = self._database.execute("SELECT number, amount_cents FROM charges WHERE number = ?", (request.get("charge"),)).fetchone()
        if charge is None:
            return Answer(404, {"error": f"There is no charge {request.get('charge')!r}."}, "refused")
        if self._database.execute("SELECT 1 FROM refunds WHERE charge = ?", (charge[0],)).fetchone() is not None:
            return Answer(422, {"error": f"Charge {charge[0]} is refunded already."}, "refused")
        cursor = self._database.execute("INSERT INTO refunds (charge, amount_cents) VALUES (?, ?)", charge)
        return Answer(201, {"id": cursor.lastrowid, "charge": charge[0], "amount_cents": charge[1]}, "booked")


class Bench:
    """Keeps answers back while it holds, and tells who asks as soon as it does."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holding = False
        self._held = 0

    def hold(self) -> None:
        """Keep back the answers to charges from now on."""
        with self._changed:
            self._holding, self._held = True, 0

    def release(self) -> None:
        """Let every answer go."""
        with self._changed:
            self._holding = False
            self._changed.notify_all()

    def pass_through(self) -> None:
        """Return at once, or when what is held is released."""
        with self._changed:
            if self._holding:
                self._held += 1
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._holding)

    def wait_held(self) -> bool:
        """Wait until an answer is kept back; false when none came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._held > 0, timeout=HELD_WITHIN_SECONDS)


class PaymentServer(ThreadingHTTPServer):
    """The service on a free port of 127.0.0.1."""

    daemon_threads = True

    def __init__(self, books: Books, behaviours: Iterator[Behaviour]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.books = books
        self.bench = Bench()
        self._behaviours = behaviours
        self._drawing = threading.Lock()

    def draw(self) -> Behaviour:
        """Return how to behave towards the next request."""
        with self._drawing:
            return next(self._behaviours)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: PaymentServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer ``/bench/held`` when an answer is kept back."""
        if self.path != "/bench/held":
            self._answer(404, {"error": "unknown path"})
        elif self.server.bench.wait_held():
            self._answer(200, {})
        else:
            self._answer(504, {"error": f"No answer was held within {HELD_WITHIN_SECONDS} seconds."})

    def do_POST(self) -> None:
        """Answer a charge, a refund or a request of the bench."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/bench/hold":
            self.server.bench.hold()
            self._answer(200, {})
        elif self.path == "/bench/release":
            self.server.bench.release()
            self._answer(200, {})
        elif self.path in ("/charges", "/refunds"):
            self._misbehave(self.server.draw(), body)
        else:
            self._answer(404, {"error": "unknown path"})

    def _misbehave(self, behaviour: Behaviour, body: bytes) -> None:
        key = self.headers.get("Idempotency-Key")
        if behaviour in ("drop before", "unavailable"):
            self.server.books.log(self.path, key, behaviour, "nothing done")
            if behaviour == "unavailable":
                self._answer(503, {"error": "try again later"})
            else:
                self._drop()
            return
        answer = self.server.books.carry_out(self.path, key, json.loads(body))
        self.server.books.log(self.path, key, behaviour, answer.outcome)
        if self.path == "/charges" and answer.outcome != "refused":
            self.server.bench.pass_through()
        if behaviour == "drop after":
            self._drop()
            return
        if behaviour == "slow":
            time.sleep(SLOW_SECONDS)
        self._answer(answer.status, answer.body)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.close_connection = True
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # whoever asked is gone; the books stand

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # whoever asked may be gone already
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the books have it all."""


def main() -> None:
    """Serve until standard input closes, so that the service never outlives the demo. Prints the port on one line."""
    parser = argparse.ArgumentParser(description="The demo's payment service.")
    parser.add_argument("--books", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    server = PaymentServer(Books(options.books), plan(options.seed))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
