"""Size bombs: nesting, numbers, texts and packed values that cost more to read than to write."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chargehand import Answer, Person, ask_human, step, wait_signal, workflow
from chargehand.contracts import NESTING_MAX, Codec, Contract
from chargehand.errors import DecisionRefused, InvalidInput, JournalCorrupt, TooLarge, Unserialisable
from chargehand.events import Record
from chargehand.testing import Supervised

from .conftest import Command, asked, change


def nested(depth: int) -> Any:
    """Return lists in lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@step
async def gives(value: Any) -> Any:
    return value


@step
async def counts(digits: int) -> int:
    return int("9" * 4000) * 10 ** (digits - 4000)


@step
async def deepens(depth: int) -> Any:
    return nested(depth)


@workflow
async def holds(value: Any) -> int:
    await gives(value)
    return await wait_signal("go", int)


@workflow
async def counts_far(digits: int) -> int:
    return await counts(digits)


@workflow
async def goes_deep(depth: int) -> int:
    await deepens(depth)
    return await wait_signal("go", int)


@workflow
async def asks() -> Any:
    return await ask_human("what?", Any)  # type: ignore[arg-type]


# -- what is written can be read ----------


@pytest.mark.parametrize("depth", [1, 100, NESTING_MAX - 1, NESTING_MAX, NESTING_MAX + 1, 250, 254, 300, 5000])
def test_what_is_nested_is_given_back_or_refused(depth: int) -> None:
    """No value goes into the journal that would not come out of it."""
    codec = Codec(Any, "it")
    if depth <= NESTING_MAX:
        assert codec.from_json(json.loads(json.dumps(codec.to_json(nested(depth))))) == nested(depth)
        return
    with pytest.raises(Unserialisable):
        codec.to_json(nested(depth))


@pytest.mark.parametrize("kind", [int, int | None, Any, list[int]])
def test_a_number_too_long_to_read_is_refused(kind: Any) -> None:
    """Python reads no whole number of more than 4300 digits back, so none is written; 4300 are."""
    codec = Codec(kind, "it")
    for number in (10**4299, -(10**4299)):
        value = [number] if kind == list[int] else number
        assert codec.from_json(json.loads(json.dumps(codec.to_json(value)))) == value
    for number in (10**4400, -(10**4400), 10**100_000):
        with pytest.raises(Unserialisable):
            codec.to_json([number] if kind == list[int] else number)


def test_a_decimal_is_not_spelled_out() -> None:
    """1E+999999999999 has fifteen characters and must not become as many digits."""

    async def pays(amount: Decimal) -> None: ...

    pays.__annotations__ = {"amount": Decimal, "return": None}
    contract = Contract(pays, "pays")
    tracemalloc.start()
    digests = {
        contract.bind((Decimal(f"1E{sign}{exponent}"),), {}).digest for sign in "+-" for exponent in (4300, 999_999, 999_999_999_999)
    }
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(digests) == 6
    assert peak < 1_000_000


