"""Whatever is read, every reader gives a value or its documented error, never a traceback, and loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from chargehand import Answer, Approval, Approve, Person, ask_human, effect, injected, wait_signal, workflow
from chargehand.cli.given import json_given, kinds_given, percent_given, seconds_given, statuses_given, tags_given, time_given
from chargehand.cli.main import app, main
from chargehand.config import _hash_parts, settings_from
from chargehand.durable import NewMail
from chargehand.errors import BadConfiguration, InvalidInput, JournalCorrupt
from chargehand.events import Event, Record
from chargehand.statuses import EXITS
from chargehand.testing import Supervised

from .conftest import FEW, FEWER, MANY, SOME

SHOP = Path(__file__).parents[1] / "cli" / "flows" / "shop.py"
BYTES = st.binary(max_size=60)
TEXT = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ODD_JSON = st.sampled_from(["[" * 500, '{"a":' * 2000, "1e999", "NaN", '"\\ud800"', "9" * 5000, "-", "\x00", "[1,]", "{}{}", "\ufeff1"])
JSON_TEXT = JSON.map(json.dumps) | TEXT | ODD_JSON


@cache
def journal() -> bytes:
    """Return a journal's file with a run that waits for an approval, one that is in doubt and one that has ended."""
    with elsewhere():
        for name, value, id in (("pay", "500", "p-1"), ("doubted", "5", "d-1"), ("pay", "50", "done"), ("lettered", "5", "l-1")):
            assert cli("run", f"{SHOP}:{name}", "--input", value, "--id", id)[0] in (0, 3, 4)
        assert not Path("chargehand.db-wal").exists()
        return Path("chargehand.db").read_bytes()


@contextlib.contextmanager
def elsewhere() -> Iterator[Path]:
    """Work in an empty directory."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def cli(*words: str) -> tuple[int, str, str]:
    """Run a command; return its status and what it said."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return status, out.getvalue(), err.getvalue()


def told(*words: str, defect: bool = False) -> int:
    """Run a command that may be refused: by a documented status, in one line, without a traceback, and never as a defect of ours."""
    status, _, err = cli(*words)
    assert status in EXITS, (words, status, err)
    assert defect or status != 70, (words, err)
    assert "Traceback" not in err, (words, err)
    if status in (2, 5, 6, 7):
        assert err.count("\n") <= 1 or status == 7, (words, err)
    return status


# -- small readers ----------


def events(payload: bytes) -> None:
    """An event's payload is a JSON object, or the journal is damaged."""
    with contextlib.suppress(JournalCorrupt):
        assert isinstance(Record(1, 0.0, "call.done", "x", payload, b"").event(), Event)


def words_of_people(text: str) -> None:
    """JSON, durations, times, shares, tags and names are understood, or refused as input."""
    for read in (
        lambda: json_given(text if not text.startswith("@") else " " + text, "it"),
        lambda: seconds_given(text, "it"),
        lambda: time_given(text, "it", 0.0),
        lambda: percent_given(text, "it"),
        lambda: tags_given([text]),
        lambda: statuses_given([text]),
        lambda: kinds_given([text]),
    ):
        with contextlib.suppress(InvalidInput):
            read()


def json_is_json(text: str) -> None:
    """What is taken as JSON can be written as JSON again, and says the same."""
    try:
        value = json_given(" " + text, "it")
    except InvalidInput:
        return
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    json.dumps(value, ensure_ascii=False).encode()


def hashes(text: str) -> None:
    """A text is the hash of a secret or is none; none of those that are is dearer to check than a configuration may ask."""
    parts = _hash_parts(text)
    assert parts is None or (parts[0] <= 2**20 and len(parts[4]) == 32)


KEYS = st.sampled_from(
    ["journal", "environment", "workflows", "lease", "keep_loaded", "redact", "environments", "principals", "approve", "x"]
)
VALUES = st.sampled_from(
    ['"x"', "1", "-1", "0.5", "true", "[]", '["a"]', "[1]", "{}", "{a = 1}", "nan", "inf", "1979-05-27", '""', '{eve = {roles = ["a"], secret = "x"}}',
     '{eve = 1}', '{production = {approve = "every"}}', '{production = {approve = 1}}', "9" * 400, '"\\u0000"', "''", "[[]]", "{a = {b = {}}}"]
)  # fmt: skip
TOML = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(lambda pairs: "\n".join(f"{key} = {value}" for key, value in pairs))


