"""Looking at runs and at what waits."""

from __future__ import annotations

import json
import re
import time

import pytest

from .conftest import SHOP, Command


@pytest.fixture
def several(shop: Command) -> None:
    """Leave runs of several kinds in the journal."""
    for number in range(5):
        shop("add", {"a": number}, "--tag", f"number={number}", "--tag", "kind=sum", id=f"sum-{number}")
    shop("pay", 500, id="p-1")
    shop("lettered", 5, id="l-1")
    shop("doubted", 5, id="d-1")
    shop("bungle", "birds", id="b-1")


@pytest.mark.usefixtures("several")
def test_runs_are_listed_and_filtered(cli: Command) -> None:
    """runs lists newest first and filters by workflow, status, tag and time."""

    def ids(*words: str) -> list[str]:
        return [run["id"] for run in cli("runs", "--json", *words).json["runs"]]

    assert ids()[:2] == ["b-1", "d-1"]
    assert ids("--workflow", "shop.add") == [f"sum-{number}" for number in (4, 3, 2, 1, 0)]
    assert ids("--status", "parked") == ["d-1", "l-1"]
    assert ids("--status", "waiting", "--status", "failed") == ["b-1", "p-1"]
    assert ids("--status", "unfinished") == ["d-1", "l-1", "p-1"]
    assert ids("--tag", "number=2", "--tag", "kind=sum") == ["sum-2"]
    assert ids("--since", "1h") == ids()
    assert ids("--until", "1h") == []
    assert ids("--since", "2020-01-01", "--until", "2021-01-01T12:00") == []
    assert ids("--environment", "staging") == []


@pytest.mark.usefixtures("several")
def test_runs_come_in_pages(cli: Command) -> None:
    """Each page names the next, and together they hold every run once."""
    seen: list[str] = []
    words: tuple[str, ...] = ()
    while True:
        page = cli("runs", "--json", "--limit", "4", *words).json
        seen += [run["id"] for run in page["runs"]]
        if page["next"] is None:
            break
        words = ("--before", str(page["next"]))
    assert len(seen) == len(set(seen)) == 9
    assert re.fullmatch(r"More: the same with --before \d+\n", cli("runs", "--workflow", "shop.add", "--limit", "4").err)


@pytest.mark.usefixtures("several")
def test_an_empty_list_says_why(cli: Command) -> None:
    """Whether a name is misspelt, the environment has nothing or no run fits: nothing is not told as if all were well."""
    assert cli("runs", "--workflow", "shop.ad").err == "No runs of 'shop.ad'. Did you mean 'shop.add'?\n"
    assert cli("runs", "--workflow", "add").err == "No runs of 'add'. Did you mean 'shop.add'?\n"
    assert "There are runs of: shop.add, shop.bungle, " in cli("runs", "--workflow", "zzz").err
    assert cli("runs", "--environment", "staging").err == "No runs in the environment 'staging'.\n"
    assert cli("runs", "--tag", "a=b").err == "No runs that fit these options.\n"
    assert cli("inbox", "--kind", "poison").err == "Nothing waits that fits these options.\n"
    assert "Nothing waits that fits and could be redriven" in cli("redrive", "--workflow", "shop.nothing").err


@pytest.mark.usefixtures("several")
def test_piped_a_table_is_plain_and_whole(cli: Command) -> None:
    """Piped, every run is one line with its columns, without colours and not cut."""
    lines = cli("runs").out.splitlines()
    assert len(lines) == 10
    assert "\x1b" not in "".join(lines)
    assert lines[0].split() == ["run", "workflow", "status", "tags", "started", "events"]
    assert any("parked (doubt)" in line for line in lines)


def test_show_tells_the_whole_run(cli: Command, shop: Command) -> None:
    """show has the timeline with attempts and verdicts, effects, cost, and what supervision cost."""
    shop("bungle", "birds", id="b-1")
    said = cli("show", "b-1").out
    assert "attempt 1 rejected: never fail: not by hand" in said
    assert "spent: not measured" in said
    assert "supervision:" in said
    assert "Unchecked done-clauses: not known" in said
    shop("pay", 50, id="p-1")
    said = cli("show", "p-1").out
    assert "intended under key" in said
    assert "charge  done   1" in said
    assert "tok-4711" not in said


