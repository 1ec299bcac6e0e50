"""A keyed journal-wide chain: a whole run cannot be removed unnoticed by who lacks the key."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from chargehand.errors import JournalCorrupt
from chargehand.events import chain_hash
from chargehand.supervisor import Supervisor

from .test_chain_key import keyed


async def test_the_chain_of_finished_runs_is_keyed(tmp_path: Path) -> None:
    """The links of finished runs cannot be computed anew without the key."""
    path = tmp_path / "j.db"
    async with Supervisor(str(path), [keyed], chain_key=b"secret") as supervisor:
        for id in ("a", "b"):
            await (await supervisor.start(keyed(1), id)).result()
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM chain WHERE run_id = 'a'")
    previous = bytes(32)
    for id, kind, run_id, seq, head, time in list(connection.execute("SELECT id, kind, run_id, seq, head, time FROM chain ORDER BY id")):
        previous = chain_hash(previous, run_id, seq, time, kind, "", head)
        connection.execute("UPDATE chain SET hash = ? WHERE id = ?", (previous, id))
    connection.close()
    async with Supervisor(str(path), [keyed], work=False, chain_key=b"secret") as supervisor:
        with pytest.raises(JournalCorrupt, match="chain"):
            await supervisor.journal.verify_chain()
