"""Where the answer goes: terminals of any width, pipes whose reader leaves, streams that are closed, disks that are full."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from chargehand.cli.invocation import Invocation
from chargehand.config import Settings, hash_secret

from .conftest import Command

CLI = [sys.executable, "-m", "chargehand.cli.main"]


def on_terminal(columns: int, *words: str) -> str:
    """Return what a command prints on a terminal of this width, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen([*CLI, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait(20) == 0
    return _plain(said.decode())


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")


@pytest.fixture
def orders(shop: Command) -> None:
    """Leave two runs, one that is done and one that waits."""
    shop("pay", 50, id="o-1")
    shop("pay", 500, id="o-2")


NAMES = ("run", "workflow", "status", "tags", "started")
ROWS = [
    ("0f8fad5bd9cb469fa16570867728950e", "shop.pay", "parked (letter)", "", "2026-01-31 12:00"),
    ("o-2", "shop.order_and_send", "completed", "", "2026-01-31 12:00"),
]


def printed(columns: int, rows: Sequence[Sequence[str]] = ROWS) -> list[str]:
    """Return a table's lines as a terminal of this width shows them."""
    out = Console(file=StringIO(), width=columns, force_terminal=True, no_color=True, highlight=False)
    Invocation(Settings(), out=out).table(NAMES, rows)
    return _plain(out.file.getvalue()).splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_an_id_is_never_cut_in_two(columns: int) -> None:
    """In a table the other columns give way: the id stands whole in its line, and no line is wider than the terminal."""
    lines = printed(columns)
    assert [line.split()[0] for line in lines if line[1:2] not in ("", " ", "─")] == ["run", *(row[0] for row in ROWS)]
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize("columns", [20, 44, 60])
def test_a_narrow_terminal_gets_a_list(columns: int) -> None:
    """Where a table would be unreadable, each row is a list of what it has, whole, without what it has not."""
    assert printed(columns) == [
        "0f8fad5bd9cb469fa16570867728950e",
        "  workflow: shop.pay",
        "  status: parked (letter)",
        "  started: 2026-01-31 12:00",
        "o-2",
        "  workflow: shop.order_and_send",
        "  status: completed",
        "  started: 2026-01-31 12:00",
    ]


def test_a_column_that_has_nothing_is_left_out_on_a_terminal(cli: Command, shop: Command) -> None:
    """On a terminal an empty column takes no room; piped, the columns are always the same."""
    assert not any("tags" in line for line in printed(200))
    tagged = [(*ROWS[0][:3], "customer=ann", ROWS[0][4]), ROWS[1]]
    assert any("tags" in line for line in printed(200, tagged))
    shop("pay", 500, id="o-2")
    assert cli("runs").out.splitlines()[0].split() == ["run", "workflow", "status", "tags", "started", "events"]


@pytest.mark.slow
@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("words", ["runs", "export", "show o-2", "show o-2 --json", "verify", "--help"])
def test_a_reader_that_leaves_is_no_failure(words: str) -> None:
    """A pipe that is closed before the answer is whole ends the command with 141, whichever part of it was writing, and in silence."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*CLI, *words.split()], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
@pytest.mark.usefixtures("orders")
def test_closed_streams_are_no_failure() -> None:
    """A command that was started without standard streams does its work and ends with its own status."""
    for closed, words, status in ((">&-", "runs", 0), ("2>&-", "show nobody", 6), ("<&- >&- 2>&-", "cancel o-2", 0)):
        command = " ".join([*CLI, words, closed])
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (status, ""), closed


@pytest.mark.slow
@pytest.mark.usefixtures("orders")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", ["runs", "show o-2", "export"])
def test_a_full_disk_under_the_answer_is_said(words: str) -> None:
    """An answer that cannot be written is one line on standard error, and no defect of ours."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([*CLI, *words.split()], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 141
    assert done.stderr == "chargehand: The answer could not be written: No space left on device. [output]\n"


@pytest.mark.slow
@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize(("words", "prompt"), [("approve o-2 --as eve", "Secret of eve: "), ("erase o-1 1", "for good? [y/N]:")])
def test_ctrl_c_ends_a_prompt_at_once(words: str, prompt: str) -> None:
    """The first Ctrl-C at a prompt ends the command with 130, and nothing was decided or erased."""
    Path("chargehand.toml").write_text(f'[principals.eve]\nroles = []\nsecret = "{hash_secret("correct horse", n=2**8)}"\n')
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*CLI, *words.split()], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    os.close(theirs)
    assert process.stderr is not None
    said = b""
    while prompt.encode() not in said:
        said += os.read(process.stderr.fileno(), 4096)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=20)
    os.close(ours)
    assert process.returncode == 130
    assert rest.decode().splitlines()[-1].startswith("chargehand: Interrupted.")


@pytest.mark.slow
def test_another_encoding_than_utf_8_is_no_failure(shop: Command) -> None:
    """What a terminal cannot write is shown as JSON escapes it, so that text can be read and JSON stays JSON."""
    shop("review", "Müller 漢字 🦉", id="r-1")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for words in ("show r-1", "inbox r-1", "inbox --json", "export r-1"):
        done = subprocess.run([*CLI, *words.split()], capture_output=True, text=True, env=environment, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert "M\\u00fcller \\u6f22\\u5b57 \\ud83e\\udd89" in done.stdout
    (entry,) = json.loads(subprocess.run([*CLI, "inbox", "--json"], capture_output=True, env=environment, timeout=30).stdout)["waiting"]
    assert entry["shows"]["inputs"] == {"subject": "Müller 漢字 🦉"}
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([*CLI, "show", "ö-1"], capture_output=True, text=True, env=plain, timeout=30, check=False)
    assert done.returncode == 6
    assert "There is no run '\\u00f6-1'" in done.stderr


@pytest.mark.slow
def test_flags_show_no_type() -> None:
    """In the help, an option that takes no value does not look as if it took one."""
    for command in ("approve", "run", "erase"):
        typed = [line for line in on_terminal(100, command, "--help").splitlines() if "<bool>" in line]
        assert [line.split()[1] for line in typed] == ["--help"]  # which is the parser's own