def test_show_in_json_has_everything(cli: Command, shop: Command) -> None:
    """The JSON of show holds run, events, effects, what waits, unchecked clauses and the account."""
    shop("review", "birds", id="r-1")
    form = cli("show", "r-1", "--json", "--code", f"{SHOP}:review").json
    assert (form["run"]["id"], form["run"]["status"]) == ("r-1", "waiting")
    assert form["unchecked"] == {"writer": ["It is true."]}
    assert form["waiting"][0]["kind"] == "escalation"
    account = form["account"]
    assert (account["agents"], account["attempts"], account["rejections"], account["spent"]) == (1, 3, 3, None)
    assert account["person_seconds"] > 0
    assert [event["seq"] for event in form["events"]] == list(range(1, len(form["events"]) + 1))


def test_show_says_what_was_spent(cli: Command, shop: Command) -> None:
    """What code reported is added up; code that never reports is not measured, which is not 0."""
    shop("think", "birds", id="t-1")
    assert "spent: 120 tokens, 0.004 USD in 1 model call" in cli("show", "t-1").out
    assert cli("show", "t-1", "--json").json["account"]["spent"]["tokens"] == 120


def test_watch_prints_events_until_the_end(cli: Command, shop: Command) -> None:
    """watch ends with the run; after a seq it begins behind it, so that it can be taken up again."""
    shop("add", {"a": 1}, id="s-1")
    lines = [json.loads(line) for line in cli("watch", "s-1", "--json").out.splitlines()]
    assert [line["type"] for line in lines] == ["run.started", "call.done", "run.completed"]
    assert len(cli("watch", "s-1", "--after", "2").out.splitlines()) == 1


@pytest.mark.parametrize("command", ["watch", "show"])
def test_a_long_value_is_shown_by_its_head_and_size(cli: Command, shop: Command, command: str) -> None:
    """A value that the journal keeps apart is shown like any other, cut, with its size; in JSON it is whole."""
    shop("long", 100_000, id="v-1")
    (done,) = [line for line in cli(command, "v-1").out.splitlines() if "padded  done" in line]
    assert '{"head": "begins", "rest": "xxx' in done
    assert done.endswith("x… (100,030 bytes)")
    assert len(done) < 300
    events = [json.loads(line) for line in cli("watch", "v-1", "--json").out.splitlines()]
    assert len(events[1]["payload"]["v"]["rest"]) == 100_000
    assert events == cli("show", "v-1", "--json").json["events"]


@pytest.mark.usefixtures("several")
def test_what_waits_is_one_list_with_views(cli: Command) -> None:
    """inbox lists everything that waits; approvals and letters are parts of it; an entry is shown whole."""

    def kinds(*words: str) -> list[str]:
        return [entry["kind"] for entry in cli(*words, "--json").json["waiting"]]

    assert kinds("inbox") == ["approval", "letter", "doubt"]
    assert kinds("approvals") == ["approval"]
    assert kinds("letters") == ["letter", "doubt"]
    assert kinds("inbox", "--kind", "letter") == kinds("inbox", "--run", "l-1") == ["letter"]
    assert kinds("inbox", "--environment", "staging") == []
    whole = cli("inbox", "p-1/charge").out
    assert 'arguments: {"amount": 500, "card_token": "[redacted]"}' in whole
    assert "chargehand approve p-1/charge --edit JSON" in whole


def test_inbox_check_is_for_alarms(cli: Command, shop: Command) -> None:
    """inbox --check is non-zero exactly when something is in doubt or overdue."""
    shop("pay", 500, id="p-1")
    assert cli("inbox", "--check").status == 0
    assert cli("inbox", "--check", "--older-than", "1h").status == 0
    time.sleep(0.02)
    assert cli("inbox", "--check", "--older-than", "0.01s").status == 3
    shop("doubted", 5, id="d-1")
    said = cli("inbox", "--check")
    assert (said.status, "d-1/vanish" in said.err) == (3, True)
    assert cli("inbox").status == 0


def test_foreign_text_cannot_steer_the_terminal(cli: Command, shop: Command) -> None:
    """Escape sequences of agents and services reach neither the text nor the JSON that is printed."""

    def clean(*words: str) -> None:
        said = cli(*words)
        assert "connection lost" in said.out, words
        assert not {"\x1b", "\x07"} & set(said.out + said.err)

    shop("doubted", 5, id="d-1")
    for words in (("show", "d-1"), ("show", "d-1", "--json"), ("inbox", "d-1"), ("letters",), ("letters", "--json"), ("export", "d-1")):
        clean(*words)
    for decision in (("resolve", "d-1", "--not-done"), ("fail", "d-1")):
        cli(*decision)
        shop("doubted", 5, id="d-1")
    clean("watch", "d-1")
    said = shop("doubted", 5, id="d-1")
    assert said.status == 1
    assert not {"\x1b", "\x07"} & set(said.err)
