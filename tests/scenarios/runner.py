"""Runs golden scripts.

A scenario is a text file with three kinds of parts:

    What the scenario shows, in a few lines.

    == program
    Python: workflows, and what they need beside `cast.txt`. More programs (``== program 2``) are later versions of the code.

    == script
    > start(trip())                one command a line, a Python expression over `Stage`
    effect.intended book           what follows: events as they are committed, the world as it is touched
      * book flight

Lines that begin with ``  * `` are touches of the world, between the events around them. ``--`` begins an answer of the
command itself. Keys are called k1, k2 … in the order in which they appear. ``python -m pytest tests/scenarios --rewrite-scenarios``
writes what happens into the files: read the difference against SEMANTICS before keeping it.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from chargehand.events import Event
from chargehand.testing import Supervised
from chargehand.testing.clock import START

from .deploy import deployed
from .telling import in_full, told

CAST = Path(__file__).with_name("cast.txt").read_text()


@dataclass
class Scenario:
    """One parsed file."""

    text: str
    programs: dict[str, str]
    script: list[tuple[str, list[str]]]

    @classmethod
    def parse(cls, text: str) -> Scenario:
        """Take a file apart."""
        parts = re.split(r"^== (.+)\n", text, flags=re.MULTILINE)
        programs = {name.strip(): body for name, body in zip(parts[1::2], parts[2::2], strict=True)}
        script: list[tuple[str, list[str]]] = []
        for line in programs.pop("script").splitlines():
            if line.startswith("> "):
                script.append((line[2:], []))
            elif line.strip() and script:
                script[-1][1].append(line)
        return cls(text, programs, script)

    def rewritten(self, found: Sequence[tuple[str, list[str]]]) -> str:
        """Return the file's text with what was found in place of what was expected."""
        head = self.text[: self.text.index("== script\n")]
        return head + "== script\n" + "\n".join("\n".join([f"> {command}", *lines]) for command, lines in found) + "\n"


