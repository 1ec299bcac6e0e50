"""docs/guides/openai-agents.md word for word, with a stand-in for the model's endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chargehand.testing.standin import ModelStandIn, calls, gives

from .blocks import written_files
from .generated import DOCS

PAGE = DOCS / "guides" / "openai-agents.md"
DECIDED = {"order": "A-1", "cents": 2100, "why": "late"}


@pytest.mark.slow
def test_the_guides_crew_is_supervised(tmp_path: Path) -> None:
    """The desk hands over too early and is told, the refunder wants to give too much and is told, and the refund is made once."""
    written_files(PAGE, tmp_path)
    over = calls(("transfer_to_refunder", {}))
    script = (
        over,
        calls(("charge_of", {"order": "A-1"})),
        over,
        gives({**DECIDED, "cents": 9900}),
        calls(("charge_of", {"order": "A-1"})),
        over,
        calls(("policy", {"reason": "late"})),
        calls(("refund", {"order": "A-1", "cents": 2100})),
        gives(DECIDED),
    )
    with ModelStandIn(*script) as server:
        environment = {
            **os.environ,
            "REFUND_MODEL": server.model,
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
    assert "handed over without looking up the charge" in str(server.requests[1].body["input"])
    assert "9900 is more than the 4200 that were charged" in str(server.requests[4].body["input"])
    assert len(server.requests) == len(script)
