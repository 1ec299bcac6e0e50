"""One invocation of a command: its settings, where it prints, and the options that every command takes."""

from __future__ import annotations

import asyncio
import getpass
import inspect
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import Annotated, Any, get_args

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from chargehand.cli.safe import as_json, one_line, plain, redacted
from chargehand.cli.ways import quoted
from chargehand.config import Settings, settings_from
from chargehand.durable import Journal as JournalPort
from chargehand.durable import Waiting
from chargehand.errors import BadConfiguration, DecisionRefused
from chargehand.journals.sqlite_look import refuse_foreign
from chargehand.starting import refuse_no_journal_at
from chargehand.supervise.approvals import Person
from chargehand.supervise.definitions import WorkflowDefinition
from chargehand.supervise.resources import Resource
from chargehand.supervisor import Supervisor

try:
    import pwd
except ImportError:  # pragma: no cover - Windows has no such table
    pwd = None  # type: ignore[assignment]

Row = Sequence[object]
_NAMED = 5
_NARROW = 10
"""Characters that a column of a table needs at least, if it has so many."""


@dataclass
class Invocation:
    """What a command works with. Answers go to standard output, everything about the work to standard error."""

    settings: Settings
    json: bool = False
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)
    out: Console = field(default_factory=lambda: _console(sys.stdout))
    err: Console = field(default_factory=lambda: _console(sys.stderr))

    # -- printing ----------

    def say(self, text: object = "", style: str | None = None) -> None:
        """Print a line of the answer. Foreign text is made safe."""
        if self.out.is_terminal:
            self.out.print(Text(plain(text), style or ""), soft_wrap=True)
        else:  # no colours, no widths: a timeline of ten thousand events takes half the CPU this way
            self.raw(plain(text))

    def note(self, text: object, style: str | None = None) -> None:
        """Print a line about the work, unless the answer is JSON."""
        if not self.json:
            self.err.print(Text(plain(text), style or "dim"), soft_wrap=True)

    def answer(self, form: Any) -> None:
        """Print the whole answer as JSON."""
        self.raw(as_json(form, indent=2 if self.out.is_terminal else None))

    def raw(self, line: str) -> None:
        """Print a line as it is."""
        self.out.file.write(line + "\n")
        self.out.file.flush()

    def table(self, names: Sequence[str], rows: Sequence[Row], *, styles: Callable[[Row], str] | None = None) -> None:
        """Print a table: fitted on a terminal, whole and in columns when piped."""
        cells = [[one_line(cell) for cell in row] for row in rows]
        if not self.out.is_terminal:
            widths = [max(len(line[column]) for line in [list(names), *cells]) for column in range(len(names))]
            for line in [list(names), *cells]:
                self.raw("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
            return
        used = [column for column in range(len(names)) if column == 0 or any(line[column] for line in cells)]
        names, cells = [names[column] for column in used], [[line[column] for column in used] for line in cells]
        widths = [max(len(line[column]) for line in [list(names), *cells]) for column in range(len(names))]
        if widths[0] + sum(min(width, _NARROW) for width in widths[1:]) + 2 * len(names) > self.out.width:
            self._stack(names, cells, [styles(row) if styles is not None else "" for row in rows])
            return
        first = Column(names[0], no_wrap=True)  # an id is copied, so it is never cut in two
        others = [Column(name, overflow="fold") for name in names[1:]]
        table = Table(first, *others, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
        for row, line in zip(rows, cells, strict=True):
            table.add_row(*(Text(cell) for cell in line), style=styles(row) if styles is not None else None)
        self.out.print(table)

    def _stack(self, names: Sequence[str], cells: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
        """Print rows below one another, each value with its name: for a terminal that is too narrow for a table."""
        for line, style in zip(cells, styles, strict=True):
            self.out.print(Text(line[0], style or "bold"), soft_wrap=True)
            for name, cell in zip(names[1:], line[1:], strict=True):
                if cell:
                    self.out.print(Text(f"  {name}: {cell}", style), soft_wrap=True)

    @contextmanager
    def working(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show on a terminal how far long work has come; call what is given with the count so far."""
        if self.json or not self.err.is_terminal:
            yield lambda count: None
            return
        of = "" if total is None else f" of {total}"
        with self.err.status(what) as status:
            yield lambda count: status.update(f"{what}: {count}{of}")

    def shown(self, value: Any) -> Any:
        """Return a value without what is redacted."""
        return redacted(value, self.settings.redact)

    # -- supervisors ----------

    def reading(self) -> Supervisor:
        """Return a supervisor that starts and drives nothing. Raises `JournalError` when there is no journal."""
        self.needs_journal()
        return self.supervisor(work=False)

    @asynccontextmanager
    async def keyed(self) -> AsyncIterator[Supervisor]:
        """Open a supervisor that verifies, signs or decides: with the chain key. Raises `WrongChainKey` when it is not the journal's."""
        self.needs_journal()
        async with self.supervisor(work=False, signs=True) as supervisor:
            await supervisor.check_chain_key()
            yield supervisor

    def supervisor(
        self,
        workflows: Sequence[WorkflowDefinition[..., Any]] = (),
        resources: Sequence[Resource[Any]] = (),
        *,
        work: bool,
        signs: bool = False,
        journal: JournalPort | None = None,
        on_waiting: Callable[[str, Waiting], None] | None = None,
    ) -> Supervisor:
        """Return a supervisor of these settings, on a journal that is open already when one is given.

        What drives runs or `signs` gets the chain key; what only looks needs none.
        """
        settings = self.settings
        if work and settings.origins.get("journal") in (None, "option"):  # who configures such a file means it
            refuse_foreign(settings.journal.removeprefix("sqlite:///"))
        return Supervisor(
            settings.journal,
            workflows,
            work=work,
            environment=settings.environment,
            resources=resources,
            approve=settings.approve,
            pace=settings.pace(),
            journal=journal,
            chain_key=settings.chain_key() if work or signs else b"",
            on_waiting=on_waiting,
        )

    @asynccontextmanager
    async def driving(self, supervisor: Supervisor) -> AsyncIterator[None]:
        """Open a supervisor that drives runs; when Ctrl-C comes, say at once what is waited for, and how not to wait."""
        async with supervisor:
            try:
                yield
            except asyncio.CancelledError:
                flying = supervisor.carrier.in_flight() if supervisor.carrier is not None else []
                if flying:
                    more = f" and {len(flying) - _NAMED}" if len(flying) > _NAMED else ""
                    calls = f"{', '.join(map(one_line, flying[:_NAMED]))}{more}"
                    self.note(f"Interrupted. Calls in flight may settle: {calls}. Ctrl-C again leaves at once.", "yellow")
                raise

    def needs_journal(self) -> None:
        """Raise `JournalError` when there is no journal to read; a file that is none is left as it is."""
        refuse_no_journal_at(self.settings.journal)

    # -- people ----------

    def person(self, named: str | None) -> Person:
        """Return who decides, having checked the secret. Raises `DecisionRefused`.

        Where the configuration names no principals, it is who is logged in, without any role.
        """
        principals = self.settings.principals
        name = named or self.variables.get("CHARGEHAND_PRINCIPAL")
        if not principals:
            if name is not None:
                raise BadConfiguration(
                    f"No principals are configured, so nobody can decide as {name!r}. `chargehand principal {quoted(name)}` prints the lines "
                    "that go into chargehand.toml."
                )
            return Person(_login(), vouched_by="login")
        if name is None:
            raise DecisionRefused(
                f"This decision needs a principal: {', '.join(sorted(principals))}. Give --as NAME or set CHARGEHAND_PRINCIPAL."
            )
        principal = self.settings.principal(name)
        if not principal.knows(self._secret(name)):
            raise DecisionRefused(f"That is not the secret of {name!r}. Nothing was decided.")
        return Person(name, principal.roles)

    def starter(self, named: str | None) -> str:
        """Return who starts a run: a principal whose secret was checked, else who is logged in."""
        if named is None and "CHARGEHAND_PRINCIPAL" not in self.variables:
            return _login()
        return self.person(named).id

    def who_has(self, role: str) -> str:
        """Return which principals have a role, or how one gets it."""
        having = sorted(name for name, principal in self.settings.principals.items() if role in principal.roles)
        if having:
            return f"{', '.join(having)} {'has' if len(having) == 1 else 'have'} it: --as NAME."
        where = one_line(self.settings.file or "chargehand.toml")
        makes = f"`chargehand principal NAME --role {quoted(role)}` asks for a secret and prints the lines to put there."
        return f"No principal has it: roles are given by [principals.NAME] in {where}. {makes}"

    def as_whom(self, role: str | None) -> str:
        """Return the option that names who decides: the only principal that may, else a place for the name; nothing where none is needed."""
        if not self.settings.principals or "CHARGEHAND_PRINCIPAL" in self.variables:
            return ""
        fit = [name for name, principal in sorted(self.settings.principals.items()) if role is None or role in principal.roles]
        return f" --as {quoted(fit[0])}" if len(fit) == 1 else " --as NAME"

    def _secret(self, name: str) -> str:
        given = self.variables.get("CHARGEHAND_SECRET")
        if given is not None:
            return given
        if not sys.stdin.isatty():
            raise DecisionRefused(f"The secret of {name!r} is missing. Set CHARGEHAND_SECRET, or decide on a terminal.")
        with asking():
            return getpass.getpass(f"Secret of {name}: ", sys.stderr)


@contextmanager
def asking() -> Iterator[None]:
    """Let Ctrl-C end a prompt at once: inside a running event loop the first one would only be noted until the answer came."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (KeyboardInterrupt, typer.Abort):
        print(file=sys.stderr)  # the prompt's line ends here
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _login() -> str:
    """Return who is logged in: by the process's user id where there is one, because anybody can set LOGNAME and USER."""
    if pwd is not None:
        try:
            return pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            return f"uid-{os.getuid()}"
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


def _console(stream: Any) -> Console:
    return Console(file=stream, highlight=False, markup=False, emoji=False)


# -- the options of every command ----------

Journal = Annotated[str | None, typer.Option("--journal", metavar="URL", help="The journal: a SQLite file.", rich_help_panel="Everywhere")]
Environment = Annotated[
    str | None,
    typer.Option("--environment", metavar="NAME", help="The environment that this process serves.", rich_help_panel="Everywhere"),
]
Config = Annotated[
    str | None, typer.Option("--config", metavar="FILE", help="The configuration file, else found upwards.", rich_help_panel="Everywhere")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.", rich_help_panel="Everywhere")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel="Everywhere")]


def _common(
    journal: Journal = None, environment: Environment = None, config: Config = None, json: AsJson = False, debug: Debug = False
) -> None:
    """Take the options of every command."""


_COMMON = inspect.signature(_common, eval_str=True).parameters

Body = Callable[..., int | Coroutine[Any, Any, int | None] | None]


def command(app: typer.Typer, name: str, panel: str, *, hidden: bool = False) -> Callable[[Body], Body]:
    """Register a function as a command; its first argument is the `Invocation`, its result the exit status.

    A coroutine function is run in an event loop of its own.
    """

    def register(body: Body) -> Body:
        app.command(name, help=inspect.getdoc(body), rich_help_panel=panel, hidden=hidden)(_with_common_options(body))
        return body

    return register


def _with_common_options(body: Body) -> Callable[..., int]:
    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    settable = {"approve"}

    def invoke(**given: Any) -> int:
        common = {key: given.pop(key) for key in _COMMON}
        variables = dict(os.environ)
        if common["config"] is not None:
            variables["CHARGEHAND_CONFIG"] = common["config"]
        options = {key: common[key] for key in ("journal", "environment")}
        options |= {key: given.pop(key) for key in settable & given.keys()}
        settings = settings_from(options=options, variables=variables)
        face = Invocation(settings, common["json"], variables)
        with redirect_stdout(sys.stderr):  # what the user's code prints, when imported or run, is no part of the answer
            outcome = body(face, **given)
            status = asyncio.run(_awaited(outcome)) if inspect.iscoroutine(outcome) else outcome
        return int(status or 0)  # type: ignore[arg-type]

    update_wrapper(invoke, body)
    parameters = [*own, *_COMMON.values()]
    for parameter in parameters:
        _without_type(parameter.annotation)
    ordered = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    invoke.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    return invoke


def _without_type(annotation: Any) -> None:
    """Let a flag's help show no type: it takes no value."""
    for option in getattr(annotation, "__metadata__", ()):
        if get_args(annotation)[0] is bool and option.metavar is None:
            option.metavar = ""


async def _awaited(outcome: Coroutine[Any, Any, int | None]) -> int | None:
    return await outcome


__all__ = ["Invocation", "command"]
