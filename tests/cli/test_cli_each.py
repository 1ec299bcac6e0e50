"""`run --each`: one run for each line, and again only what is missing."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import SHOP, Command, Said, Started, lines_of, until

WORK = f"{SHOP}:work"


def items(*kinds: str, file: str = "items.jsonl") -> str:
    """Write one item for each kind and return the file's name."""
    lines = [json.dumps({"date": "2026-01-01", "id": number, "kind": kind}) for number, kind in enumerate(kinds, 1)]
    Path(file).write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def each(cli: Command) -> Command:
    """Run the shop's work for each line of items.jsonl."""

    def run(*words: str) -> Said:
        return cli("run", WORK, "--each", "items.jsonl", "--id", "{date}-{id}", *words)

    return run


def results(file: str = "results.jsonl") -> list[Any]:
    """Return what --out wrote."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def test_each_line_is_a_run(each: Command, cli: Command) -> None:
    """Every line becomes a run with the id that the template gives, and --out holds the values in the lines' order."""
    items(*["fine"] * 30)
    said = each("--out", "results.jsonl", "--at-once", "8", "--json", "--tag", "batch=b1")
    assert (said.status, said.json["completed"], said.json["known"]) == (0, 30, 0)
    assert [(one["id"], one["value"]) for one in results()] == [(f"2026-01-01-{number}", number * 10) for number in range(1, 31)]
    assert len(cli("runs", "--tag", "batch=b1", "--json").json["runs"]) == 30


def test_again_it_does_only_what_is_missing(each: Command) -> None:
    """With the same ids, what is done stays done, and --out is whole all the same."""
    items("fine", "fine")
    each("--out", "results.jsonl")
    items("fine", "fine", "fine")
    said = each("--json", "--out", "results.jsonl")
    assert (said.json["completed"], said.json["known"]) == (3, 2)
    assert sorted(lines_of("worked.txt")) == ["1", "2", "3"]
    assert [one["value"] for one in results()] == [10, 20, 30]


def test_the_closing_table_counts_failure_classes(each: Command) -> None:
    """Failures are counted by MAST mode or system class, with what it means and an example."""
    items("fine", "refused", "rejected", "rejected")
    said = each()
    assert said.status == 1
    rows = [line.split(None, 2) for line in said.out.splitlines()]
    assert ["FM-3.2", "2"] in [row[:2] for row in rows]
    assert "does not verify, or not fully" in said.out
    failed = each("--json").json["failed"]
    assert failed["FM-3.2"] == {"runs": 2, "meaning": "does not verify, or not fully", "example": "2026-01-01-3"}
    assert set(failed) == {"FM-3.2", "call-failed"}


@pytest.mark.parametrize(("allowed", "status"), [("0%", 1), ("24%", 1), ("25%", 0), ("100", 0)])
def test_so_many_may_fail(each: Command, allowed: str, status: int) -> None:
    """--fail-above decides from which share of failures on the command fails."""
    items("fine", "fine", "fine", "rejected")
    assert each("--fail-above", allowed).status == status


def test_too_many_failures_stop_the_rest(each: Command) -> None:
    """Once more have failed than are allowed, whatever becomes of the rest, nothing more is started."""
    items(*["rejected"] * 50)
    said = each("--fail-above", "10%", "--at-once", "1", "--json", "--out", "results.jsonl")
    assert (said.status, said.json["not_started"], len(lines_of("worked.txt"))) == (1, 44, 6)
    assert [one["status"] for one in results()].count("not started") == 44


def test_what_has_ended_is_reported_whatever_the_threshold(each: Command) -> None:
    """The threshold keeps new runs from starting; the result of none that has ended before is left out of the table or of --out."""
    items("rejected", *["fine"] * 20)
    each()
    items("rejected", *["fine"] * 20, "fine", "fine")
    said = each("--fail-above", "0", "--at-once", "1", "--json", "--out", "results.jsonl")
    assert (said.status, said.json["completed"], said.json["known"], said.json["not_started"]) == (1, 20, 21, 2)
    assert [one["status"] for one in results()] == ["failed", *["completed"] * 20, *["not started"] * 2]


