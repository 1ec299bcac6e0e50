"""Seals: with a key, mail bears the mark of who has the key, so that writing into the mailbox is not yet deciding.

A seal binds the run, the kind, the time and everything that is said. It does not say that a letter comes for the first
time: who may write the file can leave a sealed letter of this run twice. A decision counts once whatever is left, because
its entry is closed by then; a signal does not.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from chargehand.contracts import canonical

FIELD = "seal"


def sealed(key: bytes, run_id: str, kind: str, time: float, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is left in the mailbox: the body, with its seal when there is a key."""
    if not key:
        return dict(body)
    plain = json.loads(json.dumps(dict(body)))  # as the other side will read it
    return {**plain, FIELD: _seal(key, run_id, kind, time, plain)}


def is_sealed(key: bytes, run_id: str, kind: str, time: float, body: Mapping[str, Any]) -> bool:
    """Say whether a letter bears the seal of this key; without a key every letter does."""
    if not key:
        return True
    plain = {name: value for name, value in body.items() if name != FIELD}
    return hmac.compare_digest(str(body.get(FIELD)).encode(), _seal(key, run_id, kind, time, plain).encode())


def _seal(key: bytes, run_id: str, kind: str, time: float, body: Mapping[str, Any]) -> str:
    text = canonical(["mail", run_id, kind, repr(float(time)), body])
    return hmac.digest(key, text.encode(), "sha256").hex()
