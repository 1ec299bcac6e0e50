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
FILES = shutil.which("mcp-server-filesystem")

pytestmark = [pytest.mark.slow]
with_git = pytest.mark.skipif(
    importlib.util.find_spec("mcp_server_git") is None or shutil.which("git") is None, reason="mcp-server-git or git is not installed"
)
with_files = pytest.mark.skipif(
    FILES is None, reason="mcp-server-filesystem (npm: @modelcontextprotocol/server-filesystem) is not on the PATH"
)


@with_git
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


@with_git
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


@with_files
async def test_a_file_system_server_behind_the_gateway(tmp_path: Path) -> None:
    """Reading is a read; writing over a file, which the server calls destructive, waits for a person and is done once."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    house = House(tmp_path)
    house.config.write_text(f"journal = 'work.db'\n[mcp.servers.files]\ncommand = '{FILES}'\nargs = ['{folder}']\n")
    here = {"path": str(folder / "a.txt")}
    async with house.client() as client:
        kinds = {tool.name: (tool.meta or {})["chargehand/kind"] for tool in (await client.list_tools()).tools}
        assert (kinds["read_text_file"], kinds["write_file"]) == ("read", "final")
        assert "one" in text(await client.call_tool("read_text_file", here))
        told = await client.call_tool("write_file", {**here, "content": "two"})
        assert "chargehand approve" in text(told)
        assert (folder / "a.txt").read_text() == "one"
        await house.decide()
        done = await client.call_tool("write_file", {**here, "content": "two"})
        assert not done.is_error, text(done)
        assert (folder / "a.txt").read_text() == "two"
