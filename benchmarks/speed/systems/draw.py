"""Draws the plots. Reads what was measured as JSON from standard input; writes SVG files into the folder that is given.

The same input gives the same bytes: no date, no random ids.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt

TITLES = {
    "chargehand": "Chargehand",
    "dbos": "DBOS, SQLite",
    "langgraph": "LangGraph, SQLite, sync",
    "call4agents": "call4agents",
    "nothing": "no engine: group commit alone",
}
STYLES: dict[str, dict[str, Any]] = {
    "chargehand": {"color": "#b3261e", "marker": "o", "linewidth": 2.4, "zorder": 5},
    "dbos": {"color": "#1f5fa8", "marker": "s", "linewidth": 1.4},
    "langgraph": {"color": "#2e7d32", "marker": "^", "linewidth": 1.4},
    "call4agents": {"color": "#8a6d00", "marker": "D", "linewidth": 1.4},
    "nothing": {"color": "#777777", "marker": ".", "linewidth": 1.2, "linestyle": "--"},
}
PARKED_TARGET_MB = 150


def plot(lines: dict[str, list[list[float]]], title: str, across: str, up: str) -> Any:
    """Return axes with a line for each system."""
    _, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    for name in TITLES:
        if points := lines.get(name):
            axes.plot([x for x, _ in points], [y for _, y in points], label=TITLES[name], markersize=5, **STYLES[name])
    axes.set(title=title, xlabel=across, ylabel=up)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def numbers(axis: Any, *, between: bool = False) -> None:
    """Write the ticks of an axis as plain numbers; with `between`, also at 2 and 5 between powers of ten."""
    if between:
        axis.set_major_locator(mpl.ticker.LogLocator(base=10, subs=(1, 2, 5)))
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def limit(axes: Any, height: float, says: str) -> None:
    """Draw a level line and say what it is, at its right end."""
    axes.axhline(height, color="#aaaaaa", linewidth=1, linestyle=":")
    axes.annotate(
        says,
        (1, height),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="#666666",
    )


def save(folder: Path, name: str) -> None:
    """Write the plot and say its name."""
    plt.legend(frameon=False, fontsize=9)
    plt.savefig(folder / name, format="svg", metadata={"Date": None, "Creator": None})
    plt.close()
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    (folder / name).write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
    print(name)


def concurrency(found: dict[str, Any], folder: Path) -> None:
    """Draw steps per second against runs at the same time."""
    axes = plot(found["concurrency"], "Durable steps per second", "runs at the same time", "steps per second")
    axes.set_xscale("log")
    axes.set_yscale("log")
    limit(axes, found["raw_rows_per_s"], "the disk: one-row commits")
    numbers(axes.xaxis)
    numbers(axes.yaxis)
    save(folder, "speed-concurrency.svg")


def growth(found: dict[str, Any], folder: Path) -> None:
    """Draw the CPU of a step against the length of the run before it."""
    axes = plot(found["growth"], "CPU of one durable step", "steps that the run has made before", "CPU microseconds per step")
    axes.set_xscale("log")
    axes.set_yscale("log")
    numbers(axes.xaxis)
    numbers(axes.yaxis, between=True)
    save(folder, "speed-length.svg")


def parked(found: dict[str, Any], folder: Path) -> None:
    """Draw the memory of a process against runs that wait in its journal."""
    axes = plot(found["parked"], "Memory of a process whose runs wait", "parked runs", "resident memory, MB")
    axes.set_xscale("symlog", linthresh=100)
    axes.set_xlim(left=0)
    if ours := found["parked"].get("chargehand"):
        limit(axes, ours[0][1] + PARKED_TARGET_MB, f"target: {PARKED_TARGET_MB} MB above the empty process")
    axes.set_ylim(bottom=0)
    numbers(axes.xaxis)
    save(folder, "speed-parked.svg")


def main() -> None:
    """Draw everything."""
    mpl.rcParams.update(
        {
            "svg.hashsalt": "chargehand",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
            "font.size": 10,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
        }
    )
    found, folder = json.load(sys.stdin), Path(sys.argv[1])
    for one in (concurrency, growth, parked):
        one(found, folder)


if __name__ == "__main__":
    main()
