"""What was found, as the flat figures that others read and as a page of Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.environments import TITLES
from benchmarks.speed.limits import ADDITIONS
from benchmarks.speed.rounds import Figures, best_peer_ratios

Found = dict[str, Any]

HEAD = (
    "| system | sequential: steps/s | raw one-row commits/s beside it | CPU µs/step | 200 runs × 20 steps: steps/s | its CPU per step, as additions of Python | "
    "bytes/step | 1-step run p50/p99 ms | finished steps made twice after kill -9 · restart→done s |"
)


def table(rounds: dict[str, list[Figures]], crashes: dict[str, Any], order: Sequence[str]) -> str:
    """Return the table of all systems: medians of the rounds, and their range in brackets."""
    lines = [HEAD, "|---" * 9 + "|"]
    for name in order:
        if name not in rounds:
            continue
        one = rounds[name]
        crash = crashes.get(name)
        cells = (
            TITLES[name],
            spread(one, "sequential_steps_per_s"),
            spread(one, "raw_rows_per_s"),
            spread(one, "sequential_cpu_us_per_step"),
            spread(one, "concurrent_steps_per_s"),
            f"{statistics.median(map(additions, one)):,.0f}",
            f"{middle(one, 'bytes_per_step'):,.0f}",
            f"{middle(one, 'one_step_run_p50_ms'):.1f}/{middle(one, 'one_step_run_p99_ms'):.1f}",
            "–" if crash is None else f"{crash['steps_made_twice']} · {crash['restart_to_done_s']:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def middle(rounds: Sequence[Figures], figure: str) -> float:
    """Return the median over the rounds."""
    return statistics.median(one[figure] for one in rounds)


def spread(rounds: Sequence[Figures], figure: str) -> str:
    """Return median and range over the rounds."""
    values = [one[figure] for one in rounds]
    return f"{statistics.median(values):,.0f} [{min(values):,.0f}–{max(values):,.0f}]"


def additions(one: Figures) -> float:
    """Return how many additions of Python the CPU of one of many steps would make: it depends less on the machine and the minute."""
    return one["concurrent_cpu_us_per_step"] / (one["yardstick_ms"] * 1e3) * ADDITIONS


# -- the flat figures ----------


def figures(found: Found) -> Found:
    """Return the figures that have a name of their own; None where the item was not measured."""
    rounds: dict[str, list[Figures]] = found.get("systems", {}).get("rounds", {})
    ours = rounds.get("chargehand")
    ratios = best_peer_ratios(rounds, "concurrent_steps_per_s") if ours else []
    replay = found.get("replay", {})
    return {
        "sequential_ratio_to_raw": _at(found, "sequential", "ratio_to_raw"),
        "sequential_steps_per_s": _at(found, "sequential", "steps_per_s"),
        "raw_rows_per_s": _at(found, "sequential", "raw_rows_per_s"),
        "concurrent_steps_per_s": middle(ours, "concurrent_steps_per_s") if ours else None,
        "concurrent_cpu_us_per_step": middle(ours, "concurrent_cpu_us_per_step") if ours else None,
        "concurrent_additions_per_step": statistics.median(map(additions, ours)) if ours else None,
        "concurrent_ratio_to_best_peer": statistics.median(ratios) if ratios else None,
        "bytes_per_step": _at(found, "growth", "bytes_per_step"),
        "cost_ratio_step_10000_to_100": _at(found, "growth", "ratio_last_to_first"),
        "restart_seconds": _at(found, "restart", "seconds"),
        "parked_100k_mb": _at(found, "parked", "above_mb"),
        "parked_wake_ms": _at(found, "parked", "wake_p50_ms"),
        "page_of_1m_runs_ms": _at(found, "million_runs", "pages_ms", "newest"),
        "open_1m_runs_s": _at(found, "million_runs", "open_s"),
        "four_processes_ratio": _at(found, "processes", "ratio_four_to_one"),
        "replay_runs_per_s": replay.get("runs_per_second"),
        "replay_not_measured": replay.get("reason"),
    }


def _at(found: Found, *keys: str) -> Any:
    place: Any = found
    for key in keys:
        if not isinstance(place, dict) or key not in place:
            return None
        place = place[key]
    return place


# -- targets ----------


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and what it has to be."""

    what: str
    at: tuple[str, ...]
    bound: float
    least: bool
    unit: str = ""

    def line(self, found: Found) -> str:
        """Return the row of the table of targets."""
        value = _at(found, *self.at)
        wanted = f"{'≥' if self.least else '≤'} {self.bound:,g}{self.unit}"
        if value is None:
            return f"| {self.what} | {wanted} | – | not measured |"
        met = value >= self.bound if self.least else value <= self.bound
        return f"| {self.what} | {wanted} | {number(value)}{self.unit} | {'met' if met else '**not met**'} |"


