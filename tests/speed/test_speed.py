"""The benchmark of speed works. How fast anything is, no test says: machines differ, and minutes do."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks.speed import big, environments, guide, page, rounds  # noqa: E402
from benchmarks.speed.__main__ import NAMES, ORDER, main  # noqa: E402

from chargehand import Supervisor  # noqa: E402

NAMED = (
    "sequential_ratio_to_raw",
    "concurrent_steps_per_s",
    "bytes_per_step",
    "cost_ratio_step_10000_to_100",
    "restart_seconds",
    "parked_100k_mb",
    "parked_wake_ms",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_quick_look_measures_everything_but_peers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every item can be measured and every named figure is written; what is not measured is null, with the reason."""
    assert main(["--quick", "--build", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["skipped"] == {}
    assert set(found) >= {*NAMES} - {"plots"}
    assert all(found[name] > 0 for name in NAMED)
    assert (found["concurrent_ratio_to_best_peer"], found["replay_runs_per_s"]) == (None, None)
    assert found["replay_not_measured"]
    assert set(found["systems"]["rounds"]) == {"chargehand", "nothing"}
    assert found["systems"]["crashes"]["chargehand"]["steps_made_twice"] == 0
    assert "no figure here says how fast" in capsys.readouterr().out
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["bench.json", "bench.md"]
    renewed = guide.renewed(guide.PAGE.read_text(), found, ORDER)
    assert guide.renewed(renewed, found, ORDER) == renewed
    assert page.targets(found) in renewed


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer whose package cannot be installed is left out; what could not be installed and why is said."""
    monkeypatch.setattr(environments, "PEERS", tmp_path)
    monkeypatch.setitem(environments.REQUIREMENTS, "dbos", (str(tmp_path / "no-such.whl"),))
    with pytest.raises(environments.NotThere, match=r"no-such\.whl cannot be installed: .+"):
        environments.environment("dbos")


async def test_a_big_journal_is_a_journal(tmp_path: Path) -> None:
    """What is made for measuring holds: every run's chain, the journal's own chain, the ids, tags and ends."""
    path = tmp_path / "big.db"
    run, records = await big.pattern(tmp_path, 2)
    await big.fill(path, run, records, 6, unfinished=2)
    await big.fill(path, *await big.pattern(tmp_path, 5), 3)
    async with Supervisor(str(path), [big.big], work=False) as supervisor:
        rows = await supervisor.runs()
        for row in rows:
            await supervisor.journal.verify(row.number)
        await supervisor.journal.verify_chain()
        assert [row.status for row in reversed(rows)] == ["completed"] * 4 + ["waiting"] * 2 + ["completed"] * 3
        assert [row.seq for row in reversed(rows)] == [4] * 4 + [3] * 2 + [7] * 3
        assert await supervisor.run(rows[0].id).result() == 5
        assert [row.id for row in await supervisor.runs(tags={"tenant": "1"})] == ["pattern-7-0000001", "pattern-4-0000001"]


def test_ratios_are_taken_within_a_round() -> None:
    """We are compared with the fastest peer of the same round, and not with what is no peer."""
    found = {
        "dbos": [{"s": 10.0}, {"s": 40.0}],
        "call4agents": [{"s": 20.0}, {"s": 20.0}],
        "nothing": [{"s": 9000.0}, {"s": 9000.0}],
        "chargehand": [{"s": 400.0}, {"s": 400.0}],
    }
    assert rounds.best_peer_ratios(found, "s") == [20.0, 10.0]
    assert rounds.best_peer_ratios({"chargehand": [{"s": 400.0}]}, "s") == []


@pytest.mark.parametrize(
    ("value", "says"), [(16.0, "16 | met"), (15.0, "15 | met"), (14.9, "14.9 | **not met**"), (None, "– | not measured")]
)
def test_a_target_that_is_not_met_is_said(value: float | None, says: str) -> None:
    """The table of targets says of each whether it was met, and of what was not measured that it was not."""
    found: dict[str, Any] = {"figures": {"concurrent_ratio_to_best_peer": value}}
    (line,) = [line for line in page.targets(found).splitlines() if "best peer" in line]
    assert line.endswith(f"| ≥ 15 | {says} |")


def test_what_is_skipped_is_on_the_page() -> None:
    """The page names what could not be measured, and why."""
    about = {"cores": 2, "memory_gb": 4, "system": "S", "architecture": "a", "python": "3", "sqlite": "3", "raw_rows_per_s": {"1": 1000.0}}
    moment = {"load": 1.0, "yardstick_ms": 100.0}
    found = {"machine": about, "before": moment, "after": moment, "quick": False, "skipped": {"dbos": "it cannot be installed"}}
    assert "Not measured: dbos: it cannot be installed." in page.page(found, ("dbos",))


def test_a_system_that_breaks_is_skipped_with_its_last_words(tmp_path: Path) -> None:
    """A system that ends with an error is no figure: what it said last is the reason."""
    broken = environments.Runner("no_such_system", Path(sys.executable))
    with pytest.raises(rounds.Failed, match="with_no_such_system"):
        rounds.ask(broken, {"do": "table"}, tmp_path / "folder")


@pytest.mark.slow
def test_bytes_are_counted_with_the_write_ahead_log(tmp_path: Path) -> None:
    """A store's size is taken after its log was copied into it, by another process than the one that has it open."""
    from stopwatch import store_bytes

    async def measured() -> tuple[int, int]:
        path = tmp_path / "size.db"
        async with Supervisor(str(path), [big.big]) as supervisor:
            await (await supervisor.start(big.big(1), "a")).result()
            before = store_bytes(path)
            await (await supervisor.start(big.big(300), "b")).result()
            return before, store_bytes(path)

    before, after = asyncio.run(measured())
    assert after - before > 300 * 100
