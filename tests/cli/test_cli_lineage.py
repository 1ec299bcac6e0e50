"""`lineage`: what went where, as a person and a program read it."""

from __future__ import annotations

import stat
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from .conftest import FLOWS, Command

CODE = f"{FLOWS}/passing.py:passing"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def done(cli: Command) -> None:
    """Leave a run that has passed a value on, with markup and terminal escapes in it."""
    assert cli("run", CODE, "--input", '"M8-<BOLT>\\u001b[31m"', "--id", "p-1").status == 0


@pytest.mark.usefixtures("done")
def test_all_edges(cli: Command) -> None:
    """Each call with what it was given, how far that is proven, and where."""
    said = cli("lineage", "p-1", "--code", CODE)
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines() == [
        "!input  (input)",
        "find  (read)",
        "  exact    !input  in sku",
        "order  (effect)",
        "  part     find  in supplier",
        "!result  (result)",
        "  exact    order  in result",
    ]


@pytest.mark.usefixtures("done")
def test_from_one_call(cli: Command) -> None:
    """What led to a call, what it reached, and how many effects are among that; in JSON with all edges beside."""
    said = cli("lineage", "p-1", "find", "--code", CODE)
    assert said.out.splitlines() == [
        "led to it: 1 call",
        "  exact    !input  (input)",
        "it reached: 2 calls, 1 effect",
        "  part     order  (effect)",
        "  part     !result  (result)",
    ]
    form = cli("lineage", "p-1", "find", "--code", CODE, "--json").json
    assert (form["replayed"], form["forward"], form["backward"]) == (True, {"order": "part", "!result": "part"}, {"!input": "exact"})
    assert {"source": "find", "target": "order", "strength": "part", "at": ["supplier"]} in form["edges"]


@pytest.mark.usefixtures("done")
def test_without_the_code(cli: Command) -> None:
    """It says what is not known, and how to give the code."""
    said = cli("lineage", "p-1")
    assert said.status == 0
    assert "is not known without the code" in said.err
    assert "--code" in said.err


@pytest.mark.usefixtures("done")
def test_a_call_that_is_not_there(cli: Command) -> None:
    """The near one is named."""
    said = cli("lineage", "p-1", "fond", "--code", CODE)
    assert (said.status, said.out) == (2, "")
    assert "Did you mean 'find'?" in said.err


@pytest.mark.usefixtures("done")
def test_a_drawing(cli: Command) -> None:
    """It is well-formed whatever the values are, has a dot for each call and an arc for each edge, and is the owner's alone."""
    assert cli("lineage", "p-1", "find", "--code", CODE, "--svg", "p.svg").status == 0
    drawing = ET.parse("p.svg").getroot()
    assert len(drawing.findall(f"{SVG}circle")) == 4
    assert len([path for path in drawing.findall(f"{SVG}path") if path.get("d", "").startswith("M") and "C" in path.get("d", "")]) == 3
    assert stat.S_IMODE(Path("p.svg").stat().st_mode) == 0o600
    first = Path("p.svg").read_bytes()
    assert cli("lineage", "p-1", "find", "--code", CODE, "--svg", "p.svg").status == 0
    assert Path("p.svg").read_bytes() == first


@pytest.mark.usefixtures("done")
def test_a_drawing_that_cannot_be_written(cli: Command) -> None:
    """The option and the place are named."""
    said = cli("lineage", "p-1", "--code", CODE, "--svg", "no/such/place.svg")
    assert said.status == 2
    assert "--svg cannot be written: 'no/such/place.svg'" in said.err


@pytest.mark.usefixtures("done")
def test_an_erased_run(cli: Command) -> None:
    """Of a run whose payloads are gone nothing can be told."""
    assert cli("erase", "p-1", "--all", "--yes").status == 0
    said = cli("lineage", "p-1", "--code", CODE)
    assert said.status == 2
    assert "were erased" in said.err