TARGETS = (
    Target("sequential steps, of raw one-row commits in the same seconds", ("figures", "sequential_ratio_to_raw"), 0.6, True),
    Target("200 runs × 20 steps, steps/s", ("figures", "concurrent_steps_per_s"), 10_000, True),
    Target("200 runs × 20 steps, times the best peer of the round", ("figures", "concurrent_ratio_to_best_peer"), 15, True),
    Target("CPU per step at step 10,000, times that at step 100", ("figures", "cost_ratio_step_10000_to_100"), 1.25, False),
    Target("journal bytes per small step", ("figures", "bytes_per_step"), 500, False),
    Target("first new step after the restart of a 1,000-step run", ("figures", "restart_seconds"), 0.5, False, " s"),
    Target("100,000 parked runs, above the empty process", ("parked", "above_mb"), 150, False, " MB"),
    Target("a parked run woken and finished, median", ("parked", "wake_p50_ms"), 50, False, " ms"),
    Target("a parked run woken and finished, slowest of those woken", ("parked", "wake_max_ms"), 50, False, " ms"),
    Target("opening a journal with 1,000,000 runs", ("million_runs", "open_s"), 1, False, " s"),
    Target("one page of `runs` of 1,000,000", ("million_runs", "pages_ms", "newest"), 50, False, " ms"),
    Target("four worker processes on one file, steps/s in sum, times one", ("processes", "ratio_four_to_one"), 1, True),
)


def targets(found: Found) -> str:
    """Return the table of targets."""
    return "\n".join(["| target | wanted | found | |", "|---|---|---|---|", *(target.line(found) for target in TARGETS)])


def number(value: float) -> str:
    """Return a figure with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# -- the page ----------


def page(found: Found, order: Sequence[str]) -> str:
    """Return everything that was found."""
    parts = [machine_line(found)]
    if "systems" in found:
        systems = found["systems"]
        parts += ["## Peers, ourselves and no engine, in turns", table(systems["rounds"], systems["crashes"], order)]
    if found["skipped"]:
        parts.append("\n".join(f"Not measured: {name}: {reason}." for name, reason in found["skipped"].items()))
    parts += ["A quick look: no figure here says how fast anything is."] if found["quick"] else ["## Targets", targets(found)]
    for name in ("sequential", "growth", "calls", "fan_out", "conversation", "commits", "restart", "memory", "parked"):
        parts += _block(name, found)
    for name in ("processes", "million_runs", "million_events", "replay"):
        parts += _block(name, found)
    return "\n\n".join(parts) + "\n"


def machine_line(found: Found) -> str:
    """Return what figures depend on: the machine, how fast it was, and how busy."""
    about = found["machine"]
    raw = ", ".join(f"{rate:,.0f} at {rows} a commit" for rows, rate in about["raw_rows_per_s"].items())
    before, after = found["before"], found["after"]
    return (
        f"{about['cores']} cores, {about['memory_gb']} GiB, {about['system']} {about['architecture']}, Python {about['python']}, "
        f"SQLite {about['sqlite']}. Raw rows/s of SQLite (WAL, synchronous=FULL): {raw}. Five million additions took "
        f"{before['yardstick_ms']:.0f} ms of CPU before and {after['yardstick_ms']:.0f} ms after; load {before['load']:.1f} and {after['load']:.1f}."
    )


def _block(name: str, found: Found) -> list[str]:
    if name not in found:
        return []
    lines = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in _flat(found[name]))]
    return [f"## {name.replace('_', ' ')}", "\n".join(lines)]


def _flat(values: Found, before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{before}{key.replace('_', ' ') if not before else key}"
        if isinstance(value, dict):
            rows += _flat(value, f"{name}: ")
        elif key == "rss_mb":
            continue  # for the plot
        elif isinstance(value, list):
            rows.append((name, ", ".join(number(one) for one in value)))
        else:
            rows.append((name, number(value) if isinstance(value, float | int) else str(value)))
    return rows