def test_a_text_too_large_is_refused_before_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value over the limit is named with its size, and where to put it."""
    monkeypatch.setattr("chargehand.contracts.VALUE_BYTES_MAX", 1000)
    for kind, value in ((str, "x" * 1001), (list[str], ["x" * 500] * 2), (Any, {"x" * 1001: 1}), (str, "ü" * 501)):
        with pytest.raises(TooLarge, match="Store it elsewhere"):
            Codec(kind, "it").to_json(value)


async def test_a_step_that_gives_a_bomb_fails_and_the_run_can_still_be_read(supervised: Supervised) -> None:
    """What cannot be kept fails where it came from; the run is loaded again afterwards, in another process."""
    deep = await supervised.start(goes_deep(230), "deep")
    far = await supervised.start(counts_far(6000), "far")
    fine = await supervised.start(holds(nested(NESTING_MAX - 5)), "fine")
    await supervised.rest()
    await supervised.crash()
    for run in (deep, far):
        assert await run.status() in ("failed", "parked"), await run.history()
        assert await run.events()
    await supervised.signal(fine, "go", 1)
    assert await fine.result() == 1


async def test_mail_with_a_bomb_is_refused_where_it_is_left(supervised: Supervised) -> None:
    """Decisions and signals that could not be read again are not acknowledged, and the run waits as it was."""
    run = await supervised.start(asks(), "r")
    await supervised.rest()
    (entry,) = await run.waiting()
    petra = Person("petra")
    for bomb in (nested(300), nested(5000), nested(100_000), 10**5000, [10**5000], float("inf")):
        with pytest.raises((InvalidInput, DecisionRefused, Unserialisable)):
            await supervised.supervisor.decide(entry, Answer(bomb), by=petra)
        with pytest.raises(Unserialisable):
            await supervised.supervisor.signal("r", "go", object() if bomb == float("inf") else bomb)
    await supervised.decide(entry.id, Answer("fine"))
    assert await run.result() == "fine"


# -- what is read ----------


@pytest.mark.parametrize(
    "payload",
    [b"[" * 100_000, b'{"v":' * 100_000, b'{"v":' + b"9" * 100_000 + b"}", b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"v":\x00}'],
    ids=["lists", "objects", "digits", "empty", "begun", "null", "list", "text", "bytes", "nul"],
)
def test_a_payload_that_is_none_is_damage(payload: bytes) -> None:
    """An event whose payload is not what was written says so, whatever it is instead."""
    with pytest.raises(JournalCorrupt, match="Event 3"):
        Record(3, 0.0, "call.done", "x", payload, b"").event()


@pytest.mark.parametrize("payload", ["[" * 50_000, '{"v":' * 50_000, '{"v":' + "9" * 50_000 + "}", "", "nonsense", "[]"])
def test_a_bomb_in_the_journal_is_told_in_one_line(cli: Command, shop: Command, payload: str) -> None:
    """Every command that meets it says that the journal is damaged, and other runs are shown as before."""
    shop("pay", 500, id="bad")
    shop("add", {"a": 1}, id="good")
    change(f"UPDATE events SET payload = '{payload}' WHERE seq = 2 AND run = (SELECT number FROM runs WHERE id = 'bad')")
    for words in (["show", "bad"], ["export"], ["watch", "bad"]):
        said = cli(*words)
        assert (said.status, said.err.count("\n")) == (5, 1), (words, said)
    assert cli("verify").status == 5
    for words in (["show", "good"], ["runs"], ["inbox"]):
        assert cli(*words).status == 0


GIVEN = {
    "nested": "[" * 100_000,
    "nested and closed": "[" * 400 + "]" * 400,
    "objects": '{"a":' * 1000 + "1" + "}" * 1000,
    "digits": "9" * 5000,
    "huge": "1e400",
    "not a number": "NaN",
    "half a character": '"\\ud800"',
    "many brackets": "[" + "[]," * 300 + "[" * 300 + "]" * 300 + "]",
}


@pytest.mark.parametrize("what", GIVEN)
def test_a_bomb_on_the_command_line_is_bad_input(cli: Command, shop: Command, what: str) -> None:
    """Input, edits, results, answers and signals that no journal could hold are refused in a line, and nothing waits any less."""
    shop("pay", 500, id="p-1")
    shop("doubted", 5, id="d-1")
    bomb = GIVEN[what]
    Path("items.jsonl").write_text(bomb + "\n")
    for words in (
        ["run", f"{FLOWS}:add", "--input", bomb], ["run", f"{FLOWS}:add", "--each", "items.jsonl"], ["run", f"{FLOWS}:add", "--input", "@items.jsonl"],
        ["approve", "p-1", "--edit", bomb], ["approve", "p-1", "--edit", f'{{"amount": {bomb}}}'], ["resolve", "d-1", "--done", bomb],
        ["signal", "p-1", "go", "--value", bomb], ["redrive", "d-1", "--edit", bomb], ["verify", "--against", "items.jsonl"],
    ):  # fmt: skip
        said = cli(*words)
        assert (said.status, said.err.count("\n")) == (2, 1), (words[:3], said.status, said.err[:300])
    assert len(cli("inbox", "--json").json["waiting"]) == 2
    assert cli("verify").status == 0


FLOWS = Path(__file__).parents[1] / "cli" / "flows" / "shop.py"


def test_an_endless_file_is_not_read_to_its_end(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that never ends is refused after as much as a journal would take."""
    monkeypatch.setattr("chargehand.cli.given.VALUE_BYTES_MAX", 100_000)
    said = cli("run", f"{FLOWS}:add", "--input", "@/dev/zero")
    assert (said.status, "more than 100,000 characters" in said.err) == (2, True)


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 10_000, "a = " + "{b=" * 10_000, ".".join("a" * 3000) + " = 1", "[" + ".".join("a" * 3000) + "]", "lease = " + "9" * 5000,
             "lease = 1e400", "x" * (1 << 20) + "y", "\x00", "lease = nan"],
)  # fmt: skip
def test_a_bomb_in_the_configuration_is_bad_configuration(cli: Command, text: str) -> None:
    """A file that is nested, long or odd beyond reading is no configuration, and the error is one line."""
    Path("chargehand.toml").write_text(text)
    said = cli("runs")
    assert (said.status, said.err.count("\n"), "[configuration]" in said.err) == (2, 1, True), said.err[:300]


def test_packed_values_stay_packed(cli: Command, flows: Callable[[str], str]) -> None:
    """The journal unpacks nothing: a value is as large in memory as it is on the disk."""
    module = flows("from chargehand import workflow\n\n@workflow\nasync def flow(packed: str) -> int:\n    return len(packed)\n")
    packed = zlib.compress(b"0" * 10_000_000).hex()
    said = cli("run", f"{module}:flow", "--input", json.dumps(packed), "--id", "r")
    assert said.out == f"{len(packed)}\n"
    assert asked("SELECT max(length(payload)) FROM events")[0][0] < 2 * len(packed)


@pytest.mark.parametrize("deadline", ["999999999999d", "9" * 300, "99999999w"])
def test_a_time_that_no_calendar_has_can_be_looked_at(cli: Command, deadline: str) -> None:
    """A deadline in a million years breaks no list and no timeline."""
    cli("run", f"{FLOWS}:listen", "--id", "l-1", "--deadline", deadline)
    for words in (
        ["show", "l-1"],
        ["show", "l-1", "--json"],
        ["runs"],
        ["runs", "--json"],
        ["inbox"],
        ["export"],
        ["runs", "--since", f"{deadline}w"],
    ):
        assert cli(*words).status in (0, 2), words
    assert "9999-12-31" in cli("show", "l-1").out


def test_a_time_that_cannot_be_counted_is_refused(cli: Command) -> None:
    """A number of seconds beyond every number is bad input."""
    for words in (
        ["run", f"{FLOWS}:listen", "--deadline", "9" * 400],
        ["runs", "--since", "9" * 400 + "d"],
        ["inbox", "--older-than", "9" * 400],
    ):
        said = cli(*words)
        assert (said.status, said.err.count("\n")) == (2, 1)