def configurations(content: bytes | str, variables: dict[str, str], as_project: bool) -> None:
    """A file and variables are a configuration, or the error says which is none."""
    with tempfile.TemporaryDirectory() as folder:
        raw = content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
        if as_project:
            (Path(folder) / "pyproject.toml").write_bytes(b"[tool.chargehand]\n" + raw)
        else:
            (Path(folder) / "chargehand.toml").write_bytes(raw)
        with contextlib.suppress(BadConfiguration):
            settings_from(variables=variables, start=Path(folder))


VARIABLES = st.dictionaries(
    st.sampled_from(
        ["CHARGEHAND_LEASE", "CHARGEHAND_KEEP_LOADED", "CHARGEHAND_WORKFLOWS", "CHARGEHAND_APPROVE", "CHARGEHAND_JOURNAL", "CHARGEHAND_X"]
    ),
    TEXT.filter(lambda text: "\0" not in text) | st.sampled_from(["1e400", "nan", "-1", "9" * 5000, "inf"]),
    max_size=3,
)

SMALL: dict[Callable[..., None], dict[str, st.SearchStrategy[Any]]] = {
    events: {"payload": BYTES | JSON_TEXT.map(lambda text: text.encode(errors="surrogatepass"))},
    words_of_people: {"text": JSON_TEXT | st.from_regex(r"[0-9.]{0,20} ?[smhdwx%]{0,2}|[0-9T:+-]{0,30}", fullmatch=True)},
    json_is_json: {"text": JSON_TEXT},
    hashes: {
        "text": TEXT
        | st.from_regex(r"(scrypt|x)\$[0-9]{0,8}\$[0-9]{0,3}\$[0-9]{0,3}\$[A-Za-z0-9_-]{0,30}\$[A-Za-z0-9_-]{0,50}", fullmatch=True)
    },
    configurations: {"content": BYTES | TEXT | TOML, "variables": VARIABLES, "as_project": st.booleans()},
}


@pytest.mark.parametrize("holds", SMALL, ids=lambda holds: holds.__name__)
def test_small_readers(holds: Callable[..., None]) -> None:
    """Each reader takes a few texts and bytes, always the same."""
    FEW(given(**SMALL[holds])(holds))()


@pytest.mark.slow
@pytest.mark.parametrize("holds", SMALL, ids=lambda holds: holds.__name__)
def test_small_readers_of_many_texts(holds: Callable[..., None]) -> None:
    """Each reader takes many texts and bytes."""
    MANY(given(**SMALL[holds])(holds))()


# -- the command line ----------


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def _options() -> list[str]:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return sorted({name for command in commands.values() for parameter in command.params for name in getattr(parameter, "opts", ())})


COMMANDS = sorted(set(typer.main.get_command(app).commands) - {"demo", "worker", "run", "watch", "signal"})  # type: ignore[attr-defined]
SOME_WORDS = st.sampled_from(
    ["p-1", "d-1", "done", "p-1/charge", "--json", "7d", "waiting", "1", "-1", "{}", '{"amount": 1}', "@-", "", " "]
)


def command_lines(command: str, words: list[str]) -> None:
    """Any words after any command are understood or refused; the journal is whole afterwards."""
    with elsewhere():
        Path("chargehand.db").write_bytes(journal())
        words = [word for word in words if word not in ("--wait", "--out", "@-")]
        status, _, err = cli(command, *words)
        assert status in EXITS, (command, words, err)
        assert status != 70, (command, words, err)
        assert "Traceback" not in err or "--debug" in words
        assert told("verify") == 0


