"""Data is never code: nothing that is read is executed, and code comes only from where the operator says."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import chargehand
from chargehand.errors import CallFailed, Failure, failure_from_record
from chargehand.supervise.modelled import ADAPTERS, DEFAULT

from .conftest import Command, change

SOURCE = Path(chargehand.__file__).parent

EXECUTING_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "jsonpickle",
    "yaml",
    "code",
    "codeop",
    "runpy",
    "ctypes",
    "pty",
}
EXECUTING_CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
EXECUTING_ATTRIBUTES = {
    "system",
    "popen",
    "loads_pickle",
    "load_extension",
    "enable_load_extension",
    "fork",
    "posix_spawn",
    "execv",
    "execve",
    "execvp",
}
IMPORTING = {"cli/loading.py", "supervise/modelled.py"}
"""What imports by name: what the operator named on the command line or in the configuration; and the one adapter, whose name is fixed."""
TALKING = {
    "socket",
    "http",
    "urllib",
    "ssl",
    "smtplib",
    "ftplib",
    "requests",
    "httpx",
    "opentelemetry",
    "subprocess",
    "multiprocessing",
    "uvicorn",
}
H11 = "uvicorn.protocols.http.h11_impl"
NAMES_ONLY = {("failures.py", "socket"), ("failures.py", "ssl")}
"""Imported for the names of their exceptions."""
LISTENING = {("testing/standin/server.py", "socket"), ("testing/standin/server.py", "uvicorn"), ("testing/standin/server.py", H11)}
"""The test kit's stand-in for a model, which listens on loopback while a test uses it and connects to nothing."""
SPANS = {("supervise/telemetry.py", name) for name in ("opentelemetry", "opentelemetry.context", "opentelemetry.trace")}
SPANS |= {("supervisor.py", "opentelemetry.trace")}
"""OpenTelemetry's API, which sends nothing: an application that wants spans brings what sends them."""


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax trees of the source by path."""
    return {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module)


def called(tree: ast.Module) -> Iterator[str]:
    """Yield the names of what a module calls, and ``.name`` for methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield "." + node.func.attr


def test_nothing_deserialises_by_executing() -> None:
    """No pickle, marshal, shelve, yaml, eval, exec or compile anywhere in the source, under whatever name it is imported."""
    found = [(path, name) for path, tree in trees().items() for name in imported(tree) if name.split(".")[0] in EXECUTING_MODULES]
    found += [(path, name) for path, tree in trees().items() for name in called(tree) if name in EXECUTING_CALLS]
    found += [(path, name) for path, tree in trees().items() for name in called(tree) if name.lstrip(".") in EXECUTING_ATTRIBUTES]
    names = [(path, node.id) for path, tree in trees().items() for node in ast.walk(tree) if isinstance(node, ast.Name)]
    assert found + [(path, name) for path, name in names if name in EXECUTING_CALLS] == []


def test_modules_are_imported_by_name_in_two_places() -> None:
    """`importlib` is used where the command line's own words are looked up, and nowhere a journal, a letter or a model is read."""
    found = {
        path
        for path, tree in trees().items()
        for name in imported(tree)
        if name.split(".")[0] in ("importlib", "imp", "pkgutil", "zipimport")
    }
    assert found == IMPORTING
    calls = {
        (path, name)
        for path, tree in trees().items()
        for name in called(tree)
        if name.lstrip(".") in ("import_module", "exec_module", "load_module")
    }
    assert calls == {(path, ".import_module") for path in IMPORTING}
    assert {name for name, _ in (*ADAPTERS.values(), DEFAULT)} == {
        "chargehand.adapters.pydantic_ai",
        "chargehand.adapters.openai_agents",
        "chargehand.adapters.langgraph",
    }


def test_nothing_is_sent_anywhere() -> None:
    """Outside the demo no module of ours opens a connection or starts a process; spans go where the application says, by the API alone."""
    found = {
        (path, name)
        for path, tree in trees().items()
        if not path.startswith("demo/")
        for name in imported(tree)
        if name.split(".")[0] in TALKING
    }
    assert found - NAMES_ONLY - SPANS - LISTENING == set()
    assert found >= LISTENING


