"""Environments kept apart: a development process gets neither production's handles nor its secrets, whatever asks for them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from chargehand import Approve, Person, Resource, effect, injected, workflow
from chargehand.errors import ResourceMissing, WrongEnvironment
from chargehand.supervise.site import Resources
from chargehand.testing import Supervised

from .conftest import Command, asked, change

SECRET = "PRODUCTION_TOKEN"


class Bank:
    """A handle with a token."""

    made: ClassVar[list[str]] = []

    def __init__(self, token: str) -> None:
        self.token = token
        Bank.made.append(token)


bank = Resource(Bank, {"production": lambda: Bank(os.environ[SECRET]), "development": lambda: Bank("play money")})


async def take_back(receipt: str, bank: Bank = injected()) -> None: ...


@effect(undo=take_back, approve=True)
async def transfer(amount: int, bank: Bank = injected()) -> str:
    return f"{amount} with {bank.token}"


@workflow(name="security.transfers")
async def transfers(amount: int) -> str:
    return await transfer(amount)


@pytest.fixture(autouse=True)
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set production's secret, so that only not asking for it keeps it apart."""
    Bank.made.clear()
    monkeypatch.setenv(SECRET, "live")


def process(environment: str, beside: Supervised | None = None) -> Supervised:
    """Return a process of an environment that was given the factories of all."""
    options: dict[str, Any] = {"environment": environment, "resources": [bank]}
    return beside.beside([transfers], **options) if beside is not None else Supervised([transfers], **options)


async def test_a_production_run_is_driven_and_decided_by_production_only() -> None:
    """A development worker on the same journal does not claim it, decide it, signal it, cancel it, resume it or start it anew."""
    async with process("production") as production:
        run = await production.start(transfers(5), "t-1")
        await production.rest()
        entry = (await run.waiting())[0]
        await production.close()
        async with process("development", production) as development:
            await development.rest()
            supervisor, eve = development.supervisor, Person("eve", "cfo")
            assert await supervisor.waiting() == []
            assert await supervisor.runs() == []
            for refused in (
                supervisor.decide(entry, Approve(), by=eve),
                supervisor.decide(entry.id, Approve(), by=eve),
                supervisor.signal("t-1", "go"),
                supervisor.cancel("t-1"),
                supervisor.resume("t-1"),
                supervisor.start(transfers(5), "t-1"),
            ):
                with pytest.raises(WrongEnvironment):
                    await refused
            await development.advance(3600)
        assert [event.type for event in await run.events()] == ["run.started", "effect.proposed"]
    assert Bank.made == []


async def test_a_development_run_gets_development_handles() -> None:
    """The same call, the same factories: the environment of the process says which is made, and the other's is not even kept."""
    async with process("development") as development:
        run = await development.start(transfers(5))
        await development.decide("approval", Approve())
        assert await run.result() == "5 with play money"
        factories: Any = development.supervisor.site.resources._factories
        assert list(factories) == [Bank]
        assert factories[Bank] is bank.factory_for("development")
    assert Bank.made == ["play money"]


async def test_a_missing_factory_is_no_other_environments() -> None:
    """An environment without a factory of its own gets none, and the message names no secret."""
    async with Supervised([transfers], environment="staging", resources=[bank]) as staging:
        await staging.start(transfers(5))
        staging.decide("approval", Approve())
        await staging.rest()
        with pytest.raises(ResourceMissing, match="'staging'") as refused:
            await staging.supervisor.site.resources.get(Bank, "transfer")
        assert "live" not in str(refused.value)
    assert Bank.made == []


@pytest.mark.parametrize("kind", ["Bank", "chargehand.Bank", 7, None, object, type("Bank", (), {})])
async def test_nobody_asks_for_a_handle_by_name(kind: Any) -> None:
    """A resource is found by the very type in the code; a name, or a type that is called the same, finds nothing."""
    with pytest.raises(ResourceMissing):
        await Resources({Bank: lambda: Bank("x")}, "development").get(kind, "somebody")


def test_the_input_does_not_choose_the_environment(cli: Command, shop: Command) -> None:
    """Neither an argument nor a tag nor an id makes a process another environment's."""
    shop("ask_freely", "environment=production", "--tag", "environment=production", id="production")
    assert cli("show", "production", "--json").json["run"]["environment"] == "development"


def test_a_row_that_changes_its_environment_is_noticed(cli: Command, shop: Command, flows: Callable[[str], str]) -> None:
    """Somebody moves a production run's row into development: its digest does not fit, so its approval is asked anew, in development's words."""
    module = flows(MODULE)
    Path("chargehand.toml").write_text("[environments.production]\n")
    words = ("run", f"{module}:flow", "--input", "5", "--id", "t-1")
    assert cli(*words, "--environment", "production").status == 3
    before = asked("SELECT digest FROM waiting")
    assert cli("approve", "t-1", "--environment", "production").status == 0
    change("UPDATE runs SET environment = 'development'", "UPDATE waiting SET environment = 'development'")
    assert cli(*words).status == 3
    assert not Path("done.txt").exists()
    assert asked("SELECT digest FROM waiting") != before
    assert json.loads(asked("SELECT shows FROM waiting")[0][0])["environment"] == "development"


MODULE = """
from pathlib import Path

from chargehand import effect, workflow


async def undo(receipt: str) -> None: ...


@effect(undo=undo, approve=True)
async def pay(amount: int) -> str:
    Path("done.txt").write_text(str(amount))
    return "paid"


@workflow
async def flow(amount: int) -> str:
    return await pay(amount)
"""
