"""docs/guides/judges.md word for word, with stand-ins for the three models' endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chargehand.testing.standin import ModelScript, ModelStandIn, calls, says

from .blocks import written_files
from .generated import DOCS

PAGE = DOCS / "guides" / "judges.md"
GOOD = "We are sorry, and look into your order."
BAD = "We are sorry. You get your money back on Friday."
FAILS = {"outcome": "fail", "reasons": ["It promises money."], "quotes": ["money back on Friday"]}
PASSES = {"outcome": "pass", "reasons": [], "quotes": ["look into your order"]}
MODELS = WRITER, *JUDGES = "stand-in", "stand-in-first", "stand-in-second"
OPINIONS = tuple(
    calls(("final_result", opinion), model=model, user=quoted, times=None)
    for model in JUDGES
    for opinion, quoted in ((FAILS, "money back on Friday"), (PASSES, "look into your order"))
)


def command(server: ModelStandIn, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as the guide does; all three models are stand-ins at one endpoint."""
    environment = {
        **os.environ,
        "WRITER": "openai-chat:stand-in",
        "FIRST_JUDGE": "openai-chat:stand-in-first",
        "SECOND_JUDGE": "openai-chat:stand-in-second",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": server.api_key,
        "CHARGEHAND_JOURNAL": "work.db",
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("chargehand")), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_the_guides_letter_is_judged(tmp_path: Path) -> None:
    """The first letter promises money; a judge quotes that, the writer is told, and the second letter passes."""
    written_files(PAGE, tmp_path)
    with ModelStandIn(ModelScript(replies=(says(BAD, model=WRITER), says(GOOD, model=WRITER), *OPINIONS), models=MODELS)) as server:
        done = command(server, tmp_path, "run", "letters:reply", "--id", "letter", "--input", json.dumps("My parcel is late."), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["value"] == GOOD
        shown = command(server, tmp_path, "show", "letter")
    assert "independent votes" in shown.stdout


@pytest.mark.slow
def test_the_guides_judges_are_measured(tmp_path: Path) -> None:
    """Both judges are asked about both letters, and two examples are said to prove nothing."""
    written_files(PAGE, tmp_path)
    with ModelStandIn(ModelScript(replies=OPINIONS, models=MODELS)) as server:
        said = command(server, tmp_path, "judge-check", "labelled.jsonl", "letters:panel", "--at-once", "1")
    assert said.returncode == 0, said.stderr
    assert "prove little" in said.stdout
    assert "first and second err together" in said.stdout
