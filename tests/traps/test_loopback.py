"""Against real HTTP on loopback: places are held, keys are sent, status codes are understood."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chargehand import AtOnce, Resource, Supervisor, agent, effect, gather, injected, read, sleep, workflow


class Service:
    """A small HTTP service: it counts who is in it at once, and answers 429 above `room`."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.inside = self.most = 0
        self.statuses: list[int] = []
        self.charges: dict[str, int] = {}
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.inside += 1
        self.most = max(self.most, self.inside)
        status = 429 if self.inside > self.room else 200
        await asyncio.sleep(0.002)
        self.inside -= 1
        self.statuses.append(status)
        if request.startswith("POST"):
            key = request.partition("idempotency-key: ")[2].splitlines()[0]
            self.charges.setdefault(key, len(self.charges) + 1)
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 2\r\n\r\nok" % status)
        await writer.drain()
        writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A running service with room for ten."""
    made = Service(10)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made
        server.close()


class Answered(Exception):
    """The service answered with a status that is no success."""

    def __init__(self, status_code: int) -> None:
        super().__init__(str(status_code))
        self.status_code = status_code


class Client:
    """A small HTTP client, one connection per request."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, method: str, path: str, key: str = "") -> str:
        """Make one request; raise what is no success."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\nidempotency-key: {key}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split()[1])
            if status != 200:
                raise Answered(status)
            return (await reader.readexactly(2)).decode()
        finally:
            writer.close()


async def nothing(receipt: str) -> None: ...


@read(at_once=AtOnce(10))
async def fetch(number: int, client: Client = injected()) -> str:
    return await client.ask("GET", f"/item/{number}")


@effect(undo=nothing, at_once=AtOnce(10))
async def charge(number: int, client: Client = injected(), idempotency_key: str = injected()) -> str:
    return await client.ask("POST", "/charge", idempotency_key)


@workflow
async def fetches(number: int) -> str:
    return await fetch(number)


@workflow
async def charges(number: int) -> str:
    return await charge(number)


@pytest.mark.parametrize("called", [fetches, charges])
async def test_two_hundred_runs_ten_at_once(service: Service, called: Any) -> None:
    """Under AtOnce(10) a service that refuses the eleventh concurrent call never has to; every charge has its own key."""
    client = Resource(Client, lambda: Client(service.port))
    async with Supervisor("memory:", [called], resources=[client]) as supervisor:
        runs = await supervisor.start_many([(called(number), f"r{number}") for number in range(200)])
        said = await asyncio.gather(*[run.result(60) for run in runs])
    assert said == ["ok"] * 200
    assert set(service.statuses) == {200}
    assert service.most == 10
    assert len(service.charges) == (200 if called is charges else 0)


@read
async def fetch_freely(number: int, client: Client = injected()) -> str:
    return await client.ask("GET", f"/item/{number}")


@effect(undo=nothing)
async def charge_freely(number: int, client: Client = injected(), idempotency_key: str = injected()) -> str:
    return await client.ask("POST", "/charge", idempotency_key)


@agent(role="Fetches two things and pays for them.", uses=[fetch_freely, charge_freely])
async def buyer(number: int, client: Client = injected()) -> str:
    async def fetched(thing: int) -> str:
        return await fetch_freely(thing)

    async def charged() -> str:
        return await charge_freely(number)

    return (await asyncio.gather(fetched(number), fetched(-number - 1), charged()))[0]


@workflow
async def buys(number: int) -> str:
    (said, *_) = await gather(buyer(number), fetch_freely(number), charge_freely(-number - 1))
    return said


async def test_a_resource_is_spared_whoever_takes_it(service: Service) -> None:
    """Under a resource of ten places no mixture of agents, reads and effects ever has it eleven times."""
    client = Resource(Client, lambda: Client(service.port), at_once=AtOnce(10))
    async with Supervisor("memory:", [buys], resources=[client]) as supervisor:
        runs = await supervisor.start_many([(buys(number), f"r{number}") for number in range(40)])
        assert await asyncio.gather(*[run.result(60) for run in runs]) == ["ok"] * 40
    assert set(service.statuses) == {200}
    assert 5 <= service.most <= 10
    assert len(service.charges) == 80


@workflow(at_once=AtOnce(10))
async def fetches_twice(number: int) -> str:
    first = await fetch_freely(number)
    await sleep(0.02)
    return first + await fetch_freely(-number)


async def test_so_many_runs_spare_a_service(service: Service, tmp_path: Path) -> None:
    """Under AtOnce(10) on their workflow, sixty runs that also sleep never ask more than ten at once."""
    client = Resource(Client, lambda: Client(service.port))
    async with Supervisor(str(tmp_path / "journal.db"), [fetches_twice], resources=[client]) as supervisor:
        runs = await supervisor.start_many([(fetches_twice(number), f"r{number}") for number in range(60)])
        assert await asyncio.gather(*[run.result(60) for run in runs]) == ["okok"] * 60
    assert set(service.statuses) == {200}
    assert 5 <= service.most <= 10


async def test_without_places_it_would_have_refused(service: Service) -> None:
    """The same load without AtOnce is refused: the service does count."""
    client = Client(service.port)
    answers = await asyncio.gather(*[client.ask("GET", "/") for _ in range(60)], return_exceptions=True)
    assert any(isinstance(answer, Answered) and answer.status_code == 429 for answer in answers)
