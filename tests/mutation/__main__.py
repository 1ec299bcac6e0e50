"""``python -m tests.mutation [PATTERN …]``: make the mutants, let the tests judge them, and say which ones nobody noticed.

mutmut makes the mutants of functions and switches between them at run time; the tables of the core, which it leaves alone,
lose one entry at a time. mutmut's own runner collects the tests anew for every mutant, which takes ten times as long as
judging it. So the tests are collected once here, and each mutant is judged in a fork: the tests that run the mutated
function, those that found its siblings first, then the quick ones, until one fails.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from mutmut.__main__ import create_mutants
from mutmut.configuration import config
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, setup_source_paths
from tests.mutation.judging import Judge
from tests.mutation.survivors import changed_lines, is_wording, listed

FOLDER = Path("mutants")
RESULTS = FOLDER / "results.json"


def made(patterns: list[str]) -> dict[str, str]:
    """Make the mutants of all chosen modules; return those that fit a pattern, each with its file."""
    FOLDER.mkdir(exist_ok=True)
    shutil.rmtree(FOLDER / "tests", ignore_errors=True)
    for path in FOLDER.glob("src/**/*.py"):
        if path.stat().st_size == 0:
            path.unlink()  # whoever made it was interrupted
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(1)
    setup_source_paths()
    names = {
        name: str(meta.relative_to(FOLDER)).removesuffix(".meta")
        for meta in sorted(FOLDER.glob("src/**/*.meta"))
        for name in json.loads(meta.read_text("utf-8"))["exit_code_by_key"]
    }
    return {name: path for name, path in names.items() if any(fnmatch.fnmatch(name, one) for one in patterns)}


def reported(names: dict[str, str], results: dict[str, str]) -> int:
    """Print every survivor that is not listed, with its change. Returns how many there are."""
    known, found, wording = listed(), 0, 0
    for name in sorted(name for name, result in results.items() if result in ("survived", "no tests")):
        change = changed_lines(get_diff_for_mutant(name, path=names[name])) if name in names else f"without {name.partition('[')[2]}"
        if is_wording(change):
            wording += 1
        elif (name.split("__mutmut")[0].split("[")[0], change) not in known:
            found += 1
            print(f"{results[name]}: {name}\n    {change}")
    ends = list(results.values())
    said = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
    print(f"{len(ends)} mutants: {said} ({wording} of them the wording of a message, {found} not listed)")
    return found


def _write(path: Path, results: dict[str, str]) -> None:
    path.write_text(json.dumps(results, indent=0, sort_keys=True), "utf-8")


def main() -> int:
    """Judge the chosen mutants. Exit status 1: one survived that nobody has looked at."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("patterns", nargs="*", default=["*"], help="which mutants, as in core.ladder; all without one")
    parser.add_argument("--again", action="store_true", help="only those that are not known to be killed")
    parser.add_argument("--rest", action="store_true", help="go on with a run that was interrupted")
    parser.add_argument("--quickest", type=float, default=1e9, metavar="SECONDS", help="only as many of the quickest tests as take so long")
    parser.add_argument("--wide", action="store_true", help="let all quick tests judge, not only the chosen folders")
    given = parser.parse_args()
    patterns = [f"chargehand.{one}*" for one in given.patterns]
    names = made(patterns)
    before = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}

    def wanted(name: str) -> bool:
        return not (given.rest and name in before) and not (given.again and before.get(name) in ("killed", "timeout"))

    results = RESULTS.resolve()  # the tests run in another folder
    judge = Judge(patterns, names, wanted, given.quickest, given.rest)
    judge.keep = lambda found: _write(results, before | found)
    chosen = ["tests"] if given.wide else config().pytest_add_cli_args_test_selection
    os.chdir(FOLDER)
    status = pytest.main(
        ["--rootdir=.", "-p", "no:cacheprovider", "--tb=no", "--assert=plain", *config().pytest_add_cli_args, *chosen], plugins=[judge]
    )
    os.chdir("..")
    if status != 0:
        return int(status)
    _write(RESULTS, before | judge.results)
    return 1 if reported(names, judge.results) else 0


if __name__ == "__main__":
    sys.exit(main())
