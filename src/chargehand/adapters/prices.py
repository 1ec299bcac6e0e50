"""What a request cost, by the table of prices of `genai-prices`, where that is installed: it comes with the extra ``llm``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

try:
    from genai_prices import Usage, calc_price
except ModuleNotFoundError:  # an adapter works without: money is then not measured
    calc_price = None  # type: ignore[assignment]


def price_of(model: str, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> Decimal | None:
    """Return US dollars; None where the table does not know the model, or there is no table. Nothing is fetched."""
    if calc_price is None:
        return None
    usage: Any = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached_tokens or None)
    try:
        return calc_price(usage, model).total_price
    except (LookupError, ValueError, AssertionError):
        return None
