"""One gateway over stdio before one server over stdio: what a client sees, and what is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult
from tests.gateway.house import TOKEN, House, text

from chargehand import Reject

pytestmark = [pytest.mark.slow]
BOTH = pytest.mark.parametrize("mode", ["legacy", "auto"])


@BOTH
async def test_reads_effects_and_what_needs_nobody_are_called_and_journaled(tmp_path: Path, mode: str) -> None:
    """A client sees the server's tools with their kind, calls them as ever, and each call is a read or an effect in the journal."""
    house = House(tmp_path)
    async with house.client("--session", "s", mode=mode) as client:
        kinds = {tool.name: (tool.meta or {})["chargehand/kind"] for tool in (await client.list_tools()).tools}
        assert kinds == {
            "look": "read", "note": "final", "put": "final", "charge": "final", "order": "effect", "cancel": "final", "fail": "final",
            "send": "final",
        }  # fmt: skip
        looked = await client.call_tool("look", {"text": "a"})
        noted = await client.call_tool("note", {"text": "b"})
    assert (text(looked), looked.structured_content, looked.is_error) == ("look a [redacted]", {"number": 1}, False)
    assert noted.meta is not None
    assert noted.meta["chargehand/run"] == "s"
    assert house.calls() == ["look a", "note b"]
    types = [event.type for event in await house.events("s")]
    assert [types.count(kind) for kind in ("call.done", "effect.intended", "effect.done", "effect.proposed")] == [1, 1, 1, 0]
    assert TOKEN.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("work.db*"))


async def test_an_unannotated_tool_waits_for_a_person_and_is_answered_when_asked_again(tmp_path: Path) -> None:
    """Nothing is sent before the approval; the client is told how to get it, and the same call again gets the answer, once made."""
    house = House(tmp_path)
    async with house.client() as client:
        told = await client.call_tool("send", {"text": "a"})
        again = await client.call_tool("send", {"text": "a"})
        assert told.is_error
        assert house.calls() == []
        entry = await house.decide()
        assert f"chargehand approve {entry.id}" in text(told)
        assert text(again) == text(told)
        await house.asked("send a")
        done = await client.call_tool("send", {"text": "a"})
    assert (text(done), done.is_error) == ("send a [redacted]", False)
    assert house.calls() == ["send a"]


async def test_a_denied_call_says_why_and_is_not_made(tmp_path: Path) -> None:
    """The reason of who said no reaches the client."""
    house = House(tmp_path)
    async with house.client() as client:
        await client.call_tool("send", {"text": "a"})
        await house.decide(Reject("not today"))
        said = await client.call_tool("send", {"text": "a"})
    assert said.is_error
    assert "not today" in text(said)
    assert house.calls() == []


@BOTH
async def test_a_client_that_can_ask_its_user_does(tmp_path: Path, mode: str) -> None:
    """Elicitation shows the exact call; yes makes it, no does not, and the journal says who vouched for the answer."""
    house = House(tmp_path)
    asked: list[str] = []

    async def user(ctx: Any, params: Any) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"approve": "a" in params.message.rpartition("{")[2], "reason": "b is wrong"})

    async with house.client("--session", "s", mode=mode, elicits=user) as client:
        yes = await client.call_tool("send", {"text": "a"})
        no = await client.call_tool("send", {"text": "xyz"})
    assert text(yes) == "send a [redacted]"
    assert "b is wrong" in text(no) or text(no) == "send xyz [redacted]"
    assert len(asked) == 2
    assert '"text": "xyz"' in asked[1]
    approved = [event for event in await house.events("s") if event.type == "effect.approved"]
    assert approved[0].payload["by"]["vouched_by"] == "mcp elicitation"


async def test_what_a_server_calls_an_error_is_an_error_result_and_has_not_happened(tmp_path: Path) -> None:
    """The client reads the server's own words; the effect did not happen."""
    house = House(tmp_path)
    async with house.client("--session", "s") as client:
        said = await client.call_tool("fail", {"text": "a"})
    assert (said.is_error, text(said)) == (True, "no such text")
    assert "effect.did_not_happen" in [event.type for event in await house.events("s")]


async def test_what_does_not_fit_the_schema_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    """No person is asked and nothing is sent; the refusal is in the journal. A tool that is not there is an error of the protocol."""
    house = House(tmp_path)
    async with house.client("--session", "s") as client:
        said = await client.call_tool("send", {"text": 7})
        with pytest.raises(MCPError, match="There is no tool 'sennd'"):
            await client.call_tool("sennd", {"text": "a"})
    assert said.is_error
    assert "7 is not of type 'string'" in text(said)
    assert house.calls() == []
    received = [event.payload["v"] for event in await house.events("s") if event.type == "signal.received"]
    assert received[0]["tool"] == "send"
    assert "7 is not" in received[0]["refused"]


async def test_a_cancelled_session_undoes_what_has_a_way_back(tmp_path: Path) -> None:
    """`order` is undone by `cancel` with the number that it gave."""
    house = House(tmp_path)
    async with house.client("--session", "s") as client:
        await client.call_tool("order", {"text": "bolts"})
        async with house.people() as people:
            await people.cancel("s", "wrong bolts")
            await people.wait_ended("s")
        assert house.calls() == ["order bolts", "cancel 1"]
        following = await client.call_tool("look", {"text": "a"})
    assert following.meta is not None
    assert following.meta["chargehand/run"] == "s.2"


async def test_a_server_that_dies_in_a_call_leaves_a_doubt_and_comes_back(tmp_path: Path) -> None:
    """The final call may have happened: it is not sent again, a person is asked, and the server is started anew for others."""
    house = House(tmp_path)
    async with house.client() as client:
        await client.call_tool("send", {"text": "a"})
        dying = house.mark(".die")
        await house.decide()
        while (await house.waiting())[0].kind != "doubt":
            pass
        dying.unlink()
        told = await client.call_tool("send", {"text": "a"})
        looked = await client.call_tool("look", {"text": "b"})
    assert "A person has to decide" in text(told)
    assert text(looked) == "look b [redacted]"
    assert house.calls() == ["send a", "look b"]
