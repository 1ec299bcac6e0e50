"""The stand-in itself: HTTP on loopback, in a thread of its own, over uvicorn.

It may be used from code that blocks its event loop as from code that does not. When it ends, whatever was wrong with the
script is raised: a stand-in that was asked for more than it has must not look like an endpoint that failed.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType
from typing import Any, Self

from chargehand.testing.standin.desk import Desk, Served
from chargehand.testing.standin.script import ModelScript, Reply

_READY_WITHIN_SECONDS = 10.0


class ModelStandIn:
    """A stand-in for a model's HTTP endpoint, in the form of OpenAI's API. It is no model: it plays a script.

    Use it with ``async with`` or ``with``. It listens on a free port of 127.0.0.1 and on nothing else. When it ends without
    another error it raises what was wrong with the script: `ScriptEnded`, or `ScriptUnfit`.

    Args:
        script: what to play; replies alone are a script without faults.
        api_key: the key that it takes. It takes no other.
    """

    def __init__(self, *script: ModelScript | Reply, api_key: str = "stand-in") -> None:
        self.script = _script_of(script)
        self.api_key = api_key
        self.desk = Desk(self.script, api_key)
        self._socket: socket.socket | None = None
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Where clients find it: what their ``base_url`` is set to."""
        if self._socket is None:
            raise RuntimeError("The stand-in does not listen yet. Use `async with ModelStandIn(…) as server`.")
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    @property
    def model(self) -> str:
        """The first name that it answers to."""
        return self.script.models[0]

    @property
    def requests(self) -> list[Served]:
        """What was asked so far, the oldest first, refused requests included."""
        return self.desk.requests

    async def asked(self, count: int, *, within: float = 10.0) -> list[Served]:
        """Wait until so many requests have come, answered or not. Raises `TimeoutError`."""
        return await asyncio.to_thread(self.desk.wait, count, within)

    def start(self) -> None:
        """Begin to listen. Returns when it does."""
        try:
            import uvicorn
            from uvicorn.protocols.http.h11_impl import H11Protocol
        except ImportError as error:
            raise ImportError("The stand-in for a model needs uvicorn: pip install 'chargehand[testing]'.") from error
        desk = self.desk

        class Line(H11Protocol):
            """A connection that the desk can drop: ASGI has no word for it."""

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                desk.lines[transport.get_extra_info("peername")] = transport
                # head and body are two writes: without this the second waits 40 ms for the client to acknowledge the first
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def connection_lost(self, exc: Exception | None) -> None:
                desk.lines.pop(self.client, None)
                super().connection_lost(exc)

        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            self.desk.application,
            interface="asgi3",
            http=Line,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        listening = threading.Event()

        class Server(uvicorn.Server):
            """A server that says when it listens."""

            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                desk.open()
                await super().startup(sockets)
                listening.set()

        self._server = server = Server(config)
        sockets = [self._socket]
        self._thread = threading.Thread(target=lambda: server.run(sockets), name="model stand-in", daemon=True)
        self._thread.start()
        if not listening.wait(_READY_WITHIN_SECONDS):
            raise RuntimeError(f"The stand-in did not listen within {_READY_WITHIN_SECONDS:g} s.")

    def stop(self) -> None:
        """End: requests that hang are dropped, the port is free."""
        if self._server is None or self._thread is None or self._socket is None:
            return
        self.desk.close()
        self._server.should_exit = True
        self._thread.join(_READY_WITHIN_SECONDS)
        self._socket.close()
        self._server = self._thread = None

    def _end(self, error: BaseException | None) -> None:
        self.stop()
        if error is None and self.desk.problems:
            raise self.desk.problems[0]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end(error)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.to_thread(self._end, error)


def _script_of(given: tuple[ModelScript | Reply, ...]) -> ModelScript:
    replies = tuple(one for one in given if isinstance(one, Reply))
    scripts = [one for one in given if isinstance(one, ModelScript)]
    if len(scripts) > 1 or (scripts and replies):
        raise ValueError("A stand-in plays one ModelScript, or replies.")
    return scripts[0] if scripts else ModelScript(replies=replies)