def edits(text: str, what: str) -> None:
    """An edit or a result that is any JSON, or none, is taken or refused; what waits is decided or still waits, and nothing is lost."""
    with elsewhere():
        Path("chargehand.db").write_bytes(journal())
        text = text.replace("\0", "0").encode(errors="replace").decode()
        words = {
            "approve": ("approve", "p-1", "--edit", text),
            "resolve": ("resolve", "d-1", "--done", text),
            "redrive": ("redrive", "l-1", "--edit", text),
        }[what]
        if text.startswith("@"):
            return
        status = told(*words)
        assert status in (0, 2, 7)
        with sqlite3.connect("chargehand.db") as connection:
            mail = connection.execute("SELECT count(*) FROM mailbox").fetchone()[0]
            waits = connection.execute("SELECT count(*) FROM waiting").fetchone()[0]
        connection.close()
        assert (mail, waits) == (int(status == 0), 3)
        for name, value, id in (("pay", "500", "p-1"), ("doubted", "5", "d-1"), ("lettered", "5", "l-1")):
            assert told("run", f"{SHOP}:{name}", "--input", value, "--id", id) in (0, 3, 4)
        assert told("verify") == 0
        assert told("show", words[1]) == 0


def items(lines: list[bytes]) -> None:
    """A file of items is run, or refused whole before the first run starts."""
    with elsewhere():
        Path("items.jsonl").write_bytes(b"\n".join(lines))
        status = told("run", f"{SHOP}:add", "--each", "items.jsonl")
        assert status in (0, 2)
        if status == 2 and Path("chargehand.db").exists():
            assert json.loads(cli("runs", "--json")[1])["runs"] == []


LINES = st.lists(
    BYTES | JSON_TEXT.map(lambda text: text.encode(errors="replace")) | st.integers(0, 9).map(lambda n: b'{"a": %d}' % n), min_size=1, max_size=3
)  # fmt: skip


def damaged_files(cut: int, at: int, noise: bytes) -> None:
    """A journal's file that was cut or overwritten is shown as far as it goes, or said to be damaged; looking changes nothing of it."""
    with elsewhere():
        whole = bytearray(journal())
        at %= len(whole)
        whole[at : at + len(noise)] = noise
        file = bytes(whole[: len(whole) - cut % len(whole)])
        Path("chargehand.db").write_bytes(file)
        for words in (["runs"], ["show", "p-1"], ["inbox"], ["verify"], ["export", "done"], ["doctor"]):
            status, _, err = cli(*words)
            assert status in EXITS, (words, err)
            assert "Traceback" not in err
        if os.path.getsize("chargehand.db") == len(file):
            assert sum(a != b for a, b in zip(Path("chargehand.db").read_bytes()[100:], file[100:], strict=True)) == 0


def damaged_events(payload: str, seq: int) -> None:
    """An event whose payload is any JSON is shown or said to be damaged, by whichever command; other runs are shown as before."""
    with elsewhere():
        Path("chargehand.db").write_bytes(journal())
        with sqlite3.connect("chargehand.db") as connection:
            text = payload.replace("\0", "0").encode(errors="replace").decode()
            connection.execute(
                "UPDATE events SET payload = ? WHERE seq = ? AND run = (SELECT number FROM runs WHERE id = 'done')", (text, seq)
            )
        connection.close()
        for words in (
            ["show", "done"],
            ["show", "done", "--json"],
            ["export", "done"],
            ["watch", "done"],
            ["inbox"],
            ["check-replay", f"{SHOP}:pay"],
        ):
            told(*words)
        told("run", f"{SHOP}:pay", "--input", "50", "--id", "done")
        assert told("show", "p-1") == 0
        assert told("verify") == 5


PAYLOADS = JSON.map(json.dumps) | ODD_JSON | st.dictionaries(
    st.sampled_from(["v", "e", "by", "args", "verdicts", "due", "input", "reason", "generation", "s", "key", "$erased", "approves", "d", "tool"]), JSON, max_size=4
).map(json.dumps)  # fmt: skip

