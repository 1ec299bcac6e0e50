"""What the documentation takes from the code: the parts between two marks, made here and held by a test.

    python tests/docs/generated.py          # say what is out of date
    python tests/docs/generated.py --write  # bring it up to date

A part stands in a page between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``.
"""

from __future__ import annotations

import ast
import configparser
import inspect
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chargehand
from chargehand.core.lifecycle import EFFECT_MOVES, OPEN_STAGES, SETTLED_STAGES, STANDING_STAGES
from chargehand.errors import ChargehandError, JournalError, error_classes
from chargehand.events import EVENT_TYPES
from chargehand.failures import MAST, SYSTEM
from chargehand.statuses import exit_status, http_status

DOCS = Path(__file__).parents[2] / "docs"
SOURCE = DOCS.parent / "src" / "chargehand"

# -- the life of an effect ----------


def effect_life() -> str:
    """Return the moves of `EFFECT_MOVES` as a Mermaid state diagram."""

    def name(stage: str) -> str:
        return stage.replace(" ", "_")

    stages = list(dict.fromkeys([*(start for start, _ in EFFECT_MOVES), *EFFECT_MOVES.values()]))
    lines = ["```mermaid", "stateDiagram-v2", "    direction TB", f"    [*] --> {name(stages[0])}"]
    lines += [f'    state "{stage}" as {name(stage)}' for stage in stages if " " in stage]
    labels: dict[tuple[str, str], list[str]] = {}
    for (start, event), end in EFFECT_MOVES.items():
        labels.setdefault((start, end), []).append(event)
    lines += [f"    {name(start)} --> {name(end)}: {', '.join(events)}" for (start, end), events in labels.items()]
    last = [stage for stage in stages if not any(start == stage for start, _ in EFFECT_MOVES)]
    lines += [f"    {name(stage)} --> [*]" for stage in last]
    return "\n".join([*lines, "```"])


def effect_stages() -> str:
    """Return a table of the stages: is it settled, may it be in the world, is its outcome unknown."""
    stages = list(dict.fromkeys([*(start for start, _ in EFFECT_MOVES), *EFFECT_MOVES.values()]))
    rows = ["| stage | the workflow has its answer | it is, or may be, in the world | its outcome is unknown |", "|---|---|---|---|"]
    for stage in stages:
        marks = ["yes" if stage in group else "" for group in (SETTLED_STAGES, STANDING_STAGES, OPEN_STAGES)]
        rows.append(f"| {stage} | " + " | ".join(marks) + " |")
    return "\n".join(rows)


# -- tables ----------


def event_types() -> str:
    """Return the closed list of event types."""
    return "\n".join(
        ["| event | what is true from here on |", "|---|---|", *(f"| `{kind}` | {said} |" for kind, said in EVENT_TYPES.items())]
    )


def failure_modes() -> str:
    """Return the failure modes and system classes."""
    rows = [*MAST.items(), *SYSTEM.items()]
    return "\n".join(["| mode | the failure |", "|---|---|", *(f"| {mode} | {said} |" for mode, said in rows)])


def modules() -> str:
    """Return what each package and module is for: the first sentence of its docstring, floor by floor."""
    contract = configparser.ConfigParser()
    contract.read(DOCS.parent / ".importlinter")
    layers = contract["importlinter:contract:floors"]["layers"].split()
    rows = ["| module | what it is for |", "|---|---|"]
    for name in [name for name in layers if name != "|"]:
        folder = SOURCE / name
        paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
        rows += [f"| `{path.relative_to(SOURCE)}` | {_first_sentence(path)} |" for path in paths if path.name != "__init__.py"]
    return "\n".join(rows)


