"""The page: every figure with what it means, as text for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.replay.figures import ALL

Figures = Mapping[str, Any]

INTRODUCTION = """\
Recorded runs of real models on an office database (WorkBench: olly-styles/WorkBench, MIT), played as supervised runs
through the real supervisor on a SQLite journal (WAL, synchronous=FULL). The five tables are a SQLite database, one per
run. A tool whose name ever changed anything is an effect with an undo, every other one a read; the recorded model is an
agent that issues its calls in their order and cannot react to a refusal."""

DECLARED = """\
What the containment figures mean:
- The rules know the request, tool and argument names, what the tools returned so far, and the tables: never the ground
  truth or the recorded flags. They were written and mended on the templates of even SHA-256 only, and never changed
  after the odd half was measured; a few raw rows of both halves were seen before, when the format was read. What they
  know of this office (its hours, until when there are figures) they know from the even half.
- A refused call does not happen; the model, being a recording, goes on as if nothing had been said.
- Harmful after: changed and not as it should be, by the recording's own judge. Half done is harmful.
- Right disturbed: a right run in which a call that changed something was refused, or that did not end right.
- Approver "always yes" approves everything: the most harm that asking lets through. "perfect" approves what the ground
  truth does too; it bounds what asking could bring and is no claim about people.
- "whole": an answer for which a call was refused is not released, and all that its agent did is undone."""


def page(figures: Figures) -> str:
    """Return the page as Markdown that also reads well on a terminal."""
    parts = [
        "# Replay of recorded runs",
        INTRODUCTION,
        f"{figures['runs']:,} runs, {figures['calls']:,} calls, {figures['tasks']} tasks. {_where(figures['machine'])}",
        "## Exactness",
        _exactness(figures),
        "## Idempotency: equal effects of one agent are done once (the default)",
        _table(figures["idempotency"], IDEMPOTENCY),
        "## Containment",
        _containment(figures["containment"]),
        DECLARED,
        "## Speed",
        _speed(figures["speed"]),
    ]
    return "\n\n".join(parts) + "\n"


IDEMPOTENCY = {
    "runs": "runs",
    "harmful_before": "harmful before",
    "harmful_after": "harmful after",
    "harmful_removed": "removed",
    "made_right": "made right",
    "right_lost": "right lost",
}
CONTAINMENT = {
    "runs": "runs",
    "harmful_before": "harmful before",
    "harmful_after": "harmful after",
    "harmful_ended_right": "of which ended right",
    "right_before": "right before",
    "right_disturbed": "right disturbed",
    "right_lost": "right lost",
    "approvals_per_run": "approvals per run",
}


def _where(machine: Figures) -> str:
    return f"{machine['cpus']} cores, Python {machine['python']}, SQLite {machine['sqlite']}, {machine['when']}."


def _exactness(figures: Figures) -> str:
    fidelity, rollback = figures["fidelity"], figures["rollback_exact"]
    rows = [
        [name, f"{fidelity[name]['equal']} of {fidelity[name]['runs']}", f"{back['exact']} of {back['runs']}"]
        for name, back in rollback.items()
    ]
    lines = [
        _grid(["model", "fidelity", "rollback exact"], rows),
        "Fidelity: no gates, repeats allowed; the tables end as recorded. Rollback exact: made to fail after the last "
        "effect; the tables end as they began.",
    ]
    for key, what in (("rollback_killed", "killed in mid-rollback"), ("crash_equal", "killed at random moments")):
        crash = figures[key]
        lines.append(
            f"{what.capitalize()} (SIGKILL, {crash['kills']} worker processes): **{crash['equal']} of {crash['runs']}** runs "
            "ended as undisturbed, each effect and undo in the office's own book exactly once."
        )
    return "\n\n".join(lines)


def _containment(figures: Figures) -> str:
    lines = []
    for half in ("even", "odd"):
        title = {"even": "even half (rules made here)", "odd": "odd half (rules never changed for it)"}[half]
        lines += [f"### {title}", _table(figures[half], CONTAINMENT)]
    rows = []
    for name, variant in figures["variants"].items():
        for half in ("even", "odd"):
            rows.append([name, half, *(_cell(variant[half][key]) for key in list(CONTAINMENT)[1:])])
    lines += ["### variants, all models", _grid(["variant", "half", *list(CONTAINMENT.values())[1:]], rows)]
    rows = [
        [rule, *(str(figures["rules"][half].get(rule, {}).get(outcome, 0)) for half in ("even", "odd") for outcome in ("harmful", "right"))]
        for rule in figures["rules"][ALL]
    ]
    head = ["refused a change in runs that were", "even: harmful", "even: right", "odd: harmful", "odd: right"]
    return "\n\n".join([*lines, "### rules", _grid(head, rows)])


def _speed(speed: Figures) -> str:
    rows = [
        [workers, f"{one['runs_per_second']:.0f}", ", ".join(f"{rate:.0f}" for rate in one["rounds"]), f"{one['cpu_ms_per_run']:.2f}"]
        for workers, one in speed["by_workers"].items()
    ]
    return "\n\n".join(
        [
            f"**{speed['runs_per_second']:.0f} supervised runs per second** over the whole set, default options, "
            f"{speed['at_once']} runs at once in each worker; load average before: {speed['load_before']:.1f}.",
            _grid(["worker processes", "runs/s (median)", "rounds", "CPU ms per run"], rows),
        ]
    )


def _table(figures: Figures, columns: Mapping[str, str]) -> str:
    rows = [[name, *(_cell(row[key]) for key in columns)] for name, row in figures.items()]
    return _grid(["model", *columns.values()], rows)


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 1) + ("-" if column == 0 else ":") for column, width in enumerate(widths)) + "|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])
