"""What the tests of the stand-in share: the vendor's client, and a stand-in that plays what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from chargehand.testing.standin import ModelScript, ModelStandIn, Reply

HI: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="session")
def vendor() -> Iterator[openai.OpenAI]:
    """The vendor's client, without retries of its own. Its connections are shared, its address is given for each stand-in."""
    with openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="stand-in", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def ask(vendor: openai.OpenAI, model_stand_in: Callable[..., ModelStandIn]) -> Callable[..., openai.OpenAI]:
    """A client of a stand-in that plays these replies, or this script. Whatever does not fit the script fails the test."""

    def begun(*script: ModelScript | Reply) -> openai.OpenAI:
        return vendor.with_options(base_url=model_stand_in(*script).base_url)

    return begun