def test_past_the_threshold_what_began_before_is_reported_as_it_stands(each: Command, cli: Command) -> None:
    """A run that an earlier command left unfinished is neither driven on nor called not started."""
    Path("items.jsonl").write_text('{"n": 1, "amount": 500}\n')
    words = ("run", f"{SHOP}:pay", "--id", "p-{n}", "--json", "--each")
    assert cli(*words, "items.jsonl").status == 3
    cli("run", f"{SHOP}:pay", "--input", "7", "--id", "p-0")
    Path("more.jsonl").write_text('{"n": 0, "amount": 8}\n{"n": 1, "amount": 500}\n{"n": 2, "amount": 5}\n')
    said = cli(*words, "more.jsonl", "--fail-above", "0", "--out", "results.jsonl")
    assert (said.status, said.json["resting"], said.json["not_started"]) == (1, {"waiting": 1}, 1)
    assert [one["status"] for one in results()] == ["refused", "waiting", "not started"]


def test_without_an_id_the_input_names_the_run(cli: Command) -> None:
    """Without --id equal lines are one run, and the same command again finds it."""
    items("fine")
    Path("items.jsonl").write_text(Path("items.jsonl").read_text() * 3)
    first = cli("run", WORK, "--each", "items.jsonl", "--json")
    again = cli("run", WORK, "--each", "items.jsonl", "--json")
    assert (first.json["items"], first.json["known"], again.json["known"]) == (1, 0, 1)
    assert lines_of("worked.txt") == ["1"]


def test_what_waits_for_people_is_counted_and_left(cli: Command) -> None:
    """Runs that wait for approval do not hold the others up, and the status says that something waits."""
    Path("items.jsonl").write_text('{"n": 1, "amount": 500}\n{"n": 2, "amount": 5}\n')
    said = cli("run", f"{SHOP}:pay", "--each", "items.jsonl", "--id", "p-{n}", "--json")
    assert (said.status, said.json["completed"], said.json["resting"]) == (3, 1, {"waiting": 1})
    parked = cli("run", f"{SHOP}:lettered", "--each", "items.jsonl", "--id", "l-{n}", "--json")
    assert (parked.status, parked.json["resting"]) == (4, {"parked (letter)": 1})


def test_a_line_that_conflicts_with_its_run_fails_alone(each: Command) -> None:
    """An id that stands for another input is a failure of that line only."""
    items("fine")
    each()
    Path("items.jsonl").write_text('{"date": "2026-01-01", "id": 1, "kind": "rejected"}\n{"date": "2026-01-01", "id": 2}\n')
    said = each("--json")
    assert (said.status, said.json["completed"], list(said.json["failed"])) == (1, 1, ["run-conflict"])


@pytest.mark.parametrize(
    ("text", "template", "told"),
    [
        ('{"date": "x", "id": 1}\nnonsense\n', "{id}", "line 2 of items.jsonl is not JSON"),
        ('{"id": 1}\n', "{id}", "line 1 of items.jsonl: work(item) does not fit"),
        ('{"date": "x", "id": 1}\n', "{day}", "has no 'day'"),
        ('{"date": "x", "id": 1}\n', "fixed", "is the same for every line"),
        ('{"date": "x", "id": 1}\n{"date": "y", "id": 1}\n', "{id}", "both give the id '1'"),
        ('{"date": "a/b", "id": 1}\n', "{date}", "cannot be a run's id"),
        ('{"date": "x", "id": 1, "more": [1]}\n', "{more}", "cannot be part of an id"),
        ("\n\n", "{id}", "holds no items"),
    ],
)
def test_every_line_is_checked_before_the_first_run(cli: Command, text: str, template: str, told: str) -> None:
    """A bad line is named, and nothing was started."""
    Path("items.jsonl").write_text(text)
    said = cli("run", WORK, "--each", "items.jsonl", "--id", template)
    assert (said.status, said.out) == (2, "")
    assert told in said.err
    assert lines_of("worked.txt") == []


