"""The measured parts of ``docs/performance.md``: between marks, so that they are renewed and the words around them stay."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import page
from benchmarks.speed.environments import ROOT

PAGE = ROOT / "docs" / "performance.md"

Found = dict[str, Any]


def _systems(found: Found, order: Sequence[str]) -> str:
    systems = found["systems"]
    text = page.table(systems["rounds"], systems["crashes"], order)
    skipped = [f"Not measured: {name}: {reason}." for name, reason in found["skipped"].items()]
    return "\n\n".join([text, *skipped])


def _calls(found: Found, order: Sequence[str]) -> str:
    commits = {"step": "read", "agent with three deterministic gates": "agent with a quick gate", "effect": "effect"}
    rows = [
        (name, page.number(one["cpu_us"]), page.number(one["per_s"]), f"{found['commits'][commits[name]]:g}" if name in commits else "1")
        for name, one in found["calls"].items()
    ]
    fan, talk = found["fan_out"], found["conversation"]
    rows.append(
        (f"one of {fan['branches']:,} branches of one run", page.number(fan["cpu_us_per_branch"]), page.number(fan["branches_per_s"]), "")
    )
    early, late = talk["cpu_us_per_turn"]["early"], talk["cpu_us_per_turn"]["late"]
    rows.append((f"one of the first turns of a conversation of {talk['turns']:,}", page.number(early), "", "1"))
    rows.append(("one of its last turns", page.number(late), "", "1"))
    return _rows(("call", "CPU µs", "per second, one after the other", "commits"), rows)


def _growth(found: Found, order: Sequence[str]) -> str:
    costs = found["growth"]["cpu_us_per_step"]
    return _rows(("step of the run", "CPU µs"), [(f"{int(step):,}", page.number(cost)) for step, cost in costs.items()])


def _many(found: Found, order: Sequence[str]) -> str:
    parked, memory, four = found["parked"], found["memory"], found["processes"]
    return _rows(
        ("what", "found"),
        [
            ("memory of a run in the middle of a step, KB", page.number(memory["kb_per_live_run"])),
            ("memory of a run that waits and is kept loaded, KB", page.number(memory["kb_per_loaded_waiting_run"])),
            (f"{parked['runs']:,} parked runs, above the empty process, MB", page.number(parked["above_mb"])),
            ("parked runs started, made to wait and let go of memory, per second", page.number(parked["parked_per_s"])),
            (
                f"one of them woken and finished: median, 99 of 100, slowest of {parked['wakes']}, ms",
                " / ".join(page.number(parked[f"wake_{which}_ms"]) for which in ("p50", "p99", "max")),
            ),
            ("woken all at once, per second", page.number(parked["woken_at_once_per_s"])),
            ("CPU of a supervisor all of whose runs wait, percent of a core", page.number(parked["idle_cpu_percent"])),
            ("one worker process, steps/s", ", ".join(page.number(rate) for rate in four["one_steps_per_s"])),
            ("four worker processes on the same file, steps/s in sum", ", ".join(page.number(rate) for rate in four["four_steps_per_s"])),
        ],
    )


def _big(found: Found, order: Sequence[str]) -> str:
    runs, events = found["million_runs"], found["million_events"]
    rows = [(f"opening a journal of {runs['runs']:,} runs", f"{runs['open_s'] * 1e3:,.1f} ms")]
    rows += [(f"a page of 50 of them: {name}", f"{cost:,.1f} ms") for name, cost in runs["pages_ms"].items()]
    rows += [(f"chargehand {name}, on it, the process included", f"{cost:,.1f} s") for name, cost in runs["commands_s"].items()]
    rows += [
        (f"chargehand {name}, in a journal of {events['events']:,} events", f"{cost:,.1f} s") for name, cost in events["commands_s"].items()
    ]
    return _rows(("what", "found"), rows)


BLOCKS: dict[str, Callable[[Found, Sequence[str]], str]] = {
    "machine": lambda found, order: page.machine_line(found),
    "systems": _systems,
    "targets": lambda found, order: page.targets(found),
    "calls": _calls,
    "growth": _growth,
    "many": _many,
    "big": _big,
}


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def renewed(text: str, found: Found, order: Sequence[str]) -> str:
    """Return the page with what was found between its marks. Raises when a mark is missing, or an item was not measured."""
    for name, block in BLOCKS.items():
        mark = re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- /measured -->)", re.DOTALL)
        new = block(found, order)
        text, count = mark.subn(lambda match, new=new: f"{match[1]}\n{new}\n\n{match[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the page has {count} blocks called {name!r}")
    return text


def write(found: Found, order: Sequence[str], path: Path = PAGE) -> None:
    """Renew the page."""
    path.write_text(renewed(path.read_text(encoding="utf-8"), found, order), encoding="utf-8")
