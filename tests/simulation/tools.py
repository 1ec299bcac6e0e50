"""The effects and reads that simulated runs use: every kind of recovery, approval and way back once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chargehand import Approval, AtOnce, Retry, effect, injected, read, step

from .services import Services

SOON = Retry(attempts=3, first=2.0, factor=2.0, ceiling=20.0)


@dataclass(frozen=True)
class Kind:
    """What a tool promises, as the reference model knows it: written by hand, not read off the definitions.

    `keyed`: the service honours keys, and remembers them so many seconds. `undo_keyed`: so does its undo.
    """

    keyed: bool = True
    lookup: bool = False
    undo_keyed: bool = True
    votes: int = 0
    role: str | None = None
    within: float | None = None
    final: bool = False
    business: bool = False
    transactional: bool = False
    undo_in_doubt: bool = False
    raises: bool = False
    remembers: float = 86_400.0
    above: int | None = None


KINDS: dict[str, Kind] = {
    "charge": Kind(),
    "ship": Kind(keyed=False, lookup=True),
    "post": Kind(keyed=False, undo_keyed=False),
    "order": Kind(votes=1),
    "transfer": Kind(votes=2, role="boss", within=240.0),
    "account": Kind(business=True),
    "license": Kind(business=True, votes=1),
    "wire": Kind(final=True, votes=1),
    "announce": Kind(final=True, keyed=False),
    "enter": Kind(keyed=False, transactional=True),
    "pay": Kind(),
    "book": Kind(raises=True),
    "reserve": Kind(keyed=False, undo_in_doubt=True),
    "fee": Kind(remembers=900.0, lookup=True),
    "parcel": Kind(keyed=False, lookup=True, undo_keyed=False),
    "rent": Kind(votes=1, above=50),
    "toll": Kind(),
}


async def take_back_charge(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("charge", ref, idempotency_key)


@effect(name="charge", undo=take_back_charge, retry=SOON, undo_retry=SOON)
async def charge(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Keyed."""
    return await services.make("charge", ref, amount, idempotency_key)


