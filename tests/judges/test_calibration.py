"""What is measured of a judge agrees with counts made by hand, and says when it proves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chargehand import NotDone, judge
from chargehand.supervise.calibration import Example, Heard, Outcome, Share, err_together, hear, together
from chargehand.supervise.judges import JudgeDefinition

from .scripted import ScriptedJudge, opinion


def definition(*opinions: Any, name: str = "judge") -> JudgeDefinition:
    """Return a judge that has these opinions one after the other."""
    (voter,) = judge("claude", "Is it right?", through=ScriptedJudge(*opinions), name=name).voters
    assert isinstance(voter, JudgeDefinition)
    return voter


def heard(*said: tuple[Outcome, bool]) -> Heard:
    """Return a judge that said these things about outputs that are right or not."""
    return Heard(definition(opinion("pass")), [Example("x", right) for _, right in said], [outcome for outcome, _ in said])


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (8, 10, 0.4902, 0.9433), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_intervals_are_wilsons(hits: int, of: int, low: float, high: float) -> None:
    """The figures of the published formula, worked out by hand."""
    assert Share(hits, of).interval == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("both", "first", "second", "neither", "phi"),
    [(5, 0, 0, 5, 1.0), (0, 5, 5, 0, -1.0), (2, 2, 2, 2, 0.0), (4, 1, 1, 4, 0.6), (0, 0, 5, 5, None), (0, 0, 0, 0, None)],
)
def test_errors_correlate_by_phi(both: int, first: int, second: int, neither: int, phi: float | None) -> None:
    """Of a table of two by two; nothing is told where one of them never or always errs."""
    pairs = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    found = together(pairs)
    assert (found.phi is None) == (phi is None)
    if phi is not None:
        assert found.phi == pytest.approx(phi)
        assert found.interval[0] <= phi <= found.interval[1]


def test_what_counts() -> None:
    """Recall counts wrong outputs that are failed, false alarms right ones; an abstention is no error; what was lost is not counted."""
    one = heard(("fail", False), ("pass", False), ("abstain", False), ("fail", True), ("pass", True), ("lost", True), ("lost", False))
    assert one.rejected(right=False) == Share(1, 3)
    assert one.rejected(right=True) == Share(1, 2)
    assert one.errors() == [False, True, None, True, False, None, None]
    assert (one.count("abstain"), one.count("lost")) == (1, 2)


@pytest.mark.parametrize(("times", "shows"), [(3, False), (30, True)])
def test_a_few_examples_prove_nothing(times: int, shows: bool) -> None:
    """A judge that is always right has not shown it on three of each, and has on thirty."""
    assert heard(*[("fail", False), ("pass", True)] * times).tells_apart is shows


def test_a_judge_that_guesses_is_not_told_apart() -> None:
    """Whoever rejects half of everything tells nothing apart, however many examples there are."""
    assert not heard(*[("fail", False), ("pass", False), ("fail", True), ("pass", True)] * 100).tells_apart


def test_errors_in_common_are_counted_where_both_judged() -> None:
    """What one of two judges abstained from says nothing about both."""
    one = heard(("pass", False), ("pass", True), ("abstain", True), ("fail", True))
    other = heard(("pass", False), ("pass", True), ("fail", True), ("pass", True))
    assert (err_together(one, other).of, err_together(one, other).phi) == (3, pytest.approx(0.5))


async def test_a_judge_is_heard() -> None:
    """Each example is asked about once; a quote that is not there abstains, and who cannot be reached is lost."""
    found = await hear(
        definition(
            opinion("fail", "the bolt is blue"), opinion("pass", "what is not there"), NotDone("busy"), opinion("pass", "the bolt is blue")
        ),
        [Example("the bolt is blue", right) for right in (False, False, True, True)],
        at_once=1,
    )
    assert (list(found.said), found.input_tokens, found.output_tokens) == (["fail", "abstain", "lost", "pass"], 300, 30)


JUDGES = '''
"""A stand-in for a judge's model: it fails what speaks of dollars."""
from chargehand import Answered, judge, quorum


class StandIn:
    async def asks(self, prompt, schema):
        text = prompt.rpartition("output>")[0].rpartition("<")[0]
        output = text.strip().splitlines()[-1]
        return Answered({"outcome": "fail" if "dollar" in output else "pass", "quotes": [output]}, 50, 5)


euros = judge("claude", "Is the price in euros?", through=StandIn(), name="euros")
panel = quorum(2, of=[euros, judge("gemini", "Is it in euros?", through=StandIn(), name="second")])
'''


def checked(folder: Path, lines: list[dict[str, Any]], *more: str) -> subprocess.CompletedProcess[str]:
    """Run the command on these lines."""
    (folder / "judges.py").write_text(JUDGES)
    (folder / "labelled.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [str(Path(sys.executable).with_name("chargehand")), "judge-check", "labelled.jsonl", *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


WRONG = {"output": "the bolt costs two dollars", "right": False}
RIGHT = {"output": "the bolt costs two euros", "right": True}


def test_the_command_measures(tmp_path: Path) -> None:
    """Figures with intervals as JSON, for each judge of a panel and for each two of them."""
    said = checked(tmp_path, [WRONG, RIGHT] * 40, "judges:panel", "--json")
    assert said.returncode == 0, said.stderr
    form = json.loads(said.stdout)
    assert [(one["judge"], one["recall"]["hits"], one["false_alarms"]["hits"], one["tells_apart"]) for one in form["judges"]] == [
        ("euros", 40, 0, True),
        ("second", 40, 0, True),
    ]
    assert (form["examples"], form["judges"][0]["recall"]["of"], form["judges"][0]["input_tokens"]) == (80, 40, 4000)
    assert form["pairs"] == [{"judges": ["euros", "second"], "phi": None, "of": 80, "interval": [-1.0, 1.0]}]


def test_the_command_says_that_two_examples_prove_little(tmp_path: Path) -> None:
    """In words, beside the table."""
    said = checked(tmp_path, [WRONG, RIGHT], "judges:euros")
    assert said.returncode == 0, said.stderr
    assert "1 of 1 (21% to 100%)" in said.stdout
    assert "do not show that euros rejects wrong outputs more often" in said.stdout
    assert "prove little: take at least 30 of each" in said.stdout


@pytest.mark.parametrize(
    ("lines", "told"),
    [([], "has no examples"), ([RIGHT, {"output": "x"}], "Line 2 of labelled.jsonl"), ([{**RIGHT, "inputs": 3}], "inputs is no object")],
)
def test_bad_lines_are_named(tmp_path: Path, lines: list[dict[str, Any]], told: str) -> None:
    """What is no labelled output is refused with its line, before anybody is asked."""
    said = checked(tmp_path, lines, "judges:euros")
    assert (said.returncode, told in said.stderr) == (2, True), said.stderr
