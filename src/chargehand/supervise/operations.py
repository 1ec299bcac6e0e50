"""What operations and folded mail may ask of the run they belong to, and how operations are started and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from chargehand.core.history import History
from chargehand.core.identity import fraction
from chargehand.core.ladder import Ladder
from chargehand.core.states import EffectState
from chargehand.core.trampoline import Ask
from chargehand.durable import Clock, RunRow
from chargehand.errors import Fenced
from chargehand.limits import Spent
from chargehand.supervise.beginning import run_first_turn
from chargehand.supervise.call import Call
from chargehand.supervise.definitions import AgentDefinition, EffectDefinition, WorkflowDefinition
from chargehand.supervise.holding import Holding
from chargehand.supervise.log import RunLog
from chargehand.supervise.site import Site
from chargehand.verdicts import ReleasedFact


class Operations(Holding):
    """The operations of one run."""

    history: History
    row: RunRow
    seed: str
    log: RunLog
    workflow: WorkflowDefinition[..., Any]

    def __init__(self, site: Site, clock: Clock) -> None:
        super().__init__(clock)
        self.site = site
        self.definitions: dict[str, Call[Any]] = {}
        self.reserving: dict[str, Spent] = {}
        self._asked: dict[str, Ask] = {}
        self._facts: dict[str, list[ReleasedFact]] = {}
        self._crashed: BaseException | None = None

    def spawn(self, path: str, operation: Coroutine[Any, Any, None], *, asker: asyncio.Task[None] | None = None) -> asyncio.Task[None]:
        """Start an operation; at most one per path. `asker`: the task that runs now; when given, the operation has had its first
        turn on return."""
        loop = asyncio.get_running_loop()
        task = self.tasks[path] = loop.create_task(operation, name=f"{self.row.id}/{path}")
        if asker is not None:
            run_first_turn(task, asker, loop)
        if task.done():
            self._operation_ended(path, task)
        else:
            task.add_done_callback(lambda done: self._operation_ended(path, done))
        return task

    def _operation_ended(self, path: str, task: asyncio.Task[None]) -> None:
        if self.tasks.get(path) is task:
            del self.tasks[path]
        self._ended(path)
        if not task.cancelled() and (failure := task.exception()) is not None and self._crashed is None:
            self._crashed = failure
        self._wake()

    async def claim_holds(self, path: str, timeout: float | None) -> None:
        """Check on the monotonic clock, just before something is sent, that nobody can have taken the run over by the time
        it ends. Raises `Fenced`."""
        since = self.clock.monotonic() - self.log.committed_at
        if since + (timeout or 0.0) < self.site.silent_after:
            return
        while True:
            asked = self.clock.monotonic()
            if not await self.site.journal.still_mine(self.row.number, self.row.epoch):
                raise Fenced(f"Run {self.row.id!r} was taken over while this process stood still; {path} was not sent.")
            self.log.committed_at = asked
            if self.clock.monotonic() - asked < self.site.silent_after:
                return  # else it stood still again before it heard the answer

    def dice(self, path: str, n: int) -> float:
        """Return a number in [0, 1) that depends on the run, the path and `n` only."""
        return fraction(self.seed, path, n)

    def entry_id(self, path: str) -> str:
        """Return the id of the next thing that waits at a path."""
        return f"{self.row.id}/{self.history.opening(path)}"

    def effect_definition(self, effect: EffectState) -> EffectDefinition[..., Any] | None:
        """Return the definition of a recorded effect, from the code as it is in this process; None when it is unknown."""
        call = self.definitions.get(effect.path)
        definition = call.definition if call is not None else self.site.effects.get(effect.tool)
        return definition if isinstance(definition, EffectDefinition) else None

    def ask_at(self, path: str) -> Any:
        """Return what workflow code waits for at a path."""
        ask = self._asked.get(path)
        return None if ask is None else ask.what

    def wanted(self) -> list[tuple[str, Any]]:
        """Return what workflow code waits for, in the order it was asked."""
        return [(path, ask.what) for path, ask in self._asked.items()]

    def default_ladder(self) -> Ladder | None:
        """Return the ladder of agents that declare none."""
        return self.workflow.ladder if self.workflow.ladder is not None else self.site.ladder

    def released_facts(self) -> list[ReleasedFact]:
        """Return the facts asserted by the outputs released so far."""
        for path, release in self.history.released.items():
            if path not in self._facts:
                self._facts[path] = self._facts_in(path, release.get("v"))
        return [fact for facts in self._facts.values() for fact in facts]

    async def end_operation(self, path: str) -> None:
        """End the operation at a path: at once when it only waits, else when what it sent has an outcome."""
        while (task := self.tasks.get(path)) is not None and not task.done():
            if path in self._holding:
                task.cancel()
            await self._changed(task)

    async def settle_in_flight(self) -> None:
        """Let every call in flight come to its outcome; end what only waits. Bodies are ended, their effects are not."""
        own = asyncio.current_task()
        while True:
            for body in list(self.bodies.values()):
                body.kill()
            others = {path: task for path, task in self.tasks.items() if task is not own}
            if not others:
                return
            for path, task in others.items():
                if path in self._holding:
                    task.cancel()
            await asyncio.wait(others.values(), return_when=asyncio.FIRST_COMPLETED, timeout=0.05)

    async def _changed(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait({task}, timeout=0.05)

    def _deadline_passed(self) -> bool:
        deadline = self.dues.get("!deadline")
        return deadline is not None and self.clock.now() >= deadline

    def _facts_in(self, path: str, form: Any) -> list[ReleasedFact]:
        call = self.definitions.get(path)
        definition = call.definition if call is not None else None
        if not isinstance(definition, AgentDefinition) or definition.facts is None:
            return []
        return [ReleasedFact(fact, path) for fact in definition.facts(definition.contract.result.from_json(form))]
