"""Steps, reads and effects of every kind, each on a service of the outside world."""

from __future__ import annotations

from typing import Any

from chargehand import NotDone, Retry, effect, injected, read, step

from .world import World

SLOWLY = Retry(attempts=4, first=10.0, factor=2.0, ceiling=60.0)


# -- no effect on the world ----------


@step(name="note", retry=SLOWLY)
async def note(label: str, world: World = injected()) -> str:
    """A step that gives its label back; `world` counts how often it ran."""
    return await world.ran(label)


@step(name="plain note")
def plain_note(label: str) -> str:
    """A step that is a plain function, in a thread of its own."""
    return label


@read(name="search")
async def search(query: str, world: World = injected()) -> list[str]:
    """A read that agents may use."""
    await world.ran(f"search {query}")
    return [f"search {query}", f"{query}-1", f"{query}-2"]


# -- undone under a key, made under a key ----------


async def refund(receipt: str, ref: str, world: World = injected(), idempotency_key: str = injected()) -> None:
    assert receipt, "an undo is given the result"
    await world.take_back("charge", ref, idempotency_key)


@effect(name="charge", undo=refund, retry=SLOWLY, undo_retry=SLOWLY)
async def charge(ref: str, world: World = injected(), idempotency_key: str = injected()) -> str:
    """Keyed: the same key on every try."""
    return await world.make("charge", ref, idempotency_key)


# -- looked up ----------


async def find_shipment(ref: str, world: World = injected()) -> str:
    return await world.find("ship", ref)


async def unship(ref: str, world: World = injected(), idempotency_key: str = injected()) -> None:
    await world.take_back("ship", ref, idempotency_key)


@effect(name="ship", undo=unship, lookup=find_shipment, retry=SLOWLY, timeout=300.0)
async def ship(ref: str, world: World = injected()) -> str:
    """Looked up: no key, but the service can say whether it happened."""
    return await world.make("ship", ref)


# -- neither ----------


async def unpost(ref: str, world: World = injected()) -> None:
    await world.take_back("post", ref)


@effect(name="post", undo=unpost, retry=SLOWLY, undo_retry=SLOWLY)
async def post(ref: str, world: World = injected()) -> str:
    """Bare: nothing tells whether it happened but a look into the service's books. Its undo is bare as well."""
    return await world.make("post", ref)


# -- variations ----------


async def unbook(ref: str, world: World = injected(), idempotency_key: str = injected()) -> None:
    await world.take_back("book", ref, idempotency_key)


@effect(name="book", undo=unbook, retry=SLOWLY, on_exhausted="raise")
async def book(ref: str, world: World = injected(), idempotency_key: str = injected()) -> str:
    """Keyed; what surely did not happen is raised into the workflow."""
    return await world.make("book", ref, idempotency_key)


async def unreserve(ref: str, world: World = injected(), idempotency_key: str = injected()) -> None:
    await world.take_back("reserve", ref, idempotency_key)


@effect(name="reserve", undo=unreserve, undo_in_doubt=True)
async def reserve(ref: str, world: World = injected()) -> str:
    """Bare, but its undo does no harm when it never happened (the book of this service forgets such an undo)."""
    return await world.make("reserve", ref)


@effect(name="wire", final=True, approve=False, retry=SLOWLY)
async def wire(ref: str, world: World = injected(), idempotency_key: str = injected()) -> str:
    """Final: no way back."""
    return await world.make("wire", ref, idempotency_key)


@effect(name="order", undo=refund, approve=True, retry=SLOWLY)
async def order(ref: str, amount: int, world: World = injected(), idempotency_key: str = injected()) -> str:
    """Asks a person, then charges."""
    return await world.make("charge", ref, idempotency_key)


async def close_account(ref: str, world: World = injected(), idempotency_key: str = injected()) -> None:
    await world.take_back("account", ref, idempotency_key)


@effect(name="open account", undo=close_account, key=lambda call: f"account-{call.ref}", retry=SLOWLY)
async def open_account(ref: str, world: World = injected(), idempotency_key: str = injected()) -> str:
    """Has a business key, unique across runs."""
    return await world.make("account", ref, idempotency_key)


async def strike(ref: str, world: World = injected(), idempotency_key: str = injected()) -> None:
    await world.take_back("enter", ref, idempotency_key)


@effect(name="enter", transactional=True, undo=strike)
def enter(tx: Any, ref: str) -> str:
    """Transactional: exactly once, in the journal's own database."""
    tx.execute("CREATE TABLE IF NOT EXISTS entries(ref TEXT NOT NULL)")
    tx.execute("INSERT INTO entries VALUES (?)", (ref,))
    return f"enter-{ref}-receipt"


@effect(name="misenter", transactional=True, undo=strike)
def misenter(tx: Any, ref: str) -> str:
    """Transactional: writes, then finds that it must not."""
    tx.execute("CREATE TABLE IF NOT EXISTS entries(ref TEXT NOT NULL)")
    tx.execute("INSERT INTO entries VALUES (?)", (ref,))
    raise NotDone("the books are closed", permanent=True)
