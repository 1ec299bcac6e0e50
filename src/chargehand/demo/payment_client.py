"""The client of the payment service. It asks once; whether to ask again is not its business."""

from __future__ import annotations

import asyncio
import http.client
import json
from decimal import Decimal
from typing import Any

from chargehand.demo.purchase import Charge, cents, euros

PATIENCE_SECONDS = 1.0


class PaymentError(Exception):
    """The payment service answered with an error. `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class PaymentClient:
    """Charges and refunds by HTTP. Raises `PaymentError` for an answer that is an error, `OSError` when none came."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def charge(self, reference: str, amount: Decimal, key: str) -> Charge:
        """Pay an amount in euros."""
        answer = await asyncio.to_thread(self._post, "/charges", key, {"reference": reference, "amount_cents": cents(amount)})
        return Charge(id=f"CH-{answer['id']:04}", reference=answer["reference"], amount=euros(answer["amount_cents"]))

    async def refund(self, charge: Charge, key: str) -> None:
        """Take a charge back."""
        await asyncio.to_thread(self._post, "/refunds", key, {"charge": int(charge.id.removeprefix("CH-"))})

    def _post(self, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        status, answer = ask(self._port, "POST", path, json.dumps(body), headers, PATIENCE_SECONDS)
        if status >= 400:
            raise PaymentError(status, str(answer.get("error")))
        return answer


def ask(
    port: int,
    method: str,
    path: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
    patience_seconds: float | None = None,
) -> tuple[int, dict[str, Any]]:
    """Send one request to a port of this machine and return the status and the decoded answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience_seconds)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
