"""Measure the built-in gates: recall on seeded and recorded faults, false alarms on right hand-offs.

    python benchmarks/gates.py [--out build/gates.json] [--show GATE] [--guide]

Four sources: two crews of our own with seeded faults (``benchmarks/handoffs/incident.py`` and ``invoices.py``, which
were fixed before the gates were tuned; another seed than the one tuned with), the recorded WorkBench runs of five
models, by half (the gates were tuned while looking at one half of the tasks and never at the other), and the recorded
tau-bench conversations (looked at once, for the default of `derived`). The engine takes no part: each gate is asked by
`verdict_of`, as the engine asks it. Intervals are Wilson's, 95 %. "any of them" leaves variants out.

An abstention is counted on its own; with the default ``on_abstain="fail"`` it stops an output as a rejection does.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from examples.incident import gates as incident_gates  # noqa: E402
from examples.invoices import gates as invoices_gates  # noqa: E402
from pydantic_core import to_jsonable_python  # noqa: E402

from benchmarks import gates_guide  # noqa: E402
from benchmarks.handoffs import Handoff, incident, invoices, tau, workbench  # noqa: E402
from chargehand.errors import Rejected  # noqa: E402
from chargehand.supervise.calibration import Share  # noqa: E402
from chargehand.supervise.checks import grounded, no_repeat  # noqa: E402
from chargehand.supervise.gates import Gate, as_gate, verdict_of  # noqa: E402
from chargehand.supervise.threads import Threads  # noqa: E402
from chargehand.verdicts import Fact, Feedback, GateContext, ReleasedFact, Verdict  # noqa: E402

THREADS = Threads()
RECORDED_GATES = [
    grounded(),
    grounded(name="grounded, arguments trusted", arguments="trust"),
    grounded(name="grounded, arguments ignored", arguments="ignore"),
    grounded(name="grounded, derived none", derived="none"),
    grounded(name="grounded, derived any", derived="any"),
    grounded(name="grounded, identifiers only", numbers=False, dates=False),
    no_repeat(),
    no_repeat(name="no_repeat, more than twice", calls_at_most=2),
]


def context_of(handoff: Handoff, facts_of: Callable[[Any], Sequence[Fact]] | None) -> GateContext:
    """Return what the engine would tell a gate about this hand-off."""
    inputs = dict(handoff.inputs)
    if handoff.rejected is not None:
        inputs["feedback"] = Feedback(2, ("Rejected.",), output=to_jsonable_python(handoff.rejected))
    facts = [ReleasedFact(fact, path) for path, output in handoff.earlier.items() for fact in (facts_of(output) if facts_of else ())]
    return GateContext(
        run_id="measured",
        path=handoff.path,
        attempt=1 if handoff.rejected is None else 2,
        inputs=inputs,
        tools=handoff.tools,
        released={path: to_jsonable_python(output) for path, output in handoff.earlier.items()},
        facts=facts,
        facts_of=facts_of,
    )


def held_out(handoff: Handoff) -> bool:
    """Say whether a recorded run belongs to the half of the tasks that was not looked at."""
    return zlib.crc32(handoff.inputs["query"].encode()) % 2 == 1


class Tally:
    """Counts verdicts by gate and fault, and by "any gate" for the whole step."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.seen: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.digest = hashlib.sha256()

    def count(self, handoff: Handoff, verdicts: Iterable[Verdict]) -> None:
        fault = handoff.fault or ""
        outcomes = []
        for verdict in verdicts:
            self.seen[verdict.gate, fault][verdict.outcome] += 1
            self.seconds[verdict.gate].append(verdict.seconds)
            if "," not in verdict.gate:  # a variant of a gate
                outcomes.append(verdict.outcome)
        anything = "fail" if "fail" in outcomes else "abstain" if "abstain" in outcomes else "pass"
        self.seen["any of them", fault][anything] += 1

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each gate and kind of hand-off; the right ones first."""
        rows = []
        for (gate, fault), counts in sorted(self.seen.items(), key=lambda item: (item[0][0] == "any of them", item[0])):
            of = sum(counts.values())
            low, high = Share(counts["fail"], of).interval
            row = {"source": self.source, "gate": gate, "hand-off": fault or "right", "of": of}
            row |= {"rejected": counts["fail"], "abstained": counts["abstain"], "share": counts["fail"] / of}
            rows.append(row | {"low": low, "high": high, "kind": "recall" if fault else "false alarms"})
        return rows


async def measure(
    source: str,
    handoffs: Iterable[Handoff],
    gates: Mapping[str, Sequence[Gate]],
    facts_of: Callable[[Any], Sequence[Fact]] | None,
    show: str,
) -> Tally:
    """Ask each gate of a step about each of its hand-offs."""
    tally, shown = Tally(source), Counter[tuple[str, str, str]]()
    for handoff in handoffs:
        tally.digest.update(repr(handoff).encode())
        context = context_of(handoff, facts_of)
        verdicts = [
            await verdict_of(gate, handoff.output, context, threads=THREADS) for gate in gates.get(handoff.step, gates.get("*", ()))
        ]
        tally.count(handoff, verdicts)
        for verdict in verdicts:
            surprising = (verdict.outcome == "pass") == (handoff.fault is not None)
            key = (verdict.gate, handoff.step, handoff.fault or "right")
            if verdict.gate == show and surprising and shown[key] < 4:
                shown[key] += 1
                print(*key, handoff.where, verdict.outcome, *verdict.reasons, repr(handoff.output)[:600], sep="\n   ")
    return tally


async def hot_path(rounds: int = 7, calls: int = 5_000) -> dict[str, float]:
    """Return microseconds per `verdict_of` for the smallest gates: the fastest of several rounds."""

    def passes(output: list[int]) -> None: ...

    def looks_around(output: list[int], context: GateContext) -> None: ...

    def rejects(output: list[int]) -> None:
        raise Rejected("no")

    async def waits(output: list[int]) -> None: ...

    context = GateContext("measured", "agent", 1, {})
    fastest: dict[str, float] = {}
    for check in (passes, looks_around, rejects, waits):
        gate = as_gate(check)
        took = []
        for _ in range(rounds):
            began = perf_counter()
            for _ in range(calls):
                await verdict_of(gate, [1, 2, 3], context)
            took.append((perf_counter() - began) / calls * 1e6)
        fastest[check.__name__] = min(took)
    return fastest


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table that is printed."""
    lines = [f"{'source':20} {'gate':27} {'hand-offs':24} {'of':>5} {'rejected':>9} {'95 % interval':>17} {'abstained':>10}"]
    for row in rows:
        interval = f"{row['low']:6.1%} – {row['high']:6.1%}"
        label = "right (false alarms)" if row["kind"] == "false alarms" else row["hand-off"]
        lines.append(
            f"{row['source']:20} {row['gate']:27} {label:24} {row['of']:5} {row['share']:9.1%} {interval:>17} {row['abstained']:10}"
        )
    return "\n".join(lines)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gates.json")
    parser.add_argument("--show", default="", help="print hand-offs that this gate judges otherwise than expected")
    parser.add_argument("--guide", action="store_true", help="write the tables into docs/guides/gates.md")
    chosen = parser.parse_args()
    began = perf_counter()
    tallies = [
        await measure("incident", incident.handoffs(), incident_gates.GATES, incident_gates.facts_of, chosen.show),
        await measure("invoices", invoices.handoffs(), invoices_gates.GATES, invoices_gates.facts_of, chosen.show),
    ]
    skipped = []
    if workbench.folder().is_dir():
        recorded = list(workbench.handoffs())
        for source, half in (("held out", True), ("looked at", False)):
            runs = [run for run in recorded if held_out(run) == half]
            tallies.append(await measure(f"workbench, {source}", runs, {"*": RECORDED_GATES}, None, chosen.show))
    else:
        skipped.append("workbench: the recorded runs are not here (see benchmarks/handoffs/workbench.py)")
    if tau.folder().is_dir():
        tallies.append(await measure("tau", tau.handoffs(), {"*": RECORDED_GATES}, None, chosen.show))
    else:
        skipped.append("tau: the recorded conversations are not here (see benchmarks/handoffs/tau.py)")
    rows = [row for tally in tallies for row in tally.rows()]
    print(table(rows))
    hot = await hot_path()
    print("verdict_of, µs:", ", ".join(f"{name} {took:.2f}" for name, took in hot.items()))
    print(*(f"skipped: {one}" for one in skipped), f"{perf_counter() - began:.1f} s", sep="\n")
    report = {
        "rows": rows,
        "skipped": skipped,
        "verdict_of_microseconds": hot,
        "handoffs_sha256": {tally.source: tally.digest.hexdigest() for tally in tallies},
        "verdict_milliseconds": {
            tally.source: {gate: {"median": 1e3 * median(took), "most": 1e3 * max(took)} for gate, took in tally.seconds.items()}
            for tally in tallies
        },
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(report, indent=1))
    if chosen.guide:
        gates_guide.PAGE.write_text(gates_guide.written(gates_guide.PAGE.read_text(), rows))


if __name__ == "__main__":
    asyncio.run(main())
