"""Against real HTTP on loopback: places are held, keys are sent, status codes are understood."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from chargehand import AtOnce, Resource, Supervisor, effect, injected, read, workflow


class Service:
    """A small HTTP service: it counts who is in it at once, and answers 429 above `room`."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.inside = self.most = 0
        self.statuses: list[int] = []
        self.charges: dict[str, int] = {}
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        while request := await reader.readline():
            headers: dict[str, str] = {}
            while (line := (await reader.readline()).strip()) != b"":
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            await reader.readexactly(int(headers.get("content-length", 0)))
            self.inside += 1
            self.most = max(self.most, self.inside)
            status = 429 if self.inside > self.room else 200
            await asyncio.sleep(0.002)
            self.inside -= 1
            self.statuses.append(status)
            if request.startswith(b"POST"):
                self.charges.setdefault(headers.get("idempotency-key", ""), len(self.charges) + 1)
            body = b"ok"
            writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
            await writer.drain()
        writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A running service with room for ten."""
    made = Service(10)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made
        server.close()


async def nothing(receipt: str) -> None: ...


@read(at_once=AtOnce(10))
async def fetch(number: int, client: httpx.AsyncClient = injected()) -> str:
    return (await client.get(f"/item/{number}")).raise_for_status().text


@effect(undo=nothing, at_once=AtOnce(10))
async def charge(number: int, client: httpx.AsyncClient = injected(), idempotency_key: str = injected()) -> str:
    answer = await client.post("/charge", headers={"Idempotency-Key": idempotency_key})
    return answer.raise_for_status().text


@workflow
async def fetches_and_charges(number: int) -> str:
    return await fetch(number) + await charge(number)


async def test_two_hundred_runs_ten_at_once(service: Service) -> None:
    """Under AtOnce(10) a service that refuses the eleventh concurrent call never has to; every charge has its own key."""

    def client() -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=service.url, limits=httpx.Limits(max_connections=100))

    async with Supervisor("memory:", [fetches_and_charges], resources=[Resource(httpx.AsyncClient, client)]) as supervisor:
        runs = await supervisor.start_many([(fetches_and_charges(number), f"r{number}") for number in range(200)])
        said = await asyncio.gather(*[run.result(60) for run in runs])
    assert said == ["okok"] * 200
    assert set(service.statuses) == {200}
    assert service.most <= 20  # ten reads and ten effects: each has its own places
    assert len(service.charges) == 200


async def test_without_places_it_would_have_refused(service: Service) -> None:
    """The same load without AtOnce is refused: the service does count."""
    async with httpx.AsyncClient(base_url=service.url, limits=httpx.Limits(max_connections=100)) as client:
        answers = await asyncio.gather(*[client.get("/") for _ in range(60)])
    assert 429 in {answer.status_code for answer in answers}
