"""Everybody who is not the run: people who decide, hastily or twice or late, who send signals and cancel.

They know nothing but the journal and the services' books. Whoever ends a doubt has looked into the book, and waits while a
request is still under way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

from chargehand import Abandon, Answer, Approve, Decision, DoneByHand, Edit, Fail, Person, Redrive, Reject, Release, Supervisor, Waiting
from chargehand.durable import NewMail
from chargehand.errors import DecisionRefused, UnknownEntry, UnknownRun
from chargehand.supervise.decisions import NotDone

from .processes import Stage

GO_ONS_MAX = 2
"""How often somebody has the same run go on after a final effect. More would go in circles."""


class People:
    """The people of one seed, who act through a supervisor that does not work."""

    def __init__(self, stage: Stage, office: Supervisor, dice: Random) -> None:
        self.stage, self.office, self.dice = stage, office, dice
        self.voters = 0
        self.signals = 0
        self.going_on: Counter[str] = Counter()
        self.late: list[tuple[float, NewMail]] = []

    async def look_at_inbox(self, chance: float) -> None:
        """Decide about some of what waits."""
        for entry in await self.office.waiting():
            if self.dice.random() < chance:
                await self._decide(entry)
        due = [mail for at, mail in self.late if at <= self.stage.loop.time()]
        self.late = [(at, mail) for at, mail in self.late if at > self.stage.loop.time()]
        for mail in due:
            self.stage.told(f"somebody repeats {mail.body.get('decision')} on {mail.body.get('entry')}")
            await self.office.journal.post([mail])

    async def signal(self, run: str, name: str) -> None:
        """Send a signal with a value that no other has."""
        self.signals += 1
        try:
            await self.office.signal(run, name, f"{name}-{self.signals}" if self.dice.random() < 0.93 else self.signals)
        except UnknownRun:
            return

    async def cancel(self, run: str) -> None:
        """Cancel a run."""
        self.stage.told(f"somebody cancels {run}")
        try:
            await self.office.cancel(run, "changed my mind")
        except UnknownRun:
            return

    async def _decide(self, entry: Waiting) -> None:
        decision = self._decision(entry)
        if decision is None:
            return
        person = self._person(entry)
        if decision.name == "resume":
            with suppress(DecisionRefused):  # somebody has said so already
                await self.office.resume(entry.run_id, by=person)
            return
        self.stage.told(f"{person.id} decides {decision.name!r} on {entry.id} ({entry.kind})")
        try:
            await self.office.decide(entry, decision, by=person, shown=entry.digest if self.dice.random() < 0.9 else None)
        except (DecisionRefused, UnknownEntry) as refusal:
            self.stage.told(f"  refused: {refusal}")
            return
        if not self.stage.healed and self.dice.random() < self.stage.faults.meddling:
            await self._meddle(entry, decision, person)

    def _person(self, entry: Waiting) -> Person:
        if self.dice.random() < 0.75 or self.stage.healed:
            self.voters += 1
        roles = ["ops"] if self.dice.random() < 0.1 and not self.stage.healed else ["ops", "boss"]
        return Person(f"p{self.voters}", roles)

    async def _meddle(self, entry: Waiting, decision: Decision, person: Person) -> None:
        """Say it again at once, or later, or say something else: as another process might that looked at the same time."""
        other = self._decision(entry) if self.dice.random() < 0.5 else decision
        if other is None or other.name == "resume":
            return
        body: dict[str, Any] = {
            "entry": entry.id,
            "decision": other.name,
            "value": other.value,
            "reason": other.reason,
            "by": {"id": self.dice.choice([person.id, "somebody else"]), "roles": sorted(person.roles)},
            "shown": entry.digest if self.dice.random() < 0.5 else None,
        }
        mail = NewMail(entry.run_id, "decision", body, self.stage.clock.now())
        if self.dice.random() < 0.5:
            await self.office.journal.post([mail])
        else:
            self.late.append((self.stage.loop.time() + self.dice.choice([1.0, 20.0, 700.0]), mail))

    # -- what they decide ----------

    def _decision(self, entry: Waiting) -> Decision | None:
        dice = self.dice
        match entry.kind:
            case "approval":
                return self._on_approval(entry)
            case "doubt":
                return self._on_doubt(entry)
            case "letter" if "go on" in entry.decisions:
                return self._on_pivot(entry)
            case "letter" if "fail" not in entry.decisions:
                return self._on_undo(entry)
            case "letter":
                return self._on_letter(entry)
            case "question":
                return Answer(dice.choice(["yes", "no"]) if dice.random() < 0.9 else 5)
            case "escalation":
                return self._on_escalation(entry)
            case "poison":
                return Decision("resume")
            case "diverged":
                return Decision("cancel")
        return None

    def _on_approval(self, entry: Waiting) -> Decision:
        dice, arguments = self.dice, dict(entry.shows["arguments"])
        if dice.random() < self.stage.faults.votes_against:
            return Reject("not this")
        chance = dice.random()
        if chance < 0.1:
            return Approve(edit=arguments | {"amount": arguments["amount"] + dice.choice([1, 60])})
        if chance < 0.15:
            return DoneByHand(f"{entry.shows['tool']}-{arguments['ref']}-receipt")
        return Approve()

    def _on_doubt(self, entry: Waiting) -> Decision | None:
        tool, ref = entry.shows["tool"], entry.shows["arguments"]["ref"]
        if self.stage.services.under_way(ref):
            return None
        chance = self.dice.random()
        if chance < 0.15 and "redrive" in entry.decisions:
            return Redrive()
        if chance < 0.25 and "abandon" in entry.decisions and entry.shows.get("generation"):
            return Abandon("enough")
        return DoneByHand(f"{tool}-{ref}-receipt") if self.stage.services.stands(tool, ref) else NotDone()

    def _on_letter(self, entry: Waiting) -> Decision:
        arguments = dict(entry.shows["arguments"])
        chance = self.dice.random()
        if chance < 0.4:
            return Redrive()
        if chance < 0.55:
            return Redrive(edit=arguments | {"amount": arguments["amount"] + 1})
        if chance < 0.7:
            return DoneByHand(f"{entry.shows['tool']}-{arguments['ref']}-receipt")
        return Fail() if chance < 0.9 else Abandon("enough")

    def _on_undo(self, entry: Waiting) -> Decision | None:
        tool, ref = entry.shows["tool"], entry.shows["arguments"]["ref"]
        if self.stage.services.under_way(ref):
            return None
        chance = self.dice.random()
        if chance < 0.3:
            return Abandon("let it stand")
        if chance < 0.6 and self.stage.services.stands(tool, ref):
            return Redrive()
        return DoneByHand()

    def _on_pivot(self, entry: Waiting) -> Decision:
        choices = ["undo", "leave"] + (["go on"] if self.going_on[entry.run_id] < GO_ONS_MAX else [])
        choice = self.dice.choice(choices)
        self.going_on[entry.run_id] += choice == "go on"
        return Decision(choice)

    def _on_escalation(self, entry: Waiting) -> Decision:
        choices = [Edit("good by hand"), Edit("draft by hand"), Reject("no"), Release("fine"), Release("fine")]
        decision = self.dice.choice(choices if "release" in entry.decisions else choices[:3])
        return Reject("no") if decision.value == "draft by hand" and self.stage.healed else decision


async def now_and_then(people: People, runs: list[str]) -> None:
    """Act at odd moments until the calm."""
    dice, stage = people.dice, people.stage
    while not stage.healed:
        await asyncio.sleep(dice.choice([0.5, 3.0, 20.0, 60.0]))
        if stage.healed:
            return
        await people.look_at_inbox(stage.faults.diligence)
        if dice.random() < 0.15:
            await people.signal(dice.choice(runs), dice.choice(["go", "news"]))
        if dice.random() < stage.faults.meddling / 10:
            with suppress(UnknownRun):
                await people.office.journal.post([NewMail(dice.choice(runs), "resume", {"by": None}, stage.clock.now())])
