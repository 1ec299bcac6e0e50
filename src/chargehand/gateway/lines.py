"""A line: one connection to a client, and how far each reply on it has come."""

from __future__ import annotations

from chargehand.gateway.desk import Conversation


class Line:
    """What goes over one connection. The id of a request is the one that the client gave it, unique on its line while it is open."""

    def __init__(self) -> None:
        self._owed: dict[object, tuple[Conversation, str]] = {}
        self._written: list[tuple[Conversation, str]] = []

    def owes(self, rpc_id: object, talk: Conversation, request: str) -> None:
        """Note that an answer is on its way to be written."""
        self._owed[rpc_id] = (talk, request)

    def written(self, rpc_id: object) -> None:
        """Note that an answer was written."""
        owed = self._owed.pop(rpc_id, None)
        if owed is not None:
            owed[0].mark("written", owed[1])
            self._written.append(owed)

    def heard(self) -> None:
        """Note that the client has said something: what was written before has come."""
        for talk, request in self._written:
            talk.mark("delivered", request)
        self._written.clear()

    def closed(self) -> None:
        """Note that the connection has ended: what was not written is lost."""
        for talk, request in self._owed.values():
            talk.mark("lost", request)
        self._owed.clear()