async def take_back_ship(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("ship", ref, idempotency_key)


async def find_ship(ref: str, services: Services = injected()) -> str:
    return await services.find("ship", ref)


@effect(name="ship", undo=take_back_ship, lookup=find_ship, retry=SOON, undo_retry=SOON, timeout=40.0)
async def ship(ref: str, amount: int, services: Services = injected()) -> str:
    """Looked up."""
    return await services.make("ship", ref, amount)


async def take_back_post(ref: str, services: Services = injected()) -> None:
    await services.take_back("post", ref)


@effect(name="post", undo=take_back_post, retry=SOON, undo_retry=SOON)
async def post(ref: str, amount: int, services: Services = injected()) -> str:
    """Bare, and so is its undo."""
    return await services.make("post", ref, amount)


async def take_back_order(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("order", ref, idempotency_key)


@effect(name="order", undo=take_back_order, approve=True, retry=SOON, undo_retry=SOON)
async def order(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Keyed; asks a person."""
    return await services.make("order", ref, amount, idempotency_key)


async def take_back_transfer(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("transfer", ref, idempotency_key)


@effect(name="transfer", undo=take_back_transfer, approve=Approval(votes=2, role="boss", within=240.0), retry=SOON, undo_retry=SOON)
async def transfer(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Keyed; two bosses say yes within four minutes."""
    return await services.make("transfer", ref, amount, idempotency_key)


async def take_back_account(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("account", ref, idempotency_key)


@effect(name="account", undo=take_back_account, key=lambda call: f"account-{call.ref}", retry=SOON, undo_retry=SOON)
async def account(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """A business key, shared between runs."""
    return await services.make("account", ref, amount, idempotency_key)


async def take_back_license(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("license", ref, idempotency_key)


@effect(name="license", undo=take_back_license, key=lambda call: f"license-{call.ref}", approve=True, retry=SOON, undo_retry=SOON)
async def license(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """A business key, shared between runs, and a person."""
    return await services.make("license", ref, amount, idempotency_key)


@effect(name="wire", final=True, retry=SOON)
async def wire(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Final, keyed, approved."""
    return await services.make("wire", ref, amount, idempotency_key)


@effect(name="announce", final=True, approve=False, retry=SOON)
async def announce(ref: str, amount: int, services: Services = injected()) -> str:
    """Final and bare."""
    return await services.make("announce", ref, amount)


async def take_back_enter(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("enter", ref, idempotency_key)


@effect(name="enter", undo=take_back_enter, transactional=True, undo_retry=SOON)
def enter(tx: Any, ref: str, amount: int) -> str:
    """In the journal's own database."""
    tx.execute("CREATE TABLE IF NOT EXISTS entries(ref TEXT NOT NULL)")
    tx.execute("INSERT INTO entries VALUES (?)", (ref,))
    return f"enter-{ref}-receipt"


async def take_back_pay(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("pay", ref, idempotency_key)


@effect(name="pay", undo=take_back_pay, retry=SOON, undo_retry=SOON, timeout=30.0, at_once=AtOnce(1))
async def pay(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Keyed, with a timeout, one at a time."""
    return await services.make("pay", ref, amount, idempotency_key)


async def take_back_book(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("book", ref, idempotency_key)


@effect(name="book", undo=take_back_book, retry=SOON, undo_retry=SOON, on_exhausted="raise")
async def book(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Keyed; raises into the workflow."""
    return await services.make("book", ref, amount, idempotency_key)


async def take_back_reserve(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("reserve", ref, idempotency_key)


@effect(name="reserve", undo=take_back_reserve, undo_in_doubt=True, retry=SOON, undo_retry=SOON)
async def reserve(ref: str, amount: int, services: Services = injected()) -> str:
    """Bare, with an undo that does no harm."""
    return await services.make("reserve", ref, amount)


async def take_back_fee(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("fee", ref, idempotency_key)


async def find_fee(ref: str, services: Services = injected()) -> str:
    return await services.find("fee", ref)


@effect(name="fee", undo=take_back_fee, lookup=find_fee, retry=SOON, undo_retry=SOON, idempotent_for=900.0)
async def fee(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Keyed, but the service remembers keys for a quarter of an hour; after that it is looked up."""
    return await services.make("fee", ref, amount, idempotency_key)


async def take_back_parcel(ref: str, services: Services = injected()) -> None:
    await services.take_back("parcel", ref)


async def find_parcel(ref: str, services: Services = injected()) -> str:
    return await services.find("parcel", ref)


@effect(name="parcel", undo=take_back_parcel, lookup=find_parcel, retry=SOON, undo_retry=SOON)
async def parcel(ref: str, amount: int, services: Services = injected()) -> str:
    """Looked up; its undo is bare."""
    return await services.make("parcel", ref, amount)


async def take_back_rent(ref: str, services: Services = injected(), idempotency_key: str = injected()) -> None:
    await services.take_back("rent", ref, idempotency_key)


@effect(name="rent", undo=take_back_rent, approve=lambda call: call.amount > 50, retry=SOON, undo_retry=SOON)
async def rent(ref: str, amount: int, services: Services = injected(), idempotency_key: str = injected()) -> str:
    """Keyed; asks a person about much."""
    return await services.make("rent", ref, amount, idempotency_key)


@step(name="think", retry=SOON)
async def think(ref: str, services: Services = injected()) -> str:
    """A step that may fail."""
    return await services.think(ref)


@read(name="search", retry=SOON, timeout=60.0)
async def search(ref: str, services: Services = injected()) -> str:
    """A read that agents use too."""
    return await services.think(ref)


TOOLS: dict[str, Any] = {
    definition.name: definition
    for definition in (
        charge, ship, post, order, transfer, account, license, wire, announce, enter, pay, book, reserve, fee, parcel, rent,
    )
}  # fmt: skip
"""Every effect by its name."""