@dataclass
class Stage:
    """What scripts may say. Each command lets all runs come to rest, without letting time pass."""

    supervised: Supervised
    programs: dict[str, str]
    lines: list[str] = field(default_factory=list)
    _faults: dict[str, list[Any]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _module: Any = None

    def __post_init__(self) -> None:
        self.supervised.world.listeners.append(self._written)
        self._deploy("program")

    # -- commands ----------

    async def start(self, call: Any, id: str | None = None, **options: Any) -> None:
        """Start a run; ids are r1, r2 …"""
        await self.supervised.start(call, id or f"r{len(self._seen) + 1}", **options)

    async def decide(self, which: str, decision: Any, **options: Any) -> None:
        """Have a person decide what waits now; a refusal is told."""
        if not any(self._fits(entry, which, options.get("run")) for entry in await self.supervised.waiting()):
            self.answer(f"nothing waits that fits {which!r}")
            return
        play = self.supervised.decide(which, decision, **options)
        try:
            await play
        except Exception as error:
            self.answer(f"{type(error).__name__}: {error}")

    def _fits(self, entry: Any, which: str, run: str | None) -> bool:
        tool = str(entry.shows.get("tool", "")).rpartition(".")[2]
        return which in (entry.kind, entry.path, entry.id, tool, "*") and run in (None, entry.run_id)

    async def waiting(self) -> None:
        """Tell what waits for people."""
        for entry in await self.supervised.waiting():
            due = "" if entry.due is None else f" until +{entry.due - START:g}"
            role = "" if entry.role is None else f" for {entry.role}"
            self.answer(f"{entry.kind} {entry.run_id}/{entry.path}{role}{due}: {', '.join(entry.decisions)}")

    async def shown(self, which: str = "*") -> None:
        """Tell what an entry shows."""
        for entry in await self.supervised.waiting():
            if self._fits(entry, which, None):
                for name, value in entry.shows.items():
                    if value not in (None, [], "", {}) and name != "traceback":
                        self.answer(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")

    async def recorded(self, run: str = "r1") -> None:
        """Tell every event of a run with everything that it holds."""
        for event in await self.supervised.view(run).events():
            self.answer(f"{event.type} {event.path} {in_full(event.payload)}".replace("  ", " "))

    async def entries(self) -> None:
        """Tell what waits for people with everything that an entry holds."""
        for entry in await self.supervised.waiting():
            self.answer(in_full({one.name: getattr(entry, one.name) for one in fields(entry)}))

    async def status(self, run: str = "r1") -> None:
        """Tell how a run stands."""
        row = await self.supervised.view(run).row()
        self.answer(row.status + (f" ({row.reason})" if row.reason else "") + (f", {row.standing} standing" if row.standing else ""))

    async def due(self, run: str = "r1") -> None:
        """Tell when a run wants to be looked at again, as the journal has it: for whoever takes it over."""
        row = await self.supervised.view(run).row()
        self.answer("never" if row.due is None else f"+{row.due - START:g}")

    async def result(self, run: str = "r1") -> None:
        """Tell what a run gave."""
        try:
            self.answer(repr(await self.supervised.view(run).result()))
        except Exception as error:
            self.answer(f"{type(error).__name__}: {error}")

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        await self.supervised.advance(seconds)

    def set_clock(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self.supervised.clock.step(seconds)

    async def signal(self, name: str, value: Any = None, run: str = "r1") -> None:
        """Send a signal."""
        await self.supervised.signal(run, name, value)

    async def cancel(self, run: str = "r1") -> None:
        """Cancel a run."""
        await self.supervised.cancel(run)

    async def resume(self, run: str = "r1", accept: Sequence[str] = ()) -> None:
        """Resume a run that is parked as a whole."""
        await self.supervised.resume(run, accept=accept)

    def crash_at(self, point: str, path: str | None = None, nth: int = 1, **options: Any) -> None:
        """Plan a crash."""
        self.supervised.crash_at(point, path, nth, **options)

    async def crash(self) -> None:
        """Crash now."""
        await self.supervised.crash()

    async def restart(self, version: int | None = None, **options: Any) -> None:
        """Stop in good order and start again, with another version of the program if given."""
        if version is not None:
            self._deploy(f"program {version}" if version > 1 else "program")
        await self.supervised.restart(self._workflows(), **options)

    def _workflows(self) -> list[Any]:
        return [thing for thing in vars(self._module).values() if getattr(thing, "kind", "") == "workflow"]

    async def unload(self) -> None:
        """Have what rests leave memory."""
        await self.supervised.unload()

    def script(self, agent: Any, *answers: Any) -> None:
        """Give an agent its answers."""
        self.supervised.replace(agent, self._module.chargehand.testing.scripted(*answers))

    def fault(self, touched: str, *errors: Any) -> None:
        """Have the next touches that begin so raise these errors; None lets one through."""
        self._faults.setdefault(touched, []).extend(errors)

    async def effects(self, run: str = "r1") -> None:
        """Tell what a run did to the world."""
        for line in await self.supervised.effects(run):
            self.answer(f"{line}")

    # -- the transcript ----------

    def touch(self, what: str) -> None:
        """The world is touched."""
        self.lines.append(f"  * {what}")
        for prefix, errors in self._faults.items():
            if what.startswith(prefix) and errors:
                error = errors.pop(0)
                if error is not None:
                    raise error

    def answer(self, text: str) -> None:
        """Note what a command itself says."""
        self.lines.append(f"-- {text}")

    def _written(self, run: str, events: Sequence[Event]) -> None:
        for event in events:
            if event.seq > self._seen.get(run, 0):
                self._seen[run] = event.seq
                prefix = f"{run}: " if run != "r1" else ""
                self.lines.append(prefix + told(event))

    def _deploy(self, name: str) -> None:
        source = CAST + "\n\n" + self.programs[name]
        self._module = deployed(source, "play", touch=self.touch, stage=self)

    async def run(self, command: str) -> list[str]:
        """Run one command and return what followed."""
        self.lines = []
        commands = {name: getattr(self, name) for name in dir(self) if not name.startswith("_")}
        done = eval(command, {**vars(self._module), **commands})
        if inspect.isawaitable(done):
            await done
        await self.supervised.rest()
        return [self._renamed(line) for line in self.lines]

    def _renamed(self, line: str) -> str:
        """Give keys and digests names in the order in which they appear."""

        def name(kind: str, text: str) -> str:
            if text not in self._names:
                self._names[text] = f"{kind}{sum(1 for known in self._names.values() if known[0] == kind) + 1}"
            return self._names[text]

        line = re.sub(r', "seconds": [0-9.e-]+', "", line)
        line = re.sub(r"\b[0-9a-f]{40}\b", lambda found: name("k", found[0]), line)
        line = re.sub(r"\b[0-9a-f]{32}\b", lambda found: name("d", found[0]), line)
        return re.sub(r"~([0-9a-f]{12})\.", lambda found: f"~{name('c', found[1])}.", line)


async def played(scenario: Scenario) -> list[tuple[str, list[str]]]:
    """Play a scenario and return each command with what followed."""
    async with Supervised() as supervised:
        stage = Stage(supervised, scenario.programs)
        await stage.restart()
        return [(command, await stage.run(command)) for command, _ in scenario.script]
