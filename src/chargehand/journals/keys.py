"""When a business key may be taken: one rule for every journal."""

from __future__ import annotations

from chargehand.durable import KeyRow, KeyTake


def may_take(take: KeyTake, row: KeyRow, run_id: str) -> bool:
    """Say whether a run may take a key that has a row.

    Its own row at the same path, in the same or a later generation; or an *open* row, in a later generation. An equal
    generation of somebody else's open row would hand the same key out for a different doing: the asker has read an old
    row and must look again.
    """
    if row.run_id == run_id and row.path == take.path:
        return take.generation >= row.generation
    return row.state == "open" and take.generation > row.generation
