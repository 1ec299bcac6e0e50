"""``make bench``: everything in one run, a page on standard output, ``bench.json`` and ``bench.md`` in the build folder."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.replay import recording
from benchmarks.replay import speed as replaying
from benchmarks.speed import guide, items, page, plots, rounds
from benchmarks.speed.environments import ROOT, ours, peers
from benchmarks.speed.limits import machine, moment

ORDER = ("dbos", "langgraph", "call4agents", "chargehand", "nothing")
NAMES = ("systems", *items.ITEMS, "replay", "plots")
QUICK = rounds.Size(rounds=1, sequential=40, runs=10, steps=3, singles=5, raw=20)
REPLAY_EVERY = 8


class Bench:
    """One run of the benchmark.

    Args:
        folder: where databases are made: on the disk to measure.
        quick: a small part of everything, and no peers.
        count: how many rounds.
        drawings: where the plots go.
    """

    def __init__(self, folder: Path, *, quick: bool, count: int, drawings: Path) -> None:
        self.folder, self.quick, self.drawings = folder, quick, drawings
        self.size = QUICK if quick else rounds.Size(rounds=count)
        self.skipped: dict[str, str] = {}

    def measure(self, names: Sequence[str], earlier: dict[str, Any]) -> dict[str, Any]:
        """Measure these, in the order of `NAMES`; the others are taken from what was found earlier."""
        found: dict[str, Any] = {name: earlier[name] for name in NAMES if name in earlier and name not in names}
        again = {*names, *(ORDER if "systems" in names else ())}
        self.skipped.update({name: why for name, why in earlier.get("skipped", {}).items() if name.split(",")[0] not in again})
        found |= {"quick": self.quick, "machine": machine(self.folder), "before": moment(), "skipped": self.skipped}
        for name in NAMES:
            if name not in names:
                continue
            started = time.perf_counter()
            answer = self._plots(found) if name == "plots" else self._one(name)
            if answer is not None:
                found[name] = answer
                tell(f"{name}: {time.perf_counter() - started:.0f} s")
        found["after"] = moment()
        if "systems" not in names:  # what is said of the machine is said of the minutes in which the systems were measured
            found |= {key: earlier[key] for key in ("machine", "before", "after") if key in earlier}
        found["figures"] = page.figures(found)
        return found

    def _one(self, name: str) -> dict[str, Any] | None:
        if name == "systems":
            return self._systems()
        if name == "replay":
            return self._replay()
        try:
            return items.measure(name, self.folder / name, quick=self.quick)
        except items.ItemFailed as error:
            self.skipped[name] = str(error)
            tell(f"{name}: {error}")
            return None
        finally:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _plots(self, found: dict[str, Any]) -> dict[str, Any] | None:
        """Measure what the plots need beside what was found; draw them."""
        if self.quick:
            return None
        runners = [one for one in (*peers(self.skipped), ours("chargehand"), ours("nothing")) if one.name not in self.skipped]
        measured = plots.measure(runners, self.folder / "plots", found, self.skipped)
        for path in plots.draw(measured, self.drawings, self.skipped):
            tell(f"drawn: {path}")
        return measured

    def _systems(self) -> dict[str, Any]:
        runners = [*([] if self.quick else peers(self.skipped)), ours("chargehand"), ours("nothing")]
        found = rounds.measure(runners, self.size, self.folder / "systems", self.skipped)
        crashes: dict[str, Any] = {}
        for runner in runners:
            if runner.name == "nothing" or runner.name in self.skipped:
                continue
            try:
                crashes[runner.name] = rounds.kill_and_restart(runner, self.size.sequential, self.folder / f"crash-{runner.name}")
            except rounds.Failed as error:
                self.skipped[f"{runner.name}, kill and restart"] = str(error)
        return {"rounds": found, "crashes": crashes}

    def _replay(self) -> dict[str, Any]:
        """Play a sample of recorded runs of real models, where the recordings are."""
        if recording.folder() is None:
            return {"reason": "the recordings are not here"}
        if self.quick:
            return {"reason": "not in a quick look"}
        return {"every": REPLAY_EVERY, **replaying.measure(REPLAY_EVERY)}


def tell(line: str) -> None:
    """Say how far it is, beside the page."""
    print(line, file=sys.stderr, flush=True)


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Speed and memory, beside peers and the machine.")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=NAMES, default=list(NAMES), help=f"of {', '.join(NAMES)}")
    parser.add_argument(
        "--quick", action="store_true", help="a small part of everything, without peers: says that it works, not how fast it is"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each system is measured")
    parser.add_argument("--dir", type=Path, default=None, help="where the databases are made: a folder on the disk to measure")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="where bench.json and bench.md go")
    parser.add_argument("--keep", action="store_true", help="what is not measured now is taken from the bench.json that is there")
    parser.add_argument("--docs", action="store_true", help="renew docs/performance.md and its plots too")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, and write ``bench.json`` and ``bench.md``."""
    given = _options(words)
    given.build.mkdir(parents=True, exist_ok=True)
    kept = given.build / "bench.json"
    earlier = json.loads(kept.read_text()) if given.keep and kept.exists() else {}
    folder = Path(tempfile.mkdtemp(prefix="speed-", dir=given.dir or given.build)).resolve()
    try:
        bench = Bench(folder, quick=given.quick, count=given.rounds, drawings=ROOT / "docs" if given.docs else given.build)
        found = bench.measure(given.only, earlier)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = page.page(found, ORDER)
    kept.write_text(json.dumps({**found["figures"], **found}, indent=2) + "\n")
    (given.build / "bench.md").write_text(text)
    if given.docs:
        guide.write(found, ORDER)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
