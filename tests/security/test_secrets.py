"""Secrets: what is told to be one is in no journal, output, error or representation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from typing_extensions import TypedDict

from chargehand import Resource, Supervisor, effect, injected, read, step, workflow
from chargehand.config import Principal, hash_secret, settings_from
from chargehand.contracts import Contract
from chargehand.errors import BadConfiguration, SecretArgument
from chargehand.starting import journal_at
from chargehand.testing import Supervised

from .conftest import KEY, Command

SHOWN: list[Any] = []
LIVE = "sk-live-4711-do-not-show"


class OwnSecret(SecretStr):
    """A secret of the user's own."""


class Account(BaseModel):
    name: str
    token: SecretStr | None = None


@dataclass
class Login:
    name: str
    password: SecretBytes


class Pair(NamedTuple):
    name: str
    token: SecretStr


class Form(TypedDict):
    token: SecretStr


@dataclass
class Nested:
    accounts: dict[str, list[Account]]


@pytest.mark.parametrize(
    "kind",
    [SecretStr, SecretBytes, Secret[int], OwnSecret, SecretStr | None, list[SecretStr], dict[str, SecretStr], Account, Login, Pair, Form, Nested,
     tuple[int, SecretStr], list[Login]],
)  # fmt: skip
def test_a_secret_is_no_argument_and_no_result(kind: Any) -> None:
    """However deep it lies in a type, a secret is refused when the function is defined: it would be written to the journal."""

    async def takes(value: Any) -> None: ...

    async def gives() -> Any: ...

    takes.__annotations__ = {"value": kind, "return": None}
    gives.__annotations__ = {"return": kind}
    for function in (takes, gives):
        with pytest.raises(SecretArgument, match="Resource"):
            Contract(function, function.__name__)


class Bank:
    """A client that holds a secret."""

    def __init__(self) -> None:
        self.token = LIVE


async def take_back(receipt: str, bank: Bank = injected()) -> None: ...


@read
async def balance(bank: Bank = injected()) -> int:
    return len(bank.token)


@effect(undo=take_back)
async def transfer(amount: int, idempotency_key: str = injected(), bank: Bank = injected()) -> str:
    return f"{amount} with a token of {len(bank.token)}"


@step
async def hides(value: Any) -> str:
    SHOWN.append(value)
    return "shown"


class Account(BaseModel):
    token: SecretStr


@workflow(name="security.hides")
async def hides_one(which: int) -> str:
    return await hides([SecretStr(LIVE), {"deep": [SecretStr(LIVE)]}, Account(token=SecretStr(LIVE))][which])


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_secret_under_any_is_refused_before_anything_is_called(supervised: Supervised, which: int) -> None:
    """One that comes where anything may come is refused like a declared one: it would be recorded, and handed on, as asterisks."""
    SHOWN.clear()
    run = await supervised.start(hides_one(which))
    await supervised.rest()
    (entry,) = await supervised.waiting()
    assert entry.kind == "broken"
    assert "Make it a Resource" in entry.shows["error"]
    assert (SHOWN, await run.history()) == ([], ["run.started", "run.parked"])


@workflow(name="security.secrets")
async def pays(amount: int) -> str:
    await balance()
    local = SecretStr(LIVE)
    first = await transfer(amount)
    if amount > 5:
        raise ValueError(f"broken with {local}")
    return first


async def test_a_resource_leaves_no_trace_in_the_journal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What a `Resource` holds, and a secret that a frame holds, is in none of the journal's files and in no line of the log."""
    caplog.set_level(logging.DEBUG)
    async with Supervisor(str(tmp_path / "j.db"), [pays], resources=[Resource(Bank, Bank)], chain_key=KEY.encode()) as supervisor:
        assert await (await supervisor.start(pays(1), "fine")).result() == "1 with a token of 24"
        await supervisor.start(pays(6), "broken")
        while (await supervisor.row("broken")).status != "parked":
            await asyncio.sleep(0.005)
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert "j.db-wal" in files
        for told in (repr(supervisor), repr(supervisor.site), repr(supervisor.journal), repr(await supervisor.waiting()), caplog.text):
            assert LIVE not in told
            assert KEY not in told
    for name, content in files.items():
        assert LIVE.encode() not in content, name
        assert KEY.encode() not in content, name
    assert b"broken with" in b"".join(files.values())


# -- what is redacted ----------


