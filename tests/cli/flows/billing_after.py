"""The same workflow after a change that parked runs cannot survive: another amount, and a booking less."""

from __future__ import annotations

from chargehand import effect, read, wait_signal, workflow


async def unbook(amount: int) -> None:
    """Take a booking back."""


@read(name="billing.rate")
async def rate(country: str) -> int:
    """Look up a rate."""
    raise AssertionError("a check executes nothing")


@effect(name="billing.book", undo=unbook)
async def book(amount: int) -> str:
    """Book an amount."""
    raise AssertionError("a check executes nothing")


@workflow(name="billing.bill")
async def bill(country: str) -> str:
    """Book more than before."""
    percent = await rate(country.lower())
    await book(200 + percent)
    await wait_signal("go", str)
    return await book(7)


@workflow(name="billing.bill")
async def bill_broken(country: str) -> str:
    """Raise a bug on the way."""
    await rate(country)
    raise KeyError("vat")


@workflow(name="billing.bill")
async def bill_same(country: str) -> str:
    """Differ only where nothing is recorded yet."""
    percent = await rate(country)
    await book(100 + percent)
    await wait_signal("go", str)
    return await book(8)


@workflow(name="billing.bill")
async def bill_shorter(country: str) -> str:
    """Forget the booking."""
    await rate(country)
    return "done"


@workflow(name="billing.bill")
async def bill_accepted(country: str) -> str:
    """Ask differently for what is recorded, and leave out what is not."""
    await rate(country.lower())
    await book(119)
    return await wait_signal("go", str)


@workflow(name="billing.bill")
async def bill_behind(country: str) -> str:
    """Look something else up first, and leave the booking out behind it."""
    await rate(country)
    await rate("AT")
    return "done"
