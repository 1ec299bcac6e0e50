"""A value is found, ordered and given back."""

from __future__ import annotations

from pydantic import BaseModel

from chargehand import effect, read, workflow


class Offer(BaseModel):
    supplier: str
    price: str


@read
async def find(sku: str) -> Offer:
    return Offer(supplier="Beech Industrial", price="852.10")


async def cancel(result: str) -> None:
    return None


@effect(undo=cancel)
async def order(supplier: str) -> str:
    return "SO-0001 <placed>"


@workflow(name="passing")
async def passing(sku: str) -> str:
    offer = await find(sku)
    return await order(offer.supplier)
