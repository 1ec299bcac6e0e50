"""The table [mcp], the kind of each tool, and the templates of undos."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from chargehand.cli.main import main
from chargehand.errors import BadConfiguration, NotDone
from chargehand.gateway.settings import GatewaySettings, ToolTable, UndoTable, gateway_settings
from chargehand.gateway.tools import content_of, filled_in, kind_of
from chargehand.gateway.upstream import Scrub

FILE = Path("/srv/gateway.toml")


def read(document: dict[str, Any], variables: dict[str, str] | None = None, environment: str = "development") -> GatewaySettings:
    """Return the settings of a table."""
    return gateway_settings(document, FILE, environment, variables or {})


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "has no table [mcp.servers.NAME]"),
        ({"servers": {"a": {"command": "x", "tools": {"t": {"aprove": True}}}}}, "unknown key 'aprove'. Did you mean 'approve'?"),
        ({"servers": {"a": {"command": "x", "url": "http://h"}}}, "either command = or url ="),
        ({"servers": {"a": {"url": "ftp://h"}}}, "http:// or https://"),
        ({"servers": {"a": {"command": "x", "tools": {"t": {"kind": "effect"}}}}}, "needs undo"),
        ({"servers": {"a": {"command": "x", "tools": {"t": {"kind": "read", "approve": True}}}}}, "a read changes nothing"),
        ({"servers": {"a": {"command": "x", "env": {"T": "${NOPE}"}}}}, "the variable NOPE, which is not set"),
        ({"servers": {"a": {"command": "x", "environment": ["production"]}}}, "no server of [mcp.servers] is for"),
        ({"servers": {"a": {"command": "x", "tools": {"t": {"usd": "much"}}}}}, "is no amount"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_key(document: dict[str, Any], told: str) -> None:
    """A misspelt key would be no approval: it is refused with the near name, and so is what contradicts itself."""
    with pytest.raises(BadConfiguration) as caught:
        read(document)
    assert told in caught.value.message


def test_secrets_come_from_variables_and_are_shown_nowhere() -> None:
    """Values of env and headers are put in from variables, are in no repr, and are taken out of texts and results."""
    given = read(
        {"servers": {"a": {"url": "https://u:pass-word@h/?k=key-of-mine", "headers": {"Authorization": "Bearer ${T}"}}}}, {"T": "tok-12345"}
    )
    (server,) = given.servers
    assert server.headers == {"Authorization": "Bearer tok-12345"}
    assert "tok-12345" not in repr(server)
    scrub = Scrub(server.secrets)
    assert scrub.form({"a": ["x tok-12345 y", 7, None], "key-of-mine": "u:pass-word"}) == {
        "a": ["x [redacted] y", 7, None], "[redacted]": "[redacted]",
    }  # fmt: skip


def test_a_servers_folder_is_beside_the_file() -> None:
    """A relative cwd starts at the file's folder."""
    (server,) = read({"servers": {"a": {"command": "x", "cwd": "work"}}}).servers
    assert server.cwd == "/srv/work"


@pytest.mark.parametrize(
    ("hints", "table", "trust", "kind"),
    [
        (None, {}, True, ("final", True, False)),
        ({"read_only_hint": True}, {}, True, ("read", False, True)),
        ({"read_only_hint": True}, {}, False, ("final", True, False)),
        ({"read_only_hint": True}, {"kind": "final"}, True, ("final", True, False)),
        ({"destructive_hint": False}, {}, True, ("final", False, False)),
        ({"destructive_hint": False}, {"approve": True}, True, ("final", True, False)),
        ({"destructive_hint": True, "idempotent_hint": True}, {}, True, ("final", True, True)),
        ({"idempotent_hint": True}, {"idempotent": False}, True, ("final", True, False)),
        (None, {"undo": UndoTable(tool="u")}, True, ("effect", False, False)),
        (None, {"idempotency_argument": "key"}, True, ("final", True, True)),
    ],
)
def test_annotations_give_the_kind_and_the_file_has_the_last_word(
    hints: dict[str, Any] | None, table: dict[str, Any], trust: bool, kind: tuple[str, bool, bool]
) -> None:
    """Kind, whether a person is asked, whether it may be repeated; what nobody says anything about is final and asks."""
    annotations = None if hints is None else types.ToolAnnotations(**hints)
    listed = types.Tool(name="t", input_schema={"type": "object"}, annotations=annotations)
    assert kind_of(listed, ToolTable(**table), trust) == kind


def test_an_undo_takes_values_from_the_call_and_its_result() -> None:
    """Templates reach into arguments, structured content and text that is JSON; what is not there is no undo."""
    structured = {"result": {"content": [], "structuredContent": {"order": {"ids": [4, 5]}}}}
    known = {"arguments": {"who": "ann"}, "result": content_of(structured)}
    assert filled_in({"id": "$result.order.ids.1", "by": ["$arguments.who", "x"]}, known) == {"id": 5, "by": ["ann", "x"]}
    assert content_of({"result": {"content": [{"type": "text", "text": '{"n": 1}'}]}}) == {"n": 1}
    assert content_of({"result": {"content": [{"type": "text", "text": "plain"}]}}) == {"text": "plain"}
    with pytest.raises(NotDone, match=r"\$result.gone, which is not there"):
        filled_in("$result.gone", known)


def test_without_the_extra_the_command_says_which_one_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where mcp is not installed, `chargehand mcp` names the extra, and nothing else of the command line needs it."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("mcp", "mcp_types") or name.startswith("chargehand.gateway")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    monkeypatch.chdir(tmp_path)
    assert main(["mcp"]) == 2
    assert "pip install 'chargehand[mcp]'. [missing-extra]" in capsys.readouterr().err
