"""docs/guides/pydantic-ai.md word for word, with a stand-in for the model's endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chargehand.testing.standin import ModelStandIn, calls

from .blocks import written_files
from .generated import DOCS

PAGE = DOCS / "guides" / "pydantic-ai.md"
DECIDED = {"order": "A-1", "cents": 2100, "why": "late"}


@pytest.mark.slow
def test_the_guides_agent_is_supervised(tmp_path: Path) -> None:
    """It reads the charge and the policy, wants to give too much, is told, and refunds once; what the first attempt sent is kept or undone."""
    written_files(PAGE, tmp_path)
    script = (
        calls(("charge_of", {"order": "A-1"}), ("policy", {"reason": "late"})),
        calls(("final_result", {**DECIDED, "cents": 9900})),
        calls(("refund", {"order": "A-1", "cents": 2100})),
        calls(("final_result", DECIDED)),
    )
    with ModelStandIn(*script) as server:
        environment = {
            **os.environ,
            "REFUND_MODEL": f"openai-chat:{server.model}",
            "OPENAI_BASE_URL": server.base_url,
            "OPENAI_API_KEY": server.api_key,
            "CHARGEHAND_JOURNAL": "work.db",
        }
        command = [str(Path(sys.executable).with_name("chargehand")), "run", "refunds:handle", "--id", "refund-A-1", "--json"]
        asked = ["--input", json.dumps({"request": {"order": "A-1", "reason": "late"}})]
        done = subprocess.run([*command, *asked], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["value"] == DECIDED
    assert done.stderr.count("refunded 2100") == 1
    assert "9900 is more than the 4200 that were charged" in str(server.requests[2].body["messages"])
