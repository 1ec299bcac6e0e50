"""A host application vouches for its users: within the roles of its key, under its own name, and nobody without the secret gets one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chargehand import Approval, Approve, Person, Supervisor, effect, workflow
from chargehand.config import Settings, hash_secret, settings_from
from chargehand.errors import DecisionRefused
from chargehand.supervise.approvals import HostKey

SECRET = "a secret of the shop's own"
PAID: list[int] = []


async def take_back(receipt: str) -> None: ...


@effect(undo=take_back, approve=Approval(role="buyer"))
async def pay(amount: int) -> str:
    """Pay, once a buyer says so."""
    PAID.append(amount)
    return "paid"


@workflow(name="host pays")
async def pays() -> str:
    """Pay something."""
    return await pay(7)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with a principal for the shop, which may vouch for buyers and clerks."""
    (tmp_path / "chargehand.toml").write_text(f'[principals.shop]\nroles = ["buyer", "clerk"]\nsecret = "{hash_secret(SECRET)}"\n')
    return settings_from(variables={}, start=tmp_path)


@pytest.fixture
async def waits(settings: Settings, tmp_path: Path) -> AsyncIterator[Supervisor]:
    """Give a supervisor with the shop's key and a run that waits for a buyer."""
    PAID.clear()
    async with Supervisor(str(tmp_path / "journal.db"), [pays], host_key=settings.host_key("shop", SECRET)) as supervisor:
        await supervisor.start(pays(), id="r")
        async for event in supervisor.watch("r"):
            if event.type == "effect.proposed":
                break
        yield supervisor


async def by_of(supervisor: Supervisor, kind: str) -> dict[str, object]:
    """Return who an event says it was."""
    (event,) = [event for event in await supervisor.run("r").events() if event.type == kind]
    return dict(event.payload["by"])


async def test_within_the_key(waits: Supervisor) -> None:
    """A user with a role of the key decides, and the event names the application that vouched."""
    await waits.decide("r/pay", Approve(), by=Person("ann", "buyer"))
    assert await waits.run("r").result() == "paid"
    assert await by_of(waits, "effect.approved") == {"id": "ann", "roles": ["buyer"], "vouched_by": "shop"}


@pytest.mark.parametrize(
    ("person", "says"),
    [
        (Person("ann", ["buyer", "cfo"]), "and not for cfo"),
        (Person("ann", "buyer", vouched_by="bank"), "vouched for by 'bank'"),
    ],
)
async def test_beyond_the_key(waits: Supervisor, person: Person, says: str) -> None:
    """A role that the key has not, or another application's name, is refused before anything is written, whatever is told."""
    before = len(await waits.run("r").events())
    with pytest.raises(DecisionRefused, match=says):
        await waits.decide("r/pay", Approve(), by=person)
    with pytest.raises(DecisionRefused, match=says):
        await waits.cancel("r", by=person)
    with pytest.raises(DecisionRefused, match=says):
        await waits.resume("r", by=person)
    with pytest.raises(DecisionRefused, match=says):
        await waits.signal("r", "hello", by=person)
    assert (len(await waits.run("r").events()), PAID) == (before, [])


def test_who_gets_a_key(settings: Settings) -> None:
    """A key is given for the secret of a configured principal, with its name and roles; near names are told, secrets never."""
    assert settings.host_key("shop", SECRET) == HostKey("shop", frozenset({"buyer", "clerk"}))
    with pytest.raises(DecisionRefused, match="not the secret of 'shop'") as refused:
        settings.host_key("shop", "guessed")
    assert "guessed" not in str(refused.value)
    with pytest.raises(DecisionRefused, match="Did you mean 'shop'"):
        settings.host_key("shpo", SECRET)
    with pytest.raises(DecisionRefused, match="No principals are configured"):
        Settings().host_key("shop", SECRET)
