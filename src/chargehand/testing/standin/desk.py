"""The desk of the stand-in: takes a request, asks the script, and answers it or plays its fault. An ASGI application."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from chargehand.testing.scripts import ScriptEnded
from chargehand.testing.standin import chat, response_events, responses
from chargehand.testing.standin.refusals import NAME, Refused, invalid, too_long
from chargehand.testing.standin.script import Answer, FaultKind, ModelScript, Playing, ScriptUnfit

CREATED = 1_767_225_600
"""2026-01-01T00:00:00Z: the time that every answer bears, so that equal requests have equal answers."""
_SECRET_HEADERS = frozenset({"authorization", "api-key", "x-api-key", "cookie", "proxy-authorization"})
_BODY_MAX = 64 * 1024 * 1024

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass
class Served:
    """One request and what became of it.

    Args:
        method: GET, POST or DELETE.
        path: what was asked for, from ``/v1`` on.
        headers: its headers, in small letters, without secrets.
        body: its body, None when it had none or was no JSON.
        status: the status of the answer, None while there is none.
        fault: the fault that was played.
        problem: what was wrong with the script.
        gone: who asked left before the answer was out.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any = None
    status: int | None = None
    fault: FaultKind | None = None
    problem: str | None = None
    gone: bool = False


@dataclass
class _Reply:
    """What is to be sent: a whole body, or pieces of a stream; `param` is what holds the input, `conversation` what to remember."""

    body: dict[str, Any]
    pieces: Iterator[dict[str, Any]] | None = None
    named: bool = False
    answer: Answer | None = None
    param: str = ""
    conversation: list[Any] | None = None


