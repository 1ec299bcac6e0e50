"""``docs/cli.md`` is made here from the commands themselves; a test fails when it is stale."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from chargehand.cli.invocation import Invocation, command
from chargehand.config import VARIABLES_ONLY
from chargehand.statuses import EXITS

_HEAD = """# Command line

This page is generated: `chargehand reference > docs/cli.md`.

Every command answers on standard output and tells about the work on standard error, where also goes what your own code
prints; what a workflow prints comes again with each replay of its run. On a terminal it is coloured and
shows progress; piped it is plain. `--json` gives the whole answer as JSON, and an error as one JSON object on standard
error. Text that agents and services wrote is printed without terminal control, and without the values that
[`redact`](configuration.md#redact) names; the value that `run` prints is your workflow's own and is not redacted.
"""


def register(app: typer.Typer) -> None:
    """Add this command, unseen."""

    def reference(face: Invocation) -> None:
        """Print the reference of the command line as Markdown."""
        if face.json:
            face.answer({"markdown": markdown(app)})
        else:
            face.raw(markdown(app).rstrip("\n"))

    command(app, "reference", "Keep", hidden=True)(reference)


def markdown(app: typer.Typer) -> str:
    """Return the reference of every command that is shown."""
    group: Any = typer.main.get_command(app)
    lines = [_HEAD, "## Exit statuses", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {status} | {meaning} |" for status, meaning in EXITS.items()]
    lines += [
        "| 130 | interrupted |",
        "| 141 | standard output was closed, or full, before the answer was whole |",
        "",
        "## Everywhere",
        "",
        "These options belong to every command.",
        "",
    ]
    visible = {name: one for name, one in group.commands.items() if not one.hidden}
    common = [parameter for parameter in next(iter(visible.values())).params if _is_common(parameter)]
    lines += _table(common)
    lines += ["", "Variables that only the environment can set:", ""]
    lines += [f"* `{name}`: {says}" for name, says in VARIABLES_ONLY.items()]
    for name, one in visible.items():
        lines += _section(name, one)
    return "\n".join(lines) + "\n"


def _is_common(parameter: Any) -> bool:
    return getattr(parameter, "rich_help_panel", None) == "Everywhere"


def _section(name: str, one: Any) -> Iterator[str]:
    own = [parameter for parameter in one.params if not _is_common(parameter) and parameter.name != "help"]
    arguments = [parameter for parameter in own if parameter.param_type_name == "argument"]
    options = [parameter for parameter in own if parameter.param_type_name == "option"]
    shown = "".join(f" {_metavar(argument)}" for argument in arguments)
    required = "".join(f" {option.opts[0]} {_metavar(option)}" for option in options if option.required)
    yield from ("", f"## {name}", "", f"    chargehand {name}{shown}{required}{' [OPTIONS]' if options else ''}", "")
    yield from inspect.cleandoc(one.help or "").splitlines()
    if own:
        yield ""
        yield from _table(own)


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _table(parameters: list[Any]) -> Iterator[str]:
    yield "| option | meaning |"
    yield "|---|---|"
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            shown = _metavar(parameter)
        else:
            value = "" if getattr(parameter, "is_flag", False) else f" {_metavar(parameter)}"
            shown = f"{parameter.opts[0]}{value}"
        yield f"| `{shown}` | {_meaning(parameter)} |".replace("JSON|@FILE", "JSON\\|@FILE")


def _meaning(parameter: Any) -> str:
    says = str(parameter.help or "")
    default = parameter.default
    if isinstance(default, (int, str)) and not isinstance(default, bool) and default != "":
        says += f" Default: {default}."
    return says + (" Required." if parameter.required and parameter.param_type_name == "option" else "")