def _first_sentence(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(said.split("\n\n")[0].split()).replace("|", "\\|")


# -- errors ----------

WHOSE = {"yours": "yours", "agent": "an agent's", "world": "the world's", "ours": "ours"}


def documented_errors() -> list[type[ChargehandError]]:
    """Return every error class of the package, in the order of errors.py; tests may define others, which do not count."""
    return [kind for kind in error_classes() if kind.__module__ == "chargehand.errors"]


def made(kind: type[ChargehandError]) -> ChargehandError:
    """Return an error of this class without calling its own constructor: the statuses ask for code and class only."""
    return kind.__new__(kind, "", [ValueError()]) if issubclass(kind, ExceptionGroup) else kind.__new__(kind)


def error_facts(kind: type[ChargehandError]) -> str:
    """Return the line under an error's heading: class, whose doing, exit status, HTTP status."""
    error = made(kind)
    family = " A `JournalError`." if issubclass(kind, JournalError) and kind is not JournalError else ""
    return (
        f"`{kind.__name__}` · whose doing: {WHOSE[kind.blame]} · exit status {exit_status(error)} · "
        f"HTTP status {http_status(error)}.{family}"
    )


# -- the Python reference ----------

GROUPS: dict[str, str] = {
    "decorators": "workflow agent step read effect injected",
    "calls in workflows": ("Call gather Finished Failed StillWaiting saga sleep wait_signal ask_human start fail now uuid4 random"),
    "agents": "Done Feedback Clarify retry reassign escalate fall_back give_up",
    "gates": "gate Verdict GateContext Fact complete consistent grounded no_repeat quorum ahead_by human",
    "effects": "Approval Retry",
    "decisions": "Waiting Person HostKey Decision Approve Reject Release Edit Answer DoneByHand DidNotHappen Redrive Fail Abandon",
    "supervisor": "Supervisor RunView RunRow Event Resource Pace run_sync",
    "limits": "Budget spending Spending AtOnce Rate Breaker",
    "telemetry": "RunLogFilter",
    "errors": (
        "ChargehandError Failure Rejected CallFailed ModelFailed TimedOut DeadLettered Denied KeyConflict OutOfRole BudgetExhausted DeadlinePassed "
        "RunFailed RunCancelled RunRests BranchesFailed NotDone DefinitionError UnsafeRetry Monoculture OutsideRun InvalidInput RunConflict "
        "UnknownRun UnknownEntry DecisionRefused JournalError"
    ),
}
_LINE = 110


def reference(group: str) -> str:
    """Return the entries of one group of public names: heading, signatures, docstring, and the methods of a class."""
    return "\n\n".join(_entry(name, getattr(chargehand, name)) for name in GROUPS[group].split())


def _entry(name: str, thing: Any) -> str:
    parts = [f"### `{name}`", _code(_signatures(name, thing)), _prose(inspect.getdoc(thing) or "")]
    if not isinstance(thing, type):
        return "\n\n".join(parts)
    if issubclass(thing, ChargehandError):
        named = next(base for base in thing.__mro__[1:] if base is Exception or base.__name__ in chargehand.__all__)
        parts.append(f"A kind of `{named.__name__}`; its code is [`{thing.code}`](failures.md#{thing.code}).")
        return "\n\n".join(parts)
    lines = [_member(name, method) for name, method in vars(thing).items() if not name.startswith("_")]
    said = [line for line in lines if line]
    return "\n\n".join([*parts, *(["\n".join(said)] if said else [])])


def _member(name: str, method: Any) -> str:
    """Return the line of a method or property; nothing for a field, whose place is the signature."""
    if isinstance(method, property):
        return f"* `.{name}`: {' '.join((inspect.getdoc(method) or '').split())}"
    if not inspect.isfunction(method):
        return ""
    prefix = "await " if inspect.iscoroutinefunction(method) else "async for … in " if inspect.isasyncgenfunction(method) else ""
    signature = " ".join(_signature(f".{name}", inspect.signature(method), wide=True).split())
    return f"* `{prefix}{signature}`: {_one_line(inspect.getdoc(method) or '')}"


def _one_line(said: str) -> str:
    return " ".join(re.sub(r"\n\s*\n", "\n", said).replace("``", "`").split())


def _signatures(name: str, thing: Any) -> str:
    signature = inspect.signature(thing)
    if [parameter.kind for parameter in signature.parameters.values()] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]:
        return "\n".join(_signature(name, inspect.signature(overload)) for overload in typing.get_overloads(thing))
    return _signature(name, signature, returns=not isinstance(thing, type))


def _signature(name: str, signature: inspect.Signature, *, returns: bool = True, wide: bool = False) -> str:
    """Return a signature as it was written, on one line or with a line for each parameter."""
    words: list[str] = []
    star = False
    positional = False
    for parameter in signature.parameters.values():
        if parameter.name.startswith("_") or parameter.name == "self":
            continue
        if positional and parameter.kind is not parameter.POSITIONAL_ONLY:
            words.append("/")
        positional = parameter.kind is parameter.POSITIONAL_ONLY
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            words.append("*")
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        words.append(_parameter(parameter))
    if positional:
        words.append("/")
    end = f" -> {signature.return_annotation}" if returns and signature.return_annotation is not signature.empty else ""
    line = f"{name}({', '.join(words)}){end}"
    if wide or len(line) <= _LINE:
        return line
    return "\n".join([f"{name}(", *(f"    {word}," for word in words), f"){end}"])


def _parameter(parameter: inspect.Parameter) -> str:
    stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    said = f"{stars}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        said += f": {parameter.annotation}"
    if parameter.default is not parameter.empty:
        said += f" = {'…' if repr(parameter.default).startswith('<') else repr(parameter.default)}"
    return said


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _prose(docstring: str) -> str:
    """Return a docstring as Markdown: its sections of arguments and errors become lists."""
    lines: list[str] = []
    section = False
    for line in docstring.replace("``", "`").splitlines():
        if line in ("Args:", "Raises:"):
            section = True
            lines += [line, ""]
        elif section and line.startswith("    ") and not line.startswith("     "):
            name, colon, said = line.strip().partition(":")
            names = name.split(", ")
            shown = ", ".join(f"`{one}`" for one in names)
            lines.append(f"* {shown}:{said}" if colon and all(one.isidentifier() for one in names) else f"* {line.strip()}")
        elif section and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        else:
            section = section and not line
            lines.append(line)
    return "\n".join(lines).strip()


PARTS: dict[str, Callable[[], str]] = {
    "effect life": effect_life,
    "effect stages": effect_stages,
    "event types": event_types,
    "modules": modules,
    "failure modes": failure_modes,
}
for _kind in documented_errors():
    PARTS[f"error {_kind.code}"] = lambda kind=_kind: error_facts(kind)  # type: ignore[misc]
for _group in GROUPS:
    PARTS[f"reference {_group}"] = lambda group=_group: reference(group)  # type: ignore[misc]


def renewed(text: str) -> str:
    """Return a page with its generated parts made anew. Raises `KeyError` for a part that nobody makes."""

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- generated: {name} -->\n{PARTS[name]()}\n<!-- end of {name} -->"

    return re.sub(r"<!-- generated: (?P<name>[^>]+?) -->\n.*?<!-- end of (?P=name) -->", part, text, flags=re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that have generated parts."""
    return [page for page in sorted(DOCS.rglob("*.md")) if "<!-- generated: " in page.read_text()]


def main() -> int:
    """Say which pages are out of date, or write them."""
    old = [page for page in pages() if renewed(page.read_text()) != page.read_text()]
    for page in old:
        print(page.relative_to(DOCS.parent))
        if "--write" in sys.argv:
            page.write_text(renewed(page.read_text()))
    return 1 if old and "--write" not in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
