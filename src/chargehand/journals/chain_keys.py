"""Whether a journal is opened with the key with which its chains were begun."""

from __future__ import annotations

import hashlib
import hmac

from chargehand.durable import Journal, RunFilter
from chargehand.errors import WrongChainKey
from chargehand.events import chain_hash

_WITNESSES = 3


async def check_chain_key(journal: Journal) -> None:
    """Raise `WrongChainKey` when a journal's chains were begun with another key than it was opened with.

    The first link of the journal's chain and the first events of the newest runs are computed anew. One that fits is
    enough: what else does not hold is for `verify` to find. If none fits, nothing may be appended, because nobody could
    verify a chain of which each half needs another key.
    """
    witnesses = await _witnesses(journal)
    if not witnesses or any(_fits(witness, journal.chain_key) for witness in witnesses):
        return
    if not journal.chain_key:
        raise WrongChainKey(
            "The journal was written with a chain key, and none is given: no hash that was looked at holds without one. "
            "Set CHARGEHAND_CHAIN_KEY or chain_key_file, or give Supervisor(…, chain_key=…)."
        )
    if any(_fits(witness, b"") for witness in witnesses):
        raise WrongChainKey(
            "The journal was begun without a chain key, and one is given: either leave it out, or begin a new journal with it. "
            "If this journal was begun with the key, somebody without it has written it anew."
        )
    raise WrongChainKey("The journal was written with another chain key than the one that is given. Give the one it was begun with.")


_Witness = tuple[str, int, float, str, str, bytes, bytes]
"""A hash that has nothing before it: run, seq, time, type, path, digest and the hash itself."""


async def _witnesses(journal: Journal) -> list[_Witness]:
    found: list[_Witness] = [
        (link.run_id, link.seq, link.time, link.kind, "", link.head, link.hash) for link in await journal.chain(0, 1) if link.id == 1
    ]
    for row in await journal.runs(RunFilter(limit=_WITNESSES)):
        for first in await journal.load(row.number, limit=1):
            if first.seq == 1 and not first.event().payload.get("$erased"):
                found.append((row.id, 1, first.time, first.type, first.path, hashlib.sha256(first.payload).digest(), first.hash))
    return found


def _fits(witness: _Witness, key: bytes) -> bool:
    run_id, seq, time, kind, path, digest, stored = witness
    return hmac.compare_digest(chain_hash(bytes(32), run_id, seq, time, kind, path, digest, key), stored)