class Desk:
    """Requests come in, answers go out. `requests` is what came, `problems` what was wrong with the script."""

    def __init__(self, script: ModelScript, api_key: str) -> None:
        self.script, self._key = script, api_key
        self.playing = Playing(script)
        self.memory = responses.Memory()
        self.requests: list[Served] = []
        self.problems: list[Exception] = []
        self.lines: dict[Any, asyncio.Transport] = {}
        """The open connections, by who is at the other end."""
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None

    def open(self) -> None:
        """Get ready, on the loop that serves."""
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()

    def close(self) -> None:
        """Let whatever hangs go, from any thread."""
        if self._loop is not None and self._closing is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closing.set)

    def wait(self, count: int, within: float) -> list[Served]:
        """Block until so many requests have come. Raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, within):
                raise TimeoutError(f"{len(self.requests)} requests came within {within:g} s, not {count}.")
            return list(self.requests)

    # -- one request ----------

    async def application(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        content = await _content(receive)
        shown = {name: "(not recorded)" if name in _SECRET_HEADERS else value for name, value in headers.items()}
        served = Served(scope["method"], scope["path"], shown, _parsed(content))
        if scope["path"].startswith("/stand-in/"):
            await self._about(served, send)
            return
        with self._changed:
            self.requests.append(served)
            self._changed.notify_all()
        try:
            self._authorize(headers)
            reply = self._handled(served, content)
        except Refused as refused:
            await self._refuse(served, refused, send)
            return
        except (ScriptEnded, ScriptUnfit) as problem:
            self.problems.append(problem)
            served.problem = str(problem)
            code = "script_ended" if isinstance(problem, ScriptEnded) else "script_unfit"
            told = Refused(400, str(problem), kind="stand_in_error", code=code, headers={"x-should-retry": "false"})
            await self._refuse(served, told, send)
            return
        except Exception as error:  # our own fault must not look like a 500 that was played
            self.problems.append(error)
            served.problem = repr(error)
            told = Refused(501, f"The stand-in itself failed: {error!r}", kind="stand_in_error", headers={"x-should-retry": "false"})
            await self._refuse(served, told, send)
            return
        await self._play(served, reply, receive, send)
        if served.fault in ("dropped", "hang", "cut"):
            await self._drop(scope["client"])

    async def _drop(self, client: Any) -> None:
        """Close the connection without another byte."""
        line = self.lines.get(tuple(client))
        if line is not None:
            line.abort()
            await asyncio.sleep(0)  # the server learns of it before it would answer by itself

    def _authorize(self, headers: Mapping[str, str]) -> None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refused(401, "You didn't provide an API key. Provide it in an Authorization header using Bearer auth.")
        if key != self._key:
            raise Refused(401, "Incorrect API key provided.", code="invalid_api_key")

    def _handled(self, served: Served, content: bytes) -> _Reply:
        method, path = served.method, served.path
        if path == "/v1/models" and method == "GET":
            return _Reply({"object": "list", "data": [_model(name) for name in self.script.models]})
        if path.startswith("/v1/models/") and method == "GET":
            name = path.removeprefix("/v1/models/")
            if name not in self.script.models:
                raise Refused(404, f"The model '{name}' does not exist", param="model", code="model_not_found")
            return _Reply(_model(name))
        if path.startswith("/v1/responses/") and method in ("GET", "DELETE"):
            name = path.removeprefix("/v1/responses/")
            return _Reply(self.memory.response(name) if method == "GET" else self.memory.forget(name))
        if path not in ("/v1/chat/completions", "/v1/responses"):
            raise Refused(404, f"Invalid URL ({method} {path})")
        if method != "POST":
            raise Refused(405, f"Not allowed to {method} on {path}.", code="method_not_supported")
        if not isinstance(served.body, dict):
            raise invalid(
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
                f"correctly. The API expects a JSON payload, but what was sent was not valid JSON: {len(content)} bytes.)"
            )
        return self._chat(served.body) if path == "/v1/chat/completions" else self._response(served.body)

    def _chat(self, body: dict[str, Any]) -> _Reply:
        request, asked = chat.read(body, self.script)
        answer = self.playing.answer(asked).within(request.max_completion_tokens or request.max_tokens)
        chat.check(request, answer)
        whole = chat.whole(request, asked, answer, CREATED)
        return _Reply(whole, chat.chunks(request, asked, answer, CREATED) if request.stream else None, answer=answer, param="messages")

    def _response(self, body: dict[str, Any]) -> _Reply:
        request, asked, conversation = responses.read(body, self.script, self.memory)
        answer = self.playing.answer(asked).within(request.max_output_tokens)
        responses.check(request, answer)
        whole = response_events.whole(request, asked, answer, CREATED)
        events = response_events.events(request, asked, answer, CREATED) if request.stream else None
        kept = [*conversation] if request.store is not False else None
        return _Reply(whole, events, named=True, answer=answer, param="input", conversation=kept)

    # -- answering ----------

    async def _play(self, served: Served, reply: _Reply, receive: Receive, send: Send) -> None:
        fault = reply.answer.fault if reply.answer is not None else None
        kind = served.fault = fault.kind if fault is not None else None
        seconds = fault.seconds if fault is not None and fault.seconds is not None else self.script.faults.seconds
        if kind == "context_length":
            limit = self.script.context_tokens
            await self._refuse(served, too_long(limit, limit + 1, reply.param), send)
            return
        if kind in _REFUSALS:
            await self._refuse(served, _REFUSALS[kind](seconds), send)
            return
        if reply.conversation is not None:
            self.memory.keep(reply.body, reply.conversation)
        if kind == "slow" and await self._left(receive, seconds):
            served.gone = True
            return
        if kind in ("hang", "dropped"):
            served.gone = kind == "hang" and await self._left(receive, None)
            return
        content = json.dumps(reply.body, ensure_ascii=False).encode()
        if reply.pieces is not None:
            await self._stream(served, reply, kind, send)
        elif kind == "cut":
            await self._start(served, 200, {"content-type": "application/json", "content-length": str(len(content))}, send)
            await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
        else:
            await self._send(served, 200, content[: len(content) // 2] if kind == "garbled" else content, {}, send)

    async def _stream(self, served: Served, reply: _Reply, kind: FaultKind | None, send: Send) -> None:
        assert reply.pieces is not None
        await self._start(served, 200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}, send)
        pieces = list(reply.pieces)
        broken = len(pieces) // 2 if kind in ("cut", "garbled") else None
        for number, piece in enumerate(pieces):
            line = json.dumps(piece, ensure_ascii=False)
            if number == broken and kind == "cut":
                return
            if number == broken:
                line = line[: len(line) // 2]
            name = f"event: {piece['type']}\n" if reply.named else ""
            await send({"type": "http.response.body", "body": f"{name}data: {line}\n\n".encode(), "more_body": True})
        end = b"" if reply.named else b"data: [DONE]\n\n"
        await send({"type": "http.response.body", "body": end, "more_body": False})

    async def _left(self, receive: Receive, seconds: float | None) -> bool:
        """Wait so long, or for ever; return whether who asked has left. The end of the stand-in ends any wait."""
        assert self._closing is not None
        leaving, closing = asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._closing.wait())
        done, pending = await asyncio.wait({leaving, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return leaving in done

    async def _refuse(self, served: Served, refused: Refused, send: Send) -> None:
        await self._send(served, refused.status, json.dumps(refused.body()).encode(), refused.headers, send)

    async def _send(self, served: Served, status: int, content: bytes, headers: Mapping[str, str], send: Send) -> None:
        await self._start(served, status, {"content-type": "application/json", "content-length": str(len(content))} | dict(headers), send)
        await send({"type": "http.response.body", "body": content, "more_body": False})

    async def _start(self, served: Served, status: int, headers: Mapping[str, str], send: Send) -> None:
        served.status = status
        named = {"server": NAME, "x-stand-in": NAME, "x-request-id": f"req_stand_in_{len(self.requests)}"} | dict(headers)
        sent = [(name.encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": sent})

    async def _about(self, served: Served, send: Send) -> None:
        """Tell another process what came so far: ``/stand-in/requests``, and ``/stand-in/asked/N`` when N have come."""
        _, _, what, *count = served.path.split("/")
        if what == "asked" and count and count[0].isdigit():
            try:
                await asyncio.to_thread(self.wait, int(count[0]), 30.0)
            except TimeoutError as error:
                await self._send(served, 504, json.dumps({"error": str(error)}).encode(), {}, send)
                return
        elif what != "requests":
            await self._send(served, 404, b"{}", {}, send)
            return
        await self._send(served, 200, json.dumps([vars(one) for one in self.requests]).encode(), {}, send)


async def _content(receive: Receive) -> bytes:
    content = bytearray()
    while True:
        message = await receive()
        content.extend(message.get("body", b""))
        if not message.get("more_body") or len(content) > _BODY_MAX:
            return bytes(content)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": NAME}


# -- faults of the endpoint ----------


def _rate_limit(seconds: float) -> Refused:
    wait = {"retry-after": f"{seconds:g}", "retry-after-ms": f"{seconds * 1000:g}"}
    limits = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": f"{seconds:g}s",
    }
    message = f"Rate limit reached for the stand-in on requests per min (RPM): Limit 60, Used 60, Requested 1. Try again in {seconds:g}s."
    return Refused(429, message, kind="requests", code="rate_limit_exceeded", headers=wait | limits)


def _quota(_: float) -> Refused:
    message = "You exceeded your current quota, please check your plan and billing details."
    return Refused(429, message, kind="insufficient_quota", code="insufficient_quota")


def _server_error(_: float) -> Refused:
    return Refused(500, "The server had an error while processing your request. Sorry about that!", kind="server_error")


def _overloaded(seconds: float) -> Refused:
    message = "The server is currently overloaded with other requests. Sorry about that!"
    return Refused(503, message, kind="server_error", code="server_is_overloaded", headers={"retry-after": f"{seconds:g}"})


_REFUSALS: dict[FaultKind, Callable[[float], Refused]] = {
    "rate_limit": _rate_limit,
    "quota": _quota,
    "server_error": _server_error,
    "overloaded": _overloaded,
}
