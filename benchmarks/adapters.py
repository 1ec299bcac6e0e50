"""What supervision adds to a request to a model: each framework bare and supervised, over the same stand-in, one beside the other.

    python -m benchmarks.adapters [--requests 40] [--rounds 5]

A conversation of so many requests, each but the last with one tool call, is held by the framework alone and as the body of a supervised agent,
with its journal in memory and in a file. `bare` is what a request takes without us; `adapter` is what the adapter does with one (its identity,
the answer's form), `+ memory` and `+ file` that and the engine with its two commits, the reservation before the request and the answer after it:
the time within our model that is not within the framework's. The endpoint is `chargehand.testing.standin` in a process of its own: it is no model, and answers at once, so the
ratios are far worse than any that a real model would show.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pydantic_ai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import agents
from chargehand import Supervisor, agent, give_up, read, workflow
from chargehand.adapters import langgraph, openai_agents_requests
from chargehand.adapters import pydantic_ai as pydantic_adapter
from chargehand.testing.standin import ModelScript, calls, says

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langgraph.prebuilt import create_react_agent

Bare = Callable[[], Awaitable[str]]


def price(sku: str) -> int:
    """Return the price of a part, in cents."""
    return 15


priced = read(name="price")(price)


def conversation(requests: int) -> ModelScript:
    """Return a conversation of so many requests, each but the last with a tool call."""
    turn = [calls(("price", {"sku": f"M{number}"})) for number in range(requests - 1)] + [says("done")]
    return ModelScript(replies=tuple(turn))


def pydantic_ai_parts(url: str) -> tuple[Bare, Any]:
    """Return Pydantic AI's run without supervision, and what a contract names."""
    model = OpenAIChatModel("stand-in", provider=OpenAIProvider(base_url=url, api_key="stand-in"))
    bare = pydantic_ai.Agent(model, tools=[price])

    async def run() -> str:
        return str((await bare.run("Add the prices.", usage_limits=pydantic_ai.UsageLimits(request_limit=None))).output)

    return run, model


def openai_agents_parts(url: str) -> tuple[Bare, Any]:
    """Return the OpenAI Agents SDK's run without supervision, and what a contract names."""
    model = agents.OpenAIChatCompletionsModel("stand-in", openai_client=AsyncOpenAI(base_url=url, api_key="stand-in"))
    bare = agents.Agent(name="bare", model=model, tools=[agents.function_tool(price)])

    async def run() -> str:
        return str((await agents.Runner.run(bare, "Add the prices.", max_turns=1000)).final_output)

    return run, agents.Agent(name="supervised", model=model)


def langgraph_parts(url: str) -> tuple[Bare, Any]:
    """Return LangGraph's run without supervision, and what a contract names."""
    chat = ChatOpenAI(model="stand-in", base_url=url, api_key="stand-in")  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bare = create_react_agent(chat, [tool(price)])
        supervised = create_react_agent(langgraph.journaled(chat), [langgraph.tool_of(priced)])

    async def run() -> str:
        return str((await bare.ainvoke({"messages": [("user", "Add the prices.")]}, {"recursion_limit": 1000}))["messages"][-1].text)

    return run, supervised


MODELS = {
    "pydantic-ai": ((pydantic_adapter.JournaledModel, "request"), (OpenAIChatModel, "request"), (pydantic_adapter, "ask")),
    "openai-agents": (
        (openai_agents_requests.JournaledModel, "get_response"),
        (agents.OpenAIChatCompletionsModel, "get_response"),
        (openai_agents_requests, "ask"),
    ),
    "langgraph": ((langgraph.JournaledChat, "_agenerate"), (ChatOpenAI, "_agenerate"), (langgraph, "ask")),
}
"""By framework: the adapter's model, the framework's own, and the durable call between the two, each with what is called for a request."""

FRAMEWORKS = {"pydantic-ai": pydantic_ai_parts, "openai-agents": openai_agents_parts, "langgraph": langgraph_parts}


