"""What an exception says about whether something happened, and whether repeating may mend it."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx
import pytest

from chargehand import NotDone
from chargehand.failures import classify

REQUEST = httpx.Request("POST", "http://service/charge")


def status(code: int, **headers: str) -> httpx.HTTPStatusError:
    """Return what raise_for_status raises."""
    return httpx.HTTPStatusError("no", request=REQUEST, response=httpx.Response(code, headers=headers, request=REQUEST))


def caused(outer: Exception, inner: Exception) -> Exception:
    """Return an exception that was raised from another."""
    outer.__cause__ = inner
    return outer


DID_NOT = "did not happen"
MAY = "may have happened"


@pytest.mark.parametrize(
    ("error", "happened", "transient"),
    [
        (NotDone("sold out"), DID_NOT, True),
        (NotDone("never", permanent=True), DID_NOT, False),
        (ConnectionRefusedError(), DID_NOT, True),
        (OSError(errno.EHOSTUNREACH, "no route"), DID_NOT, True),
        (socket.gaierror(), DID_NOT, True),
        (ssl.SSLCertVerificationError(), DID_NOT, True),
        (httpx.ConnectError("refused"), DID_NOT, True),
        (httpx.ConnectTimeout("slow"), DID_NOT, True),
        (httpx.PoolTimeout("full"), DID_NOT, True),
        (caused(RuntimeError("client"), ConnectionRefusedError()), DID_NOT, True),
        *[(status(code), DID_NOT, False) for code in (400, 401, 403, 404, 409, 422)],
        (status(429), DID_NOT, True),
        *[(status(code), MAY, True) for code in (408, 500, 502, 503, 504)],
        (status(418), MAY, False),
        (httpx.ReadTimeout("slow"), MAY, True),
        (httpx.ReadError("cut"), MAY, True),
        (httpx.RemoteProtocolError("cut"), MAY, True),
        (ConnectionResetError(), MAY, True),
        (BrokenPipeError(), MAY, True),
        (TimeoutError(), MAY, True),
        (KeyError("x"), MAY, False),
        (ValueError("x"), MAY, False),
        (ZeroDivisionError(), MAY, False),
        (RuntimeError("who knows"), MAY, True),
        (type("Invented", (Exception,), {})("x"), MAY, True),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_the_table(error: Exception, happened: str, transient: bool) -> None:
    """Only what is documented to be certain did not happen; everything else may have."""
    found = classify(error)
    assert (found.happened, found.transient) == (happened, transient)


@pytest.mark.parametrize(
    ("error", "seconds"), [(status(429, **{"Retry-After": "17"}), 17.0), (NotDone("full", retry_after=3), 3.0), (status(503), None)]
)
def test_a_servers_wish_is_heard(error: Exception, seconds: float | None) -> None:
    """Retry-After travels with the classification."""
    assert classify(error).retry_after == seconds