def test_killed_and_run_again_it_does_only_what_is_missing(cli: Command, start: Callable[..., Started]) -> None:
    """After kill -9 the same command finishes the batch; no finished item is done again."""
    items(*["fine"] * 40, "slow", "slow")
    words = ("run", WORK, "--each", "items.jsonl", "--id", "{date}-{id}", "--at-once", "4", "--out", "results.jsonl")
    first = start(*words)
    until(lambda: {"41", "42"} <= set(lines_of("worked.txt")))
    first.process.kill()
    first.ended()
    assert not Path("results.jsonl").exists()
    done = lines_of("worked.txt")
    items(*["fine"] * 40)
    said = cli(*words, "--json")
    assert (said.status, said.json["completed"], said.json["known"]) == (0, 40, 40)
    assert lines_of("worked.txt") == done
    runs = cli("runs", "--status", "unfinished", "--json").json["runs"]
    assert sorted(run["id"] for run in runs) == ["2026-01-01-41", "2026-01-01-42"]


def test_killed_in_the_middle_of_items_it_goes_on_with_them(cli: Command, start: Callable[..., Started]) -> None:
    """Items in flight at kill -9 are taken over by the next command, not lost and not reported as done."""
    items("fine", "slow", "fine")
    words = ("run", WORK, "--each", "items.jsonl", "--id", "{date}-{id}", "--at-once", "1")
    first = start(*words)
    until(lambda: lines_of("worked.txt")[-1:] == ["2"])
    first.process.kill()
    first.ended()
    second = start(*words, "--at-once", "2")
    until(lambda: lines_of("worked.txt").count("2") == 2 and "3" in lines_of("worked.txt"))
    second.process.kill()
    second.ended()
    assert lines_of("worked.txt").count("1") == 1
    assert [run["id"] for run in cli("runs", "--status", "completed", "--json").json["runs"]] == ["2026-01-01-3", "2026-01-01-1"]


def test_interrupted_the_results_say_what_is_known(start: Callable[..., Started]) -> None:
    """Ctrl-C writes --out all the same: what has ended with its value, what was in flight as interrupted, the rest as not started."""
    items("fine", "slow", "fine")
    command = start("run", WORK, "--each", "items.jsonl", "--id", "{date}-{id}", "--at-once", "1", "--out", "results.jsonl")
    until(lambda: lines_of("worked.txt") == ["1", "2"])
    command.process.send_signal(signal.SIGINT)
    assert command.process.stderr is not None
    assert "Calls in flight may settle: 2026-01-01-2/worked." in command.process.stderr.readline()
    command.process.send_signal(signal.SIGINT)
    assert command.ended().status == 130
    assert [one["status"] for one in results()] == ["completed", "interrupted", "not started"]


def test_a_long_failure_is_counted_like_any_other(cli: Command) -> None:
    """A failure that is so long that the journal keeps it apart has its class and its reasons in the results."""
    Path("items.jsonl").write_text("30\n")
    said = cli("run", f"{SHOP}:many_failures", "--each", "items.jsonl", "--out", "results.jsonl", "--json")
    assert (said.status, set(said.json["failed"])) == (1, {"FM-3.2"})
    (one,) = results()
    assert len(one["error"]["branches"]) == 30


def test_results_that_cannot_be_written_keep_every_run_from_starting(each: Command, cli: Command) -> None:
    """Where --out leads nowhere, that is said before anything is done, not after everything was."""
    items("fine", "fine")
    assert each("--out", "no/such/results.jsonl").status == 2
    assert lines_of("worked.txt") == []
    assert cli("runs").status == 5  # there is no journal yet