def test_the_stand_in_only_listens() -> None:
    """The one module that opens a socket takes an address of loopback and connects to nobody."""
    tree = trees()["testing/standin/server.py"]
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("socket.")}
    assert used == {"socket.create_server(('127.0.0.1', 0))"}
    assert not {".connect", ".connect_ex", ".create_connection", ".open_connection"} & set(called(tree))


@pytest.mark.parametrize(
    "code", ["os.system", "builtins.eval", "chargehand.cli.loading._import", "__class__", "subprocess", "", None, 7, {"a": 1}, []]
)
def test_a_name_in_the_journal_is_no_type(code: Any) -> None:
    """A failure that is read back is one of ours by its code, else a plain one; nothing is looked up by a name that was read."""
    record = {"code": code, "type": "os.system", "message": "echo owned", "branches": [], "name": "x", "module": "os"}
    failure = failure_from_record(record)
    assert type(failure) is Failure
    assert isinstance(failure_from_record({**record, "code": "call-failed"}), CallFailed)


def test_a_workflow_that_a_journal_names_is_not_imported(cli: Command, shop: Command, flows: Callable[[str], str], tmp_path: Path) -> None:
    """A run's row names another module: neither looking nor driving imports it."""
    (tmp_path / "evil_module.py").write_text("from pathlib import Path\n\nPath('owned').touch()\n")
    shop("pay", 500, id="p-1")
    change("UPDATE runs SET workflow = 'evil_module.flow'", "UPDATE events SET payload = replace(payload, 'shop.pay', 'evil_module.flow')")
    for words in (["runs"], ["show", "p-1"], ["inbox"], ["export"], ["verify"], ["doctor"], ["approve", "p-1"], ["resume", "p-1"]):
        assert cli(*words).status != 70
    shop("pay", 500, id="p-1")
    assert not Path("owned").exists()


def test_reading_a_journal_imports_nothing_of_the_users(cli: Command, flows: Callable[[str], str]) -> None:
    """Commands that look need no code: what stands beside the journal is left alone, even a module called like one of ours."""
    cli("run", flows("from chargehand import workflow\n\n@workflow\nasync def flow() -> int:\n    return 1\n"), "--id", "r")
    for name in ("json", "shop", "rich", "chargehand"):
        Path(f"{name}.py").write_text(f"from pathlib import Path\n\nPath('owned-{name}').touch()\n")
    for words in (["runs"], ["show", "r"], ["inbox"], ["export"], ["verify"], ["watch", "r"]):
        assert cli(*words).status == 0
    assert not list(Path().glob("owned-*"))


@pytest.mark.parametrize("reference", ["os:system", "subprocess:Popen", "builtins:eval", "json", "os.path:join", "pathlib:Path"])
def test_what_is_no_workflow_is_not_run(cli: Command, reference: str) -> None:
    """A name of something else than a workflow is refused; it is not called to find out."""
    said = cli("run", reference, "--input", '"touch owned"')
    assert said.status in (2, 6)
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    "value",
    [
        {"__class__": "os.system"}, {"py/object": "os.system"}, {"$type": "System.Diagnostics"}, {"__reduce__": ["os.system", ["id"]]},
        {"__proto__": {"x": 1}}, {"!!python/object": "x"}, {"__dict__": {"amount": 1}}, {"__init__": 1, "amount": 2}, {"self": 1}, {"cls": 1},
    ],
)  # fmt: skip
def test_json_is_data_whatever_its_keys_are_called(cli: Command, shop: Command, value: Any) -> None:
    """Keys that other readers take for types or methods are unknown arguments here, and a workflow's free value keeps them."""
    said = shop("pay", value)
    assert (said.status, "Traceback" in said.err) == (2, False)
    shop("ask_freely", "Why?", id="q-1")
    shop("add", {"a": value})
    assert cli("verify").status == 0
