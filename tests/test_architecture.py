"""The four limits and the floors: how the code stays readable from the inside.

The rules come from the tail of many codebases: median functions are short everywhere, what differs is the longest. An
exception is listed here, with its reason, or it does not exist.
"""

from __future__ import annotations

import ast
import configparser
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import chargehand

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "chargehand"

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

LONG_MODULES: dict[str, str] = {}
"""Modules that may be longer than the limit, with the reason."""

LONG_FUNCTIONS: dict[str, str] = {}
"""Functions (``module:name``) that may be longer than the limit, with the reason."""

LOCAL_IMPORTS: dict[str, str] = {
    "chargehand.testing.plugin:model_stand_in": "pytest loads the plugin in every project; only who asks for the stand-in pays for its import",
    "chargehand.cli.gatekeeping:mcp": "the gateway needs the extra `mcp`; every other command works without it",
}
"""Functions (``module:name``) that may import a module of ours inside, with the reason."""

FORBIDDEN_NAMES = frozenset({"utils", "helpers", "types", "models", "base", "manager"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its lines and its syntax tree."""

    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def _modules() -> dict[str, Module]:
    found: dict[str, Module] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        found[name] = Module(name, path, len(text.splitlines()), ast.parse(text))
    return found


MODULES = _modules()


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield every function of a tree with its dotted name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + node.name, node
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


def _is_type_checking(node: ast.AST) -> bool:
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING")


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run when the module is imported: not those of functions, not those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif _is_type_checking(node):
            assert isinstance(node, ast.If)
            for other in node.orelse:
                yield from _imports(other)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(node)


def _named(module: Module, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield the modules of ours that one import statement names."""
    if isinstance(node, ast.Import):
        wanted = [alias.name for alias in node.names]
    else:
        start = node.module or ""
        if node.level:
            package = module.package.split(".")
            start = ".".join([*package[: len(package) - node.level + 1], *([start] if start else [])])
        wanted = [f"{start}.{alias.name}" if f"{start}.{alias.name}" in MODULES else start for alias in node.names]
    for name in wanted:
        if name in MODULES:
            yield name


def _graph() -> dict[str, set[str]]:
    return {
        name: {other for node in _imports(module.tree) for other in _named(module, node) if other != name}
        for name, module in MODULES.items()
    }


def _cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected parts that have more than one member (Tarjan's algorithm, without recursion)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    on_stack: list[str] = []
    found: list[list[str]] = []
    for root in graph:
        if root in number:
            continue
        work: list[tuple[str, Iterator[str]]] = []

        def enter(name: str, work: list[tuple[str, Iterator[str]]] = work) -> None:
            number[name] = low[name] = len(number)
            on_stack.append(name)
            work.append((name, iter(sorted(graph[name]))))

        enter(root)
        while work:
            name, others = work[-1]
            for other in others:
                if other not in number:
                    enter(other)
                    break
                if other in on_stack:
                    low[name] = min(low[name], number[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == number[name]:
                    position = on_stack.index(name)
                    part = on_stack[position:]
                    del on_stack[position:]
                    if len(part) > 1:
                        found.append(sorted(part))
    return found


# -- the four limits ----------


def test_no_module_is_longer_than_the_limit() -> None:
    """No module has more than 500 lines."""
    long = {name: module.lines for name, module in MODULES.items() if module.lines > MODULE_LINES_MAX and name not in LONG_MODULES}
    assert not long


def test_no_function_is_longer_than_the_limit() -> None:
    """No function has more than 60 lines, its signature and docstring counted."""
    long = {
        f"{name}:{function}": node.end_lineno - node.lineno + 1
        for name, module in MODULES.items()
        for function, node in _functions(module.tree)
        if node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
        and f"{name}:{function}" not in LONG_FUNCTIONS
    }
    assert not long


def test_there_is_no_import_cycle() -> None:
    """No module needs itself to be imported, however long the way round; imports for type checkers only do not count."""
    assert _cycles(_graph()) == []


def _local_imports(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    """Yield the imports inside functions, each with the dotted name of its innermost function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and function:
            yield function, node
        inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        name = f"{function}.{node.name}" if inner and function else node.name if inner else function  # type: ignore[attr-defined]
        if isinstance(node, ast.ClassDef) and not function:
            name = ""  # an import in a class body at module level runs with the module
        yield from _local_imports(node, name)


def test_no_function_imports_a_module_of_ours() -> None:
    """What a module needs of ours stands at its top, where everybody sees it."""
    hidden = [
        f"{name}:{function} imports {other}"
        for name, module in MODULES.items()
        for function, node in _local_imports(module.tree)
        for other in _named(module, node)
        if f"{name}:{function}" not in LOCAL_IMPORTS
    ]
    assert hidden == []


def test_the_search_for_local_imports_finds_them() -> None:
    """The search finds an import in a function, in a method and under an if, and not the module's own."""
    found = _local_imports(
        ast.parse(
            "import a\nclass C:\n  import b\n  def m(self):\n    import c\ndef f():\n  if 1:\n    import d\n  def g():\n    import e\n"
        )
    )
    assert [(function, node.names[0].name) for function, node in found] == [("m", "c"), ("f", "d"), ("f.g", "e")]


def test_every_exception_is_needed() -> None:
    """An exception that is no longer needed is taken off its list."""
    functions = {f"{name}:{function}": node for name, module in MODULES.items() for function, node in _functions(module.tree)}
    for name in LONG_MODULES:
        assert MODULES[name].lines > MODULE_LINES_MAX, name
    for name in LONG_FUNCTIONS:
        node = functions[name]
        assert node.end_lineno is not None, name
        assert node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX, name
    local = {f"{name}:{function}" for name, module in MODULES.items() for function, _ in _local_imports(module.tree)}
    assert set(LOCAL_IMPORTS) <= local


def test_the_search_for_cycles_finds_one() -> None:
    """The search finds a cycle of three and does not take a shared import for one."""
    assert _cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert _cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


# -- floors ----------


def _floors() -> list[list[str]]:
    """Return the floors of .importlinter, the highest first, each with its parts."""
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter")
    section = contract["importlinter:contract:floors"]
    assert section.getboolean("exhaustive")
    return [[name.strip() for name in re.split(r"[|:]", line)] for line in section["layers"].split("\n") if line.strip()]


def test_imports_only_go_down() -> None:
    """No module imports from a floor above its own, nor from another part of its floor."""
    floor = {part: number for number, parts in enumerate(_floors()) for part in parts}
    wrong = [
        f"{name} imports {other}"
        for name, others in _graph().items()
        for other in others
        if "." in name
        and "." in other
        and (ours := name.split(".")[1]) != (theirs := other.split(".")[1])
        and floor.get(ours, -1) >= floor.get(theirs, -1)
    ]
    assert wrong == []


@pytest.mark.slow
def test_import_linter_agrees() -> None:
    """import-linter keeps the same floors by its own reading of the code, indirect imports included."""
    command = Path(sys.executable).parent / "lint-imports"
    if not command.exists():
        pytest.skip("import-linter is not installed beside this Python")
    done = subprocess.run([str(command), "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_floors_are_exhaustive() -> None:
    """Every module and package directly under ``chargehand`` has a floor, and no floor is empty."""
    named = {part for parts in _floors() for part in parts}
    there = {name.split(".")[1] for name in MODULES if "." in name}
    assert there - named == set(), "parts without a floor"
    assert named - there == set(), "floors without a part"


def test_the_public_names_are_listed() -> None:
    """``__all__`` names what chargehand imports for its users, because a typed package exports nothing else."""
    imported = {
        alias.asname or alias.name
        for node in MODULES["chargehand"].tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if not alias.name.startswith("_")
    }
    assert set(chargehand.__all__) == imported
    assert len(chargehand.__all__) == len(imported)


# -- names and sentences ----------


def test_no_module_has_a_name_that_says_nothing() -> None:
    """A module is named after what is in it: no utils, helpers, types, models, base or manager."""
    assert [name for name in MODULES if name.rpartition(".")[2] in FORBIDDEN_NAMES] == []


def test_every_public_name_says_what_it_is() -> None:
    """Every class and function that users import from chargehand has a docstring of its own."""
    public = {
        name: thing
        for name, thing in vars(chargehand).items()
        if not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing))
    }
    assert len(public) > 50
    assert [
        name for name, thing in public.items() if not (thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__)
    ] == []


def test_every_module_says_what_it_is_for() -> None:
    """Every module of the package begins with a docstring."""
    assert [name for name, module in MODULES.items() if not ast.get_docstring(module.tree)] == []


def test_every_test_says_which_promise_it_keeps() -> None:
    """Every test function has a docstring whose first paragraph is one sentence."""
    silent: list[str] = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, node in _functions(ast.parse(path.read_text())):
            if not name.rpartition(".")[2].startswith("test_"):
                continue
            said = ast.get_docstring(node)
            if not said or said.strip().split("\n\n")[0].strip()[-1] not in ".!?)":
                silent.append(f"{path.relative_to(ROOT)}:{name}")
    assert silent == []


def test_only_one_module_speaks_to_sqlite_outside_the_journals() -> None:
    """Nothing but the journals (and the demo's own services) imports a database driver."""
    drivers = {"apsw", "sqlite3"}
    allowed = ("chargehand.journals.", "chargehand.demo.")
    found = {
        name
        for name, module in MODULES.items()
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for wanted in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if wanted.split(".")[0] in drivers and not name.startswith(allowed)
    }
    assert found == set()


def test_the_core_has_no_clock_no_dice_and_no_disk() -> None:
    """Floor 1 decides: it imports no time, no randomness, no files and no event loop."""
    forbidden = {"time", "random", "secrets", "os", "pathlib", "asyncio", "threading", "socket", "sqlite3", "apsw", "uuid"}
    found = {
        f"{name} imports {wanted}"
        for name, module in MODULES.items()
        if name.startswith("chargehand.core")
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for wanted in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if wanted.split(".")[0] in forbidden
    }
    assert found == set()
