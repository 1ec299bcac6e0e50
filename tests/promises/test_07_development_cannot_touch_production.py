"""Promise 7: a development process cannot touch production through chargehand: it cannot even obtain the handle."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import pytest

from chargehand import Approve, DecisionRefused, Person, Resource, effect, injected, read, wait_signal, workflow
from chargehand.errors import ResourceMissing, WrongEnvironment
from chargehand.testing import Supervised

MADE: list[str] = []
SECRET = "ACME_PRODUCTION_TOKEN"


class Bank:
    """A handle that only its own environment's factory can make."""

    def __init__(self, token: str) -> None:
        self.token = token


def of_production() -> Bank:
    MADE.append("production")
    return Bank(os.environ[SECRET])


def of_development() -> Bank:
    MADE.append("development")
    return Bank("play money")


bank = Resource(Bank, {"development": of_development, "production": of_production})


class Watched(dict[str, str]):
    """Environment variables that remember who was asked for."""

    asked: ClassVar[list[str]] = []

    def __getitem__(self, name: str) -> str:
        Watched.asked.append(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        Watched.asked.append(name)
        return super().get(name, default)


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the secret's variable and watch who reads it."""
    MADE.clear()
    Watched.asked.clear()
    monkeypatch.setattr(os, "environ", Watched({**os.environ, SECRET: "live"}))


async def take_back(receipt: str) -> None: ...


@read
async def balance(bank: Bank = injected()) -> str:
    return bank.token


@effect(undo=take_back, environment="production")
async def transfer(amount: int, bank: Bank = injected()) -> str:
    MADE.append(f"transfer with {bank.token}")
    return "done"


@effect(undo=take_back, approve=True)
async def approved_transfer(amount: int, bank: Bank = injected()) -> str:
    MADE.append(f"transfer with {bank.token}")
    return "done"


@workflow
async def asks_balance() -> str:
    return await balance()


@workflow
async def transfers() -> str:
    return await transfer(5)


@workflow
async def transfers_approved() -> str:
    return await approved_transfer(5)


@workflow
async def waits() -> int:
    return await wait_signal("go", int)


EVERY = [asks_balance, transfers, transfers_approved, waits]


def a_process(environment: str, beside: Supervised | None = None, **options: Any) -> Supervised:
    """Return a process of an environment, with all factories given to it."""
    options = {"environment": environment, "resources": [bank], **options}
    return beside.beside(EVERY, **options) if beside is not None else Supervised(EVERY, **options)


async def test_each_environment_gets_its_own_handle() -> None:
    """The factory of the own environment is called, the other's never."""
    async with a_process("development") as development:
        assert await development.run(asks_balance()) == "play money"
        assert MADE == ["development"]
        assert SECRET not in Watched.asked
    async with a_process("production") as production:
        assert await production.run(asks_balance()) == "live"


async def test_a_development_worker_leaves_production_runs_alone() -> None:
    """A production run waits in the journal; a development worker neither claims it nor makes the handle nor reads the secret."""
    async with a_process("production", work=False) as web, a_process("development", web) as development:
        run = await web.start(asks_balance())
        await development.rest()
        await development.advance(3600)
        assert (await run.status(), (await run.row()).owner) == ("running", None)
        assert await run.history() == ["run.started"]
        assert MADE == []
        assert SECRET not in Watched.asked
        async with a_process("production", web):
            assert await run.result() == "live"


async def test_the_production_factory_is_not_even_kept() -> None:
    """Nothing reachable from a development supervisor holds the production factory."""
    async with a_process("development") as development:
        kept = development.supervisor.site.resources._factories
        assert list(kept.values()) == [of_development]


async def test_development_cannot_decide_signal_cancel_or_resume_production() -> None:
    """What waits in production is neither listed nor decided by a development process."""
    async with a_process("production") as production, a_process("development", production) as development:
        paying = await production.start(transfers_approved())
        waiting = await production.start(waits())
        (entry,) = await production.waiting()
        assert await development.waiting() == []
        supervisor, petra = development.supervisor, Person("petra")
        for refused in (
            supervisor.decide(entry.id, Approve(), by=petra),
            supervisor.signal(waiting.id, "go", 1),
            supervisor.cancel(paying.id),
            supervisor.resume(paying.id),
            supervisor.start(waits(), waiting.id),
        ):
            with pytest.raises(WrongEnvironment, match="production"):
                await refused
        assert not any(made.startswith("transfer") for made in MADE)


async def test_an_effect_of_another_environment_is_refused_before_it_is_sent() -> None:
    """An effect that names its environment is made there, and not elsewhere, whatever the run asks."""
    async with a_process("development") as development:
        run = await development.start(transfers())
        await development.rest()
        assert not any(made.startswith("transfer") for made in MADE)
        assert not any("intended" in line for line in await run.history())
    async with a_process("production") as production:
        assert await production.run(transfers()) == "done"
        assert MADE[-1] == "transfer with live"


async def test_a_missing_resource_is_said_clearly() -> None:
    """An environment without a factory has no handle, and the error names type, environment and asker."""
    async with Supervised(EVERY, environment="staging", resources=[bank]) as staging:
        with pytest.raises(ResourceMissing, match=r"Bank.*staging|staging.*Bank"):
            await staging.supervisor.site.resources.get(Bank, "balance")
        assert MADE == []


async def test_the_environment_is_the_processs_not_the_inputs() -> None:
    """Starting takes the environment from the process; nobody can pass another."""
    async with a_process("development") as development:
        with pytest.raises(TypeError):
            await development.start(asks_balance(), environment="production")
        run = await development.start(asks_balance())
        assert (await run.row()).environment == "development"


def test_refusals_have_their_own_type() -> None:
    """A host can tell a refusal by environment from one by role."""
    assert not issubclass(WrongEnvironment, DecisionRefused)
