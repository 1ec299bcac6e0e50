"""The command line's entry: which commands there are, and how every error becomes one line and an exit status."""

from __future__ import annotations

import codecs
import errno
import io
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer

import chargehand
from chargehand.cli import (
    calibrating,
    deciding,
    gatekeeping,
    inbox,
    keeping,
    reading,
    reference,
    replaying,
    running,
    steering,
    tracing,
    working,
)
from chargehand.cli.safe import as_json, one_line, plain
from chargehand.errors import ChargehandError, InvalidInput
from chargehand.statuses import EXIT_DEFECT, EXIT_USAGE, exit_status

EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
_NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""What writing to standard output fails with when its disk is full or it is no place to write to."""

for _name, _mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
    if getattr(sys, _name) is None:  # closed by whoever started us, as `>&-` does: what is written there goes nowhere
        setattr(sys, _name, open(os.devnull, _mode, encoding="utf-8"))  # noqa: SIM115

USAGE_ERRORS: tuple[type[Exception], ...] = tuple(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What the parser raises; where the class lives differs between versions of Typer."""

app = typer.Typer(
    name="chargehand",
    help="Supervises teams of LLM agents: gates, an effect ledger, sagas, durable replay and approvals over one event log.",
    add_completion=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"chargehand {chargehand.__version__}")
        raise typer.Exit()


@app.callback()
def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Take what may stand before a command."""


logging.getLogger("chargehand").addHandler(logging.NullHandler())
"""Commands say themselves what happened; without a handler Python would print the engine's log as it is. `worker` sets up more."""

running.register(app)
working.register(app)
gatekeeping.register(app)
reading.register(app)
tracing.register(app)
inbox.register(app)
deciding.register(app)
steering.register(app)
replaying.register(app)
calibrating.register(app)
keeping.register(app)
reference.register(app)


@cache
def parser() -> Any:
    """Return what parses words and calls the commands."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Prints an error as one line; `--debug` adds the traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        _escape_what_cannot_be_written()
        words = [_decoded(word) for word in words]
        status = parser()(words, prog_name="chargehand", standalone_mode=False)
        sys.stdout.flush()
        if status == EXIT_INTERRUPTED:  # the parser makes this of KeyboardInterrupt
            raise KeyboardInterrupt
        return int(status or 0)
    except ChargehandError as error:
        return _complain(words, error.code, error.message, exit_status(error))
    except USAGE_ERRORS as error:
        return _complain(words, "usage", _usage(words, error), EXIT_USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _complain(words, "interrupted", "Interrupted. Runs stay as they are; what was acknowledged is kept.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        return _pipe_closed()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # the parser and the console make this of it
            return _pipe_closed()
        raise
    except OSError as error:
        if error.errno not in _NOT_WRITTEN or error.filename is not None:
            return _defect(words, error)
        _pipe_closed()
        return _complain(words, "output", f"The answer could not be written: {error.strerror}.", EXIT_PIPE)
    except Exception as error:
        return _defect(words, error)


def _defect(words: Sequence[str], error: Exception) -> int:
    text = f"A defect in Chargehand: {type(error).__name__}: {error}. Please report it with what --debug shows."
    return _complain(words, "defect", text, EXIT_DEFECT)


def _pipe_closed() -> int:
    """Return the status of a command whose reader has left, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_PIPE


def _decoded(word: str) -> str:
    """Return a word as UTF-8, whatever this machine's locale made of it. Raises `InvalidInput`."""
    if not any("\ud800" <= char <= "\udfff" for char in word):
        return word
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:
        raise InvalidInput(f"This word of the command line is not UTF-8: {word!r}.") from None


def _escape_what_cannot_be_written() -> None:
    """Let a stream of another encoding than UTF-8 show what it lacks as JSON does, so that JSON stays JSON."""
    codecs.register_error("chargehand", _as_in_json)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="chargehand")


def _as_in_json(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _usage(words: Sequence[str], error: BaseException) -> str:
    """Return the parser's finding, and where help is."""
    context = getattr(error, "ctx", None)
    where = getattr(context, "command_path", None) or "chargehand"
    told = str(getattr(error, "format_message", lambda: str(error))())
    return f"{told.rstrip('.')}. See `{where} --help`."


def _complain(words: Sequence[str], code: str, message: str, status: int) -> int:
    if "--debug" in words:
        sys.stderr.write(plain(traceback.format_exc().rstrip()).replace("\n", "\n    ") + "\n")  # no line of it passes for ours
    if "--json" in words:
        print(as_json({"error": {"code": code, "message": message, "exit": status}}), file=sys.stderr)
    else:
        print(f"chargehand: {one_line(message)} [{code}]", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