LARGE: dict[Callable[..., None], dict[str, st.SearchStrategy[Any]]] = {
    command_lines: {"command": st.sampled_from(COMMANDS), "words": st.lists(WORDS | SOME_WORDS | st.sampled_from(_options()), max_size=4)},
    edits: {"text": JSON_TEXT | st.dictionaries(st.sampled_from(["amount", "card_token", "x"]), JSON, max_size=2).map(json.dumps), "what": st.sampled_from(["approve", "resolve", "redrive"])},
    items: {"lines": LINES},
    damaged_files: {"cut": st.just(0) | st.integers(0, 2**20), "at": st.integers(0, 2**20), "noise": st.binary(max_size=200)},
    damaged_events: {"payload": PAYLOADS, "seq": st.integers(1, 4)},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("holds", LARGE, ids=lambda holds: holds.__name__)
def test_the_command_line_reads_anything(holds: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each property holds for many words, values, lines and damages."""
    for name in list(os.environ):
        if name.startswith("CHARGEHAND_"):
            monkeypatch.delenv(name)
    SOME(given(**LARGE[holds])(holds))()


# -- the mailbox ----------


async def take_back(receipt: str) -> None: ...


@effect(undo=take_back, approve=Approval(role="cfo", votes=2))
async def pay(amount: int, idempotency_key: str = injected()) -> str:
    return "paid"


@workflow(name="properties.mailed")
async def mailed() -> str:
    answer = await ask_human("what?", str)
    paid = await pay(5)
    return f"{answer} {paid} {await wait_signal('go', int)}"


FIELDS = st.sampled_from(["entry", "decision", "value", "reason", "by", "shown", "name", "accept", "seal"])
ENTRIES = st.sampled_from(["r/ask_human", "r/pay", "r", "", "r/", "r/wait_signal"])
DECISIONS = st.sampled_from(
    ["approve", "edit", "reject", "done", "answer", "go on", "resume", "redrive", "release", "abandon", "fail", "not-done", ""]
)
PEOPLE = st.sampled_from([{"id": "eve", "roles": []}, {"id": "eve"}, {}, {"roles": ["boss"]}, {"id": 7, "roles": "boss"}, [], None, "eve"])
SANE = st.fixed_dictionaries({"entry": ENTRIES, "decision": DECISIONS, "by": PEOPLE, "value": JSON, "reason": st.none() | JSON})
BODIES = st.dictionaries(FIELDS | st.text(max_size=4), JSON, max_size=5) | SANE


async def letters(letters: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever lies in the mailbox, the run goes on and still takes what fits; nobody without the role has approved."""
    async with Supervised() as supervised:
        run = await supervised.start(mailed(), "r")
        await supervised.rest()
        readable = [
            (kind, json.loads(json.dumps(body).replace("NaN", "0").replace("-Infinity", "0").replace("Infinity", "0")))
            for kind, body in letters
        ]
        readable = [(kind, body) for kind, body in readable if not (kind == "signal" and body.get("name") == "go")]
        await supervised.world.journal.post([NewMail("r", kind, body, supervised.clock.now()) for kind, body in readable])  # type: ignore[arg-type]
        await supervised.supervisor.signal("r", "wake")
        await supervised.rest()
        assert not supervised.supervisor.carrier or not supervised.supervisor.carrier.failed
        folded = [
            event for event in await run.events() if event.type in ("mail.ignored", "signal.kept", "question.answered", "cancel.requested")
        ]
        assert len(folded) >= len(readable)
        assert not [event for event in await run.events() if event.type.startswith(("effect.approved", "effect.intended", "effect.voted"))]
        assert await supervised.world.journal.mail([(await run.row()).number]) == []
        if "cancel.requested" in {event.type for event in folded}:
            return
        for entry in await supervised.waiting():
            if entry.kind == "question":
                await supervised.supervisor.decide(entry, Answer("so"), by=Person("petra"))
        await supervised.rest()
        for name in ("anna", "dora"):
            await supervised.decide("approval", Approve(), by=Person(name, "cfo"))
        await supervised.signal(run, "go", 1)
        assert (await run.result()).endswith("paid 1")


MAIL = st.lists(st.tuples(st.sampled_from(["decision", "signal", "cancel", "resume"]), BODIES), min_size=1, max_size=4)


def mailbox(mail: list[tuple[str, dict[str, Any]]]) -> None:
    """Try the property of the mailbox in an event loop of its own."""
    asyncio.run(asyncio.wait_for(letters(mail), 60))


def test_the_mailbox_takes_anything() -> None:
    """The property holds for a few letters, always the same."""
    FEWER(given(mail=MAIL)(mailbox))()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_mailbox_takes_many_things() -> None:
    """The property holds for many letters."""
    SOME(given(mail=MAIL)(mailbox))()
