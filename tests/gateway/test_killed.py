"""Replies that were lost, delivered, or nobody knows: clients and gateways that are really killed, and come back."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from tests.gateway.house import TOKEN, House, text

from chargehand.supervise.decisions import Answer, NotDone

pytestmark = [pytest.mark.slow]
MORE = """
[mcp.servers.workshop.tools.send]
approve = false
"""
CLIENT = Path(__file__).with_name("client.py")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a house in which `send`, which may not be repeated, needs no approval."""
    return House(tmp_path, MORE)


async def test_a_reply_lost_with_its_client_is_answered_from_the_record(house: House) -> None:
    """The client is killed while its call is made. It settles all the same; asked again within the window, the record answers."""
    hold = house.mark(".hold")
    command = [sys.executable, str(CLIENT), str(house.config), "send", "a"]
    client = subprocess.Popen(command, cwd=house.folder, env={**os.environ, "WORKSHOP_TOKEN": TOKEN})
    await house.asked("send a")
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    hold.unlink()
    async with house.client("--session", "s") as again:
        said = await again.call_tool("send", {"text": "a"})
    assert (text(said), said.is_error) == ("send a [redacted]", False)
    assert house.calls() == ["send a"]


async def test_a_reply_that_was_delivered_is_followed_by_a_new_call(house: House) -> None:
    """Also when gateways are killed in between: what the client said after the reply is on disk with its next call."""
    async with house.client("--session", "s") as client:
        await client.call_tool("send", {"text": "a"})
        await client.call_tool("send", {"text": "a"})
        await client.call_tool("look", {"text": "b"})
        await house.kill_gateways()
    async with house.client("--session", "s") as client:
        said = await client.call_tool("send", {"text": "a"})
    assert not said.is_error
    assert house.calls() == ["send a", "send a", "look b", "send a"]


@pytest.mark.parametrize(("word", "calls"), [("same", 1), ("new", 2)])
async def test_a_call_that_cannot_be_told_apart_is_asked_about(house: House, word: str, calls: int) -> None:
    """The gateway is killed after the answer was written and before the client said anything more. The tool may not be repeated: a person says."""
    async with house.client("--session", "s") as client:
        await client.call_tool("send", {"text": "a"})
        await house.kill_gateways()
    async with house.client("--session", "s") as client:
        asked = await client.call_tool("send", {"text": "a"})
        assert asked.is_error
        assert "earlier one again" in text(asked)
        await house.decide(Answer(word))
        await house.asked("send a", calls)
        said = await client.call_tool("send", {"text": "a"})
    assert (text(said), said.is_error) == ("send a [redacted]", False)
    assert house.calls() == ["send a"] * calls


async def test_a_repeatable_call_that_cannot_be_told_apart_is_made_again(house: House) -> None:
    """Nobody is asked about a tool that says that calling it twice does no more than once."""
    async with house.client("--session", "s") as client:
        await client.call_tool("put", {"text": "a"})
        await house.kill_gateways()
    async with house.client("--session", "s") as client:
        said = await client.call_tool("put", {"text": "a"})
    assert not said.is_error
    assert house.calls() == ["put a", "put a"]


async def test_a_gateway_killed_in_a_call_sends_it_again_under_the_same_key(house: House) -> None:
    """The server takes a key: the next gateway sends the call again with it, and the client that asks again joins it."""
    hold = house.mark(".hold")
    async with house.client("--session", "s") as client:
        call = asyncio.ensure_future(client.call_tool("charge", {"text": "a"}))
        await _begun(house, 1)
        await house.kill_gateways()
        with pytest.raises(MCPError):
            await call
    hold.unlink()
    async with house.client("--session", "s") as client:
        said = await client.call_tool("charge", {"text": "a"})
    assert not said.is_error
    first, second = house.calls()
    assert first == second
    assert len(first.split()[2]) == 40


async def test_a_gateway_killed_in_a_final_call_leaves_a_doubt(house: House) -> None:
    """Without a key it may have happened: it is not sent again, and the client is told who is waited for, then what came of it."""
    hold = house.mark(".hold")
    async with house.client("--session", "s") as client:
        call = asyncio.ensure_future(client.call_tool("send", {"text": "a"}))
        await _begun(house, 1)
        await house.kill_gateways()
        with pytest.raises(MCPError):
            await call
    hold.unlink()
    async with house.client("--session", "s") as client:
        (entry,) = await house.waiting()
        assert entry.kind == "doubt"
        told = await client.call_tool("send", {"text": "a"})
        assert entry.id in text(told)
        await house.decide(NotDone())
        said = await client.call_tool("send", {"text": "a"})
    assert said.is_error
    assert house.calls() == ["send a"]


async def _begun(house: House, calls: int) -> None:
    while len(house.calls()) < calls:
        await asyncio.sleep(0.02)
