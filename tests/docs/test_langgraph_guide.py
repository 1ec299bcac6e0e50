"""docs/guides/langgraph.md word for word, with a stand-in for the model's endpoint and a person who answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chargehand.testing.standin import ModelStandIn, gives

from .blocks import written_files
from .generated import DOCS

PAGE = DOCS / "guides" / "langgraph.md"


@pytest.mark.slow
def test_the_guides_graph_is_supervised(tmp_path: Path) -> None:
    """It wants to give too much and is told; each attempt's interrupt is answered from the terminal; one refund stands."""
    written_files(PAGE, tmp_path)
    with ModelStandIn(gives({"cents": 9900, "why": "late"}), gives({"cents": 2100, "why": "late"})) as server:
        environment = {
            **os.environ,
            "REFUND_MODEL": server.model,
            "OPENAI_BASE_URL": server.base_url,
            "OPENAI_API_KEY": server.api_key,
            "CHARGEHAND_JOURNAL": "work.db",
        }

        def command(*words: str) -> subprocess.CompletedProcess[str]:
            chargehand = str(Path(sys.executable).with_name("chargehand"))
            return subprocess.run([chargehand, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

        asked = ["--input", json.dumps({"request": {"order": "A-1", "reason": "late"}})]
        for said in ("Half of it.", "Half of it comes back."):
            first = command("run", "refunds:handle", "--id", "refund-A-1", "--json", *asked)
            assert first.returncode == 3, first.stderr
            (entry,) = json.loads(command("inbox", "--json").stdout)["waiting"]
            answer = command("answer", entry["id"], json.dumps(said))
            assert answer.returncode == 0, answer.stderr
        done = command("run", "refunds:handle", "--id", "refund-A-1", "--json", *asked)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["value"] == {"order": "A-1", "cents": 2100, "why": "Half of it comes back."}
    assert "9900 is more than the 4200 that were charged" in str(server.requests[1].body["messages"])
    assert done.stderr.count("refunded 2100") == 1
    assert len(server.requests) == 2