def supervised_run(model: Any, journal: str) -> Bare:
    """Return a supervised run of the same conversation."""

    @agent(name="adder", role="Adds prices.", uses=[priced], model=model, ladder=[give_up()])
    async def adder(task: str) -> str:
        """Look up each price."""

    @workflow(name="adds")
    async def adds(task: str) -> str:
        return await adder(task)

    async def run() -> str:
        async with Supervisor(journal, [adds]) as supervisor:
            return await (await supervisor.start(adds("Add the prices."))).result(300)

    return run


class Server:
    """The stand-in in a process of its own, begun anew for each conversation."""

    def __init__(self, path: Path, script: ModelScript) -> None:
        self.path = path
        path.write_text(script.model_dump_json())

    def start(self) -> None:
        """Begin the script anew."""
        command = [sys.executable, "-m", "chargehand.testing.standin", str(self.path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def stop(self) -> None:
        """End it."""
        self.process.communicate()


class Watched:
    """Times each call of a framework's model and of the adapter's around it; what is between the two is ours."""

    def __init__(self, name: str) -> None:
        self.outer: list[float] = []
        self.middle: list[float] = []
        self.inner: list[float] = []
        (ours, our_method), (theirs, their_method), (asking, ask) = MODELS[name]
        self._put = [(ours, our_method, self.outer), (theirs, their_method, self.inner), (asking, ask, self.middle)]

    def __enter__(self) -> Watched:
        self._before = [(kind, method, getattr(kind, method)) for kind, method, _ in self._put]
        for (kind, method, found), (_, _, plain) in zip(self._put, self._before, strict=True):
            setattr(kind, method, _watched(plain, found))
        return self

    def __exit__(self, *error: object) -> None:
        for kind, method, plain in self._before:
            setattr(kind, method, plain)


def _watched(plain: Callable[..., Awaitable[Any]], found: list[float]) -> Callable[..., Awaitable[Any]]:
    async def watched(*args: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return await plain(*args, **options)
        finally:
            found.append(time.perf_counter() - started)

    return watched


async def measure(name: str, requests: int, rounds: int, folder: Path) -> None:
    """Print what supervision adds to a request of one framework: medians over all requests, in milliseconds."""
    server = Server(folder / "script.json", conversation(requests))
    asked: dict[str, list[float]] = {"bare": [], "memory": [], "file": []}
    own: dict[str, list[float]] = {"bare": [], "memory": [], "file": []}
    adapter: list[float] = []
    for number in range(rounds + 1):  # the first round warms up
        for kind in asked:
            server.start()
            bare, model = FRAMEWORKS[name](server.url)
            run = bare if kind == "bare" else supervised_run(model, str(folder / f"{number}.db") if kind == "file" else "memory:")
            with Watched(name) as watched:
                said = await run()
            assert said == "done", said
            server.stop()
            if number:
                asked[kind] += watched.inner
                adapter += [outer - middle for outer, middle in zip(watched.outer, watched.middle, strict=False)]
                own[kind] += [outer - inner for outer, inner in zip(watched.outer, watched.inner, strict=False)]
    bare_ms, memory_ms, file_ms = (statistics.median(found) * 1000 for found in (asked["bare"], own["memory"], own["file"]))
    adapter_ms = statistics.median(adapter) * 1000
    print(
        f"{name:14} {bare_ms:10.2f} {adapter_ms:10.2f} {memory_ms:10.2f} {file_ms:10.2f} {1 + memory_ms / bare_ms:10.2f} {1 + file_ms / bare_ms:10.2f}"
    )


def main() -> None:
    """Measure each framework."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=40, help="requests in a conversation")
    parser.add_argument("--rounds", type=int, default=5, help="conversations of each kind, after one to warm up")
    given = parser.parse_args()
    agents.set_tracing_disabled(True)
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    print(f"{given.rounds} conversations of {given.requests} requests each; medians in ms a request; ratios to the bare request")
    print(f"{'':14} {'bare':>10} {'adapter':>10} {'+ memory':>10} {'+ file':>10} {'ratio':>10} {'ratio':>10}")
    for name in FRAMEWORKS:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(measure(name, given.requests, given.rounds, Path(folder)))


if __name__ == "__main__":
    main()
