"""`check-replay`: what a deploy would do to the runs that are under way, without doing anything."""

from __future__ import annotations

import pytest

from .conftest import FLOWS, Command

BEFORE = f"{FLOWS}/billing_before.py:bill"
AFTER = f"{FLOWS}/billing_after.py"


@pytest.fixture
def parked(cli: Command) -> None:
    """Leave two runs that wait in the middle, and one that is done."""
    for id in ("b-1", "b-2", "done"):
        assert cli("run", BEFORE, "--input", '"DE"', "--id", id).status == 3
    cli("signal", "done", "go", "--value", '"yes"')
    assert cli("run", BEFORE, "--input", '"DE"', "--id", "done").status == 0


@pytest.mark.usefixtures("parked")
def test_the_code_that_started_the_runs_replays(cli: Command) -> None:
    """With unchanged code every unfinished run goes on, and it is said where."""
    said = cli("check-replay", BEFORE, "--json")
    assert (said.status, said.json["checked"], said.json["bad"]) == (0, 2, 0)
    assert {run["outcome"] for run in said.json["runs"]} == {"replays"}
    assert {tuple(run["begins"]) for run in said.json["runs"]} == {("wait_signal",)}


@pytest.mark.usefixtures("parked")
def test_a_change_after_the_last_event_replays(cli: Command) -> None:
    """What is not recorded yet may change."""
    assert cli("check-replay", f"{AFTER}:bill_same").status == 0


@pytest.mark.usefixtures("parked")
def test_every_divergence_is_listed(cli: Command) -> None:
    """All places where code and record differ are shown with both sides, for every run, and nothing is executed."""
    before = cli("export").out
    said = cli("check-replay", f"{AFTER}:bill", "--json")
    assert (said.status, said.json["bad"]) == (4, 2)
    for run in said.json["runs"]:
        assert [one["path"] for one in run["divergences"]] == ["billing.rate", "billing.book"]
        assert "119" in run["divergences"][1]["recorded"]
        assert "219" in run["divergences"][1]["code"]
    plain = cli("check-replay", f"{AFTER}:bill")
    assert "recorded: effect 'billing.book'" in plain.out
    assert cli("export").out == before


@pytest.mark.usefixtures("parked")
def test_a_run_that_has_ended_is_not_counted(cli: Command) -> None:
    """An ended run that is named is no unfinished run that goes on: nothing of it is run again."""
    said = cli("check-replay", BEFORE, "--run", "done", "--run", "b-1", "--json")
    assert (said.status, said.json["checked"], said.json["ended"]) == (0, 1, ["done"])
    said = cli("check-replay", BEFORE, "--run", "done")
    assert "0 unfinished runs checked" in said.out
    assert "done has ended, it is completed" in said.err


@pytest.mark.usefixtures("parked")
def test_a_forgotten_effect_is_a_divergence(cli: Command) -> None:
    """Code that ends without asking for a recorded effect would park the run, and one run can be checked alone."""
    said = cli("check-replay", f"{AFTER}:bill_shorter", "--run", "b-2", "--json")
    assert (said.status, said.json["checked"]) == (4, 1)
    assert said.json["runs"][0]["divergences"][0]["path"] == "billing.book"


@pytest.mark.usefixtures("parked")
def test_what_lies_behind_a_new_call_is_named(cli: Command) -> None:
    """A recorded effect behind a call that is new can be judged only when that call is made: it is named, and no run would park yet."""
    said = cli("check-replay", f"{AFTER}:bill_behind", "--run", "b-1", "--json")
    assert (said.status, said.json["bad"]) == (0, 0)
    assert said.json["runs"][0]["begins"] == ["billing.rate#2"]
    assert said.json["runs"][0]["unreached"] == ["billing.book"]
    assert "If it no longer asks for it, the run will park there." in cli("check-replay", f"{AFTER}:bill_behind", "--run", "b-1").out


@pytest.mark.usefixtures("parked")
def test_a_bug_on_the_way_is_found(cli: Command) -> None:
    """Code that raises on the recorded way breaks every run, and that is said before it happens."""
    said = cli("check-replay", f"{AFTER}:bill_broken", "--json")
    assert (said.status, {run["outcome"] for run in said.json["runs"]}) == (4, {"breaks"})
    assert "vat" in said.json["runs"][0]["why"]


@pytest.mark.usefixtures("parked")
def test_runs_of_other_workflows_are_counted(cli: Command) -> None:
    """Runs whose code was not given are not passed over in silence."""
    said = cli("check-replay", f"{FLOWS}/shop.py:pay", "--json")
    assert (said.status, said.json["checked"], said.json["other_workflows"]) == (0, 0, 2)


@pytest.mark.usefixtures("parked")
def test_a_divergence_may_be_accepted(cli: Command) -> None:
    """A run that parked as diverged goes on when a person says that the code as it is now is right."""
    words = ("run", f"{AFTER}:bill_accepted", "--input", '"DE"', "--id", "b-1")
    cli("signal", "b-1", "go", "--value", '"yes"')
    parked = cli(*words)
    assert parked.status == 4
    assert "chargehand resume b-1 --accept billing.rate  # " in parked.err
    (entry,) = cli("inbox", "--json").json["waiting"]
    assert entry["kind"] == "diverged"
    assert entry["commands"] == ["chargehand resume b-1", "chargehand resume b-1 --accept billing.rate", "chargehand cancel b-1"]
    for command in entry["commands"][:2]:
        assert command in cli("inbox", "b-1").out
    assert cli(*entry["commands"][1].split()[1:]).status == 0
    assert cli(*words).out == '"yes"\n'
    assert "goes on by" in cli("show", "b-1").out


@pytest.mark.usefixtures("parked")
def test_accepting_another_place_is_said(cli: Command) -> None:
    """A path that the run does not know is refused; who accepts one at which it is not parked hears where it is parked."""
    cli("signal", "b-1", "go", "--value", '"yes"')
    cli("run", f"{AFTER}:bill_accepted", "--input", '"DE"', "--id", "b-1")
    said = cli("resume", "b-1", "--accept", "billing.raet")
    assert said.status == 2
    assert "'billing.raet', which is no call of run 'b-1'. It is parked at 'billing.rate'. Nothing was sent." in said.err
    said = cli("resume", "b-1", "--accept", "billing.book")
    assert said.status == 0
    assert "It is parked at 'billing.rate', which --accept does not name" in said.err
