"""A public MCP server behind the gateway, by the file of the guide."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import get_default_environment
from tests.gateway.house import House, text

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "mcp.md"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("mcp_server_git") is None, reason="mcp-server-git is not installed"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


async def test_the_guides_gateway_before_a_git_server(tmp_path: Path) -> None:
    """The guide's file serves a repository: status is read, adding needs nobody, a checkout waits for a person, a hidden tool is not there."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (tmp_path / "a").write_text("1")
    for command in (["init", "-q", "-b", "trunk"], ["add", "a"], ["commit", "-qm", "one"], ["branch", "other"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    (found,) = re.findall(r'```toml title="gateway.toml"\n(.*?)```', GUIDE.read_text(), re.DOTALL)
    house = House(tmp_path)
    house.journal = tmp_path / "tools.db"
    house.config.write_text(found.replace('"python"', f"'{sys.executable}'"))
    here = {"repo_path": str(tmp_path)}
    async with house.client("--session", "desktop") as client:
        assert "git_show" not in {tool.name for tool in (await client.list_tools()).tools}
        assert "On branch trunk" in text(await client.call_tool("git_status", here))
        (tmp_path / "a").write_text("2")
        assert not (await client.call_tool("git_add", {**here, "files": ["a"]})).is_error
        told = await client.call_tool("git_checkout", {**here, "branch_name": "other"})
        assert "chargehand approve desktop/" in text(told)
        await house.decide()
        done = await client.call_tool("git_checkout", {**here, "branch_name": "other"})
        assert not done.is_error, text(done)
        assert "On branch other" in text(await client.call_tool("git_status", here))


async def test_what_the_client_would_see_without_the_gateway(tmp_path: Path) -> None:
    """The same server alone answers the same: the gateway changes no result."""
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", "-b", "trunk", str(repository)], check=True)
    (repository / "new").write_text("1")
    arguments = ["-m", "mcp_server_git", "--repository", str(repository)]
    server = StdioServerParameters(command=sys.executable, args=arguments, env=get_default_environment())
    house = House(tmp_path)
    house.config.write_text(f"[mcp.servers.git]\ncommand = '{sys.executable}'\nargs = {arguments}\n")
    here = {"repo_path": str(repository)}
    async with Client(server, mode="legacy") as alone, house.client() as behind:
        first, second = await alone.call_tool("git_status", here), await behind.call_tool("git_status", here)
    assert "new" in text(first)
    assert first.content == second.content
    assert first.structured_content == second.structured_content
