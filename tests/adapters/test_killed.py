"""A worker is killed in the middle of an agent's conversation with a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chargehand.testing.standin import ModelStandIn, Reply, calls, fails, gives, says

pytestmark = [pytest.mark.slow]
CREW = Path(__file__).with_name("crew.py")


def lookup(n: int) -> Reply:
    """Return the n-th look-up of a price."""
    return calls(("price", {"sku": f"M{n}"}))


CONVERSATIONS: dict[str, tuple[list[Reply], Reply, int]] = {
    "pydantic_ai": ([lookup(n) for n in range(6)], calls(("final_result", {"response": 90})), 6),
    "openai_agents": ([calls(("transfer_to_second", {})), *(lookup(n) for n in range(5))], gives({"response": 75}), 5),
    "langgraph": ([lookup(n) for n in range(6)], says("90"), 6),
}
"""By framework: six answers before the kill, the seventh, and how many prices were looked up in them."""


@pytest.mark.parametrize("framework", CONVERSATIONS)
async def test_an_agent_killed_in_its_seventh_request_pays_for_none_twice(tmp_path: Path, framework: str) -> None:
    """SIGKILL while the seventh answer is awaited. Another process makes that request again and no other; no tool is asked twice."""
    before, last, prices = CONVERSATIONS[framework]
    async with ModelStandIn(*before, fails("hang", nth=7), last, api_key="sk-not-to-be-kept") as server:
        environment = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.api_key}
        command = [sys.executable, str(CREW), framework]
        first = subprocess.Popen(command, cwd=tmp_path, env=environment)
        await server.asked(7, within=60)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        second = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert second.stdout == f"{15 * prices}\n", second.stderr
    bodies = [served.body for served in server.requests]
    assert len(bodies) == 8
    assert bodies[7] == bodies[6]
    assert all(bodies[n] != bodies[n + 1] for n in range(6))
    assert (tmp_path / "asked").read_text().split() == [f"M{n}" for n in range(prices)]
    assert server.api_key.encode() not in (tmp_path / "work.db").read_bytes()
