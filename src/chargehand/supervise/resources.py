"""Resources: what calls need and a journal must not hold, one environment's at a time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Generic, TypeVar

from chargehand.errors import ResourceMissing
from chargehand.limits import AtOnce, Rate
from chargehand.supervise.definitions import Limits

R = TypeVar("R")


class Resource(Generic[R]):
    """Anything a call needs and a journal must not hold: a client, a pool, a secret.

    Args:
        kind: the type by which calls ask for it.
        factories: per environment, a callable without arguments that makes it (or an awaitable, or an async context
            manager). A factory alone serves every environment. A supervisor keeps its own environment's factory and never
            looks at another's.
        at_once: how many calls of this process may have it at the same time, whatever they are: steps, reads, effects, their
            undos and look-ups, agents, gates. The others wait, which uses no attempt. An agent has it to the end of its
            attempt; what its body calls meanwhile goes on the agent's own place, one call at a time.
        rate: how many calls that take it may begin in a time.
    """

    def __init__(
        self,
        kind: type[R],
        factories: Mapping[str, Callable[[], Any]] | Callable[[], Any],
        *,
        at_once: AtOnce | None = None,
        rate: Rate | None = None,
    ) -> None:
        self.kind = kind
        self.limits = Limits(at_once, rate)
        self._factories = factories

    def factory_for(self, environment: str) -> Callable[[], Any] | None:
        """Return the factory of one environment."""
        if callable(self._factories):
            return self._factories
        return self._factories.get(environment)


class Resources:
    """The resources of one environment, made when first asked for.

    Args:
        factories: by type, what makes the resource: a zero-argument callable that returns it, an awaitable of it, or an
            async context manager. Only this environment's factories ever get here; nobody can ask for another's.
    """

    def __init__(self, factories: Mapping[type, Callable[[], Any]], environment: str) -> None:
        self._factories = dict(factories)
        self._environment = environment
        self._made: dict[type, Any] = {}
        self._locks: dict[type, asyncio.Lock] = {}
        self._stack = AsyncExitStack()

    def replace(self, kind: type, value: Any) -> None:
        """Give this very object from now on (tests)."""
        self._made[kind] = value

    async def get(self, kind: Any, asker: str) -> Any:
        """Return the resource of a type. Raises `ResourceMissing` that names type, environment and asker."""
        if kind in self._made:
            return self._made[kind]
        if kind not in self._factories:
            name = getattr(kind, "__name__", repr(kind))
            raise ResourceMissing(
                f"{asker} asks for a {name}, and nothing makes one in the environment {self._environment!r}. "
                f"Declare Resource({name}, {{{self._environment!r}: factory}}) and give it to the Supervisor."
            )
        async with self._locks.setdefault(kind, asyncio.Lock()):
            if kind not in self._made:
                self._made[kind] = await self._make(self._factories[kind])
        return self._made[kind]

    async def _make(self, factory: Callable[[], Any]) -> Any:
        made = factory()
        if hasattr(made, "__aenter__") and hasattr(made, "__aexit__"):
            return await self._stack.enter_async_context(made)
        if inspect.isawaitable(made):
            return await made
        return made

    async def close(self) -> None:
        """Leave every resource that is a context manager."""
        await self._stack.aclose()
