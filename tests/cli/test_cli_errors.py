"""Bad input to every command: one line that says what, the value and what to do, with its code and exit status."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
import typer

from chargehand.cli import main as main_module
from chargehand.cli.main import app
from chargehand.errors import error_classes
from chargehand.statuses import EXITS, exit_status

from .conftest import SHOP, Command

PAY = f"{SHOP}:pay"

BAD: list[tuple[str, int, str, str]] = [
    # run
    ("run", 2, "usage", "Missing argument"),
    ("run nowhere:pay", 2, "configuration", "no module 'nowhere'"),
    ("run nothing.py:pay", 2, "configuration", "no file 'nothing.py'"),
    (f"run {SHOP}:pai", 6, "unknown-workflow", "Did you mean"),
    (f"run {SHOP}", 6, "unknown-workflow", "has not one workflow"),
    (f"run {SHOP}:charge", 2, "definition", "is no workflow"),
    ("run raises.py:flow", 2, "configuration", "ZeroDivisionError: division by zero"),
    ("run wrong.py:flow", 2, "configuration", "SyntaxError: invalid syntax (/"),
    ("run untyped.py:flow", 2, "missing-annotation", "untyped.py:3)"),
    ("run nonsense.py:flow", 2, "definition", "nonsense.py:2)"),
    ("run lacks.py:flow", 2, "configuration", "imports 'no_such_thing'"),
    ("run json.py:flow", 2, "configuration", "another module is called 'json'"),
    (f"run {PAY}", 2, "invalid-input", "lacks the argument 'amount'"),
    (f"run {PAY} --input nonsense", 2, "invalid-input", "--input is not JSON: 'nonsense'"),
    (f"run {PAY} --input @missing.json", 2, "invalid-input", "'missing.json'"),
    (f"run {PAY} --input NaN", 2, "invalid-input", "NaN is no JSON"),
    (f'run {PAY} --input {{"amount":"x"}}', 2, "invalid-input", "pay(amount) does not fit"),
    (f'run {PAY} --input {{"amount":1,"more":2}}', 2, "invalid-input", "does not fit"),
    (f'run {SHOP}:add --input {{"c":1}}', 2, "invalid-input", "no argument 'c'"),
    (f"run {SHOP}:add --input 5", 2, "invalid-input", "no object of arguments"),
    (f"run {PAY} --input 5 --id a/b", 2, "invalid-input", "cannot be a run's id"),
    (f"run {PAY} --input 5 --id a\x1b[2Kb", 2, "invalid-input", "cannot be a run's id"),
    (f"run {PAY} --input 5 --tag a=\udc80", 2, "invalid-input", "is not UTF-8"),
    (f'run {SHOP}:review --input "\\ud800"', 2, "invalid-input", "is not JSON"),
    (f"run {PAY} --input 5 --tag novalue", 2, "invalid-input", "no tag: 'novalue'"),
    (f"run {PAY} --input 5 --deadline soon", 2, "invalid-input", "no duration: 'soon'"),
    (f"run {PAY} --input 5 --approve never", 2, "configuration", "'never'"),
    (f"run {PAY} --input 5 --out x.jsonl", 2, "invalid-input", "belong to --each"),
    (f"run {PAY} --each missing.jsonl", 2, "invalid-input", "'missing.jsonl'"),
    (f"run {PAY} --each items.jsonl --fail-above 200%", 2, "invalid-input", "'200%'"),
    (f"run {PAY} --each items.jsonl --input 5", 2, "invalid-input", "leave --input and --stay out"),
    (f"run {PAY} --each items.jsonl --at-once 0", 2, "usage", "--at-once"),
    (f"run {PAY} --input 5 --resources nowhere:x", 2, "configuration", "nowhere"),
    (f"run {PAY} --input 5 --resources {SHOP}:pay", 2, "configuration", "holds no resources"),
    (f"run {PAY} --input 5 --as eve", 2, "configuration", "No principals are configured"),
    (f"run {PAY} --input 5 --journal ftp://x", 2, "configuration", "Not a journal"),
    (f"run {PAY} --input 5 --journal no/such/place.db", 5, "journal", "cannot be"),
    (f"run {PAY} --input 5 --journal folder", 5, "journal", "is a directory"),
    ("run .", 2, "configuration", "names no module and no file of Python"),
    ("run :", 2, "configuration", "names no module and no file of Python"),
    (f"run {PAY} --input 5 --at-once 3", 2, "invalid-input", "belong to --each"),
    (f"run {PAY} --each items.jsonl --out folder", 2, "invalid-input", "'folder' is a directory"),
    (f"run {PAY} --each items.jsonl --out no/such/place.jsonl", 2, "invalid-input", "there is no directory 'no/such'"),
    # worker
    ("worker", 2, "configuration", "No workflow is named"),
    ("worker nowhere:x", 2, "configuration", "no module"),
    ("judge-check nothing.jsonl json:nothing", 2, "configuration", "json has no 'nothing'"),
    ("judge-check nothing.jsonl json:dumps", 2, "configuration", "is no judge but function"),
    ("mcp", 2, "configuration", "has no table [mcp.servers.NAME]"),
    ("mcp --journal memory:", 2, "configuration", "The gateway's journal is a file"),
    ("mcp --grace soon", 2, "invalid-input", "--grace"),
    (f"worker {PAY} --grace long", 2, "invalid-input", "'long'"),
    (f"worker {PAY} --log-level loud", 2, "invalid-input", "'loud'"),
    (f"worker {PAY} --journal memory:", 2, "configuration", "memory:"),
    # looking
    ("runs --status done", 2, "invalid-input", "'done'"),
    ("runs --status waitin", 2, "invalid-input", "Did you mean 'waiting'?"),
    ("runs --tag x", 2, "invalid-input", "'x'"),
    ("runs --since yesterday", 2, "invalid-input", "'yesterday'"),
    ("runs --limit 0", 2, "usage", "--limit"),
    ("runs --jsno", 2, "usage", "--json"),
    ("runs --journal missing.db", 5, "journal", "no journal: 'missing.db'"),
    ("runs --journal memory:", 2, "configuration", "memory:"),
    ("runs --journal text.db", 5, "journal-corrupt", "text.db"),
    ("runs --journal newer.db", 5, "journal-newer", "newer"),
    ("runs --config missing.toml", 2, "configuration", "missing.toml"),
    ("runs --before 0", 2, "usage", "--before"),
    ("lineage", 2, "usage", "Missing argument"),
    ("lineage nobody", 6, "unknown-run", "'nobody'"),
    ("show", 2, "usage", "Missing argument"),
    ("show nobody", 6, "unknown-run", "'nobody'"),
    ("watch nobody", 6, "unknown-run", "'nobody'"),
    ("watch p-1 --after -1", 2, "usage", "--after"),
    ("inbox nothing", 6, "unknown-entry", "'nothing'"),
    ("inbox --run nobody", 6, "unknown-run", "'nobody'"),
    ("inbox --kind leter", 2, "invalid-input", "Did you mean 'letter'?"),
    ("inbox --check --older-than x", 2, "invalid-input", "'x'"),
    ("inbox --older-than 1h", 2, "invalid-input", "belongs to --check"),
    ("approvals nothing", 6, "unknown-entry", "'nothing'"),
    ("letters p-1", 6, "unknown-entry", "'p-1'"),
    # deciding
    ("approve", 2, "usage", "Missing argument"),
    ("approve nothing", 6, "unknown-entry", "'nothing'"),
    ("approve p-1 --edit 5", 2, "invalid-input", "no object of arguments"),
    ("approve p-1 --edit {", 2, "invalid-input", "--edit is not JSON"),
    ("approve p-1 --shown 1234567", 2, "invalid-input", "at least 8 characters"),
    ("approve p-1 --as eve", 2, "configuration", "'eve'"),
    ("approve p-1 --environment staging", 7, "wrong-environment", "'development'"),
    ("approve p-1/charge --environment staging", 7, "wrong-environment", "'development'"),
    ("reject p-1", 2, "usage", "--reason"),
    ("reject p-1 --reason BLANK", 2, "invalid-input", "--reason is empty"),
    ("release p-1/charge --reason x", 7, "decision-refused", "chargehand approve p-1/charge"),
    ("answer p-1/charge 5", 7, "decision-refused", "is an approval"),
    ("answer nothing 5", 6, "unknown-entry", "'nothing'"),
    ("redrive", 2, "invalid-input", "one ENTRY, or a selection"),
    ("redrive p-1 --all", 2, "invalid-input", "one ENTRY, or a selection"),
    ("redrive --all --wait", 2, "invalid-input", "belong to one ENTRY"),
    ("redrive --kind x", 2, "invalid-input", "'x'"),
    ("redrive nothing", 6, "unknown-entry", "'nothing'"),
    ("redrive --kind approval", 2, "invalid-input", "letter or doubt"),
    ("resolve p-1", 2, "invalid-input", "0 were given"),
    ("resolve p-1 --not-done --leave", 2, "invalid-input", "2 were given"),
    ("resolve p-1 --done {", 2, "invalid-input", "--done is not JSON"),
    ("resolve p-1/charge --not-done", 7, "decision-refused", "not decided so"),
    ("fail p-1/charge", 7, "decision-refused", "not decided so"),
    ("abandon p-1/charge --reason x", 7, "decision-refused", "not decided so"),
    ("abandon p-1", 2, "usage", "--reason"),
    ("signal nobody go", 6, "unknown-run", "'nobody'"),
    ("signal p-1 go --value x", 2, "invalid-input", "--value is not JSON"),
    ("signal p-1 BLANK", 2, "invalid-input", "no name of a signal"),
    ("signal done go", 7, "decision-refused", "has ended"),
    ("signal p-1 go --environment staging", 7, "wrong-environment", "staging"),
    ("resume nobody", 6, "unknown-run", "'nobody'"),
    ("resume p-1", 7, "decision-refused", "not parked as a whole"),
    ("cancel nobody", 6, "unknown-run", "'nobody'"),
    ("cancel done", 7, "decision-refused", "has ended"),
    # keeping
    ("check-replay", 2, "configuration", "No workflow is named"),
    (f"check-replay {PAY} --run nobody", 6, "unknown-run", "'nobody'"),
    ("verify nobody", 6, "unknown-run", "'nobody'"),
    ("verify --against missing.jsonl", 2, "invalid-input", "'missing.jsonl'"),
    ("verify --against items.jsonl", 2, "invalid-input", "is no head"),
    ("verify --against heads.jsonl", 2, "invalid-input", "is no whole head"),
    ("export nobody", 6, "unknown-run", "'nobody'"),
    ("export --out no/such/place.jsonl", 2, "invalid-input", "place.jsonl"),
    ("export --until 31.12.", 2, "invalid-input", "'31.12.'"),
    ("erase", 2, "usage", "Missing argument"),
    ("erase done", 2, "invalid-input", "takes the numbers of events"),
    ("erase done 1 --all", 2, "invalid-input", "takes the numbers of events"),
    ("erase done x", 2, "invalid-input", "'x'"),
    ("erase done 0", 2, "invalid-input", "'0'"),
    ("erase done 3-1", 2, "invalid-input", "'3-1'"),
    ("erase done 1-99", 2, "invalid-input", "has no event 99: it has 4"),
    ("erase done 1", 2, "invalid-input", "Say so with --yes"),
    ("erase nobody 1 --yes", 6, "unknown-run", "'nobody'"),
    ("erase p-1 1 --yes", 7, "decision-refused", "it needs its events to go on"),
    ("erase done 1 --yes --environment staging", 7, "wrong-environment", "'development'"),
    ("export --out folder", 2, "invalid-input", "'folder' is a directory"),
    ("prune", 2, "usage", "--before"),
    ("prune --before ever", 2, "invalid-input", "'ever'"),
    ("doctor --journal missing.db", 5, "journal", "missing.db"),
    ("principal", 2, "usage", "Missing argument"),
    ("principal eve", 2, "configuration", "no secret"),
    ("demo --keep full", 2, "invalid-input", "is not empty"),
    ("demo --keep text.db", 2, "invalid-input", "is not empty"),
    ("demo --kep x", 2, "usage", "--keep"),
    ("nonsense", 2, "usage", "nonsense"),
]  # fmt: skip


@pytest.fixture
def prepared(shop: Command) -> None:
    """Leave two runs in the journal, and files that cannot be used."""
    shop("pay", 500, id="p-1")
    shop("pay", 50, id="done")
    Path("folder").mkdir()
    Path("full/inner").mkdir(parents=True)
    Path("items.jsonl").write_text("5\n")
    Path("heads.jsonl").write_text('{"kind": "head", "run": "p-1"}\n')
    Path("text.db").write_text("this is no database, only text that is long enough to look at" * 20)
    Path("raises.py").write_text("1 / 0\n")
    Path("wrong.py").write_text("def (:\n")
    Path("untyped.py").write_text("from chargehand import step\n\n@step\ndef unser(n: int):\n    return n\n")
    Path("nonsense.py").write_text("from chargehand import Budget\nBUDGET = Budget(tokens=-5)\n")
    Path("lacks.py").write_text("import no_such_thing\n")
    Path("json.py").write_text("flow = 1\n")
    with sqlite3.connect("newer.db") as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.usefixtures("prepared")
def test_every_bad_input_is_told_in_one_line(cli: Command) -> None:
    """Each bad input gives its documented status and code, one line on standard error, nothing on standard output and no traceback."""
    wrong: list[str] = []
    for text, status, code, told in BAD:
        said = cli(*words_of(text))
        line = said.err
        fits = said.status == status and said.out == "" and line.count("\n") == 1 and line.rstrip().endswith(f"[{code}]") and told in line
        if not fits:
            wrong.append(f"{text}: {said}")
    assert wrong == []


@pytest.mark.usefixtures("prepared")
def test_errors_in_json_are_one_object(cli: Command) -> None:
    """With --json an error is one JSON object on standard error, whatever its code."""
    one_for_each_code = {code: (text, status) for text, status, code, _ in reversed(BAD)}
    for code, (text, status) in one_for_each_code.items():
        said = cli(*words_of(text), "--json")
        assert (said.status, said.out) == (status, ""), text
        assert json.loads(said.err) == {"error": {"code": code, "message": said.error["message"], "exit": status}}


def words_of(text: str) -> list[str]:
    """Return the words of a line of the table."""
    return [" " if word == "BLANK" else word for word in text.split(" ")]


def test_every_command_is_given_bad_input() -> None:
    """No command is left out of the table above."""
    commands = {name for name, one in typer.main.get_command(app).commands.items() if not one.hidden}  # type: ignore[attr-defined]
    assert commands - {text.split()[0] for text, *_ in BAD} == set()


def test_every_error_has_a_documented_status() -> None:
    """Whatever class of error a command meets, its exit status is in the table."""
    assert {exit_status(kind.__new__(kind, "x", [ValueError()])) for kind in error_classes()} <= set(EXITS)


def test_a_traceback_is_shown_on_demand_only(cli: Command) -> None:
    """--debug shows where an error came from; without it nobody is bothered with that."""
    assert "Traceback" not in cli("show", "x").err
    assert "Traceback" in cli("show", "x", "--debug").err


def test_a_defect_is_called_one(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is no error of ours to expect is told as a defect, with a status of its own."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("oh \x1b[31mno")

    monkeypatch.setattr(main_module, "parser", lambda: broken)
    said = cli("runs")
    assert (said.status, said.err.count("\n")) == (70, 1)
    assert "RuntimeError: oh no" in said.err


def test_the_demo_is_called(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """`demo` hands over where to keep its files and gives back its status."""
    given: list[object] = []

    def played(*, keep: Path | None, console: object) -> int:
        given.append(keep)
        return 1

    monkeypatch.setattr("chargehand.cli.keeping.run_demo", played)
    assert cli("demo", "--keep", "here").status == 1
    assert (cli("demo", "--json").json, given) == ({"ok": False}, [Path("here"), None])


def test_help_is_everywhere(cli: Command) -> None:
    """Without a command, and for each command, help is printed and the status is 0."""
    assert "check-replay" in cli().out
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        said = cli(name, "--help")
        assert said.status == 0
        assert "--json" in said.out
    assert cli("--version").out.startswith("chargehand ")
