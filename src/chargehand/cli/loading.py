"""From ``module:name`` to the user's definitions: importing what the command line or the configuration names.

A module may be a file. It gets the name that it has for the program it belongs to: the path from the outermost package
on, so that a workflow is called the same whether it is run from its file or from its module.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import chargehand
from chargehand.cli.safe import short_json
from chargehand.config import Settings, nearest
from chargehand.errors import BadConfiguration, ChargehandError, DefinitionError, InvalidInput, UnknownWorkflow
from chargehand.supervise.call import Call
from chargehand.supervise.definitions import WorkflowDefinition
from chargehand.supervise.discover import reachable
from chargehand.supervise.resources import Resource

AnyWorkflow = WorkflowDefinition[..., Any]


def workflow_at(reference: str) -> AnyWorkflow:
    """Return the workflow that ``module:name`` or ``path/to/file.py:name`` names; the name may be left out when there is one."""
    module_name, _, name = reference.partition(":") if reference.endswith(".py") else reference.rpartition(":")
    if not module_name:
        module_name, name = name, ""
    module = _imported(module_name, reference)
    found = {key: value for key, value in vars(module).items() if isinstance(value, WorkflowDefinition)}
    if not name:
        if len(found) == 1:
            return next(iter(found.values()))
        listed = ", ".join(sorted(found)) or "none"
        raise UnknownWorkflow(f"{module_name} has not one workflow but: {listed}. Write {module_name}:name.")
    thing = getattr(module, name, None)
    if thing is None:
        near = nearest(name, found)
        hint = f"Did you mean {module_name}:{near}?" if near else f"It has: {', '.join(sorted(found)) or 'no workflow'}."
        raise UnknownWorkflow(f"{module_name} has no {name!r}. {hint}")
    if not isinstance(thing, WorkflowDefinition):
        raise DefinitionError(f"{reference} is no workflow: {type(thing).__name__}. Decorate an async function with @workflow.")
    return thing


def workflows_at(references: Sequence[str], settings: Settings) -> list[AnyWorkflow]:
    """Return the workflows that a command names, else those of the configuration."""
    named = list(references) or list(settings.workflows)
    look_beside(settings)
    if not named:
        where = settings.file or "chargehand.toml"
        raise BadConfiguration(f"No workflow is named. Give module:workflow, or set workflows in {where}.")
    return [workflow_at(reference) for reference in named]


def code_of(name: str, references: Sequence[str], settings: Settings) -> tuple[AnyWorkflow | None, str]:
    """Return the workflow of this full name among those that a command names, else those of the configuration.

    None and why when it is not at hand. What a command names must be there, and raises like anywhere.
    """
    if not references and not settings.workflows:
        return None, f"give --code module:workflow, or set workflows in {settings.file or 'chargehand.toml'}."
    try:
        known = [workflow for workflow in workflows_at(references, settings) if workflow.full_name == name]
    except ChargehandError as error:
        if references:
            raise
        return None, error.message
    return (known[0], "") if known else (None, f"{name} is not among the workflows given. Give --code module:workflow.")


def resources_for(workflows: Iterable[AnyWorkflow], references: Sequence[str]) -> list[Resource[Any]]:
    """Return the resources that are named, and those that the modules of the workflows and of what they call define.

    Of two that make the same kind of thing, the one that is named counts.
    """
    named = [resource for reference in references for resource in resources_at(reference)]
    modules = {definition.function.__module__ for definition in reachable(list(workflows))}
    beside = [
        value for name in sorted(modules) for value in vars(sys.modules.get(name, ModuleType(name))).values() if isinstance(value, Resource)
    ]
    found: dict[Any, Resource[Any]] = {}
    for resource in (*named, *beside):
        found.setdefault(resource.kind, resource)
    return list(found.values())


def thing_at(reference: str) -> Any:
    """Return what ``module:name`` or ``path/to/file.py:name`` names, whatever it is."""
    module_name, _, name = reference.rpartition(":")
    if not module_name or not name:
        raise BadConfiguration(f"This names nothing in a module: {reference!r}. Write module:name or path/to/file.py:name.")
    module = _imported(module_name, reference)
    if not hasattr(module, name):
        near = nearest(name, vars(module))
        raise BadConfiguration(f"{module_name} has no {name!r}." + (f" Did you mean {module_name}:{near}?" if near else ""))
    return getattr(module, name)


def resources_at(reference: str) -> list[Resource[Any]]:
    """Return the resources that ``module:name`` names: one, or a list of them."""
    module_name, _, name = reference.rpartition(":")
    if not module_name or not name:
        raise BadConfiguration(f"This names no resources: {reference!r}. Write module:name of a Resource or of a list of them.")
    thing = getattr(_imported(module_name, reference), name, None)
    things = list(thing) if isinstance(thing, (list, tuple)) else [thing]
    found = [one for one in things if isinstance(one, Resource)]
    if not found or len(found) < len(things):
        raise BadConfiguration(f"{reference} holds no resources: {thing!r}. It is a Resource or a list of them.")
    return found


def call_of(workflow: AnyWorkflow, form: Any, *, beside: bool = False) -> Call[Any]:
    """Return the call of a workflow with a JSON input: the value of its only parameter, or arguments by name.

    With `beside`, other fields may stand beside the arguments by name (a run's id may be made of them).
    """
    contract = workflow.contract
    names = {parameter.name for parameter in contract.parameters}
    if len(names) == 1:
        (name,) = names
        try:
            return Call(workflow, contract.from_record({name: form}))
        except InvalidInput:
            if not isinstance(form, dict) or not (name in form if beside else form.keys() <= {name}):
                raise
    if not isinstance(form, dict):
        raise InvalidInput(
            f"The input is no object of arguments by name: {short_json(form, 80)}. {workflow.name} takes {contract.signature}."
        )
    return Call(workflow, contract.from_record({name: value for name, value in form.items() if not beside or name in names}))


# -- importing ----------


def _imported(name: str, reference: str) -> ModuleType:
    if not name.endswith(".py") and not all(part.isidentifier() for part in name.split(".")):
        raise BadConfiguration(f"{reference!r} names no module and no file of Python. Write module:name or path/to/file.py:name.")
    if name.endswith(".py"):
        return _imported_file(Path(name), reference)
    _look_in(Path.cwd())
    return _import(name, reference)


def _imported_file(file: Path, reference: str) -> ModuleType:
    try:
        there = file.is_file()
    except OSError as error:
        raise BadConfiguration(f"{str(file)!r} cannot be read: {error.strerror}.") from error
    if not there:
        raise BadConfiguration(f"There is no file {str(file)!r}, which {reference!r} names.")
    path = file.resolve()
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    if not all(part.isidentifier() for part in parts):
        raise BadConfiguration(f"{str(file)!r} cannot be imported: {'.'.join(parts)!r} is no name of a module. Rename the file.")
    _look_in(root)
    module = _import(".".join(parts), reference)
    loaded = getattr(module, "__file__", None)
    if loaded is None or Path(loaded).resolve() != path:
        raise BadConfiguration(
            f"{str(file)!r} cannot be imported: another module is called {'.'.join(parts)!r} ({loaded}). Rename the file."
        )
    return module


def look_beside(settings: Settings) -> None:
    """Let modules be found beside the configuration file."""
    if settings.file is not None:
        _look_in(settings.file.parent)


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _import(name: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ChargehandError as error:
        error.message = f"{error.message} ({_place(error)})"  # a decorator knows no file: it is told where the definition stands
        error.args = (error.message, *error.args[1:])
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise BadConfiguration(
                f"There is no module {error.name!r}, which {reference!r} names. Run in its directory, or give the path of its file."
            ) from error
        raise BadConfiguration(f"{name} cannot be imported: it imports {error.name!r}, which is not installed.") from error
    except (Exception, SystemExit) as error:
        what = error.msg if isinstance(error, SyntaxError) else error  # its text says the place once more
        raise BadConfiguration(f"{name} cannot be imported: {type(error).__name__}: {what} ({_place(error)}).") from error


def _place(error: BaseException) -> str:
    """Return file and line where an import failed: the last of the user's, of an error that is ours."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = list(traceback.extract_tb(error.__traceback__))
    if isinstance(error, ChargehandError):
        ours = str(Path(chargehand.__file__).parent)
        frames = [frame for frame in frames if not frame.filename.startswith((ours, "<"))]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown place"
