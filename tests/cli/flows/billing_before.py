"""A workflow as it was when its runs were started."""

from __future__ import annotations

from chargehand import effect, read, wait_signal, workflow


async def unbook(amount: int) -> None:
    """Take a booking back."""


@read(name="billing.rate")
async def rate(country: str) -> int:
    """Look up a rate."""
    return 19


@effect(name="billing.book", undo=unbook)
async def book(amount: int) -> str:
    """Book an amount."""
    return f"booked {amount}"


@workflow(name="billing.bill")
async def bill(country: str) -> str:
    """Book, wait, book again."""
    percent = await rate(country)
    await book(100 + percent)
    await wait_signal("go", str)
    return await book(7)