LOOKS = [
    ("show", "p-1"), ("inbox",), ("inbox", "p-1"), ("approvals",), ("letters",), ("runs",), ("export",), ("verify",), ("doctor",),
]  # fmt: skip


@pytest.mark.slow
def test_redacted_values_are_not_shown_anywhere(cli: Command, shop: Command) -> None:
    """The value of a key that is to be redacted reaches no output: of looking, deciding, exporting, as text and as JSON."""
    secret = "tok-4711"
    assert secret not in (said := shop("pay", 500, "--tag", f"api_key={secret}", id="p-1")).out + said.err
    outputs = [cli(*words, *more) for words in LOOKS for more in ([], ["--json"])]
    outputs.append(cli("approve", "p-1", "--edit", '{"amount": 400}'))
    outputs.append(shop("pay", 500, "--json", id="p-1"))
    outputs += [cli(*words, *more) for words in [*LOOKS, ("watch", "p-1")] for more in ([], ["--json"])]
    for said in outputs:
        assert secret not in said.out + said.err
    assert any("[redacted]" in said.out for said in outputs)
    cli("export", "--out", "out.jsonl")
    assert secret not in Path("out.jsonl").read_text()


def test_a_conflict_does_not_show_what_is_recorded(cli: Command, flows: Callable[[str], str]) -> None:
    """Somebody who knows a run's id learns what differs from its input, not the secret that was given to it."""
    text = "from chargehand import workflow\n\n@workflow\nasync def flow(user: str, api_key: str) -> str:\n    return user\n"
    module = flows(text)
    cli("run", f"{module}:flow", "--id", "r", "--input", '{"user": "ann", "api_key": "hunter2-hunter2"}')
    for more in ([], ["--json"], ["--debug"]):
        said = cli("run", f"{module}:flow", "--id", "r", "--input", '{"user": "eve", "api_key": "guess"}', *more)
        assert said.status == 7
        assert "hunter2" not in said.out + said.err
        assert "'ann'" in said.err or '\\"ann\\"' in said.err or '"ann"' in said.err


def test_a_journals_address_keeps_its_password() -> None:
    """An address that cannot be used is told without who and what opens it."""
    for url in ("mysql://ann:hunter2@db/x", "postgresql://ann:hunter2@db/x", "redis://:hunter2@db"):
        with pytest.raises(BadConfiguration) as refused:
            journal_at(url, None)  # type: ignore[arg-type]
        assert "hunter2" not in str(refused.value)


def test_the_hash_of_a_secret_is_not_represented(tmp_path: Path) -> None:
    """Neither a principal nor the settings say the hash when they are printed, and no two hashes of a secret are alike."""
    hashed = hash_secret("correct horse", n=2**8)
    assert hashed != hash_secret("correct horse", n=2**8)
    (tmp_path / "chargehand.toml").write_text(f'[principals.eve]\nroles = ["boss"]\nsecret = "{hashed}"\n')
    settings = settings_from(variables={}, start=tmp_path)
    assert settings.principals["eve"].knows("correct horse")
    for told in (repr(settings), str(settings.principals), repr(Principal("eve", frozenset(), hashed))):
        assert hashed not in told
        assert hashed[-20:] not in told


@pytest.mark.slow
def test_secrets_come_from_no_option(cli: Command) -> None:
    """What stands on a command line is in the list of processes: no command has an option for a secret or a key."""
    for command in cli().out.split():
        if command.isalpha() and (said := cli(command, "--help")).status == 0:
            assert not {word for word in said.out.split() if word.startswith("--") and ("secret" in word or "key" in word)}


@pytest.mark.slow
def test_the_secret_and_the_key_are_told_by_nobody(cli: Command, shop: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that hold secrets appear in no output, whatever goes wrong."""
    monkeypatch.setenv("CHARGEHAND_SECRET", LIVE)
    monkeypatch.setenv("CHARGEHAND_CHAIN_KEY", KEY)
    shop("pay", 500, id="p-1")
    Path("chargehand.toml").write_text(f'[principals.eve]\nroles = []\nsecret = "{hash_secret("another one", n=2**8)}"\n')
    for words in (
        ("doctor",),
        ("approve", "p-1", "--as", "eve"),
        ("approve", "p-1"),
        ("show", "p-1"),
        ("principal", "eve"),
        ("runs", "--x"),
    ):
        for more in ([], ["--json"], ["--debug"]):
            said = cli(*words, *more)
            assert LIVE not in said.out + said.err
            assert KEY not in said.out + said.err
